"""The fast CSV path: Arrow's parser, on the blocks for which it provably gives Spark's rows.

:class:`FastCsv` returns None for every other block, and the caller takes :mod:`redoubt.spark.csv_exact`. Three things
make it safe: the gate (:mod:`redoubt.spark.csv_gate`) proves the records; types are read in forms that both accept,
with what only Arrow accepts (blanks around integers and decimals, hexadecimal, ``nan``) looked for; and any text that
Arrow rejects sends the block to the exact path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from redoubt.errors import OptionRefused
from redoubt.spark.csv_gate import Gate
from redoubt.spark.csv_tokens import dialect
from redoubt.spark.datetimes import zone_offset
from redoubt.spark.options import TextOptions

_TRUE = ["true", "True", "TRUE"]
_FALSE = ["false", "False", "FALSE"]
#: Arrow 26 reads decimals with very many digits as other numbers.
_MAX_NUMBER_BYTES = 38
#: The bits of a double that a float lacks, and their value half-way between two floats.
_BELOW_FLOAT = np.uint64((1 << 29) - 1)
_HALF_OF_FLOAT = np.uint64(1 << 28)
#: Bytes in numbers that Arrow takes and Spark does not; and exponents, on which Arrow 26 can crash if they are huge.
_FOREIGN_IN_NUMBERS = (b" ", b"\t", b"x", b"X", b"e", b"E")


class FastCsv:
    """Parses blocks of whole lines of one schema and dialect, and gives *columns* of them, by their places in it.

    :attr:`eligible` tells whether any block of these options can take the fast path.
    """

    def __init__(self, schema: pa.Schema, options: TextOptions, columns: Sequence[int] | None = None) -> None:
        self._columns = range(len(schema)) if columns is None else columns
        self._given = pa.schema([schema.field(place) for place in self._columns])
        self._corrupt = schema.get_field_index(options.corrupt_column)
        places = [place for place in range(len(schema)) if place != self._corrupt]
        self._fields = [schema.field(place) for place in places]
        self._read_as = [_read_type(field.type, options) for field in self._fields]
        self.eligible = _dialect_eligible(options) and len(self._fields) > 1 and None not in self._read_as
        if not self.eligible:
            return
        mark = dialect(options)
        self._gate = Gate(
            separator=ord(mark.separator),
            quote=ord(options.quote) if options.quote else None,
            escape=ord(options.escape) if options.escape else None,
            comment=options.comment.encode(),
            empty_is_null=mark.empty_value == mark.null_value,
            only_lf=options.line_separator is not None,
        )
        self._names = names = [str(place) for place in places]
        # Any text is a string: such a column tells nothing of its record, so it is converted only where it is given.
        self._converted = [
            str(place)
            for place, field in zip(places, self._fields, strict=True)
            if place in self._columns or not pa.types.is_string(field.type)
        ] or names[:1]
        self._parse_options = pacsv.ParseOptions(
            delimiter=mark.separator,
            quote_char=options.quote or False,
            double_quote=options.quote != "" and options.escape == options.quote,
            escape_char=False,
        )
        self._convert_options = pacsv.ConvertOptions(
            column_types=dict(zip(names, self._read_as, strict=True)),
            null_values=["", mark.null_value] if mark.null_value else [""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=_TRUE,
            false_values=_FALSE,
            include_columns=self._converted,
        )

    def parse(self, block: bytes) -> pa.RecordBatch | None:
        """Return the rows of *block* (no byte order mark, no header line), or None if the exact path must read it."""
        if not self.eligible or not block:
            return None
        lines = self._gate.lines(block)
        if lines is None:
            return None
        try:
            table = pacsv.read_csv(
                pa.BufferReader(block),
                read_options=pacsv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self._names),
                parse_options=self._parse_options,
                convert_options=self._convert_options,
            )
            if lines >= 0 and table.num_rows != lines:
                return None
            return self._batch(table)
        except pa.ArrowInvalid:
            return None

    def _batch(self, table: pa.Table) -> pa.RecordBatch | None:
        arrays: dict[str, pa.Array] = {}
        for name, field in zip(self._names, self._fields, strict=True):
            if name not in self._converted:
                continue
            chunks = table.column(name).chunks
            if len(chunks) != 1:
                return None
            array = chunks[0]
            if pa.types.is_floating(array.type) and not pc.all(pc.is_finite(array), min_count=0).as_py():
                return None
            if array.type != field.type:
                cast = _cast(array, field.type)
                if cast is None:
                    return None
                array = cast
            arrays[name] = array
        given = [
            arrays[str(place)] if place != self._corrupt else pa.nulls(table.num_rows, self._given.field(number).type)
            for number, place in enumerate(self._columns)
        ]
        return pa.RecordBatch.from_arrays(given, schema=self._given)


def _dialect_eligible(options: TextOptions) -> bool:
    try:
        separator = dialect(options).separator
    except OptionRefused:
        return False
    marks = (separator, options.quote, options.escape)
    return (
        len(separator) == 1
        and bool(options.escape or not options.quote)
        and all(mark.isascii() and "\0" not in mark for mark in marks)
        and not (options.multi_line or options.ignore_leading_space or options.ignore_trailing_space)
        and options.line_separator in {None, "\n"}
    )


def _read_type(kind: pa.DataType, options: TextOptions) -> pa.DataType | None:
    """Return the type as which Arrow is to read a column, or None if only the exact path can read it."""
    types = pa.types
    if types.is_string(kind) or types.is_boolean(kind) or types.is_float64(kind):
        return kind
    if types.is_float32(kind):
        return pa.float64()
    if types.is_signed_integer(kind) or types.is_decimal128(kind):
        return pa.string()
    if types.is_date32(kind):
        if options.date_format is None:
            return kind
        return pa.string() if options.date_format == "yyyy-MM-dd" else None
    if types.is_timestamp(kind) and kind.unit == "us":
        given = options.timestamp_ntz_format if kind.tz is None else options.timestamp_format
        if given is None and (kind.tz is None or _is_utc(options.time_zone)):
            return pa.timestamp("us")
    return None


def _is_utc(name: str) -> bool:
    return name in {"UTC", "GMT", "Etc/UTC", "Z"} and zone_offset(name)(0) == 0


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Convert a column that was read as strings, or give a timestamp its time zone."""
    if pa.types.is_floating(kind):
        return _narrow(array)
    if not pa.types.is_string(array.type):
        return array.view(kind)
    _, ends, data = array.buffers()
    if data is not None:
        text = memoryview(data).tobytes()
        if any(mark in text for mark in _FOREIGN_IN_NUMBERS):
            return None
        if np.diff(np.frombuffer(ends, np.int32)[: array.offset + len(array) + 1]).max(initial=0) > _MAX_NUMBER_BYTES:
            return None
    return array.cast(kind)


def _narrow(doubles: pa.Array) -> pa.Array | None:
    """Convert doubles to floats, unless one lies exactly between two floats or beyond the largest."""
    bits = np.frombuffer(doubles.buffers()[1], np.uint64, len(doubles), doubles.offset * 8)
    if (bits & _BELOW_FLOAT == _HALF_OF_FLOAT).any():
        return None
    floats = doubles.cast(pa.float32(), safe=False)
    return floats if pc.all(pc.is_finite(floats), min_count=0).as_py() else None
