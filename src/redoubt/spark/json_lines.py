"""Blocks of JSON lines to Arrow batches, as Spark 4.3 reads them.

Runs of lines are decoded by the standard library and converted a column at a time; what either of them does not accept,
or could understand differently, is cut down to a few lines that :mod:`redoubt.spark.json_exact` decides one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from redoubt.errors import OptionRefused
from redoubt.spark import json_infer
from redoubt.spark.json_exact import Records, Row, convert_of
from redoubt.spark.options import TextOptions
from redoubt.spark.values import column as text_column
from redoubt.spark.values import to_float

_RUN_LINES: Final = 2048
#: Runs with an odd line in them are halved down to this length and then read one by one.
_SHORT_RUN: Final = 8
_MAX_NUMBER: Final = 1000
_LINE_END: Final = re.compile(b"\r\n|\r|\n")
_BLANKS: Final = " \t\r\n"


class _OddError(Exception):
    """Something here needs the exact reader."""


class _Number(str):
    """The text of a number that is no integer."""

    __slots__ = ()


def parse(block: bytes, *, schema: pa.Schema, options: TextOptions) -> pa.RecordBatch:
    """Return the rows of *block*: whole lines or, with multiLine, a whole file.

    Raises:
        OptionRefused: a type or option is not supported, or what Spark makes of a record is not known.
        RecordMalformed: a record is malformed and the mode is FAILFAST.
    """
    return _Reader(schema, options).read(block)


def infer(blocks: Iterable[bytes], options: TextOptions) -> pa.Schema:
    """Return the schema that Spark infers from all records.

    Raises:
        OptionRefused: Spark would fail, or what it infers is not known.
        RecordMalformed: a record is malformed and the mode is FAILFAST.
    """
    return json_infer.schema_of(chain.from_iterable(_records(block, options) for block in blocks), options)


def _records(block: bytes, options: TextOptions) -> list[bytes]:
    if options.multi_line:
        return [block]
    if options.line_separator is not None:
        return block.split(options.line_separator.encode())
    return _LINE_END.split(block) if b"\r" in block else block.split(b"\n")


class _Reader:
    def __init__(self, schema: pa.Schema, options: TextOptions) -> None:
        self._schema = schema
        self._options = options
        self._corrupt = schema.get_field_index(options.corrupt_column)
        if self._corrupt >= 0 and not pa.types.is_string(schema.field(self._corrupt).type):
            raise OptionRefused(f"the column {options.corrupt_column!r} of malformed records must be a string")
        self._wanted = schema if self._corrupt < 0 else schema.remove(self._corrupt)
        if len(set(schema.names)) != len(schema):
            raise OptionRefused("the schema names a column twice")
        for field in self._wanted:
            convert_of(field.type, options)  # refuses what it cannot read
        self._exact = Records(self._wanted, options)
        self._decode = json.JSONDecoder(
            object_pairs_hook=_object, parse_float=_Number, parse_constant=_not_finite
        ).raw_decode

    def read(self, block: bytes) -> pa.RecordBatch:
        records = _records(block, self._options)
        batches = [
            batch
            for start in range(0, len(records), _RUN_LINES)
            for batch in self._run(records[start : start + _RUN_LINES])
        ]
        return batches[0] if len(batches) == 1 else pa.concat_batches(batches)

    def _run(self, records: list[bytes]) -> Iterator[pa.RecordBatch]:
        try:
            yield self._columns(records)
        except _OddError:
            if len(records) <= _SHORT_RUN:
                yield self._one_by_one(records)
                return
            middle = len(records) // 2
            yield from self._run(records[:middle])
            yield from self._run(records[middle:])

    def _columns(self, records: list[bytes]) -> pa.RecordBatch:
        if self._options.multi_line:
            raise _OddError
        decode = self._decode
        rows: list[dict[str, Any]] = []
        try:
            for record in records:
                text = record.decode().lstrip(_BLANKS)
                if not text:
                    continue
                value, _ = decode(text)
                if type(value) is not dict:
                    raise _OddError
                rows.append(value)
        except (ValueError, RecursionError):
            raise _OddError from None
        columns = [_column([row.get(field.name) for row in rows], field.type, self._options) for field in self._wanted]
        return self._batch(columns, [None] * len(rows))

    def _one_by_one(self, records: list[bytes]) -> pa.RecordBatch:
        rows: list[Row] = []
        faulty: list[str | None] = []
        for record in records:
            found, malformed = self._exact.rows(record)
            rows += found
            faulty += [self._corrupt_text(record) if malformed else None] * len(found)
        columns = [_array([row[index] for row in rows], field.type) for index, field in enumerate(self._wanted)]
        return self._batch(columns, faulty)

    def _corrupt_text(self, record: bytes) -> str | None:
        if self._corrupt < 0:
            return None
        try:
            return record.decode()
        except UnicodeDecodeError:
            raise OptionRefused("a malformed JSON record is not UTF-8 and cannot stand in the corrupt column") from None

    def _batch(self, columns: list[pa.Array], faulty: list[str | None]) -> pa.RecordBatch:
        if self._corrupt >= 0:
            columns.insert(self._corrupt, pa.array(faulty, pa.string()))
        if not columns:
            raise OptionRefused("JSON is read with at least one column")
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _OddError  # of two values of one name the first may be malformed
    return made


def _not_finite(_: str) -> Any:
    raise _OddError


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, OverflowError):
        raise OptionRefused(f"a JSON value does not fit an Arrow column of type {kind}") from None


# --- columns ----------------------------------------------------------------------------------------------------------
def _column(values: list[Any], kind: pa.DataType, options: TextOptions) -> pa.Array:
    """Return the column of values that the standard library decoded, if all are of the kind that needs no rules."""
    found = set(map(type, values))
    found.discard(type(None))
    types = pa.types
    if types.is_struct(kind) or types.is_list(kind) or types.is_map(kind):
        return _nested(values, found, kind, options)
    if not found:
        return pa.nulls(len(values), kind)
    if types.is_floating(kind):
        return _floats(values, found, single=types.is_float32(kind))
    if types.is_decimal128(kind):
        _only(found, {str, int, _Number})
        return _texts([None if value is None else str(value) for value in values], kind, options)
    if types.is_date32(kind) or types.is_timestamp(kind):
        _only(found, {str})
        return _texts(values, kind, options)
    _only(found, {bool} if types.is_boolean(kind) else {str} if types.is_string(kind) else {int})
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        raise _OddError from None


def _only(found: set[type], allowed: set[type]) -> None:
    if not found <= allowed:
        raise _OddError


def _texts(values: list[str | None], kind: pa.DataType, options: TextOptions) -> pa.Array:
    if max((len(value) for value in values if value is not None), default=0) > _MAX_NUMBER:
        raise _OddError
    try:
        made, malformed = text_column(values, kind, options)
    except UnicodeEncodeError:
        raise _OddError from None
    if malformed:
        raise _OddError
    return made


def _floats(values: list[Any], found: set[type], *, single: bool) -> pa.Array:
    _only(found, {int, _Number})
    if any(len(value) > _MAX_NUMBER for value in values if type(value) is _Number):
        raise _OddError
    if not single:
        try:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        except OverflowError:
            raise _OddError from None
    if any(abs(value) >= 10**18 for value in values if type(value) is int):
        raise _OddError
    return pa.array([None if value is None else to_float(str(value)) for value in values], pa.float32())


def _nested(values: list[Any], found: set[type], kind: pa.DataType, options: TextOptions) -> pa.Array:
    if pa.types.is_struct(kind):
        _only(found, {dict})
        missing: dict[str, Any] = {}
        rows = [missing if value is None else value for value in values]
        children = [_column([row.get(field.name) for row in rows], field.type, options) for field in kind]
        mask = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask) if children else _array(values, kind)
    is_map = pa.types.is_map(kind)
    _only(found, {dict} if is_map else {list})
    offsets: list[int | None] = []
    position = 0
    for value in values:
        offsets.append(None if value is None else position)
        position += 0 if value is None else len(value)
    offsets.append(position)
    starts = pa.array(offsets, pa.int32())
    full = [value for value in values if value is not None]
    if not is_map:
        items = _column([item for value in full for item in value], kind.value_type, options)
        return pa.ListArray.from_arrays(starts, items, type=kind)
    keys = _column([key for value in full for key in value], kind.key_type, options)
    items = _column([item for value in full for item in value.values()], kind.item_type, options)
    return pa.MapArray.from_arrays(starts, keys, items, type=kind)
