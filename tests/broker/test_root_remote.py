"""Root keys under keys that others hold: in a PKCS#11 token (SoftHSM2), Vault (OpenBao), Azure Key Vault (a peer)."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from tests.keys import test_azure, test_pkcs11, test_vault
from tests.keys.provider_contract import data_key, facts
from tests.keys.test_azure import cloud, running  # noqa: F401 - fixtures
from tests.keys.test_pkcs11 import place, token  # noqa: F401 - fixtures
from tests.keys.test_vault import bao  # noqa: F401 - a fixture

from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot, ProviderRoot
from redoubt.broker.sealing import StoreIdentity
from redoubt.broker.store import SqlStore
from redoubt.errors import BrokerRootKey, KeyReferenced
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyState, Provider
from redoubt.keys.rootkey import RootKey

ROOT_DEV, ROOT_HARDWARE = KeyName.parse("key:main/root.dev"), KeyName.parse("key:main/root.hw")


@pytest.fixture(params=["pkcs11", "vault", "azure"])
def provider(request: pytest.FixtureRequest) -> Provider:
    folder = request.getfixturevalue("place")
    if request.param == "pkcs11":
        return test_pkcs11.open_provider(request.getfixturevalue("token"), folder)
    if request.param == "vault":
        return test_vault.open_provider(request.getfixturevalue("bao"), folder)
    return test_azure.open_provider(request.getfixturevalue("cloud"), folder)


def test_store_opens_under_a_key_that_another_holds_and_only_while_it_may(
    provider: Provider, sqlite_location: SqliteLocation, root_file: Path
) -> None:
    provider.create(ROOT_DEV)
    source = ProviderRoot(provider, ROOT_DEV)
    name = KeyName.parse("key:main/a.dev")
    made = SqlStore.create(sqlite_location, source=source)
    made.provider.create(name)
    key = data_key()
    wrapped = made.provider.wrap(name, [key])
    provider.rotate(ROOT_DEV)
    (opened,) = SqlStore.open(sqlite_location, source=source).provider.unwrap(wrapped)
    assert facts(opened) == facts(key)
    with pytest.raises(BrokerRootKey):
        SqlStore.open(sqlite_location, source=FileRoot(root_file))
    with pytest.raises(KeyReferenced):
        provider.destroy(ROOT_DEV, version=1)
    provider.set_state(ROOT_DEV, KeyState.DISABLED)
    with pytest.raises(BrokerRootKey):
        SqlStore.open(sqlite_location, source=source)


def test_root_key_opens_for_its_own_store_and_key_only(provider: Provider) -> None:
    other = KeyName.parse("key:main/other.dev")
    provider.create(ROOT_DEV)
    provider.create(other)
    source, identity = ProviderRoot(provider, ROOT_DEV), StoreIdentity(id=uuid4(), assurance=Assurance.DEV)
    root = RootKey(bytes(range(32)))
    stored = source.wrap(root, identity)
    assert root.secret not in stored.wrapped
    assert source.open(stored, identity).secret == root.secret
    with pytest.raises(BrokerRootKey):
        source.open(stored, StoreIdentity(id=uuid4(), assurance=Assurance.DEV))
    with pytest.raises(BrokerRootKey):
        ProviderRoot(provider, other).open(stored, identity)


def test_store_under_a_key_in_a_managed_hsm_holds_hardware_keys(
    request: pytest.FixtureRequest, sqlite_location: SqliteLocation
) -> None:
    folder = request.getfixturevalue("place")
    azure = test_azure.open_provider(request.getfixturevalue("cloud"), folder)
    azure.create(ROOT_HARDWARE)
    store = SqlStore.create(sqlite_location, source=ProviderRoot(azure, ROOT_HARDWARE))
    assert store.provider.assurances == frozenset(Assurance)
    store.provider.create(KeyName.parse("key:main/a.hw"))
