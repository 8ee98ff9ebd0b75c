"""The root key of a broker's store under keys that live elsewhere: a token, OpenBao, Key Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from tests.keys.peers.azure import Azure
from tests.keys.peers.openbao import openbao
from tests.keys.peers.softhsm import new_token
from tests.keys.peers.tls import TestAuthority, serve

from redoubt.broker.root import ProviderRoot
from redoubt.broker.sealing import StoreIdentity
from redoubt.errors import BrokerRootKey
from redoubt.keys.azure import open_azure
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.pkcs11 import open_pkcs11
from redoubt.keys.provider import KeyState, Provider
from redoubt.keys.registry import ProviderPlace
from redoubt.keys.rootkey import RootKey
from redoubt.keys.vault import open_vault

ROOT = RootKey(bytes(range(32)))


def secret_file(place: ProviderPlace, content: str) -> str:
    path = place.folder / "secret"
    path.touch(mode=0o600)
    path.write_text(content)
    return "secret"


def pkcs11(place: ProviderPlace, stack: ExitStack) -> Provider:
    token = new_token()
    pin = secret_file(place, token.pin)
    return open_pkcs11({"module": str(token.module), "token": token.label, "pin_file": pin}, place)


def vault(place: ProviderPlace, stack: ExitStack) -> Provider:
    bao = stack.enter_context(openbao(place.folder))
    return open_vault({"url": bao.url, "ca": str(bao.ca), "token_file": secret_file(place, bao.new_token())}, place)


def azure(place: ProviderPlace, stack: ExitStack) -> Provider:
    peer, authority = Azure("https://localhost"), TestAuthority(place.folder)
    port = stack.enter_context(serve(peer.vault, authority.server()))
    imds = stack.enter_context(serve(peer.imds, None))
    peer.url = f"https://localhost:{port}"
    settings = {"url": peer.url, "ca": str(authority.file), "domain": "localhost"}
    return open_azure(settings, place, imds=("127.0.0.1", imds))


@pytest.fixture(params=[pkcs11, vault, azure], ids=lambda kind: kind.__name__)
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    (tmp_path / ".redoubt").mkdir(mode=0o700)
    make: Callable[[ProviderPlace, ExitStack], Provider] = request.param
    with ExitStack() as stack:
        yield make(ProviderPlace(tmp_path, None), stack)


def test_root_key_opens_for_its_own_store_and_key_only(provider: Provider) -> None:
    best = max(provider.assurances, key=lambda it: it is Assurance.HARDWARE)
    name, other = KeyName("main", "broker", best), KeyName("main", "other", best)
    provider.create(name)
    provider.create(other)
    source, identity = ProviderRoot(provider, name), StoreIdentity(id=uuid4(), assurance=best)
    stored = source.wrap(ROOT, identity)
    assert ROOT.secret not in stored.wrapped
    assert source.open(stored, identity).secret == ROOT.secret
    with pytest.raises(BrokerRootKey):
        source.open(stored, StoreIdentity(id=uuid4(), assurance=best))
    with pytest.raises(BrokerRootKey):
        ProviderRoot(provider, other).open(stored, identity)
    provider.set_state(name, KeyState.DISABLED)
    with pytest.raises(BrokerRootKey):
        source.open(stored, identity)
