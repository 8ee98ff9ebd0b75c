"""60 kills of brokers under load on each database (issue B, "Must show" 4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.broker.conftest import postgres_location, root_file, server, sqlite_location  # noqa: F401 - fixtures
from tests.broker.load import Brokers
from tests.broker.postgres import Server

from redoubt.broker.location import PostgresLocation, SqliteLocation

pytestmark = pytest.mark.soak
KILLS = 60


def test_60_killed_brokers_on_postgresql_lose_nothing(
    server: Server,  # noqa: F811
    postgres_location: PostgresLocation,  # noqa: F811
    root_file: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    text = server.url(str(postgres_location.url.database))
    brokers = Brokers(postgres_location, text, root_file, tmp_path, seed=3)
    for _ in range(KILLS):
        brokers.round(brokers=3, seconds=1.0)
    print(f"{brokers.kills} brokers killed, {len(brokers.acknowledged)} acknowledged changes, all there")


def test_60_killed_brokers_on_sqlite_lose_nothing(
    sqlite_location: SqliteLocation,  # noqa: F811
    root_file: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    brokers = Brokers(sqlite_location, str(sqlite_location.path), root_file, tmp_path, seed=4)
    for _ in range(KILLS):
        brokers.round(brokers=1, seconds=0.5)
    print(f"{brokers.kills} brokers killed, {len(brokers.acknowledged)} acknowledged changes, all there")
