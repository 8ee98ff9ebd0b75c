"""Fixtures of the broker's store: a PostgreSQL server for the whole process, databases and files for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.broker import postgres

from redoubt.broker.location import PostgresLocation, SqliteLocation
from redoubt.broker.root import FileRoot
from redoubt.keys.rootkey import create_root_key_file


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """One PostgreSQL server."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.running_server() as running:
        yield running


@pytest.fixture
def postgres_location(server: postgres.Server) -> PostgresLocation:
    """An empty database."""
    return server.location(server.emptied_database())


@pytest.fixture
def sqlite_location(tmp_path: Path) -> SqliteLocation:
    """The place of a file that does not exist yet."""
    return SqliteLocation(tmp_path / "broker.sqlite")


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    """A new root key file."""
    create_root_key_file(tmp_path / "broker.key")
    return tmp_path / "broker.key"


@pytest.fixture
def source(root_file: Path) -> FileRoot:
    """The source of root keys that most tests use."""
    return FileRoot(root_file)
