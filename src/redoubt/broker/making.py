"""Make the database of a new store: it is there as a whole or not at all.

PostgreSQL makes tables within a transaction; an advisory lock lets one of two makers win. SQLite's file is filled under
another name and then linked to its own, which fails if something is there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from redoubt.broker.database import Database
from redoubt.broker.location import PostgresLocation, SqliteLocation, StoreLocation
from redoubt.broker.schema import ANNOUNCED, AUDIT_JOBS, CREATED, CREATED_KEYS, METADATA, RECEIPTS, STORE
from redoubt.errors import StorageError, StoreExists
from redoubt.keys.private import create_private_file, sync_directory

#: An arbitrary number that only makers of stores lock.
_MAKING: Final = 0x7265646F756274
_ADDED: Final = (CREATED, CREATED_KEYS, AUDIT_JOBS, RECEIPTS, ANNOUNCED)


def make_store(location: StoreLocation, fill: Callable[[Connection], None]) -> None:
    """Make the tables at *location* and run *fill* on them, in one step.

    Raises:
        StoreExists: there is a store already; it is not touched.
        StorageError: the database or file system refuses.
    """

    def work(connection: Connection) -> None:
        if isinstance(location, PostgresLocation):
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MAKING})
        if inspect(connection).has_table(STORE.name):
            raise StoreExists(f"{location} holds a store already")
        METADATA.create_all(connection, checkfirst=False)
        fill(connection)

    if isinstance(location, SqliteLocation):
        _make_file(location.path, work)
    else:
        _make(location, work)


def complete_store(database: Database) -> None:
    """Add the tables that format 1 got later (created datasets, receipts, announced commits) to an older store.

    Raises:
        StorageError: the database refuses.
    """

    def lacks(connection: Connection) -> bool:
        known = inspect(connection)
        return not all(known.has_table(it.name) for it in _ADDED)

    def add(connection: Connection) -> None:
        if isinstance(database.location, PostgresLocation):
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MAKING})
        METADATA.create_all(connection, tables=_ADDED)

    if database.reading(lacks):
        database.writing(add, repeatable=True)


def _make(location: StoreLocation, work: Callable[[Connection], None]) -> None:
    database = Database(location)
    try:
        database.writing(work)
    finally:
        database.close()


def _make_file(path: Path, work: Callable[[Connection], None]) -> None:
    if os.path.lexists(path):
        raise StoreExists(f"{path} exists")
    building = path.with_name(f".{path.name}.new-{secrets.token_hex(8)}")
    try:
        create_private_file(building)
        try:
            _make(SqliteLocation(building), work)
            os.link(building, path)
        finally:
            building.unlink()
            building.with_name(f"{building.name}-journal").unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        raise StoreExists(f"{path} exists") from None
    except OSError as error:
        raise StorageError(f"the store {path} cannot be made: {error.strerror or error}") from error
