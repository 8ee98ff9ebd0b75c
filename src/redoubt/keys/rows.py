"""The books of primary keys in a keystore file, within one of its transactions.

A row that no writer leaves is :class:`KeystoreDamaged`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from redoubt.keys.books import Reference, VersionRow
from redoubt.keys.keystore import READER
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyState
from redoubt.keys.types import WrapContext


class SqliteBooks:
    """See :class:`redoubt.keys.books.Books`. SQLite has one writer at a time, so locking is its transaction's own."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def lock(self, names: Iterable[KeyName]) -> None:
        """Do nothing: the transaction began IMMEDIATE."""

    def names(self) -> list[KeyName]:
        """Return the name of every key, in order."""
        return sorted(READER.name(text) for (text,) in self._db.execute("SELECT DISTINCT name FROM versions"))

    def versions(self, name: KeyName) -> list[VersionRow]:
        """Return the versions of a key, oldest first; none if there is no such key."""
        found = self._db.execute(
            "SELECT version, state, created, wraps, wrapped FROM versions WHERE name = ? ORDER BY version",
            (str(name),),
        )
        return [READER.version(name, row) for row in found]

    def insert(self, row: VersionRow) -> None:
        """Add a version."""
        self._db.execute(
            "INSERT INTO versions (name, version, state, created, wraps, wrapped) VALUES (?, ?, ?, ?, ?, ?)",
            (str(row.name), row.number, row.state.value, row.created, row.wraps, row.wrapped),
        )

    def set_state(self, row: VersionRow, state: KeyState) -> None:
        """Enable or disable a version that is not destroyed."""
        self._db.execute(
            "UPDATE versions SET state = ? WHERE name = ? AND version = ?", (state.value, str(row.name), row.number)
        )

    def erase(self, row: VersionRow) -> None:
        """Destroy a version: its key bytes go (``secure_delete`` zeroes them in the file), its row stays."""
        self._db.execute(
            "UPDATE versions SET state = 'destroyed', wrapped = NULL WHERE name = ? AND version = ?",
            (str(row.name), row.number),
        )

    def count_wraps(self, row: VersionRow, references: Sequence[Reference]) -> None:
        """Count *references*, all made by the version of *row*, and keep each."""
        self._db.execute(
            "UPDATE versions SET wraps = wraps + ? WHERE name = ? AND version = ?",
            (len(references), str(row.name), row.number),
        )
        self._db.executemany("INSERT INTO wraps VALUES (?, ?, ?, ?, ?, ?)", map(astuple, references))

    def release(self, references: Sequence[Reference]) -> None:
        """Remove *references*; one that is not there is passed over."""
        self._db.executemany(
            "DELETE FROM wraps WHERE name = ? AND version = ? AND digest = ?"
            " AND dataset_id = ? AND data_key_id = ? AND purpose = ?",
            map(astuple, references),
        )

    def settle(self, references: Sequence[Reference]) -> None:
        """Remove the references of the same keys and contexts by older versions than those of *references*."""
        self._db.executemany(
            "DELETE FROM wraps WHERE name = ? AND version < ? AND dataset_id = ? AND data_key_id = ? AND purpose = ?",
            [(it.name, it.version, it.dataset_id, it.data_key_id, it.purpose) for it in references],
        )

    def count_references(self, row: VersionRow) -> int:
        """Return how many live wraps a version has made."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM wraps WHERE name = ? AND version = ?", (str(row.name), row.number)
        ).fetchone()
        return READER.exactly(int, count)

    def contexts(self, row: VersionRow) -> set[WrapContext]:
        """Return the contexts of the live wraps of a version."""
        found = self._db.execute(
            "SELECT DISTINCT dataset_id, data_key_id, purpose FROM wraps WHERE name = ? AND version = ?",
            (str(row.name), row.number),
        )
        return {READER.context(it) for it in found}
