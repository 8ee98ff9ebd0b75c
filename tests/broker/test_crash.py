"""Brokers killed with SIGKILL under load (issue B, "Must show" 4): a few here, many in ``tests/soak``."""

from __future__ import annotations

from pathlib import Path

from tests.broker.load import Brokers
from tests.broker.postgres import Server

from redoubt.broker.location import PostgresLocation, SqliteLocation


def test_killed_broker_on_postgresql_loses_nothing_and_the_other_goes_on(
    server: Server, postgres_location: PostgresLocation, root_file: Path, tmp_path: Path
) -> None:
    text = server.url(str(postgres_location.url.database))
    brokers = Brokers(postgres_location, text, root_file, tmp_path, seed=1)
    brokers.round(brokers=2, seconds=0.5)
    assert len(brokers.acknowledged) > 10


def test_killed_broker_on_sqlite_loses_nothing_after_a_restart(
    sqlite_location: SqliteLocation, root_file: Path, tmp_path: Path
) -> None:
    brokers = Brokers(sqlite_location, str(sqlite_location.path), root_file, tmp_path, seed=2)
    for _ in range(2):
        brokers.round(brokers=1, seconds=0.3)
    assert len(brokers.acknowledged) > 4
