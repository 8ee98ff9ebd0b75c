"""The provider ``azure`` on a local Key Vault with real RSA and signed tokens; and vaults that are not that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.keys.peers.azure import CLIENT, SECRET, TENANT, Azure, b64
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve
from tests.keys.provider_contract import ProviderContract, data_key, facts

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import (
    AssuranceRefused,
    KeyDestroyed,
    KeystoreDamaged,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    ProviderUntrusted,
    RedoubtError,
)
from redoubt.keys.azure import open_azure
from redoubt.keys.held import HeldProvider
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import Provider
from redoubt.keys.registry import ProviderPlace

A, B = KeyName.parse("key:main/a.dev"), KeyName.parse("key:main/b.dev")
HARD = KeyName.parse("key:main/a.hw")


@dataclass
class Cloud:
    """The peers, running, and what a test puts between them and the provider."""

    azure: Azure
    authority: TestAuthority
    vault_port: int
    entra_port: int
    imds_port: int
    change: Callable[[Request, Reply], Reply] = lambda request, reply: reply


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    azure, authority = Azure("https://localhost"), TestAuthority(tmp_path_factory.mktemp("azure"))
    tls = authority.server()
    cloud = Cloud(azure, authority, 0, 0, 0)
    with ExitStack() as stack:
        vault = lambda request: cloud.change(request, azure.vault(request))  # noqa: E731
        cloud.vault_port = stack.enter_context(serve(vault, tls))
        cloud.entra_port = stack.enter_context(serve(azure.entra, tls))
        cloud.imds_port = stack.enter_context(serve(azure.imds, None))
        azure.url = f"https://localhost:{cloud.vault_port}"
        yield cloud


@pytest.fixture
def cloud(running: Cloud) -> Cloud:
    running.change = lambda request, reply: reply
    running.azure.life, running.azure.software_only = 3600, False
    return running


@pytest.fixture
def place(tmp_path: Path) -> ProviderPlace:
    (tmp_path / ".redoubt").mkdir(mode=0o700)
    return ProviderPlace(tmp_path, None)


def secret_file(place: ProviderPlace, content: str = SECRET) -> str:
    path = place.folder / "secret"
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    return "secret"


def open_provider(cloud: Cloud, place: ProviderPlace, **changes: str) -> HeldProvider:
    given = {"url": cloud.azure.url, "ca": str(cloud.authority.file), "domain": "localhost", **changes}
    return open_azure(given, place, imds=("127.0.0.1", cloud.imds_port))


def with_secret(cloud: Cloud, place: ProviderPlace, secret: str = SECRET, **changes: str) -> HeldProvider:
    login = {"tenant": TENANT, "client_id": CLIENT, "secret_file": secret_file(place, secret)}
    return open_provider(cloud, place, authority=f"https://localhost:{cloud.entra_port}", **login, **changes)


class TestKeyVault(ProviderContract):
    refused_assurance = None

    @pytest.fixture
    def provider(self, cloud: Cloud, place: ProviderPlace) -> Provider:
        return open_provider(cloud, place)


# --- keys in the vault ------------------------------------------------------------------------------------------------
def test_keys_only_wrap_and_hardware_keys_are_rsa_hsm(cloud: Cloud, place: ProviderPlace) -> None:
    provider, before = open_provider(cloud, place), set(cloud.azure.keys)
    provider.create(A)
    provider.create(HARD)
    made = [key for name, key in cloud.azure.keys.items() if name not in before]
    assert [key.kty for key in made] == ["RSA", "RSA-HSM"]
    assert all(key.operations == ["wrapKey", "unwrapKey"] and key.key.key_size == 3072 for key in made)


def test_hardware_key_that_the_vault_made_in_software_is_refused(cloud: Cloud, place: ProviderPlace) -> None:
    cloud.azure.software_only = True
    provider = open_provider(cloud, place)
    with pytest.raises(AssuranceRefused):
        provider.create(HARD)
    assert list(provider.list()) == []
    provider.create(A)


def test_managed_hsm_has_only_hsm_keys(cloud: Cloud, place: ProviderPlace) -> None:
    provider, before = open_provider(cloud, place, service="managed-hsm"), set(cloud.azure.keys)
    provider.create(A)
    assert [key.kty for name, key in cloud.azure.keys.items() if name not in before] == ["RSA-HSM"]
    assert "Managed HSM" in provider.probe()


def test_key_disabled_or_deleted_in_the_vault_opens_nothing_at_once(cloud: Cloud, place: ProviderPlace) -> None:
    provider, before = open_provider(cloud, place), set(cloud.azure.keys)
    provider.create(A)
    key = data_key()
    (wrapped,) = provider.wrap(A, [key])
    (made,) = [it for name, it in cloud.azure.keys.items() if name not in before]
    made.enabled = False
    for call in (lambda: provider.unwrap([wrapped]), lambda: provider.wrap(A, [data_key()])):
        with pytest.raises(ProviderKeyMissing):
            call()
    made.enabled = True
    assert [facts(it) for it in provider.unwrap([wrapped])] == [facts(key)]
    del cloud.azure.keys[made.name]
    with pytest.raises(ProviderKeyMissing):
        provider.unwrap([wrapped])
    provider.destroy(A, version=1, even_if_referenced=True)
    with pytest.raises(KeyDestroyed):
        provider.unwrap([wrapped])


def test_destroyed_version_is_deleted_in_the_vault(cloud: Cloud, place: ProviderPlace) -> None:
    provider, before = open_provider(cloud, place), set(cloud.azure.keys)
    provider.create(A)
    provider.destroy(A, version=1)
    assert set(cloud.azure.keys) == before


def edit_entry(place: ProviderPlace, edit: Callable[[list[bytes], Mapping[str, list[bytes]]], list[bytes]]) -> None:
    with sqlite3.connect(place.folder / ".redoubt" / "azure.sqlite") as db:
        entries = {
            name: list(decode_fields(entry, count=6, what="entry"))
            for name, entry in db.execute("SELECT name, wrapped FROM versions")
        }
        changed = encode_fields(*edit(entries[str(A)], entries))
        db.execute("UPDATE versions SET wrapped = ? WHERE name = ?", (changed, str(A)))


EDITS: Mapping[str, Callable[[list[bytes], Mapping[str, list[bytes]]], list[bytes]]] = {
    "entry of another key": lambda mine, all_: all_[str(B)],
    "key-encryption key of another key": lambda mine, all_: mine[:3] + all_[str(B)][3:],
    "changed key-encryption key": lambda mine, all_: [*mine[:4], mine[4][:-1] + bytes([mine[4][-1] ^ 1]), mine[5]],
    "key-encryption key of the attacker": lambda mine, all_: [*mine[:4], bytes(384), mine[5]],
    "not a key identifier": lambda mine, all_: [*mine[:3], b"../secrets/x", *mine[4:]],
    "not ASCII": lambda mine, all_: [*mine[:3], b"\xff", *mine[4:]],
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_entry_of_the_books_is_damage(cloud: Cloud, place: ProviderPlace, edit: str) -> None:
    provider = open_provider(cloud, place)
    provider.create(A)
    provider.create(B)
    edit_entry(place, EDITS[edit])
    with pytest.raises(KeystoreDamaged):
        provider.wrap(A, [data_key()])


# --- tokens -----------------------------------------------------------------------------------------------------------
def test_application_logs_in_with_its_secret_once(cloud: Cloud, place: ProviderPlace) -> None:
    before = cloud.azure.tokens_issued
    provider = with_secret(cloud, place)
    provider.create(A)
    provider.wrap(A, [data_key()])
    assert cloud.azure.tokens_issued == before + 1


def test_wrong_secret_is_denied_and_never_shown(cloud: Cloud, place: ProviderPlace) -> None:
    with pytest.raises(ProviderDenied) as refusal:
        with_secret(cloud, place, "not~the.secret").create(A)
    assert "not~the.secret" not in refusal.value.explain()


def test_user_assigned_identity_is_named(cloud: Cloud, place: ProviderPlace) -> None:
    open_provider(cloud, place, client_id=CLIENT).create(A)
    with pytest.raises(ProviderDenied):
        open_provider(cloud, place, client_id="somebody-else").create(B)


def test_expired_token_is_replaced_once_and_then_denied(cloud: Cloud, place: ProviderPlace) -> None:
    provider = open_provider(cloud, place)
    cloud.azure.life = -10
    before = cloud.azure.tokens_issued
    with pytest.raises(ProviderDenied):
        provider.create(A)
    assert cloud.azure.tokens_issued == before + 2
    cloud.azure.life = 3600
    provider.create(A)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"access_token": "t"},
        {"access_token": "t", "expires_in": -1},
        {"access_token": "t", "expires_in": "soon"},
        {"access_token": "a\r\nX-Other: b", "expires_in": 3600},
        {"access_token": 7, "expires_in": 3600},
    ],
)
def test_malformed_token_answer_is_refused(cloud: Cloud, place: ProviderPlace, reply: dict[str, object]) -> None:
    given = {"url": cloud.azure.url, "ca": str(cloud.authority.file), "domain": "localhost"}
    with serve(lambda request: Reply.of(reply), None) as port, pytest.raises(ProviderAnswerInvalid):
        open_azure(given, place, imds=("127.0.0.1", port)).create(A)


# --- settings ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://my.vault.azure.net"},
        {"url": "https://vault.azure.net.evil.example"},
        {"url": "https://evilvault.azure.net.example"},
        {"url": "https://myvault-azure.net"},
        {"url": "https://vault.azure.net"},
        {"url": "https://localhost:1"},
        {"url": "https://my.vault.azure.net/keys"},
        {"url": "https://my.vault.azure.net", "domain": "vault.azure.cn"},
        {"url": "https://my.vault.azure.net", "domain": "a/b"},
        {"url": "https://my.vault.azure.net", "api_version": "7.0"},
        {"url": "https://my.vault.azure.net", "api_version": "7.4&x=1"},
        {"url": "https://my.vault.azure.net", "tenant": "t"},
        {"url": "https://my.vault.azure.net", "secret_file": "s"},
        {"url": "https://my.vault.azure.net", "client_id": "a b"},
        {"url": "https://my.vault.azure.net", "service": "other"},
        {
            "url": "https://my.vault.azure.net",
            "secret_file": "s",
            "tenant": "t",
            "client_id": "c",
            "authority": "http://login",
        },
    ],
)
def test_unusable_settings_are_refused_at_once(place: ProviderPlace, given: dict[str, str]) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        open_azure(given, place)


@pytest.mark.parametrize(
    "given",
    [
        {"url": "https://my.vault.azure.net"},
        {"url": "https://my.managedhsm.azure.net"},
        {"url": "https://my.vault.azure.cn", "domain": "vault.azure.cn", "api_version": "2025-07-01"},
    ],
)
def test_vaults_of_azure_are_allowed(place: ProviderPlace, given: dict[str, str]) -> None:
    assert open_azure(given, place).assurances == frozenset(Assurance)


# --- vaults that are not what they say --------------------------------------------------------------------------------
def test_vault_of_another_ca_gets_no_token(cloud: Cloud, place: ProviderPlace, tmp_path: Path) -> None:
    provider = open_provider(cloud, place, ca=str(TestAuthority(tmp_path / "other").file))
    with pytest.raises(ProviderUntrusted):
        provider.create(A)


def test_redirect_to_another_host_gets_no_token(cloud: Cloud, place: ProviderPlace) -> None:
    cloud.change = lambda request, reply: Reply(308, b"", {"Location": "https://evil.example/keys"})
    with pytest.raises(ProviderUntrusted, match="redirects"):
        open_provider(cloud, place).create(A)


def changed(**members: object) -> Callable[[Request, Reply], Reply]:
    def change(request: Request, reply: Reply) -> Reply:
        if not request.path.partition("?")[0].endswith("unwrapkey"):
            return reply
        return Reply.of({**json.loads(reply.content), **members})

    return change


@pytest.mark.parametrize(
    ("members", "refusal"),
    [
        ({"kid": "https://localhost:1/keys/other/00"}, ProviderAnswerInvalid),
        ({"kid": None}, ProviderAnswerInvalid),
        ({"value": b64(bytes(32))}, KeystoreDamaged),
        ({"value": b64(bytes(16))}, KeystoreDamaged),
        ({"value": "%%"}, ProviderAnswerInvalid),
        ({"value": None}, ProviderAnswerInvalid),
    ],
)
def test_answer_about_another_key_is_refused(
    cloud: Cloud, place: ProviderPlace, members: dict[str, object], refusal: type[RedoubtError]
) -> None:
    provider = open_provider(cloud, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    cloud.change = changed(**members)
    with pytest.raises(refusal):
        provider.unwrap([wrapped])


def test_answer_of_another_key_of_the_same_vault_is_refused(cloud: Cloud, place: ProviderPlace) -> None:
    provider = open_provider(cloud, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    cloud.change = changed(kid=f"{cloud.azure.url}/keys/other/{'0' * 32}")
    with pytest.raises(ProviderAnswerInvalid, match="another key"):
        provider.unwrap([wrapped])


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (Reply(200, b"{}" + b" " * (1024 * 1024)), ProviderAnswerInvalid),
        (Reply(200, b"<html>"), ProviderAnswerInvalid),
        (Reply.of({"key": {"kid": "https://evil.example/keys/a/b", "kty": "RSA"}}), ProviderAnswerInvalid),
        (Reply.of({"error": {"code": "Forbidden"}}, 403), ProviderDenied),
        (Reply.of({}, 429), ProviderUnreachable),
        (Reply.of({}, 503), ProviderUnreachable),
    ],
    ids=["oversize", "html", "foreign key", "forbidden", "throttled", "down"],
)
def test_strange_answer_is_refused(
    cloud: Cloud, place: ProviderPlace, reply: Reply, refusal: type[RedoubtError]
) -> None:
    cloud.change = lambda request, answer: reply
    provider = open_provider(cloud, place)
    with pytest.raises(refusal):
        provider.create(A)
    assert list(provider.list()) == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "kid", "kty", "value", "error", "innererror", "code"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=200), JSON_VALUES.map(lambda value: json.dumps(value).encode())),
    status=st.sampled_from([200, 400, 403, 404, 500]),
)
def test_any_answer_is_a_redoubt_error(cloud: Cloud, place: ProviderPlace, content: bytes, status: int) -> None:
    cloud.change = lambda request, answer: Reply(status, content)
    with pytest.raises(RedoubtError):
        open_provider(cloud, place).create(A)
