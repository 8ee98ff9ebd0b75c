"""Transactions on a broker's store: one way to read, one way to write, and what a failing database means.

Work is a function of a connection, because it may have to run again:

* a lost race (PostgreSQL's 40001 and 40P01) and a connection lost before COMMIT was sent leave nothing behind:
  tried again, up to STORE_ATTEMPTS times;
* a connection lost *during* COMMIT leaves it open whether the work was done. Only work that is declared ``repeatable``
  is run again then; for other work the caller is told, and looks.

PostgreSQL: reads see one snapshot (REPEATABLE READ, read only). Writes are READ COMMITTED and lock the rows that they
decide on (SELECT … FOR UPDATE): the hot rows are few, so waiting is cheaper than SERIALIZABLE's retries. Each session
sets ``synchronous_commit`` itself, since durability is promised here and not by whoever configures the server.

SQLite: BEGIN IMMEDIATE, and the connection that :mod:`redoubt.keys.keystore` describes; one a transaction.
"""

from __future__ import annotations

import secrets
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Executable, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from redoubt.broker.location import SqliteLocation, StoreLocation
from redoubt.errors import RedoubtError, StorageError, StoreDamaged, StoreMissing
from redoubt.keys.keystore import connect, refusal_of
from redoubt.keys.private import check_private
from redoubt.limits import (
    STORE_ATTEMPTS,
    STORE_CONNECT_SECONDS,
    STORE_CONNECTIONS,
    STORE_FIRST_PAUSE_SECONDS,
    STORE_LONGEST_PAUSE_SECONDS,
    STORE_WAIT_SECONDS,
)

T = TypeVar("T")

#: serialization_failure, deadlock_detected.
_LOST_RACES: Final = frozenset({"40001", "40P01"})
#: The server starts, stops, or has no room for one more connection.
_UNAVAILABLE: Final = frozenset({"57P01", "57P02", "57P03", "53300"})
_UNDEFINED_TABLE: Final = "42P01"
_SESSION: Final = {
    "synchronous_commit": "on",
    "client_encoding": "UTF8",
    "lock_timeout": f"{STORE_WAIT_SECONDS}s",
    # A broker that hangs within a transaction must not hold the others' locks for ever.
    "idle_in_transaction_session_timeout": f"{STORE_WAIT_SECONDS}s",
}


class Database:
    """The database of one store, used by several threads."""

    def __init__(self, location: StoreLocation) -> None:
        """Prepare; nothing is opened before the first transaction.

        Raises:
            StoreMissing: the SQLite file does not exist.
            BrokerError: it is not private.
        """
        self.location = location
        if isinstance(location, SqliteLocation):
            self._engine = _sqlite(location)
            self._reads = self._engine
            self._writes = self._engine.execution_options(redoubt_writes=True)
        else:
            self._engine = _postgres(location.url)
            self._reads = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writes = self._engine.execution_options(isolation_level="READ COMMITTED")

    def reading(self, work: Callable[[Connection], T]) -> T:
        """Run *work* on one consistent state of the store; it has no effect, so it is always repeatable.

        Raises:
            StorageError: the database does not answer.
            StoreDamaged: it holds what no broker writes.
        """
        return self._run(work, writes=False, repeatable=True)

    def writing(self, work: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        """Run *work* as one transaction: all of it is durable when this returns, or none if it raises.

        *repeatable* says that to do it twice is the same as once, or does no harm.

        Raises:
            StorageError: the database does not answer, or it is not known whether the work was done.
            StoreDamaged: it holds what no broker writes.
        """
        return self._run(work, writes=True, repeatable=repeatable)

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def _run(self, work: Callable[[Connection], T], *, writes: bool, repeatable: bool) -> T:
        engine = self._writes if writes else self._reads
        deadline = time.monotonic() + STORE_WAIT_SECONDS
        for attempt in range(STORE_ATTEMPTS):
            committing = False
            try:
                with engine.connect() as connection, connection.begin():
                    result = work(connection)
                    committing = True
            except RedoubtError:
                raise
            except PoolTimeout as error:
                raise StorageError(f"the store {self.location} has no connection free") from error
            except DBAPIError as error:
                last = attempt + 1 == STORE_ATTEMPTS or time.monotonic() > deadline
                if last or not _retriable(error, committing=committing, repeatable=repeatable):
                    raise self._refusal(error, unknown=committing and _lost(error)) from error
                _pause(attempt)
            except SQLAlchemyError as error:
                raise StorageError(f"the store {self.location} cannot be used: {type(error).__name__}") from error
            else:
                return result
        raise AssertionError("unreachable")  # pragma: no cover

    def _refusal(self, error: DBAPIError, *, unknown: bool) -> RedoubtError:
        cause = error.orig
        what = f"the store {self.location}"
        if isinstance(cause, sqlite3.Error):
            if "no such table" in str(cause):
                return StoreMissing(f"{self.location} is no broker's store")
            return refusal_of(cause, what=what, damaged=StoreDamaged)
        state = _sqlstate(error)
        if state == _UNDEFINED_TABLE:
            return StoreMissing(f"{self.location} holds no broker's store")
        if unknown:
            return StorageError(
                f"the connection to {what} broke while a change was being made durable; it may have been made or not",
                hint="Look whether the change is there before you ask for it again.",
            )
        if state is not None and state[:2] in ("22", "23"):
            return StoreDamaged(f"{what} refuses a row: {state}")
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        return StorageError(f"{what} cannot be used: {reason}", hint="Check that the database runs and lets you in.")


def fetch(connection: Connection, statement: Executable) -> Sequence[Sequence[Any]]:
    """Return every row of *statement*; raises StoreDamaged for values that are of no type a store has."""
    try:
        return [tuple(row) for row in connection.execute(statement)]
    except (TypeError, ValueError, OverflowError):
        raise StoreDamaged("the store holds a value of an impossible type") from None


def stream(connection: Connection, statement: Executable, *, rows_at_once: int) -> Iterator[Sequence[Any]]:
    """Yield the rows of *statement* without holding all of them in memory; raises as :func:`fetch`."""
    found = iter(connection.execute(statement, execution_options={"yield_per": rows_at_once}))
    while True:
        try:
            yield tuple(next(found))
        except StopIteration:
            return
        except (TypeError, ValueError, OverflowError):
            raise StoreDamaged("the store holds a value of an impossible type") from None


def fetch_one(connection: Connection, statement: Executable) -> Sequence[Any] | None:
    """Return the one row of *statement*, or None; raises StoreDamaged as :func:`fetch`."""
    rows = fetch(connection, statement)
    return rows[0] if rows else None


def _sqlite(location: SqliteLocation) -> Any:
    path = location.path
    try:
        status = path.lstat()
    except OSError:
        raise StoreMissing(f"there is no store {path}") from None
    if stat.S_ISDIR(status.st_mode):
        raise StoreMissing(
            f"{path} is a folder, not a store", hint=f"A broker's folder has it in {path / 'store.sqlite'}."
        )
    check_private(path, status, what="the store")
    engine = create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("redoubt_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL) -> Any:
    return create_engine(
        url,
        pool_size=STORE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=STORE_WAIT_SECONDS,
        connect_args={
            "application_name": "redoubt-broker",
            "connect_timeout": STORE_CONNECT_SECONDS,
            # A server that went away without a word is noticed by this, not by TCP's quarter of an hour.
            "tcp_user_timeout": STORE_CONNECT_SECONDS * 1000,
            "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
        },
    )


def _sqlstate(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def _lost(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return False
    state = _sqlstate(error)
    # Without a state it is libpq that speaks: it could not connect, or the server is gone.
    return error.connection_invalidated or state is None or state[:2] == "08" or state in _UNAVAILABLE


def _retriable(error: DBAPIError, *, committing: bool, repeatable: bool) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return repeatable and isinstance(error, IntegrityError)
    if _sqlstate(error) in _LOST_RACES:
        return True  # rolled back by the server, whenever it says so
    if isinstance(error, IntegrityError):
        return repeatable  # somebody inserted the same row between our look and our insert
    return _lost(error) and (repeatable or not committing)


def _pause(attempt: int) -> None:
    longest = min(STORE_FIRST_PAUSE_SECONDS * 2**attempt, STORE_LONGEST_PAUSE_SECONDS)
    time.sleep(longest * (0.5 + secrets.randbelow(1000) / 2000))  # two that lost to each other part ways
