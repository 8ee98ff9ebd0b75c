"""The schema of CSV files as Spark 4.3 infers it: names from the first line, types from every value.

Types move up as Spark's do: int, long, decimal (integers that no long holds), double, date, timestamp, boolean, string.
A column of dates and timestamps is one of timestamps, or of strings if the patterns given do not allow that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from redoubt.errors import OptionRefused
from redoubt.spark.csv_tokens import tokenizer
from redoubt.spark.datetimes import parse_timestamp, session_offset
from redoubt.spark.java_patterns import compile_pattern
from redoubt.spark.options import TextOptions
from redoubt.spark.values import decimal_shape, to_boolean, to_double, to_integer

_MAX_PRECISION: Final = 38


class Kind(Enum):
    """The types that inference knows, in no order."""

    NULL = auto()
    INT = auto()
    LONG = auto()
    DECIMAL = auto()
    DOUBLE = auto()
    DATE = auto()
    TIMESTAMP = auto()
    BOOLEAN = auto()
    STRING = auto()


@dataclass(frozen=True, slots=True)
class Inferred:
    """The type that a column has so far; *precision* is that of a decimal, whose scale is always 0 here."""

    kind: Kind
    precision: int = 0


#: Date patterns whose text Spark's default timestamp parser reads too.
_LENIENT_DATES: Final = {"yyyy-MM-dd", "yyyy-M-d", "yyyy-M-dd", "yyyy-MM-d", "yyyy-MM", "yyyy-M", "yyyy"}
_NULL: Final = Inferred(Kind.NULL)
_STRING: Final = Inferred(Kind.STRING)
_DOUBLE: Final = Inferred(Kind.DOUBLE)
_ARROW: Final = {
    Kind.NULL: pa.string(),
    Kind.INT: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.BOOLEAN: pa.bool_(),
    Kind.STRING: pa.string(),
}


def infer(blocks: Iterable[bytes], options: TextOptions) -> pa.Schema:
    """Return the schema of a dataset whose *blocks* of whole lines (with multiLine: whole files) follow each other.

    Header lines are in the blocks, byte order marks are not. Without ``inferSchema`` all columns are strings.

    Raises:
        OptionRefused: there is no line to take names from, or the text cannot be read as Spark reads it.
    """
    rows = _rows(blocks, options)
    first = next(rows, None)
    if first is None:
        raise OptionRefused("there is no record to infer a schema from", hint="Give the schema with .schema(...).")
    names = _names(first, options)
    types = [_STRING if not options.infer_schema else _NULL] * len(names)
    if options.infer_schema:
        guess = _Guess(options)
        pending = [] if options.header else [first]
        for row in rows:
            pending.append(row)
            if len(pending) == _BATCH:
                types = guess.merge(types, pending)
                pending = []
        types = guess.merge(types, pending)
    return pa.schema([pa.field(name, _arrow(kind)) for name, kind in zip(names, types, strict=True)])


_BATCH: Final = 10_000


def _rows(blocks: Iterable[bytes], options: TextOptions) -> Iterator[list[str]]:
    """Yield the first row, then the others; header rows of later files are dropped as Spark drops them."""
    cut = tokenizer(options)
    header_line: str | None = None
    begun = False
    for block in blocks:
        for number, (fields, text) in enumerate(cut.records(block)):
            if options.header and begun:
                # By lines, Spark drops every line that equals the first file's header; else each file's first record.
                if number == 0 and options.multi_line:
                    continue
                if not options.multi_line and text == header_line:
                    continue
            if not begun:
                header_line, begun = text, True
            if fields is not None:
                yield fields


def _names(first: Sequence[str], options: TextOptions) -> list[str]:
    if not options.header:
        return [f"_c{number}" for number in range(len(first))]
    lowered = [name.lower() for name in first]
    duplicates = {name for name in lowered if lowered.count(name) > 1}
    names = []
    for number, name in enumerate(first):
        if not name or name == options.null_value:
            names.append(f"_c{number}")
        elif name.lower() in duplicates:
            names.append(f"{name}{number}")
        else:
            names.append(name)
    return names


def _arrow(inferred: Inferred) -> pa.DataType:
    if inferred.kind is Kind.DECIMAL:
        return pa.decimal128(inferred.precision, 0)
    return _ARROW[inferred.kind]


class _Guess:
    """The inference of values under one set of options."""

    def __init__(self, options: TextOptions) -> None:
        self._null_value = options.null_value
        self._offset = session_offset(options.time_zone)
        self._date = compile_pattern(options.date_format or "yyyy-MM-dd")
        self._plain_date = options.date_format in {None, "yyyy-MM-dd"}
        self._dates_are_timestamps = options.timestamp_format is None and self._date.text in _LENIENT_DATES
        self._timestamp = compile_pattern(options.timestamp_format) if options.timestamp_format is not None else None

    def merge(self, types: list[Inferred], rows: list[list[str]]) -> list[Inferred]:
        """Return the types after *rows*, of which some may be shorter or longer than the first."""
        out = []
        for number, so_far in enumerate(types):
            if so_far.kind is Kind.STRING:
                out.append(so_far)
                continue
            texts = [row[number] for row in rows if number < len(row)]
            out.append(self._column(so_far, [text for text in texts if text not in {"", self._null_value}]))
        return out

    def _column(self, so_far: Inferred, texts: list[str]) -> Inferred:
        if not texts:
            return so_far
        quick = self._quick(so_far, texts)
        if quick is not None:
            return quick
        for text in texts:
            so_far = self._common(so_far, self._value(so_far, text))
            if so_far.kind is Kind.STRING:
                break
        return so_far

    def _quick(self, so_far: Inferred, texts: list[str]) -> Inferred | None:
        """Return the type if all texts are of one plain form, None if they must be looked at one by one."""
        array = pa.array(texts, pa.string())

        def all_match(form: str) -> bool:
            return bool(pc.all(pc.match_substring_regex(array, form), min_count=0).as_py())

        if so_far.kind in {Kind.NULL, Kind.INT, Kind.LONG, Kind.DOUBLE} and all_match("^-?[0-9]{1,9}$"):
            return Inferred(Kind.INT) if so_far.kind is Kind.NULL else so_far
        if so_far.kind in {Kind.NULL, Kind.INT, Kind.LONG, Kind.DOUBLE} and all_match(r"^-?[0-9]{1,30}\.[0-9]{1,30}$"):
            return _DOUBLE
        if so_far.kind in {Kind.NULL, Kind.DATE} and self._plain_date and all_match("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"):
            try:
                array.cast(pa.date32())
            except pa.ArrowInvalid:
                return None
            return Inferred(Kind.DATE)
        return None

    def _value(self, so_far: Inferred, text: str) -> Inferred:
        """Return the first type from *so_far* upwards that *text* is of."""
        ladder = (
            (Kind.INT, self._integer),
            (Kind.LONG, self._long),
            (Kind.DECIMAL, self._decimal),
            (Kind.DOUBLE, self._double),
            (Kind.DATE, self._as_date),
            (Kind.TIMESTAMP, self._as_timestamp),
            (Kind.BOOLEAN, self._boolean),
        )
        begun = so_far.kind is Kind.NULL
        for kind, attempt in ladder:
            begun = begun or kind is so_far.kind
            if begun:
                try:
                    return attempt(text)
                except ValueError:
                    continue
        return _STRING

    def _common(self, one: Inferred, two: Inferred) -> Inferred:
        """Return the narrowest type that holds both, by Spark's rules for CSV."""
        if one == two or two.kind is Kind.NULL:
            return one
        if one.kind is Kind.NULL:
            return two
        kinds = {one.kind, two.kind}
        if kinds <= {Kind.INT, Kind.LONG}:
            return Inferred(Kind.LONG)
        if kinds <= {Kind.INT, Kind.LONG, Kind.DECIMAL}:
            return Inferred(Kind.DECIMAL, max(_digits(one), _digits(two)))
        if kinds <= {Kind.INT, Kind.LONG, Kind.DECIMAL, Kind.DOUBLE}:
            return _DOUBLE
        if kinds == {Kind.DATE, Kind.TIMESTAMP} and self._dates_are_timestamps:
            return Inferred(Kind.TIMESTAMP)
        return _STRING

    @staticmethod
    def _integer(text: str) -> Inferred:
        to_integer(text, 32)
        return Inferred(Kind.INT)

    @staticmethod
    def _long(text: str) -> Inferred:
        to_integer(text, 64)
        return Inferred(Kind.LONG)

    @staticmethod
    def _decimal(text: str) -> Inferred:
        precision, scale = decimal_shape(text)
        if scale != 0 or precision > _MAX_PRECISION:
            raise ValueError
        return Inferred(Kind.DECIMAL, precision)

    @staticmethod
    def _double(text: str) -> Inferred:
        to_double(text)
        return _DOUBLE

    def _as_date(self, text: str) -> Inferred:
        self._date.parse_date(text)
        return Inferred(Kind.DATE)

    def _as_timestamp(self, text: str) -> Inferred:
        if self._timestamp is not None:
            self._timestamp.parse_timestamp(text, self._offset)
        else:
            parse_timestamp(text, self._offset)
        return Inferred(Kind.TIMESTAMP)

    @staticmethod
    def _boolean(text: str) -> Inferred:
        to_boolean(text)
        return Inferred(Kind.BOOLEAN)


def _digits(inferred: Inferred) -> int:
    return {Kind.INT: 10, Kind.LONG: 20}.get(inferred.kind, inferred.precision)
