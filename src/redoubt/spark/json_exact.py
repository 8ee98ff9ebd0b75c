"""One JSON record to rows, value by value: the conversions and the partial results of Spark 4.3's JSON reader.

A field that does not fit its column is null and makes the record malformed; the other fields stay. A record whose
syntax is broken yields nothing but nulls. ``tests/spark`` compares all of this with Spark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark.json_tokens import Malformed, SyntaxFault, Token, Tokens
from redoubt.spark.options import ParseMode, TextOptions
from redoubt.spark.values import converter, to_decimal, to_float

_BITS: Final = {pa.int16(): 16, pa.int32(): 32, pa.int64(): 64}
_NOT_FINITE: Final = {
    "NaN": float("nan"),
    **dict.fromkeys(("Infinity", "+Infinity", "+INF"), float("inf")),
    **dict.fromkeys(("-Infinity", "-INF"), float("-inf")),
}
_DAYS: Final = re.compile(r"[+-]?[0-9]{1,10}")
#: The first day that the Julian and the Gregorian calendar count alike.
_GREGORIAN_START: Final = -141_427
#: Encodings that Java's decoder of JSON takes and UTF-8 forbids: overlong forms, surrogates, planes above 16.
_LENIENT: Final = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xed[\xa0-\xbf]|\xf0[\x80-\x8f]|\xf4[\x90-\xbf]|[\xf5-\xf7][\x80-\xbf]"
)
_BOM: Final = b"\xef\xbb\xbf"

Convert = Callable[[Tokens], Any]
Row = list[Any]


class Partial(Malformed):
    """A value of which a part is usable."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


@dataclass(frozen=True, slots=True)
class Records:
    """Parses records with one schema; ``schema`` is without the corrupt-record column."""

    schema: pa.Schema
    options: TextOptions

    def rows(self, record: bytes) -> tuple[list[Row], bool]:
        """Return the rows of *record* and whether it is malformed.

        Raises:
            OptionRefused: what Spark makes of the record is not known.
            RecordMalformed: it is malformed and the mode is FAILFAST.
        """
        rows, malformed = self._rows(record)
        if malformed and self.options.mode is ParseMode.FAILFAST:
            raise RecordMalformed("a JSON record does not fit the schema")
        return ([], True) if malformed and self.options.mode is ParseMode.DROPMALFORMED else (rows, malformed)

    def _rows(self, record: bytes) -> tuple[list[Row], bool]:
        tokens = Tokens(decode_record(record))
        convert = _object(list(self.schema), self.options)
        try:
            match tokens.next():
                case None:
                    return [], False
                case Token.OBJECT:
                    return [convert(tokens)], False
                case Token.ARRAY:
                    return _items(tokens, _converter_of_rows(self.schema, self.options), root=True), False
        except Partial as partial:
            return partial.value if isinstance(partial.value, _Items) else [partial.value], True
        except Malformed:
            pass
        return [[None] * len(self.schema)], True


class _Items(list[Any]):
    """The values of an array."""


def decode_record(record: bytes) -> str:
    """Return the text of a record; malformed bytes stand as lone surrogates.

    Raises:
        OptionRefused: Java would take it for another encoding, or for UTF-8 where it is none.
    """
    record = record.removeprefix(_BOM)
    if b"\0" in record[:4] or record.startswith((b"\xfe\xff", b"\xff\xfe")):
        raise OptionRefused("a JSON record looks like UTF-16 or UTF-32; sealed text is UTF-8")
    try:
        return record.decode()
    except UnicodeDecodeError:
        if _LENIENT.search(record):
            raise OptionRefused("a JSON record holds an overlong or surrogate encoding, which is no UTF-8") from None
        return record.decode(errors="surrogateescape")


def _converter_of_rows(schema: pa.Schema, options: TextOptions) -> Convert:
    convert = _object(list(schema), options)

    def row(tokens: Tokens) -> Row | None:
        if tokens.token is Token.NULL:
            return None
        if tokens.token is not Token.OBJECT:
            raise Malformed
        return list(convert(tokens))

    return row


def _nested(tokens: Tokens, fault: Malformed, options: TextOptions) -> None:
    """Refuse a record whose syntax breaks inside a value if the parser could come to an end all the same."""
    if isinstance(fault, SyntaxFault):
        if options.mode is ParseMode.PERMISSIVE and "}" in tokens.rest:
            raise OptionRefused(
                "a JSON record is malformed inside a nested value; what Spark recovers from it is not defined",
                hint="Read with mode DROPMALFORMED or FAILFAST, or repair the record.",
            )
        raise fault


def _object(fields: list[pa.Field], options: TextOptions) -> Convert:
    converters = {field.name: (index, convert_of(field.type, options)) for index, field in enumerate(fields)}

    def convert(tokens: Tokens) -> Row:
        row: Row = [None] * len(fields)
        malformed = False
        while tokens.next() not in {None, Token.END_OBJECT}:
            found = converters.get(tokens.name)
            if found is None:
                tokens.skip_children()
                continue
            index, field = found
            try:
                row[index] = field(tokens)
            except Partial as partial:
                malformed = True
                row[index] = partial.value
            except Malformed as fault:
                malformed = True
                _nested(tokens, fault, options)
                tokens.skip_children()
        if malformed:
            raise Partial(row)
        return row

    return convert


def _items(tokens: Tokens, convert: Convert, *, root: bool = False) -> list[Any]:
    values = _Items()
    malformed = lost = False
    while tokens.next() not in {None, Token.END_ARRAY}:
        try:
            value = convert(tokens)
            if root and value is None:
                raise Malformed
            values.append(value)
        except Partial as partial:
            malformed = True
            values.append(partial.value)
        except Malformed as fault:
            if root or isinstance(fault, SyntaxFault):
                raise
            lost = True
            tokens.skip_children()
    if lost:
        raise Malformed  # one bad item makes the whole array null
    if malformed:
        raise Partial(values)
    return values


def convert_of(kind: pa.DataType, options: TextOptions) -> Convert:
    """Return the conversion of the value at the current token (or behind the current name).

    Raises:
        OptionRefused: the type is not supported.
    """
    convert = _of_token(kind, options)

    def value(tokens: Tokens) -> Any:
        if tokens.token is Token.NAME:
            tokens.next()
        if tokens.token is Token.STRING:
            tokens.string()  # every type looks at it, so what is malformed in it is found here
        return None if tokens.token in {None, Token.NULL} else convert(tokens)

    return value


def _of_token(kind: pa.DataType, options: TextOptions) -> Convert:
    types = pa.types
    if types.is_struct(kind):
        fields = list(kind)
        convert = _object(fields, options)
        return lambda tokens: _as_dict(fields, convert, _need(tokens, Token.OBJECT))
    if types.is_list(kind):
        item = convert_of(kind.value_type, options)
        return lambda tokens: list(_items(_need(tokens, Token.ARRAY), item))
    if types.is_map(kind) and types.is_string(kind.key_type):
        item = convert_of(kind.item_type, options)
        return lambda tokens: _entries(_need(tokens, Token.OBJECT), item, options)
    if types.is_string(kind):
        return lambda tokens: _string(tokens, options)
    if types.is_boolean(kind):
        return _boolean
    if types.is_int8(kind):
        return _byte
    if kind in _BITS:
        return lambda tokens: _integer(tokens, _BITS[kind])
    if types.is_float64(kind) or types.is_float32(kind):
        return lambda tokens: _floating(tokens, single=types.is_float32(kind))
    if types.is_decimal128(kind) or types.is_date32(kind) or types.is_timestamp(kind):
        return _textual(kind, options)
    raise OptionRefused(f"the type {kind} is not read from JSON", hint="Read the column as a string.")


def _need(tokens: Tokens, token: Token) -> Tokens:
    if tokens.token is not token:
        raise Malformed
    return tokens


def _as_dict(fields: list[pa.Field], convert: Convert, tokens: Tokens) -> dict[str, Any]:
    names = [field.name for field in fields]
    try:
        return dict(zip(names, convert(tokens), strict=True))
    except Partial as partial:
        raise Partial(dict(zip(names, partial.value, strict=True))) from None


def _entries(tokens: Tokens, convert: Convert, options: TextOptions) -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = []
    malformed = lost = False
    while tokens.next() not in {None, Token.END_OBJECT}:
        name = tokens.name
        try:
            entries.append((name, convert(tokens)))
        except Partial as partial:
            malformed = True
            entries.append((name, partial.value))
        except Malformed as fault:
            lost = True
            _nested(tokens, fault, options)
            tokens.skip_children()
    if lost:
        raise Malformed
    if malformed:
        raise Partial(entries)
    return entries


def _string(tokens: Tokens, options: TextOptions) -> str:
    if tokens.token is Token.STRING:
        return tokens.string()
    if options.multi_line and tokens.token not in {Token.INTEGER, Token.TRUE, Token.FALSE}:
        raise OptionRefused("with multiLine, a string column cannot take fractions, objects or arrays from JSON")
    start = tokens.start
    tokens.skip_children()
    text = tokens.raw_from(start)
    return "0" if options.multi_line and text == "-0" else text


def _boolean(tokens: Tokens) -> bool:
    if tokens.token in {Token.TRUE, Token.FALSE}:
        return tokens.token is Token.TRUE
    raise Malformed


def _integer(tokens: Tokens, bits: int) -> int:
    value = int(_need(tokens, Token.INTEGER).raw)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise Malformed
    return value


def _byte(tokens: Tokens) -> int:
    # Jackson takes unsigned bytes too.
    value = int(_need(tokens, Token.INTEGER).raw)
    if not -128 <= value <= 255:
        raise Malformed
    return value - 256 if value > 127 else value


def _floating(tokens: Tokens, *, single: bool) -> float:
    if tokens.token is Token.STRING:
        special = _NOT_FINITE.get(tokens.string())
        if special is None:
            raise Malformed
        return special
    if tokens.token not in {Token.INTEGER, Token.NUMBER}:
        raise Malformed
    text = tokens.raw
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if text == "-0":
        return 0.0
    if not single:
        return float(text)
    if tokens.token is Token.INTEGER and len(text.lstrip("-")) > 18:
        with np.errstate(over="ignore"):
            return float(np.float32(float(text)))  # Jackson reads a long integer as a double first
    return to_float(text)


def _textual(kind: pa.DataType, options: TextOptions) -> Convert:
    """Return the conversion of decimals, dates and timestamps."""
    parse = converter(kind, options)
    types = pa.types

    def convert(tokens: Tokens) -> Any:
        try:
            if tokens.token is Token.STRING:
                text = tokens.string()
                if types.is_date32(kind) and options.date_format is None:
                    return _date(text, parse)
                if not text:
                    raise Malformed
                return parse(text)
            if types.is_decimal128(kind) and tokens.token in {Token.INTEGER, Token.NUMBER}:
                return to_decimal(tokens.raw, kind.precision, kind.scale)
        except ValueError:
            raise Malformed from None
        if types.is_timestamp(kind) and kind.tz is not None and tokens.token is Token.INTEGER:
            return _wrapped(_integer(tokens, 64) * 1_000_000)
        raise Malformed

    return convert


def _date(text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError:
        if _DAYS.fullmatch(text) is None or not -(2**31) <= int(text) < 2**31:
            raise Malformed from None
    if int(text) < _GREGORIAN_START:
        raise OptionRefused("a date written as a number of days before the Gregorian calendar is not supported")
    return int(text)


def _wrapped(value: int) -> int:
    """Return *value* as a 64-bit integer that overflowed."""
    return (value + 2**63) % 2**64 - 2**63
