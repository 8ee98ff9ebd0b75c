"""The broker's store on SQLite and on PostgreSQL: both contracts.

On PostgreSQL the tests share one store, emptied before each: making tables for each would take most of their time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, delete, update
from tests.broker.postgres import Server
from tests.broker.store_contract import StoreContract, Stores
from tests.keys.provider_contract import ProviderContract

from redoubt.broker.database import Database
from redoubt.broker.location import PostgresLocation, SqliteLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.schema import (
    AUDIT_HEAD,
    AUDIT_JOBS,
    CREATED,
    CREATED_KEYS,
    ISSUER,
    METADATA,
    RECEIPTS,
    SECRETS,
    STORE,
)
from redoubt.broker.store import SqlStore
from redoubt.errors import ReceiptMissing
from redoubt.keys.provider import Provider
from redoubt.keys.rootkey import create_root_key_file
from redoubt.trust.audit_chain import START


class SharedStore:
    """Two stores open on one database."""

    def __init__(self, location: PostgresLocation, source: FileRoot) -> None:
        self.stores = SqlStore.create(location, source=source), SqlStore.open(location, source=source)
        self._database = Database(location)

    def emptied(self) -> tuple[SqlStore, SqlStore]:
        def work(connection: Connection) -> None:
            for table in reversed(METADATA.sorted_tables):
                if table not in (STORE, SECRETS, AUDIT_HEAD):
                    connection.execute(delete(table))
            connection.execute(update(AUDIT_HEAD).values(number=START.number, digest=START.digest))

        self._database.writing(work)
        return self.stores

    def close(self) -> None:
        for it in (*self.stores, self._database):
            it.close()


@pytest.fixture(scope="module")
def on_postgres(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStore]:
    key = tmp_path_factory.mktemp("root") / "key"
    create_root_key_file(key)
    shared = SharedStore(server.location(server.new_database("shared")), FileRoot(key))
    yield shared
    shared.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def stores(self, sqlite_location: SqliteLocation, source: FileRoot) -> Stores:
        return SqlStore.create(sqlite_location, source=source), SqlStore.open(sqlite_location, source=source)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def stores(self, on_postgres: SharedStore) -> Stores:
        return on_postgres.emptied()


@pytest.mark.parametrize("kind", ["sqlite_location", "postgres_location"])
def test_store_that_was_made_before_receipts_gets_their_tables(
    kind: str, source: FileRoot, request: pytest.FixtureRequest
) -> None:
    location = request.getfixturevalue(kind)
    SqlStore.create(location, source=source).close()
    database = Database(location)
    database.writing(
        lambda connection: METADATA.drop_all(connection, tables=[AUDIT_JOBS, RECEIPTS, CREATED_KEYS, CREATED, ISSUER])
    )
    database.close()
    for _ in range(2):
        opened = SqlStore.open(location, source=source)
        opened.audit.append({"holder": "job"}, at=datetime(2026, 6, 1, tzinfo=UTC))
        with pytest.raises(ReceiptMissing):
            opened.receipts.get("job")
        assert opened.created.parent(UUID(int=1)) is None
        opened.serve_as("name")
        opened.close()


class TestSqliteProvider(ProviderContract):
    @pytest.fixture
    def provider(self, sqlite_location: SqliteLocation, source: FileRoot) -> Provider:
        return SqlStore.create(sqlite_location, source=source).provider


class TestPostgresProvider(ProviderContract):
    @pytest.fixture
    def provider(self, on_postgres: SharedStore) -> Provider:
        return on_postgres.emptied()[0].provider
