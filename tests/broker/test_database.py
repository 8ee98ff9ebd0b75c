"""Transactions when PostgreSQL fails them: what is tried again, what is not, and what the caller is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.broker.postgres import Server

from redoubt.broker.database import Database
from redoubt.broker.location import PostgresLocation
from redoubt.errors import KeyExists, StorageError, StoreDamaged, StoreMissing
from redoubt.limits import STORE_ATTEMPTS


@pytest.fixture
def database(postgres_location: PostgresLocation) -> Iterator[Database]:
    opened = Database(postgres_location)
    opened.writing(lambda connection: connection.execute(text("CREATE TABLE t (id integer PRIMARY KEY, n integer)")))
    opened.writing(lambda connection: connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)")))
    yield opened
    opened.close()


class Work:
    """Adds one to a row, and loses its connection the first time: before COMMIT is sent, or just as it is."""

    def __init__(self, server: Server, *, times: int = 1, before_commit: bool = False) -> None:
        self.server = server
        self.times = times
        self.before_commit = before_commit
        self.runs = 0

    def __call__(self, connection: Connection) -> None:
        self.runs += 1
        connection.execute(text("UPDATE t SET n = n + 1 WHERE id = 1"))
        if self.runs <= self.times:
            (process,) = connection.execute(text("SELECT pg_backend_pid()")).one()
            with self.server.connect("postgres") as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))
            if self.before_commit:
                connection.execute(text("SELECT 1"))


def count(database: Database) -> Any:
    return database.reading(lambda connection: connection.execute(text("SELECT n FROM t WHERE id = 1")).scalar())


def test_connection_lost_before_commit_is_tried_again(server: Server, database: Database) -> None:
    work = Work(server, before_commit=True)
    database.writing(work)
    assert (work.runs, count(database)) == (2, 1)


def test_connection_lost_during_commit_is_told_and_not_tried_again(server: Server, database: Database) -> None:
    work = Work(server)
    with pytest.raises(StorageError, match="may have been made or not"):
        database.writing(work)
    assert work.runs == 1


def test_work_that_may_be_done_twice_is_tried_again_after_a_lost_commit(server: Server, database: Database) -> None:
    work = Work(server)
    database.writing(work, repeatable=True)
    assert (work.runs, count(database)) == (2, 1)


def test_attempts_are_bounded(server: Server, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.broker.database.STORE_FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("redoubt.broker.database.STORE_LONGEST_PAUSE_SECONDS", 0.001)
    work = Work(server, times=100, before_commit=True)
    with pytest.raises(StorageError):
        database.writing(work)
    assert (work.runs, count(database)) == (STORE_ATTEMPTS, 0)


def test_deadlock_is_tried_again_and_both_are_done(database: Database) -> None:
    barrier = threading.Barrier(2, timeout=30)
    runs: list[int] = []

    def transfer(first: int, second: int) -> None:
        met = False

        def work(connection: Connection) -> None:
            nonlocal met
            runs.append(first)
            connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": first})
            if not met:  # each holds one row and now asks for the other's
                met = True
                barrier.wait()
            connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": second})

        database.writing(work)

    threads = [threading.Thread(target=transfer, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert count(database) == 2
    assert len(runs) == 3


def test_reads_see_one_state_and_cannot_write(database: Database) -> None:
    def work(connection: Connection) -> list[Any]:
        seen = [connection.execute(text("SELECT n FROM t WHERE id = 1")).scalar()]
        database.writing(lambda other: other.execute(text("UPDATE t SET n = 7 WHERE id = 1")))
        return [*seen, connection.execute(text("SELECT n FROM t WHERE id = 1")).scalar()]

    assert database.reading(work) == [0, 0]
    assert count(database) == 7
    with pytest.raises(StorageError):
        database.reading(lambda connection: connection.execute(text("UPDATE t SET n = 8")))


def test_work_that_raises_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text("UPDATE t SET n = 9"))
        raise KeyExists("no")

    with pytest.raises(KeyExists):
        database.writing(work)
    assert count(database) == 0


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("INSERT INTO t VALUES (1, 1)", StoreDamaged),
        ("SELECT 1/0", StoreDamaged),
        ("SELECT * FROM nothing", StoreMissing),
        ("SELECT", None),
        ("SELEC", StorageError),
    ],
)
def test_every_failure_of_the_database_is_an_error_of_redoubt(
    database: Database, statement: str, refusal: type[Exception] | None
) -> None:
    if refusal is None:
        database.writing(lambda connection: connection.execute(text(statement)))
        return
    with pytest.raises(refusal):
        database.writing(lambda connection: connection.execute(text(statement)))


def test_commits_are_durable_whatever_the_server_is_configured_to(
    server: Server, database: Database, postgres_location: PostgresLocation
) -> None:
    with server.connect("postgres") as connection:
        connection.execute(f'ALTER DATABASE "{postgres_location.url.database}" SET synchronous_commit = off')
    again = Database(postgres_location)
    try:
        shown = again.writing(lambda connection: connection.execute(text("SHOW synchronous_commit")).scalar())
        assert shown == "on"
    finally:
        again.close()
