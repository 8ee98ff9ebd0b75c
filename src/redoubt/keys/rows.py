"""What the rows of a keystore mean: primary key versions and references, checked as they are read.

Everything here runs inside a transaction of :class:`redoubt.keys.keystore.Keystore` and touches no key bytes beyond
passing wrapped ones on. A row that no writer leaves is :class:`KeystoreDamaged`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redoubt.errors import KeyError_, KeystoreDamaged, KeyUnknown
from redoubt.keys.keystore import exactly
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyInfo, KeyState, KeyVersionInfo
from redoubt.keys.types import Purpose, WrapContext, WrappedKey

#: Versions are four bytes wide in every authenticated context.
MAX_VERSION: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One primary key version. ``wrapped`` is None once destroyed; ``created`` is seconds since the epoch, UTC."""

    name: KeyName
    number: int
    state: KeyState
    created: int
    wraps: int
    wrapped: bytes | None

    @property
    def label(self) -> str:
        """How errors name this version."""
        return f"{self.name} version {self.number}"


def find_versions(db: sqlite3.Connection, name: KeyName) -> list[VersionRow]:
    """Return the versions of a key, oldest first; none if there is no such key."""
    found = db.execute(
        "SELECT version, state, created, wraps, wrapped FROM versions WHERE name = ? ORDER BY version", (str(name),)
    )
    return [_version(name, row) for row in found]


def load_versions(db: sqlite3.Connection, name: KeyName) -> list[VersionRow]:
    """Return the versions of a key, oldest first; KeyUnknown if there is no such key."""
    rows = find_versions(db, name)
    if not rows:
        raise KeyUnknown(f"there is no key {name}")
    return rows


def load_version(db: sqlite3.Connection, name: KeyName, number: int) -> VersionRow:
    """Return one version; KeyUnknown if there is no such key or version."""
    for row in load_versions(db, name):
        if row.number == number:
            return row
    raise KeyUnknown(f"{name} has no version {number}")


def insert_version(db: sqlite3.Connection, row: VersionRow) -> None:
    """Add a version."""
    db.execute(
        "INSERT INTO versions (name, version, state, created, wraps, wrapped) VALUES (?, ?, ?, ?, ?, ?)",
        (str(row.name), row.number, row.state.value, row.created, row.wraps, row.wrapped),
    )


def set_state(db: sqlite3.Connection, row: VersionRow, state: KeyState) -> None:
    """Enable or disable a version that is not destroyed."""
    db.execute("UPDATE versions SET state = ? WHERE name = ? AND version = ?", (state.value, str(row.name), row.number))


def erase(db: sqlite3.Connection, row: VersionRow) -> None:
    """Destroy a version: its key bytes go (``secure_delete`` zeroes them in the file), its row stays."""
    db.execute(
        "UPDATE versions SET state = 'destroyed', wrapped = NULL WHERE name = ? AND version = ?",
        (str(row.name), row.number),
    )


def key_info(db: sqlite3.Connection, name: KeyName) -> KeyInfo:
    """Return the public facts of a key; KeyUnknown if there is no such key."""
    return KeyInfo(
        name,
        tuple(
            KeyVersionInfo(row.number, row.state, row.created, row.wraps, count_references(db, row))
            for row in load_versions(db, name)
        ),
    )


def all_names(db: sqlite3.Connection) -> list[KeyName]:
    """Return the name of every key, in order."""
    try:
        return sorted(KeyName.parse(exactly(str, text)) for (text,) in db.execute("SELECT DISTINCT name FROM versions"))
    except KeyError_:
        raise KeystoreDamaged("the keystore holds a key whose name is impossible") from None


def count_wraps(db: sqlite3.Connection, row: VersionRow, wrapped: Sequence[WrappedKey]) -> None:
    """Count *wrapped*, all made by the version of *row*, and reference each."""
    db.execute(
        "UPDATE versions SET wraps = wraps + ? WHERE name = ? AND version = ?",
        (len(wrapped), str(row.name), row.number),
    )
    db.executemany("INSERT INTO wraps VALUES (?, ?, ?, ?, ?, ?)", map(_reference, wrapped))


def release_wraps(db: sqlite3.Connection, wrapped: Sequence[WrappedKey]) -> None:
    """Remove the references of *wrapped*; one that is not there is passed over."""
    known = {name: {row.number for row in find_versions(db, name)} for name in {record.key for record in wrapped}}
    db.executemany(
        "DELETE FROM wraps WHERE name = ? AND version = ? AND digest = ?"
        " AND dataset_id = ? AND data_key_id = ? AND purpose = ?",
        [_reference(record) for record in wrapped if record.version in known[record.key]],
    )


def settle_wraps(db: sqlite3.Connection, wrapped: Sequence[WrappedKey]) -> None:
    """Remove the references of the same keys and contexts by older versions than those of *wrapped*.

    Wraps by the same or a newer version may be another re-wrap's that came later: one reference too many only delays
    a destroy, one too few loses data.
    """
    db.executemany(
        "DELETE FROM wraps WHERE name = ? AND version < ? AND dataset_id = ? AND data_key_id = ? AND purpose = ?",
        [
            (name, version, dataset, key, purpose)
            for name, version, _, dataset, key, purpose in map(_reference, wrapped)
        ],
    )


def count_references(db: sqlite3.Connection, row: VersionRow) -> int:
    """Return how many live wraps a version has made."""
    (count,) = db.execute(
        "SELECT count(*) FROM wraps WHERE name = ? AND version = ?", (str(row.name), row.number)
    ).fetchone()
    return exactly(int, count)


def contexts(db: sqlite3.Connection, row: VersionRow) -> set[WrapContext]:
    """Return the contexts of the live wraps of a version."""
    found = db.execute(
        "SELECT DISTINCT dataset_id, data_key_id, purpose FROM wraps WHERE name = ? AND version = ?",
        (str(row.name), row.number),
    )
    try:
        return {
            WrapContext(
                UUID(bytes=exactly(bytes, dataset)), UUID(bytes=exactly(bytes, key)), Purpose(exactly(str, purpose))
            )
            for dataset, key, purpose in found
        }
    except ValueError:
        raise KeystoreDamaged(f"a reference of {row.label} is impossible") from None


def _version(name: KeyName, row: tuple[object, ...]) -> VersionRow:
    number, state, created, wraps, wrapped = row
    try:
        checked_state = KeyState(exactly(str, state))
    except ValueError:
        raise KeystoreDamaged(f"the keystore's entry of {name} has an unknown state") from None
    if not 1 <= exactly(int, number) <= MAX_VERSION:
        raise KeystoreDamaged(f"the keystore's entry of {name} has an impossible version")
    return VersionRow(
        name,
        exactly(int, number),
        checked_state,
        exactly(int, created),
        exactly(int, wraps),
        None if wrapped is None else exactly(bytes, wrapped),
    )


def _reference(record: WrappedKey) -> tuple[str, int, bytes, bytes, bytes, str]:
    context = record.context
    return (
        str(record.key),
        record.version,
        hashlib.sha256(record.ciphertext).digest(),
        context.dataset_id.bytes,
        context.data_key_id.bytes,
        context.purpose.value,
    )
