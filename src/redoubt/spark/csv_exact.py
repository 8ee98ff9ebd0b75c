"""The exact CSV path: rows that Spark 4.3's own reader gives for the same bytes and options, at Python's speed.

It is the reference of this package and the fallback of :mod:`redoubt.spark.csv_fast`: records come from
:mod:`redoubt.spark.csv_tokens`, values from :mod:`redoubt.spark.values`; here stand the rules for records that do not
fit the schema, and for header lines. What cannot be read as Spark reads it is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark.csv_infer import infer
from redoubt.spark.csv_machine import BLANKS
from redoubt.spark.csv_tokens import Record, tokenizer
from redoubt.spark.options import ParseMode, TextOptions
from redoubt.spark.text_lines import decode, split_lines, strip_bom
from redoubt.spark.values import column, converter

__all__ = ["check", "check_header", "infer", "parse", "split_header", "strip_bom"]


def check(schema: pa.Schema, options: TextOptions) -> None:
    """Check once, on the driver, that rows of *schema* can be read under *options*.

    Raises:
        OptionRefused: a type, pattern or combination is not supported.
    """
    tokenizer(options)
    for field in _data_fields(schema, options):
        converter(field.type, options)
    corrupt = _corrupt_index(schema, options)
    if corrupt is not None and not pa.types.is_string(schema.field(corrupt).type):
        raise OptionRefused("the column of corrupt records must be a string")
    if not _data_fields(schema, options):
        raise OptionRefused("the schema has no data column")


def parse(block: bytes, *, schema: pa.Schema, options: TextOptions) -> pa.RecordBatch:
    """Return the rows of a block of whole lines, without byte order mark and header line.

    With multiLine, *block* is a whole file without byte order mark, and its header record is dropped here.

    Raises:
        OptionRefused: the bytes or options cannot be read as Spark reads them.
        RecordMalformed: a record does not fit and the mode is FAILFAST.
    """
    records = tokenizer(options).records(block)
    if options.multi_line and options.header:
        first = next(records, None)
        if first is not None:
            _compare_header(first[0], schema, options)
    return _rows(list(records), schema, options)


def split_header(block: bytes, options: TextOptions) -> tuple[str | None, bytes]:
    """Split the first block of a file, without byte order mark, into its header line and the rest.

    Blank lines and comments before the header are dropped with it, as Spark does. None: the block has no header yet.
    """
    separator = (options.line_separator or "\n").encode()
    position = 0
    while position < len(block):
        end = block.find(separator, position)
        end = len(block) if end < 0 else end + len(separator)
        # Without lineSep a carriage return ends a line too, so that one LF line may be several.
        lines = split_lines(decode(block[position:end]), options.line_separator)
        for number, line in enumerate(lines):
            if line.strip(BLANKS) and not (options.comment and line.startswith(options.comment)):
                rest = _after_lines(block[position:end], number + 1, options.line_separator)
                return line, rest + block[end:]
        position = end
    return None, b""


def _after_lines(chunk: bytes, count: int, separator: str | None) -> bytes:
    if separator is not None or b"\r" not in chunk:
        return b""
    # Of bytes, splitlines cuts at CR, LF and CRLF only, which are Spark's line ends.
    return b"".join(chunk.splitlines(keepends=True)[count:])


def check_header(line: str, schema: pa.Schema, options: TextOptions) -> None:
    """Compare a header line with the schema where ``enforceSchema`` is false; names are compared without case.

    Raises:
        RecordMalformed: number or names of the columns differ.
    """
    _compare_header(tokenizer(options).fields(line), schema, options)


def _compare_header(names: Sequence[str] | None, schema: pa.Schema, options: TextOptions) -> None:
    if options.enforce_schema or names is None:
        return
    wanted = [field.name for field in _data_fields(schema, options)]
    if len(names) != len(wanted):
        raise RecordMalformed(f"the header has {len(names)} columns and the schema {len(wanted)}")
    for number, (name, want) in enumerate(zip(names, wanted, strict=True), start=1):
        if name.lower() != want.lower():
            raise RecordMalformed(f"column {number} of the header is not named {want!r}, and enforceSchema is false")


def _corrupt_index(schema: pa.Schema, options: TextOptions) -> int | None:
    index = schema.get_field_index(options.corrupt_column)
    return index if index >= 0 else None


def _data_fields(schema: pa.Schema, options: TextOptions) -> list[pa.Field]:
    corrupt = _corrupt_index(schema, options)
    return [field for number, field in enumerate(schema) if number != corrupt]


def _rows(records: list[Record], schema: pa.Schema, options: TextOptions) -> pa.RecordBatch:
    fields = _data_fields(schema, options)
    width = len(fields)
    bad: set[int] = set()
    tokens: list[Sequence[str | None]] = []
    for row, (found, _) in enumerate(records):
        if found is not None and len(found) == width:
            tokens.append(found)
            continue
        bad.add(row)
        if found is None:
            tokens.append((None,) * width)
        else:
            tokens.append([*found, *((None,) * width)][:width])
    columns = list(zip(*tokens, strict=True)) if tokens else [()] * width
    arrays: list[pa.Array] = []
    for field, texts in zip(fields, columns, strict=True):
        array, failed = column(_nulls(texts, options.null_value), field.type, options)
        arrays.append(array)
        bad.update(failed)
    if bad and options.mode is ParseMode.FAILFAST:
        raise RecordMalformed("a record does not fit the schema, and the mode is FAILFAST")
    corrupt = _corrupt_index(schema, options)
    if corrupt is not None:
        raw = [_without_line_end(text) if row in bad else None for row, (_, text) in enumerate(records)]
        arrays.insert(corrupt, pa.array(raw, pa.string()))
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    if bad and options.mode is ParseMode.DROPMALFORMED:
        return batch.filter(pa.array([row not in bad for row in range(len(records))], pa.bool_()))
    return batch


def _nulls(texts: Sequence[str | None], null_value: str) -> Sequence[str | None]:
    return [None if text == null_value else text for text in texts]


def _without_line_end(text: str) -> str:
    if text.endswith("\r\n"):
        return text[:-2]
    return text.removesuffix("\n")
