"""The schema that Spark 4.3 infers from JSON records: of every record its type, and of all types the common one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Final, TypeAlias

import pyarrow as pa

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark.json_exact import decode_record
from redoubt.spark.json_tokens import Malformed, Token, Tokens
from redoubt.spark.options import ParseMode, TextOptions

_MAX_PRECISION: Final = 38
_INT64: Final = 2**63
_LONG_DIGITS: Final = 20
_NUMBER: Final = re.compile(r"[0-9.eE+-]+")


@dataclass(frozen=True, slots=True)
class Struct:
    """An object's type: names to types."""

    fields: tuple[tuple[str, Kind], ...]


@dataclass(frozen=True, slots=True)
class Array:
    """An array's type."""

    item: Kind


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal's type."""

    precision: int
    scale: int


#: A scalar's type is its Arrow type; None stands for null.
Kind: TypeAlias = "Struct | Array | Number | pa.DataType | None"
_STRING, _LONG, _DOUBLE, _BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def schema_of(records: Iterable[bytes], options: TextOptions) -> pa.Schema:
    """Return the schema of *records*.

    Raises:
        OptionRefused: Spark would fail, or what it infers is not known.
        RecordMalformed: a record is malformed and the mode is FAILFAST.
    """
    corrupt = Struct(((options.corrupt_column, _STRING),))

    def kinds() -> Iterable[Kind]:
        seen: set[Kind] = set()
        for record in records:
            kind = _of_record(record, corrupt, options)
            if kind is not _SKIPPED and kind not in seen:
                seen.add(kind)
                yield kind

    def merge(left: Kind, right: Kind) -> Kind:
        return _root(left, right, options)

    start: Kind = Struct(())
    found = reduce(merge, kinds(), start)
    return pa.schema(_fields(found) if isinstance(found, Struct) else [])


_SKIPPED: Final = pa.binary()


def _of_record(record: bytes, corrupt: Struct, options: TextOptions) -> Kind:
    tokens = Tokens(decode_record(record))
    try:
        return _SKIPPED if tokens.next() is None else _of_value(tokens)
    except Malformed:
        if options.mode is ParseMode.FAILFAST:
            raise RecordMalformed("a JSON record is malformed, so no schema is inferred") from None
        return corrupt if options.mode is ParseMode.PERMISSIVE else _SKIPPED


def _of_value(tokens: Tokens) -> Kind:
    if tokens.token is Token.NAME:
        tokens.next()
    match tokens.token:
        case Token.STRING:
            return _STRING if tokens.string() else None
        case Token.OBJECT:
            return _of_object(tokens)
        case Token.ARRAY:
            item: Kind = None
            while tokens.next() not in {None, Token.END_ARRAY}:
                item = _common(item, _of_value(tokens))
            return Array(item)
        case Token.INTEGER | Token.NUMBER:
            return _of_number(tokens)
        case Token.TRUE | Token.FALSE:
            return _BOOLEAN
    return None


def _of_object(tokens: Tokens) -> Struct:
    fields: dict[str, Kind] = {}
    while tokens.next() not in {None, Token.END_OBJECT}:
        name = tokens.name
        if name in fields:
            raise OptionRefused(f"a JSON object names {name!r} twice, so no schema is inferred; give one")
        fields[name] = _of_value(tokens)
    return _sorted(fields)


def _sorted(fields: dict[str, Kind]) -> Struct:
    # Java compares strings by UTF-16 unit.
    return Struct(tuple(sorted(fields.items(), key=lambda field: field[0].encode("utf-16-be", "surrogatepass"))))


def _of_number(tokens: Tokens) -> Kind:
    if tokens.token is Token.NUMBER:
        return _DOUBLE
    value = int(tokens.raw)
    if -_INT64 <= value < _INT64:
        return _LONG
    digits = len(Decimal(value).as_tuple().digits)
    return Number(digits, 0) if digits <= _MAX_PRECISION else _DOUBLE


def _root(left: Kind, right: Kind, options: TextOptions) -> Kind:
    """Return the common type of two records."""
    if isinstance(left, Array):
        return _root(left.item, right, options)
    if isinstance(right, Array):
        return _root(left, right.item, options)
    if isinstance(left, Struct) and isinstance(right, Struct):
        return _common(left, right)
    struct, other = (left, right) if isinstance(left, Struct) else (right, left)
    if not isinstance(struct, Struct):
        return _common(left, right)
    if other is None or options.mode is ParseMode.DROPMALFORMED:
        return struct
    if options.mode is ParseMode.FAILFAST:
        raise RecordMalformed("a JSON record is no object, so no schema is inferred")
    return _sorted({options.corrupt_column: _STRING} | dict(struct.fields))


def _common(left: Kind, right: Kind) -> Kind:
    """Return the tightest type that holds both."""
    if left == right or right is None:
        return left
    if left is None:
        return right
    match left, right:
        case Struct(), Struct():
            first, second = dict(left.fields), dict(right.fields)
            return _sorted({name: _common(first.get(name), second.get(name)) for name in {**first, **second}})
        case Array(), Array():
            return Array(_common(left.item, right.item))
        case Number(), Number():
            scale = max(left.scale, right.scale)
            whole = max(left.precision - left.scale, right.precision - right.scale)
            return Number(whole + scale, scale) if whole + scale <= _MAX_PRECISION else _DOUBLE
    kinds = {left, right}
    numbers = [kind for kind in kinds if isinstance(kind, Number)]
    if numbers and _LONG in kinds:
        return _common(numbers[0], Number(_LONG_DIGITS, 0))
    if _DOUBLE in kinds and (numbers or _LONG in kinds):
        return _DOUBLE
    return _STRING


def _fields(struct: Struct) -> list[pa.Field]:
    made = [(name, _arrow(kind)) for name, kind in struct.fields if name]
    return [pa.field(name, kind) for name, kind in made if kind is not None]


def _arrow(kind: Kind) -> pa.DataType | None:
    """Return the Arrow type; None for what Spark leaves out: objects without fields."""
    if kind is None:
        return _STRING
    if isinstance(kind, Number):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, Array):
        item = _arrow(kind.item)
        return None if item is None else pa.list_(pa.field("element", item))
    if isinstance(kind, Struct):
        fields = _fields(kind)
        return pa.struct(fields) if fields else None
    return kind
