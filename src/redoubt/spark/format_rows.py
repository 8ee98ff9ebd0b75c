"""Rows to lines, byte for byte what Spark 4.3's own csv, json and text writers write for them.

Every column is turned into an Arrow array of texts, whole columns at a time where no value needs care, and the arrays
are joined row by row. A csv value is quoted only where Spark quotes it: at a separator, quote or line end, and in the
first column at a comment mark. Types that a format cannot hold are refused by the name of the column.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redoubt.errors import OptionRefused
from redoubt.spark.format_values import scalar_texts
from redoubt.spark.options import TextOptions

_BLANKS: Final = "".join(map(chr, range(0x21)))
#: What Jackson writes for characters that a JSON string cannot hold.
_JSON_ESCAPES: Final = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    ord(char): f"\\{letter}" for char, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}
_JSON_SPECIAL: Final = r'["\\\x00-\x1f]'


# --- csv --------------------------------------------------------------------------------------------------------------
def csv_header(schema: pa.Schema, options: TextOptions) -> bytes:
    """Return the header line."""
    names = [_csv_column(pa.array([name]), index, options) for index, name in enumerate(schema.names)]
    return _lines(pc.binary_join_element_wise(*names, options.sep), _line_end(options))


def csv_bytes(batch: pa.RecordBatch, options: TextOptions) -> bytes:
    """Return one line a row.

    Raises:
        OptionRefused: a column's type or an option has no exact csv form.
    """
    if len(options.sep) != 1 or not options.quote or not options.escape:
        raise OptionRefused("writing csv needs a separator, quote and escape of one character each")
    columns = [
        _csv_column(scalar_texts(column, field, options, json=False), index, options)
        for index, (field, column) in enumerate(zip(batch.schema, batch.columns, strict=True))
    ]
    if not columns:
        raise OptionRefused("csv needs a column")
    rows = pc.binary_join_element_wise(*columns, options.sep)
    if len(columns) == 1:
        # Spark leaves out an empty line, which no reader would take for a row.
        rows = rows.filter(pc.not_equal(rows, ""))
    return _lines(rows, _line_end(options))


def _csv_column(texts: pa.Array, index: int, options: TextOptions) -> pa.Array:
    """Return the fields of one column: quoted, escaped, trimmed, and without nulls."""
    field = _csv_field(index, options)
    special = "".join(f"\\x{{{ord(char):x}}}" for char in f"{options.sep}{options.quote}\n\r{_line_end(options)}")
    blank = r"[\x00-\x20]"
    form = f"^$|[{special}]|^{blank}|{blank}$"
    if index == 0:
        form += f"|^\\x{{{ord(options.comment or '#'):x}}}"
    odd = pc.fill_null(pc.match_substring_regex(texts, form), False)
    if options.quote_all:
        odd = pc.is_valid(texts)
    if pc.any(odd, min_count=0).as_py():
        values = [field(value) for value in texts.filter(odd).to_pylist()]
        texts = pc.replace_with_mask(texts, odd, pa.array(values, texts.type))
    return pc.fill_null(texts, _null_field(field, options)) if texts.null_count else texts


def _csv_field(index: int, options: TextOptions) -> Callable[[str], str]:
    """Return the function that makes the field of a value in column *index*."""
    quote, escape = options.quote, options.escape
    trim_leading = options.ignore_leading_space is not False
    trim_trailing = options.ignore_trailing_space is not False
    comment = options.comment or "#"
    empty = '""' if options.empty_value is None else options.empty_value
    line_end = _line_end(options)

    def field(value: str) -> str:
        start = value.lstrip(_BLANKS) if trim_leading else value
        kept = start.rstrip(_BLANKS) if trim_trailing else start
        if line_end != "\n" and ("\n" in start or line_end in start):
            raise OptionRefused("Spark's csv writer changes line ends inside values if lineSep is set; leave it unset")
        if not kept:
            return _verbatim(empty) or (field(empty) if empty else quote * 2 if options.quote_all else "")
        if not (
            options.quote_all
            or any(char in start for char in (options.sep, quote, "\n", "\r", line_end))
            or (index == 0 and value[0] == comment)
        ):
            return kept
        if escape != quote:
            kept = kept.replace(escape, escape * 2)
        return quote + kept.replace(quote, escape + quote) + quote

    def _verbatim(text: str) -> str:
        return text if len(text) > 1 and text[0] == text[-1] == quote else ""

    return field


def _null_field(field: Callable[[str], str], options: TextOptions) -> str:
    if options.null_value:
        return field(options.null_value)
    return options.quote * 2 if options.quote_all else ""


# --- json -------------------------------------------------------------------------------------------------------------
def json_bytes(batch: pa.RecordBatch, options: TextOptions) -> bytes:
    """Return one object a row, without the fields that are null.

    Raises:
        OptionRefused: a column's type has no exact JSON form.
    """
    return _lines(_objects(batch.columns, list(batch.schema), batch.num_rows, options), _line_end(options))


def _objects(columns: list[pa.Array], fields: list[pa.Field], rows: int, options: TextOptions) -> pa.Array:
    # Each member brings its comma and the first one is trimmed: Arrow's own skipping of nulls loses rows without any.
    members = [
        pc.fill_null(pc.binary_join_element_wise(f",{_json_string(field.name)}:", texts, ""), "")
        for field, texts in zip(fields, map(_json_texts, columns, fields, repeat(options)), strict=True)
    ]
    inner = pc.binary_join_element_wise(*members, "") if members else pa.array([""] * rows)
    return pc.binary_join_element_wise("{", pc.ascii_ltrim(inner, characters=","), "}", "")


def _json_texts(column: pa.Array, field: pa.Field, options: TextOptions) -> pa.Array:
    """Return the JSON texts of a column; null where it is null."""
    kind = column.type
    if pa.types.is_struct(kind):
        inner = list(kind)
        objects = _objects(column.flatten(), inner, len(column), options)
        return pc.if_else(column.is_valid(), objects, pa.scalar(None, pa.string()))
    if pa.types.is_list(kind):
        items = pc.fill_null(_json_texts(column.flatten(), pa.field(field.name, kind.value_type), options), "null")
        return _wrapped("[", column, items, "]")
    if pa.types.is_map(kind):
        return _map_texts(column, field, options)
    if pa.types.is_string(kind):
        return _json_strings(column)
    return scalar_texts(column, field, options, json=True)


def _map_texts(column: pa.Array, field: pa.Field, options: TextOptions) -> pa.Array:
    kind = column.type
    if not (pa.types.is_string(kind.key_type) or pa.types.is_integer(kind.key_type)):
        raise OptionRefused(f"the column {field.name!r}: a map with keys of type {kind.key_type} cannot be json")
    compact = column.take(pa.array(range(len(column)), pa.int64()))  # no entries of other rows or of null ones
    keys = _json_strings(compact.keys.cast(pa.string()))
    texts = pc.fill_null(_json_texts(compact.items, pa.field(field.name, kind.item_type), options), "null")
    return _wrapped("{", compact, pc.binary_join_element_wise(keys, texts, ":"), "}")


def _wrapped(start: str, column: pa.Array, items: pa.Array, end: str) -> pa.Array:
    """Return the *items* of each row of a list or map column, joined by commas between *start* and *end*."""
    if pa.types.is_map(column.type):
        lengths = pc.subtract(column.offsets[1:], column.offsets[:-1])
    else:
        lengths = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths.cast(pa.int64()))])
    joined = pc.binary_join(pa.LargeListArray.from_arrays(offsets, items), ",")
    texts = pc.binary_join_element_wise(start, joined, end, "")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))


def _json_strings(column: pa.Array) -> pa.Array:
    odd = pc.fill_null(pc.match_substring_regex(column, _JSON_SPECIAL), False)
    if pc.any(odd, min_count=0).as_py():
        escaped = [value.translate(_JSON_ESCAPES) for value in column.filter(odd).to_pylist()]
        column = pc.replace_with_mask(column, odd, pa.array(escaped, column.type))
    return pc.binary_join_element_wise('"', column, '"', "")


def _json_string(text: str) -> str:
    return f'"{text.translate(_JSON_ESCAPES)}"'


# --- text -------------------------------------------------------------------------------------------------------------
def text_bytes(batch: pa.RecordBatch, options: TextOptions) -> bytes:
    """Return one line a row; null is an empty line.

    Raises:
        OptionRefused: the rows are not one column of strings.
    """
    if batch.num_columns != 1 or not pa.types.is_string(batch.schema.field(0).type):
        raise OptionRefused("the text format writes exactly one column of strings")
    return _lines(pc.fill_null(batch.column(0), ""), _line_end(options))


def _line_end(options: TextOptions) -> str:
    return "\n" if options.line_separator is None else options.line_separator


def _lines(rows: pa.Array, end: str) -> bytes:
    """Return the bytes of *rows*, each with *end* behind it."""
    if not len(rows):
        return b""
    ended = pc.binary_join_element_wise(rows, end, "")
    offsets = np.frombuffer(ended.buffers()[1], np.int32)[ended.offset : ended.offset + len(ended) + 1]
    return ended.buffers()[2][int(offsets[0]) : int(offsets[-1])].to_pybytes()  # type: ignore[no-any-return]
