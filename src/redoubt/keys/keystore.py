"""The file of the local provider: an SQLite database, its schema, its transactions, and what a damaged one raises.

Format 1 (``PRAGMA user_version``; another number is refused):

* ``keystore``: one row; random id, how the root key is had (Argon2id parameters, or none for a key file), check value;
* ``versions``: one row a primary key version, kept for ever: a destroyed version keeps its row without key bytes, which
  is also what keeps names from being reused;
* ``wraps``: one row a live wrap, identified by the SHA-256 of its ciphertext, so that re-wrapping under the same
  version adds a row and releasing the old wrap cannot remove the new one's.

Transactions are ``BEGIN IMMEDIATE`` with ``synchronous=FULL`` and a rollback journal in mode TRUNCATE, not WAL: the
keystore stays one file (a copy of it alone is a backup), works without shared memory, keeps no second copy of
destroyed keys, and SQLite syncs a truncated journal, so that a reported commit survives a power failure. WAL's gain,
readers beside a writer, is nothing here: a transaction lasts milliseconds and happens once a dataset.

A connection lives for one transaction. Thus threads share nothing, and a fork cannot inherit SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from redoubt.errors import KeystoreDamaged, RedoubtError, StorageError, WorkspaceError
from redoubt.keys.books import RowReader
from redoubt.keys.private import check_private, create_private_file
from redoubt.keys.rootkey import Argon2Parameters, RootKey

KEYSTORE_FORMAT: Final = 1
KEYSTORE_ID_BYTES: Final = 16
#: How long one process waits for another's transaction; far beyond any, so that only a stopped process is reported.
BUSY_SECONDS: Final = 30.0
READER: Final = RowReader("the keystore", KeystoreDamaged)

_SCHEMA = """
CREATE TABLE keystore (
  one           INTEGER PRIMARY KEY CHECK (one = 1),
  id            BLOB NOT NULL CHECK (length(id) = 16),
  check_value   BLOB NOT NULL CHECK (length(check_value) = 32),
  argon2_salt   BLOB,
  argon2_time   INTEGER,
  argon2_memory INTEGER,
  argon2_lanes  INTEGER
);
CREATE TABLE versions (
  name    TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  state   TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'destroyed')),
  created INTEGER NOT NULL,
  wraps   INTEGER NOT NULL DEFAULT 0 CHECK (wraps >= 0),
  wrapped BLOB CHECK ((wrapped IS NULL) = (state = 'destroyed')),
  PRIMARY KEY (name, version)
) WITHOUT ROWID;
CREATE TABLE wraps (
  name        TEXT NOT NULL,
  version     INTEGER NOT NULL,
  digest      BLOB NOT NULL CHECK (length(digest) = 32),
  dataset_id  BLOB NOT NULL CHECK (length(dataset_id) = 16),
  data_key_id BLOB NOT NULL CHECK (length(data_key_id) = 16),
  purpose     TEXT NOT NULL,
  PRIMARY KEY (name, version, digest),
  FOREIGN KEY (name, version) REFERENCES versions (name, version)
) WITHOUT ROWID;
CREATE INDEX wraps_by_data_key ON wraps (data_key_id);
"""

_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_STORAGE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}


@dataclass(frozen=True, slots=True)
class KeystoreHeader:
    """The identity of a keystore and how its root key is had: from a key file if there are no Argon2id parameters."""

    id: bytes
    check_value: bytes
    argon2: Argon2Parameters | None

    @classmethod
    def new(cls, root: RootKey, argon2: Argon2Parameters | None) -> Self:
        """Return the header of a new keystore under *root*."""
        identity = os.urandom(KEYSTORE_ID_BYTES)
        return cls(identity, root.check_value(identity), argon2)


class Keystore:
    """One keystore file. Opens no connection until a transaction is asked for."""

    def __init__(self, path: Path) -> None:
        """Check that *path* is a private file with a keystore of a known format, and read its header.

        Raises:
            WorkspaceError: the file is missing, not private, or of an unknown format.
            KeystoreDamaged: it is not a keystore, or its header is impossible.
            StorageError: it cannot be read.
        """
        self.path = path
        try:
            status = path.lstat()
        except OSError as error:
            raise WorkspaceError(f"the keystore {path} cannot be used: {error.strerror}") from None
        check_private(path, status, what="the keystore")
        self.header = self._read_header()

    @classmethod
    def create(cls, path: Path, header: KeystoreHeader) -> Self:
        """Make an empty keystore at *path*, mode 0600.

        Raises:
            FileExistsError: something is there already.
        """
        create_private_file(path)
        argon2 = header.argon2
        with _errors(path), closing(connect(path)) as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {KEYSTORE_FORMAT};")
            connection.execute(
                "INSERT INTO keystore VALUES (1, ?, ?, ?, ?, ?, ?)",
                (header.id, header.check_value)
                + ((argon2.salt, argon2.time_cost, argon2.memory_kib, argon2.lanes) if argon2 else (None,) * 4),
            )
            connection.execute("COMMIT")
        return cls(path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run a block on one consistent state of the keystore."""
        with _errors(self.path), closing(connect(self.path)) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction: all of it is on disk when the block has ended, or none if it raises."""
        with _errors(self.path), closing(connect(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # closing a connection without COMMIT rolls back
            connection.execute("COMMIT")

    def _read_header(self) -> KeystoreHeader:
        with self.reading() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found != KEYSTORE_FORMAT:
                raise WorkspaceError(
                    f"the keystore {self.path} has format {found}; this version of Redoubt knows {KEYSTORE_FORMAT}",
                    hint="Update Redoubt; if it is current, restore `.redoubt/` from your backup.",
                )
            rows = connection.execute(
                "SELECT id, check_value, argon2_salt, argon2_time, argon2_memory, argon2_lanes FROM keystore"
            ).fetchall()
            if len(rows) != 1:
                raise KeystoreDamaged(f"the keystore {self.path} has {len(rows)} headers, not one")
            identity, check_value, *argon2 = rows[0]
            no_passphrase = all(value is None for value in argon2)
            return KeystoreHeader(
                READER.exactly(bytes, identity),
                READER.exactly(bytes, check_value),
                None
                if no_passphrase
                else Argon2Parameters(
                    READER.exactly(bytes, argon2[0]), *(READER.exactly(int, it) for it in argon2[1:])
                ),
            )


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at *path* for one transaction that the caller begins, by the rules above."""
    # mode=rw: a keystore that vanished is an error, not a new empty one.
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
    except BaseException:
        connection.close()
        raise
    return connection


def refusal_of(error: sqlite3.Error, *, what: str, damaged: type[RedoubtError]) -> RedoubtError:
    """Return what SQLite's *error* means for *what*; one that a sound database does not give is of class *damaged*."""
    primary_code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary_code in _TRANSIENT:
        return StorageError(
            f"{what} stayed locked by another process for {BUSY_SECONDS:.0f} s",
            hint="Find the process that holds it (`fuser`), end it, and run the command again.",
        )
    if primary_code in _STORAGE:
        return StorageError(f"{what} cannot be used: {error}")
    return damaged(f"{what} is not sound: {error}")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RedoubtError:
        raise
    except sqlite3.Error as error:
        raise refusal_of(error, what=f"the keystore {path}", damaged=KeystoreDamaged) from error
    except UnicodeDecodeError:  # sqlite3 decodes its own error messages, which quote a damaged schema
        raise KeystoreDamaged(f"the keystore {path} is not sound: its text is not UTF-8") from None
