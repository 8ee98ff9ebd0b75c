"""The broker's store on SQLite and on PostgreSQL: both contracts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.broker.store_contract import StoreContract, Stores
from tests.keys.provider_contract import ProviderContract

from redoubt.broker.location import PostgresLocation, SqliteLocation, StoreLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.keys.provider import Provider


def opened_twice(location: StoreLocation, source: FileRoot) -> Iterator[Stores]:
    stores = SqlStore.create(location, source=source), SqlStore.open(location, source=source)
    yield stores
    for store in stores:
        store.close()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def stores(self, sqlite_location: SqliteLocation, source: FileRoot) -> Iterator[Stores]:
        yield from opened_twice(sqlite_location, source)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def stores(self, postgres_location: PostgresLocation, source: FileRoot) -> Iterator[Stores]:
        yield from opened_twice(postgres_location, source)


class TestSqliteProvider(ProviderContract):
    @pytest.fixture
    def provider(self, sqlite_location: SqliteLocation, source: FileRoot) -> Provider:
        return SqlStore.create(sqlite_location, source=source).provider


class TestPostgresProvider(ProviderContract):
    @pytest.fixture
    def provider(self, postgres_location: PostgresLocation, source: FileRoot) -> Iterator[Provider]:
        store = SqlStore.create(postgres_location, source=source)
        yield store.provider
        store.close()
