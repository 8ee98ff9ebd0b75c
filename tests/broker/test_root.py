"""Where root keys come from: files, passphrases and providers, and which class of keys each may protect (H25)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.keys.provider_contract import data_key, facts

from redoubt.broker.database import Database
from redoubt.broker.header import read_header
from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot, PassphraseRoot, ProviderRoot, RootSource, parse_argon2, parse_provider_root
from redoubt.broker.store import SqlStore, exchange_root_source
from redoubt.errors import (
    AssuranceRefused,
    BrokerRootKey,
    KeyReferenced,
    PassphraseError,
    StoreDamaged,
)
from redoubt.keys.booked import BookedProvider
from redoubt.keys.bookfile import KeystoreBooks
from redoubt.keys.held import BookFacts
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.local import LocalProvider
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyState
from redoubt.keys.rootkey import PassphraseSource, RootKey, create_root_key_file, read_root_key_file

DEV, HARDWARE = KeyName.parse("key:main/root.dev"), KeyName.parse("key:main/root.hw")
A_DEV, A_HARDWARE = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/a.hw")


def local(folder: Path) -> LocalProvider:
    path = folder / "keystore.sqlite"
    root = RootKey(bytes(range(32)))
    if not path.exists():
        Keystore.create(path, KeystoreHeader.new(root, None))
    return LocalProvider(Keystore(path), unlock=lambda header: root)


def in_hardware(folder: Path) -> BookedProvider:
    """A provider that holds keys of class hw, as one of a security module does; its bytes lie in a file here."""
    path = folder / "module.sqlite"
    root = RootKey(bytes(32))
    if not path.exists():
        Keystore.create(path, KeystoreHeader.new(root, None))
    keystore = Keystore(path)
    holds = BookFacts(
        identity=keystore.header.id,
        assurances=frozenset({Assurance.HARDWARE}),
        place="a security module",
        damaged=StoreDamaged,
    )
    return BookedProvider(KeystoreBooks(keystore), holds, wrapping_key=lambda: root.wrapping_key(keystore.header.id))


def passphrase(folder: Path, text: str) -> PassphraseRoot:
    path = folder / f"{text}.txt"
    path.write_text(text)
    path.chmod(0o600)
    return PassphraseRoot(PassphraseSource(file=path))


@pytest.fixture(params=["file", "passphrase", "provider"])
def source(request: pytest.FixtureRequest, root_file: Path, tmp_path: Path) -> RootSource:
    if request.param == "file":
        return FileRoot(root_file)
    if request.param == "passphrase":
        return passphrase(tmp_path, "correct horse")
    provider = local(tmp_path)
    provider.create(DEV)
    return ProviderRoot(provider, DEV)


def test_store_opens_with_its_source_and_with_no_other(
    source: RootSource, sqlite_location: SqliteLocation, tmp_path: Path
) -> None:
    made = SqlStore.create(sqlite_location, source=source)
    made.provider.create(A_DEV)
    key = data_key()
    wrapped = made.provider.wrap(A_DEV, [key])
    (opened,) = SqlStore.open(sqlite_location, source=source).provider.unwrap(wrapped)
    assert facts(opened) == facts(key)
    create_root_key_file(tmp_path / "other.key")
    provider = local(tmp_path)
    provider.create(KeyName.parse("key:main/other.dev"))
    others = (
        FileRoot(tmp_path / "other.key"),
        passphrase(tmp_path, "battery staple"),
        ProviderRoot(provider, KeyName.parse("key:main/other.dev")),
    )
    for other in others:
        with pytest.raises(BrokerRootKey):
            SqlStore.open(sqlite_location, source=other)


def test_root_key_wrapped_for_one_store_is_refused_for_another(
    source: RootSource, sqlite_location: SqliteLocation, tmp_path: Path
) -> None:
    other = SqliteLocation(tmp_path / "other.sqlite")
    for location in (sqlite_location, other):
        SqlStore.create(location, source=source).close()
    with sqlite3.connect(other.path) as db:
        row = db.execute("SELECT root_facts, root_wrapped FROM store").fetchone()
    with sqlite3.connect(sqlite_location.path) as db:
        db.execute("UPDATE store SET root_facts = ?, root_wrapped = ?", row)
    with pytest.raises(BrokerRootKey):
        SqlStore.open(sqlite_location, source=source)


def test_wrapping_key_is_not_destroyed_while_a_store_needs_it(sqlite_location: SqliteLocation, tmp_path: Path) -> None:
    provider = local(tmp_path)
    provider.create(DEV)
    SqlStore.create(sqlite_location, source=ProviderRoot(provider, DEV))
    with pytest.raises(KeyReferenced):
        provider.destroy(DEV, version=1)


def test_disabled_wrapping_key_opens_no_store(sqlite_location: SqliteLocation, tmp_path: Path) -> None:
    provider = local(tmp_path)
    provider.create(DEV)
    SqlStore.create(sqlite_location, source=ProviderRoot(provider, DEV))
    provider.set_state(DEV, KeyState.DISABLED)
    with pytest.raises(BrokerRootKey, match="disabled"):
        SqlStore.open(sqlite_location, source=ProviderRoot(provider, DEV))


def test_rotated_wrapping_key_still_opens_the_store(sqlite_location: SqliteLocation, tmp_path: Path) -> None:
    provider = local(tmp_path)
    provider.create(DEV)
    SqlStore.create(sqlite_location, source=ProviderRoot(provider, DEV))
    provider.rotate(DEV)
    SqlStore.open(sqlite_location, source=ProviderRoot(provider, DEV))


def test_missing_passphrase_is_named(sqlite_location: SqliteLocation, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    empty.chmod(0o600)
    with pytest.raises(PassphraseError):
        SqlStore.create(sqlite_location, source=PassphraseRoot(PassphraseSource(file=empty)))
    assert not sqlite_location.path.exists()


# --- classes ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def hardware(tmp_path: Path) -> ProviderRoot:
    provider = in_hardware(tmp_path)
    provider.create(HARDWARE)
    return ProviderRoot(provider, HARDWARE)


def test_store_whose_root_key_is_in_no_hardware_holds_no_hardware_keys(
    source: RootSource, sqlite_location: SqliteLocation
) -> None:
    store = SqlStore.create(sqlite_location, source=source)
    assert store.provider.assurances == frozenset({Assurance.DEV})
    with pytest.raises(AssuranceRefused):
        store.provider.create(A_HARDWARE)


def test_hardware_store_holds_keys_of_both_classes(sqlite_location: SqliteLocation, hardware: ProviderRoot) -> None:
    provider = SqlStore.create(sqlite_location, source=hardware).provider
    assert provider.assurances == frozenset(Assurance)
    for name in (A_DEV, A_HARDWARE):
        provider.create(name)
        key = data_key()
        (opened,) = provider.unwrap(provider.wrap(name, [key]))
        assert facts(opened) == facts(key)


def test_root_key_of_a_hardware_store_is_never_put_under_a_weaker_source(
    sqlite_location: SqliteLocation, hardware: ProviderRoot, source: RootSource, tmp_path: Path
) -> None:
    store = SqlStore.create(sqlite_location, source=hardware)
    store.provider.create(A_HARDWARE)
    root = Database(sqlite_location).reading(read_header).unlock(hardware)
    with pytest.raises(AssuranceRefused):
        exchange_root_source(sqlite_location, root=root, source=source)
    exchange_root_source(sqlite_location, root=root, source=hardware)
    SqlStore.open(sqlite_location, source=hardware)


def test_key_of_class_dev_never_becomes_one_of_class_hw(sqlite_location: SqliteLocation, source: RootSource) -> None:
    store = SqlStore.create(sqlite_location, source=source)
    store.provider.create(A_DEV)
    with sqlite3.connect(sqlite_location.path) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        for table in ("keys", "versions"):
            db.execute(f"UPDATE {table} SET name = ?", (str(A_HARDWARE),))
    with pytest.raises(AssuranceRefused):
        store.provider.wrap(A_HARDWARE, [data_key()])
    with sqlite3.connect(sqlite_location.path) as db:
        db.execute("UPDATE store SET assurance = 'hw'")
    with pytest.raises(BrokerRootKey):
        SqlStore.open(sqlite_location, source=source)


# --- parsers ----------------------------------------------------------------------------------------------------------
@given(st.binary(max_size=64) | st.binary(min_size=28, max_size=28))
def test_any_argon2_parameters_are_within_bounds_or_refused(facts: bytes) -> None:
    try:
        found = parse_argon2(facts)
    except StoreDamaged:
        return
    assert found.memory_kib <= 2 * 1024 * 1024


@given(st.binary(max_size=200))
def test_any_bytes_are_a_wrapped_root_key_or_a_named_refusal(wrapped: bytes) -> None:
    with pytest.raises(StoreDamaged):
        parse_provider_root(wrapped)


def test_key_file_is_not_the_root_key(sqlite_location: SqliteLocation, root_file: Path) -> None:
    """So that the source can be exchanged, and a file that was shared by mistake can be replaced."""
    source = FileRoot(root_file)
    SqlStore.create(sqlite_location, source=source)
    root = Database(sqlite_location).reading(read_header).unlock(source)
    assert root.secret != read_root_key_file(root_file).secret
