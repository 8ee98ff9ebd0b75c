"""What a store refuses: edited, swapped and foreign rows, other formats, wrong root keys, places open to others."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from tests.broker.postgres import Server
from tests.broker.store_contract import NOW
from tests.keys.provider_contract import data_key

from redoubt.broker.location import PostgresLocation, SqliteLocation, parse_location
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.errors import (
    AuditTruncated,
    BrokerRootKey,
    KeyDestroyed,
    ManifestChain,
    RedoubtError,
    StorageError,
    StoreDamaged,
    StoreExists,
    StoreFormat,
    StoreMissing,
    UsageError,
    WorkspaceError,
    WrapRefused,
)
from redoubt.keys.names import KeyName
from redoubt.keys.rootkey import create_root_key_file
from redoubt.keys.types import WrappedKey

A, B = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/b.dev")


@pytest.fixture
def store(sqlite_location: SqliteLocation, source: FileRoot) -> Iterator[SqlStore]:
    made = SqlStore.create(sqlite_location, source=source)
    yield made
    made.close()


def edit(location: SqliteLocation, *statements: str) -> None:
    with closing(sqlite3.connect(location.path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            db.execute(statement)


def value(location: SqliteLocation, query: str) -> object:
    with closing(sqlite3.connect(location.path)) as db:
        return db.execute(query).fetchone()[0]


# --- making and opening -----------------------------------------------------------------------------------------------
def test_store_is_private_and_appears_whole(sqlite_location: SqliteLocation, source: FileRoot, root_file: Path) -> None:
    before = os.umask(0)
    try:
        SqlStore.create(sqlite_location, source=source).resources.put("a/b/c", b"x")
    finally:
        os.umask(before)
    for file in sqlite_location.path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
    leftovers = set(sqlite_location.path.parent.iterdir()) - {sqlite_location.path, root_file}
    assert {path.name for path in leftovers} <= {"broker.sqlite-journal"}


def test_second_store_in_the_same_place_is_refused(
    store: SqlStore, sqlite_location: SqliteLocation, source: FileRoot
) -> None:
    before = sqlite_location.path.read_bytes()
    with pytest.raises(StoreExists):
        SqlStore.create(sqlite_location, source=source)
    assert sqlite_location.path.read_bytes() == before


def test_second_store_in_one_database_is_refused(postgres_location: PostgresLocation, source: FileRoot) -> None:
    first = SqlStore.create(postgres_location, source=source)
    with pytest.raises(StoreExists):
        SqlStore.create(postgres_location, source=source)
    again = SqlStore.open(postgres_location, source=source)
    assert again.identity == first.identity
    for it in (first, again):
        it.close()


def test_missing_store_is_named(
    sqlite_location: SqliteLocation,
    postgres_location: PostgresLocation,
    server: Server,
    source: FileRoot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("redoubt.broker.database.STORE_ATTEMPTS", 2)
    for location in (sqlite_location, postgres_location):
        with pytest.raises(StoreMissing):
            SqlStore.open(location, source=source)
    with pytest.raises(StorageError):
        SqlStore.open(server.location("no_such_database"), source=source)


def test_file_that_is_no_store_is_refused(tmp_path: Path, source: FileRoot) -> None:
    for name, content in (("empty", b""), ("text", b"not a database" * 100)):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises((StoreMissing, StoreDamaged)):
            SqlStore.open(SqliteLocation(path), source=source)


def test_store_open_to_others_is_refused(store: SqlStore, sqlite_location: SqliteLocation, source: FileRoot) -> None:
    sqlite_location.path.chmod(0o640)
    with pytest.raises(WorkspaceError, match="open to other users"):
        SqlStore.open(sqlite_location, source=source)


@pytest.mark.parametrize("number", ["0", "2", "'1'", "X'01'"])
def test_unknown_format_is_refused(
    store: SqlStore, sqlite_location: SqliteLocation, source: FileRoot, number: str
) -> None:
    edit(sqlite_location, f"UPDATE store SET format = {number}")
    if number == "'1'":  # INTEGER affinity makes it the number again
        SqlStore.open(sqlite_location, source=source)
        return
    with pytest.raises(StoreFormat):
        SqlStore.open(sqlite_location, source=source)


def test_wrong_root_key_is_refused(store: SqlStore, sqlite_location: SqliteLocation, tmp_path: Path) -> None:
    create_root_key_file(tmp_path / "other.key")
    with pytest.raises(BrokerRootKey, match="does not open"):
        SqlStore.open(sqlite_location, source=FileRoot(tmp_path / "other.key"))
    with pytest.raises(BrokerRootKey, match="does not exist"):
        SqlStore.open(sqlite_location, source=FileRoot(tmp_path / "none.key"))


@pytest.mark.parametrize(
    "edited",
    [
        "UPDATE store SET assurance = 'hw'",
        "UPDATE store SET id = randomblob(16)",
        "UPDATE store SET check_value = randomblob(32)",
        "UPDATE store SET root_wrapped = randomblob(60)",
        "UPDATE store SET root_kind = 'passphrase'",
        "UPDATE store SET root_kind = 'none'",
        "UPDATE store SET assurance = 'none'",
        "UPDATE store SET id = 7",
        "UPDATE store SET root_facts = X'00'",
        "DELETE FROM store",
        "DELETE FROM secrets",
        "UPDATE secrets SET version = 2",
        "UPDATE secrets SET sealed = randomblob(200)",
    ],
)
def test_edited_header_or_secret_opens_nothing(
    store: SqlStore, sqlite_location: SqliteLocation, source: FileRoot, edited: str
) -> None:
    edit(sqlite_location, edited)
    with pytest.raises((BrokerRootKey, StoreDamaged)):
        SqlStore.open(sqlite_location, source=source)


# --- rows -------------------------------------------------------------------------------------------------------------
def test_no_secret_stands_in_the_file(store: SqlStore, sqlite_location: SqliteLocation) -> None:
    secret, key = os.urandom(40), data_key()
    store.resources.put("a/b/c", secret)
    store.provider.create(A)
    store.provider.wrap(A, [key])
    content = sqlite_location.path.read_bytes()
    scalar = store.signing_key.private_numbers().private_value.to_bytes(48)
    for hidden in (secret, key.secret, scalar):
        assert hidden not in content
    sealed = value(sqlite_location, "SELECT sealed FROM resources")
    assert isinstance(sealed, bytes)
    assert sealed[:200] in content  # the control: what is in the file is found there


def test_swapped_resources_are_refused(store: SqlStore, sqlite_location: SqliteLocation) -> None:
    store.resources.put("a/b/1", b"one")
    store.resources.put("a/b/2", b"two")
    edit(sqlite_location, "UPDATE resources SET sealed = (SELECT sealed FROM resources WHERE path = 'a/b/2')")
    assert store.resources.get("a/b/2") == b"two"
    with pytest.raises(StoreDamaged):
        store.resources.get("a/b/1")


def test_older_content_under_a_newer_version_is_refused(store: SqlStore, sqlite_location: SqliteLocation) -> None:
    store.resources.put("a/b/c", b"old")
    old = value(sqlite_location, "SELECT hex(sealed) FROM resources")
    store.resources.put("a/b/c", b"new")
    edit(sqlite_location, f"UPDATE resources SET sealed = X'{old}'")
    with pytest.raises(StoreDamaged):
        store.resources.get("a/b/c")


def test_resource_of_another_store_is_refused(
    store: SqlStore, sqlite_location: SqliteLocation, tmp_path: Path, source: FileRoot
) -> None:
    other = SqliteLocation(tmp_path / "other.sqlite")
    for it in (store, SqlStore.create(other, source=source)):
        it.resources.put("a/b/c", b"content")
    foreign = value(other, "SELECT hex(sealed) FROM resources")
    edit(sqlite_location, f"UPDATE resources SET sealed = X'{foreign}'")
    with pytest.raises(StoreDamaged):
        store.resources.get("a/b/c")


def test_swapped_primary_keys_are_refused(store: SqlStore, sqlite_location: SqliteLocation) -> None:
    wrapped: list[WrappedKey] = []
    for name in (A, B):
        store.provider.create(name)
        wrapped += store.provider.wrap(name, [data_key()])
    edit(sqlite_location, f"UPDATE versions SET wrapped = (SELECT wrapped FROM versions WHERE name = '{B}')")
    store.provider.unwrap([wrapped[1]])
    with pytest.raises(StoreDamaged):
        store.provider.unwrap([wrapped[0]])
    with pytest.raises(StoreDamaged):
        store.provider.wrap(A, [data_key()])


def test_primary_key_put_back_after_its_destruction_opens_nothing_else(
    store: SqlStore, sqlite_location: SqliteLocation
) -> None:
    store.provider.create(A)
    (record,) = store.provider.wrap(A, [data_key()])
    stolen = value(sqlite_location, "SELECT hex(wrapped) FROM versions")
    store.provider.destroy(A, version=1, even_if_referenced=True)
    assert str(stolen).encode() not in sqlite_location.path.read_bytes().hex().upper().encode()
    store.provider.rotate(A)
    edit(sqlite_location, f"UPDATE versions SET wrapped = X'{stolen}' WHERE version = 2")
    with pytest.raises(StoreDamaged):
        store.provider.wrap(A, [data_key()])
    with pytest.raises(KeyDestroyed):
        store.provider.unwrap([record])


@pytest.mark.parametrize(
    "edited",
    [
        "UPDATE versions SET state = 'other'",
        "UPDATE versions SET version = 0",
        "UPDATE versions SET version = 'x'",
        "UPDATE versions SET wraps = 'many'",
        "UPDATE versions SET wrapped = 7",
        "UPDATE versions SET wrapped = 'text'",
        "UPDATE keys SET name = 'no name'",
        "UPDATE keys SET name = X'ff'",
        "UPDATE wraps SET purpose = 'other'",
        "UPDATE wraps SET dataset_id = X'00'",
        "UPDATE wraps SET dataset_id = 'text'",
    ],
)
def test_impossible_values_are_damage_and_nothing_else(
    store: SqlStore, sqlite_location: SqliteLocation, edited: str
) -> None:
    store.provider.create(A)
    (record,) = store.provider.wrap(A, [data_key()])
    edit(sqlite_location, edited)

    def look() -> None:
        store.provider.list()
        store.provider.unwrap([record])
        store.provider.references(A)

    with pytest.raises(StoreDamaged):
        look()


def test_manifest_taken_out_of_the_middle_is_noticed(store: SqlStore, sqlite_location: SqliteLocation) -> None:
    for version in (1, 2, 3):
        store.manifests.append(version, b"envelope")
    edit(sqlite_location, "DELETE FROM manifests WHERE version = 2")
    with pytest.raises(ManifestChain):
        store.manifests.envelopes()


def test_audit_log_cut_behind_the_stores_back_is_refused_at_the_next_decision(
    store: SqlStore, sqlite_location: SqliteLocation
) -> None:
    for number in range(3):
        store.audit.append({"n": number}, at=NOW)
    edit(sqlite_location, "DELETE FROM audit WHERE number = 3")
    with pytest.raises(AuditTruncated):
        store.audit.append({"n": 3}, at=NOW)
    edit(sqlite_location, "DELETE FROM audit")
    with pytest.raises(AuditTruncated):
        store.audit.append({"n": 3}, at=NOW)


@pytest.mark.parametrize("event", ["[]", "{", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_event_that_is_no_object_is_refused(store: SqlStore, sqlite_location: SqliteLocation, event: str) -> None:
    store.audit.append({"n": 1}, at=NOW)
    edit(sqlite_location, f"UPDATE audit SET event = '{event}'")
    with pytest.raises(RedoubtError):
        store.audit.entries()


def test_record_of_another_store_is_refused(store: SqlStore, tmp_path: Path, source: FileRoot) -> None:
    other = SqlStore.create(SqliteLocation(tmp_path / "other.sqlite"), source=source)
    for it in (store, other):
        it.provider.create(A)
    with pytest.raises(WrapRefused):
        store.provider.unwrap(other.provider.wrap(A, [data_key()]))


# --- places -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "",
        "sqlite:///x",
        "mysql://host/db",
        "postgresql+asyncpg://host/db",
        "postgresql://user:secret@host/db",
        "postgresql://host/db?password=secret",
        "postgresql://host/db?sslmode=require",
        "postgresql://host/db?sslmode=disable",
        "postgresql://host/db?sslmode=verify-full&sslmode=disable",
        "postgresql://127.0.0.1/db?host=far.example&sslmode=prefer",
        "postgresql://host/db?options=-csynchronous_commit%3Doff",
        "postgresql://host:port/db",
        "postgresql://[::1/db",
    ],
)
def test_place_with_a_secret_without_tls_or_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_location(text)
    assert "secret" not in str(refusal.value)


def test_network_is_crossed_with_verified_tls_only() -> None:
    far = parse_location("postgresql://broker@far.example/db?sslrootcert=/ca.pem")
    assert isinstance(far, PostgresLocation)
    assert far.url.query["sslmode"] == "verify-full"
    for near in (
        "postgresql:///db?host=/run/postgresql",
        "postgresql://localhost/db",
        "postgresql://127.0.0.1:5433/db",
    ):
        place = parse_location(near)
        assert isinstance(place, PostgresLocation)
        assert "sslmode" not in place.url.query
    assert parse_location("some/file") == SqliteLocation(Path("some/file"))


# --- connections ------------------------------------------------------------------------------------------------------
def test_lost_connections_are_made_again(server: Server, postgres_location: PostgresLocation, source: FileRoot) -> None:
    store = SqlStore.create(postgres_location, source=source)
    store.provider.create(A)
    for _ in range(3):
        server.break_connections(str(postgres_location.url.database))
        key = data_key()
        (record,) = store.provider.wrap(A, [key])
        server.break_connections(str(postgres_location.url.database))
        assert store.provider.unwrap([record])[0].secret == key.secret
        store.audit.append({"id": str(uuid4())}, at=NOW)
    store.close()


def test_database_that_is_gone_is_a_storage_error_in_bounded_time(
    server: Server, source: FileRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.broker.database.STORE_ATTEMPTS", 3)
    name = server.new_database("dropped")
    store = SqlStore.create(server.location(name), source=source)
    server.break_connections(name)
    with server.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    with pytest.raises(StorageError):
        store.check()
    store.close()
