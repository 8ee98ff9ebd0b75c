"""Rows of a backup: one JSON object a line, strict in both directions.

A row has every column of its table and nothing else; what a column may hold is what its type in the schema says. Bytes
are base64 (RFC 4648, 4).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text

from redoubt.broker.schema import METADATA, SESSIONS, STORE
from redoubt.errors import BackupInvalid
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64, parse_object
from redoubt.limits import MAX_BACKUP_LINE_BYTES

#: In an order in which rows that others refer to come first.
TABLES: Final[Mapping[str, Table]] = {
    table.name: table for table in METADATA.sorted_tables if table not in (STORE, SESSIONS)
}
_WHAT: Final = "a row of the backup"
_LARGEST: Final = 2**63 - 1


def row_line(table: Table, values: Sequence[object]) -> bytes:
    """Return one row of *table*, its columns in the schema's order, as a line."""
    row = {
        column.name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for column, value in zip(table.columns, values, strict=True)
    }
    return json.dumps({"row": row, "table": table.name}, separators=(",", ":")).encode() + b"\n"


def parse_row(line: bytes) -> tuple[Table, dict[str, object]]:
    """Return the table and the values of a line; raises BackupInvalid."""
    body = parse_object(line, what=_WHAT, limit=MAX_BACKUP_LINE_BYTES, refusal=BackupInvalid)
    name, row = body.get("table"), body.get("row")
    table = TABLES.get(name) if isinstance(name, str) else None
    if set(body) != {"row", "table"} or table is None or not isinstance(row, Mapping):
        raise BackupInvalid(f"{_WHAT} is of no table that a store has")
    if set(row) != set(table.columns.keys()):
        raise BackupInvalid(f"{_WHAT} of {name!r} has other columns than the table")
    return table, {column.name: _value(column, row[column.name]) for column in table.columns}


def _value(column: Column[object], value: JSON) -> object:
    if value is None and column.nullable:
        return None
    kind = column.type
    if isinstance(kind, LargeBinary):
        return from_base64(value, what=_WHAT, refusal=BackupInvalid)
    sound = (
        (isinstance(kind, Boolean) and type(value) is bool)
        or (isinstance(kind, Text) and isinstance(value, str) and _encodable(value))
        or (isinstance(kind, BigInteger | Integer) and type(value) is int and -_LARGEST <= value <= _LARGEST)
    )
    if not sound:
        raise BackupInvalid(f"{_WHAT} holds a value of another kind in {column.name!r}")
    return value


def _encodable(text: str) -> bool:
    # What PostgreSQL takes as text: no lone surrogates, no NUL.
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)
