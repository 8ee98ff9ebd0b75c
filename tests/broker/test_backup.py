"""Backup and restore: the whole store, on both databases and from one to the other, by root source and by shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.broker.store_contract import LATER, NOW, ROW, head, session
from tests.keys.provider_contract import data_key, facts

from redoubt.broker import backup as backup_module
from redoubt.broker.backup import Backup, parse_header, restore_store, write_backup
from redoubt.broker.backup_rows import TABLES, parse_row, row_line
from redoubt.broker.database import Database
from redoubt.broker.header import read_header
from redoubt.broker.location import PostgresLocation, SqliteLocation, StoreLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.shares import join_shares, split_root
from redoubt.broker.store import SqlStore, exchange_root_source
from redoubt.errors import (
    AlreadyExists,
    BackupInvalid,
    BrokerRootKey,
    RedoubtError,
    RegisterRollback,
    SessionUnknown,
    StoreExists,
)
from redoubt.keys.names import KeyName
from redoubt.keys.rootkey import RootKey, create_root_key_file
from redoubt.keys.types import DataKey, WrappedKey
from redoubt.trust.audit_chain import ChainEnd
from redoubt.trust.audit_head import AuditHead, verify_log, verify_progress

NAMES = [KeyName.parse(f"key:main/{letter}.dev") for letter in "abc"]


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest) -> StoreLocation:
    found = request.getfixturevalue(f"{request.param}_location")
    assert isinstance(found, SqliteLocation | PostgresLocation)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.backup"


@pytest.fixture
def elsewhere(tmp_path: Path) -> SqliteLocation:
    return SqliteLocation(tmp_path / "restored.sqlite")


def root_of(location: StoreLocation, source: FileRoot) -> RootKey:
    database = Database(location)
    try:
        return database.reading(read_header).unlock(source)
    finally:
        database.close()


def back_up(location: StoreLocation, file: Path, source: FileRoot) -> int:
    database = Database(location)
    try:
        return write_backup(database, file, root=root_of(location, source))
    finally:
        database.close()


class Contents:
    """A store with something of everything, and the check that another one holds the same."""

    def __init__(self, store: SqlStore) -> None:
        self.records: list[WrappedKey] = []
        self.keys: list[DataKey] = []
        for name in NAMES:
            store.provider.create(name)
            self.add_keys(store, name)
            store.provider.rotate(name)
            self.add_keys(store, name)
        store.provider.create(KeyName.parse("key:main/gone.dev"))
        store.provider.destroy(KeyName.parse("key:main/gone.dev"), version=1)
        self.infos = store.provider.list()
        self.resource = os.urandom(100_000)
        store.resources.put("repo/type/ä", self.resource)
        for version in (1, 2):
            store.manifests.append(version, b"envelope %d" % version)
        self.dataset, self.refusal, self.session = uuid4(), uuid4(), session()
        store.register.advance(self.dataset, previous=None, head=head(7), row=ROW)
        store.refusals.put(self.refusal, b"record", at=NOW)
        store.sessions.open(self.session)
        for number in range(3):
            store.audit.append({"n": number, "text": "ä\u2028\"'"}, at=NOW)
        self.signing_key = store.signing_key.private_numbers()

    def add_keys(self, store: SqlStore, name: KeyName) -> None:
        keys = [data_key() for _ in range(3)]
        self.records += store.provider.wrap(name, keys)
        self.keys += keys

    def check(self, store: SqlStore) -> None:
        assert store.provider.list() == self.infos
        assert [facts(it) for it in store.provider.unwrap(self.records)] == [facts(it) for it in self.keys]
        assert store.resources.get("repo/type/ä") == self.resource
        assert list(store.manifests.envelopes()) == [b"envelope 1", b"envelope 2"]
        assert store.register.head(self.dataset) == head(7)
        assert store.refusals.get(self.refusal) == b"record"
        assert store.signing_key.private_numbers() == self.signing_key
        assert verify_log(store.audit.entries(), head=None).number == 4  # three, and the head's
        with pytest.raises(SessionUnknown):  # a challenge never comes back
            store.sessions.claim(self.session.id, now=NOW)
        store.audit.append({"n": "goes on"}, at=LATER)
        store.refusals.put(uuid4(), b"goes on", at=LATER)
        store.provider.wrap(NAMES[0], [data_key()])


@pytest.fixture
def store(location: StoreLocation, source: FileRoot) -> Iterator[SqlStore]:
    made = SqlStore.create(location, source=source)
    yield made
    made.close()


def test_restored_store_is_the_store(
    store: SqlStore, location: StoreLocation, file: Path, elsewhere: SqliteLocation, source: FileRoot
) -> None:
    contents = Contents(store)
    rows = back_up(location, file, source)
    assert file.stat().st_mode & 0o777 == 0o600
    backup = Backup.read(file)
    root = backup.header.unlock(source)
    assert restore_store(elsewhere, backup, root=root, source=None) == rows > 30
    restored = SqlStore.open(elsewhere, source=source)
    contents.check(restored)


def test_backup_of_sqlite_is_restored_to_postgresql(
    sqlite_location: SqliteLocation, postgres_location: PostgresLocation, file: Path, source: FileRoot
) -> None:
    contents = Contents(SqlStore.create(sqlite_location, source=source))
    back_up(sqlite_location, file, source)
    backup = Backup.read(file)
    restore_store(postgres_location, backup, root=backup.header.unlock(source), source=None)
    restored = SqlStore.open(postgres_location, source=source)
    contents.check(restored)
    restored.close()


def test_wiped_store_is_restored_with_shares_and_all_keys_open(
    store: SqlStore, location: StoreLocation, file: Path, elsewhere: SqliteLocation, root_file: Path, tmp_path: Path
) -> None:
    source = FileRoot(root_file)
    contents = Contents(store)
    shares = split_root(root_of(location, source), threshold=2, shares=3)
    back_up(location, file, source)
    root_file.unlink()
    if isinstance(location, SqliteLocation):
        location.path.unlink()
    backup = Backup.read(file)
    with pytest.raises(BrokerRootKey):
        backup.header.unlock(source)
    create_root_key_file(tmp_path / "new.key")
    new = FileRoot(tmp_path / "new.key")
    restore_store(elsewhere, backup, root=join_shares([shares[2], shares[0]]), source=new)
    contents.check(SqlStore.open(elsewhere, source=new))


def test_root_source_is_exchanged_with_shares(
    store: SqlStore, location: StoreLocation, source: FileRoot, tmp_path: Path
) -> None:
    contents = Contents(store)
    shares = split_root(root_of(location, source), threshold=2, shares=2)
    create_root_key_file(tmp_path / "new.key")
    new = FileRoot(tmp_path / "new.key")
    with pytest.raises(BrokerRootKey):
        exchange_root_source(location, root=RootKey(bytes(32)), source=new)
    exchange_root_source(location, root=join_shares(shares), source=new)
    with pytest.raises(BrokerRootKey):
        SqlStore.open(location, source=source)
    again = SqlStore.open(location, source=new)
    again.provider.unwrap(contents.records)
    again.close()


def test_shares_of_another_store_restore_nothing(
    store: SqlStore, location: StoreLocation, file: Path, elsewhere: SqliteLocation, source: FileRoot
) -> None:
    back_up(location, file, source)
    shares = split_root(RootKey(os.urandom(32)), threshold=2, shares=2)
    with pytest.raises(BrokerRootKey):
        restore_store(elsewhere, Backup.read(file), root=join_shares(shares), source=source)
    assert not elsewhere.path.exists()


def test_restore_over_a_store_is_refused(
    store: SqlStore, location: StoreLocation, file: Path, source: FileRoot
) -> None:
    back_up(location, file, source)
    store.audit.append({"after": "backup"}, at=NOW)
    backup = Backup.read(file)
    with pytest.raises(StoreExists):
        restore_store(location, backup, root=backup.header.unlock(source), source=None)
    head_now = store.audit.head()
    assert head_now is not None


def test_backup_replaces_no_file(store: SqlStore, location: StoreLocation, file: Path, source: FileRoot) -> None:
    file.write_bytes(b"older")
    with pytest.raises(AlreadyExists):
        back_up(location, file, source)
    assert file.read_bytes() == b"older"


def test_restored_older_state_is_noticed_by_who_remembers_a_head(
    store: SqlStore, location: StoreLocation, file: Path, elsewhere: SqliteLocation, source: FileRoot
) -> None:
    store.audit.append({"n": 1}, at=NOW)
    back_up(location, file, source)
    remembered = AuditHead(broker="it", end=ChainEnd.of(store.audit.append({"n": 2}, at=NOW)), at=NOW)
    backup = Backup.read(file)
    restore_store(elsewhere, backup, root=backup.header.unlock(source), source=None)
    newest = SqlStore.open(elsewhere, source=source).audit.head()
    assert newest is not None
    current = AuditHead(broker="it", end=ChainEnd.of(newest), at=NOW + timedelta(hours=1))
    with pytest.raises(RegisterRollback):
        verify_progress(remembered, current, between=[])


# --- the file ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def small(sqlite_location: SqliteLocation, file: Path, source: FileRoot) -> tuple[bytes, RootKey]:
    """A small backup and its root key."""
    made = SqlStore.create(sqlite_location, source=source)
    made.resources.put("a/b/c", b"content")
    made.audit.append({"n": 1}, at=NOW)
    back_up(sqlite_location, file, source)
    return file.read_bytes(), root_of(sqlite_location, source)


def test_no_secret_and_no_name_stands_in_a_backup(small: tuple[bytes, RootKey]) -> None:
    content, root = small
    for hidden in (b"content", b"a/b/c", b"audit", root.secret):
        assert hidden not in content


def test_any_changed_byte_or_cut_of_a_backup_is_refused_and_makes_nothing(
    small: tuple[bytes, RootKey], tmp_path: Path, elsewhere: SqliteLocation
) -> None:
    content, root = small
    spoilt = tmp_path / "spoilt"
    changed = [
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for place in (*range(0, 300, 6), *range(300, len(content), len(content) // 20))
    ]
    cut = [content[:length] for length in (0, 5, 17, 20, 100, len(content) // 2, len(content) - 16, len(content) - 1)]
    for wrong in (*changed, *cut, content + b"\0"):
        spoilt.write_bytes(wrong)
        with pytest.raises((BackupInvalid, BrokerRootKey)):
            restore_store(elsewhere, Backup.read(spoilt), root=root, source=None)
        assert not elsewhere.path.exists()


def test_backup_cut_at_the_end_of_a_row_is_refused(
    small: tuple[bytes, RootKey], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, elsewhere: SqliteLocation
) -> None:
    """The seal's own end is what tells: rows have no count, and need none."""
    content, root = small
    (tmp_path / "cut").write_bytes(content[: len(content) - 40])
    with pytest.raises(BackupInvalid):
        restore_store(elsewhere, Backup.read(tmp_path / "cut"), root=root, source=None)
    assert len(content) < backup_module._READ_BYTES


# --- parsers ----------------------------------------------------------------------------------------------------------
@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_named_refusal(encoded: bytes) -> None:
    with pytest.raises(BackupInvalid):
        parse_header(encoded)


@given(st.binary(max_size=200) | st.sampled_from([b"{}", b'{"table":"audit","row":{}}', b'{"table":[],"row":{}}']))
def test_any_bytes_are_a_row_or_a_named_refusal(line: bytes) -> None:
    with pytest.raises(BackupInvalid):
        parse_row(line)


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers())


@given(st.sampled_from(sorted(TABLES)), st.data())
def test_row_with_any_values_is_a_row_or_a_named_refusal(name: str, data: st.DataObject) -> None:
    import json

    columns = TABLES[name].columns.keys()
    row = {column: data.draw(_VALUES) for column in columns}
    try:
        table, values = parse_row(json.dumps({"table": name, "row": row}).encode())
    except BackupInvalid:
        return
    assert parse_row(row_line(table, [values[column] for column in columns]).rstrip()) == (table, values)


def test_sessions_and_headers_are_no_rows_of_a_backup() -> None:
    assert {"store", "sessions"}.isdisjoint(TABLES)
    for name in ("store", "sessions", "sqlite_master"):
        with pytest.raises(RedoubtError):
            parse_row(b'{"table":"%s","row":{}}' % name.encode())
