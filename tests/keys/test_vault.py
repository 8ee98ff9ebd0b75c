"""The provider ``vault``: the contract and logins on a real OpenBao; and services that are not what they say."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.keys.peers.openbao import OpenBao, openbao
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve
from tests.keys.provider_contract import ProviderContract, data_key, facts

from redoubt.errors import (
    KeyDestroyed,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    ProviderUntrusted,
    RedoubtError,
    WrapRefused,
)
from redoubt.keys.held import HeldProvider
from redoubt.keys.names import KeyName
from redoubt.keys.provider import Provider
from redoubt.keys.registry import ProviderPlace
from redoubt.keys.vault import open_vault

A = KeyName.parse("key:main/a.dev")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path) -> ProviderPlace:
    (tmp_path / ".redoubt").mkdir(mode=0o700)
    return ProviderPlace(tmp_path, None)


def secret_file(place: ProviderPlace, name: str, content: str) -> str:
    path = place.folder / name
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    return name


def open_provider(bao: OpenBao, place: ProviderPlace, **changes: str) -> HeldProvider:
    token = secret_file(place, "token", bao.new_token())
    return open_vault({"url": bao.url, "ca": str(bao.ca), "token_file": token, **changes}, place)


class TestVault(ProviderContract):
    @pytest.fixture
    def provider(self, bao: OpenBao, place: ProviderPlace) -> Provider:
        return open_provider(bao, place)


# --- keys in the service ----------------------------------------------------------------------------------------------
def test_each_version_is_a_transit_key_that_cannot_be_exported(bao: OpenBao, place: ProviderPlace) -> None:
    before = bao.transit_keys()
    provider = open_provider(bao, place)
    provider.create(A)
    provider.rotate(A)
    made = sorted(bao.transit_keys() - before)
    assert [name.rsplit("-", 1)[0] for name in made] == ["redoubt-main-a-dev-1", "redoubt-main-a-dev-2"]
    for name in made:
        key = bao.call("GET", f"transit/keys/{name}")["data"]
        assert (key["type"], key["exportable"], key["allow_plaintext_backup"]) == ("aes256-gcm96", False, False)
    provider.destroy(A, version=1)
    assert made[0] not in bao.transit_keys()
    assert made[1] in bao.transit_keys()


def test_key_rotated_by_the_operator_still_opens_old_wraps(bao: OpenBao, place: ProviderPlace) -> None:
    provider = open_provider(bao, place)
    provider.create(A)
    first, second = data_key(), data_key()
    (old,) = provider.wrap(A, [first])
    (name,) = [it for it in bao.transit_keys() if it.encode() in entry_of(place)]
    bao.call("POST", f"transit/keys/{name}/rotate")
    (new,) = provider.wrap(A, [second])
    assert (old.ciphertext[3], new.ciphertext[3]) == (1, 2)
    assert [facts(it) for it in provider.unwrap([old, new])] == [facts(first), facts(second)]


def entry_of(place: ProviderPlace) -> bytes:
    with sqlite3.connect(place.folder / ".redoubt" / "vault.sqlite") as db:
        (entry,) = db.execute("SELECT wrapped FROM versions").fetchone()
    return bytes(entry)


def test_key_deleted_in_the_service_is_missing_and_can_still_be_destroyed(bao: OpenBao, place: ProviderPlace) -> None:
    provider = open_provider(bao, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    (name,) = [it for it in bao.transit_keys() if it.encode() in entry_of(place)]
    bao.call("POST", f"transit/keys/{name}/config", {"deletion_allowed": True})
    bao.call("DELETE", f"transit/keys/{name}")
    with pytest.raises(ProviderKeyMissing):
        provider.unwrap([wrapped])
    with pytest.raises((ProviderKeyMissing, ProviderDenied)):  # never a new key under the old name
        provider.wrap(A, [data_key()])
    provider.destroy(A, version=1, even_if_referenced=True)
    with pytest.raises(KeyDestroyed):
        provider.unwrap([wrapped])


# --- logging in -------------------------------------------------------------------------------------------------------
def test_expired_token_is_refused_and_a_renewed_file_is_read_again(bao: OpenBao, place: ProviderPlace) -> None:
    provider = open_provider(bao, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    bao.call("POST", "auth/token/revoke", {"token": (place.folder / "token").read_text().strip()})
    with pytest.raises(ProviderDenied) as refusal:
        provider.unwrap([wrapped])
    assert (place.folder / "token").read_text().strip() not in refusal.value.explain()
    secret_file(place, "token", bao.new_token())
    assert len(provider.unwrap([wrapped])) == 1


def test_token_without_the_policy_is_denied(bao: OpenBao, place: ProviderPlace) -> None:
    provider = open_provider(bao, place)
    secret_file(place, "token", bao.new_token(policies=["default"]))
    with pytest.raises(ProviderDenied):
        provider.create(A)
    assert list(provider.list()) == []


def approle(bao: OpenBao, place: ProviderPlace, **options: object) -> dict[str, str]:
    bao.call("POST", "auth/approle/role/job", {"token_policies": ["redoubt"], "token_ttl": "1h", **options})
    role = bao.call("GET", "auth/approle/role/job/role-id")["data"]["role_id"]
    secret = bao.call("POST", "auth/approle/role/job/secret-id")["data"]["secret_id"]
    return {
        "url": bao.url,
        "ca": str(bao.ca),
        "role_id_file": secret_file(place, "role", role),
        "secret_id_file": secret_file(place, "secret", secret),
    }


def test_approle_logs_in_and_again_after_its_token_was_revoked(bao: OpenBao, place: ProviderPlace) -> None:
    provider = open_vault(approle(bao, place), place)
    provider.create(A)
    assert "logged in for" in provider.probe()
    for accessor in bao.call("LIST", "auth/token/accessors")["data"]["keys"]:
        if (
            bao.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]["path"]
            == "auth/approle/login"
        ):
            bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert len(provider.wrap(A, [data_key()])) == 1


def test_wrong_secret_id_is_denied(bao: OpenBao, place: ProviderPlace) -> None:
    given = approle(bao, place)
    secret_file(place, "secret", "00000000-0000-0000-0000-000000000000")
    with pytest.raises(ProviderDenied):
        open_vault(given, place).create(A)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_token_file_open_to_others_is_refused(bao: OpenBao, place: ProviderPlace, mode: int) -> None:
    provider = open_provider(bao, place)
    (place.folder / "token").chmod(mode)
    with pytest.raises(ProviderSettingsInvalid, match="open to other users"):
        provider.create(A)


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "a\r\nX-Other: b", "\x00", "ä"])
def test_credential_that_could_end_a_header_is_refused(bao: OpenBao, place: ProviderPlace, content: str) -> None:
    provider = open_provider(bao, place)
    secret_file(place, "token", content)
    with pytest.raises(ProviderSettingsInvalid):
        provider.create(A)


# --- settings ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example",
        "https://user:password@vault.example",
        "https://vault.example?x=1",
        "https://vault.example#f",
        "https://vault.example/v1",
        "https://",
        "https://Vault.example",
        "https://vault.example:0",
        "https://vault.example:99999",
        "https://vault.example\n",
        "ftp://vault.example",
        "vault.example",
    ],
)
def test_url_that_is_not_plain_https_is_refused(place: ProviderPlace, url: str) -> None:
    with pytest.raises(ProviderSettingsInvalid, match="url"):
        open_vault({"url": url, "token_file": secret_file(place, "token", "t")}, place)


@pytest.mark.parametrize(
    "login",
    [
        {},
        {"token_file": "t", "role_id_file": "r", "secret_id_file": "s"},
        {"role_id_file": "r"},
        {"kubernetes_role": "r"},
        {"token_file": "t", "auth_mount": "x"},
        {"token_file": "t", "mount": "../sys"},
        {"token_file": "t", "ca": "missing.pem"},
    ],
)
def test_unusable_settings_are_refused_at_once(place: ProviderPlace, login: dict[str, str]) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        open_vault({"url": "https://vault.example", **login}, place)


# --- services that are not what they say ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


def of_port(place: ProviderPlace, port: int, ca: Path, host: str = "localhost") -> HeldProvider:
    token = secret_file(place, "token", "s.token")
    return open_vault({"url": f"https://{host}:{port}", "ca": str(ca), "token_file": token}, place)


def test_service_with_a_certificate_of_another_ca_is_refused(
    bao: OpenBao, place: ProviderPlace, authority: TestAuthority
) -> None:
    provider = open_provider(bao, place, ca=str(authority.file))
    for call in (lambda: provider.create(A), provider.probe):
        with pytest.raises(ProviderUntrusted):
            call()


def test_service_with_a_certificate_for_another_host_is_refused(place: ProviderPlace, authority: TestAuthority) -> None:
    tls = authority.server("vault.example")
    with serve(lambda request: Reply.of({}), tls) as port, pytest.raises(ProviderUntrusted):
        of_port(place, port, authority.file).create(A)


def test_redirect_to_another_host_is_not_followed(place: ProviderPlace, authority: TestAuthority) -> None:
    seen: list[Request] = []

    def other(request: Request) -> Reply:
        seen.append(request)
        return Reply.of({})

    tls = authority.server()
    with serve(other, tls) as elsewhere:
        answer = Reply(307, b"", {"Location": f"https://localhost:{elsewhere}/v1/transit/keys/x"})
        with serve(lambda request: answer, tls) as port, pytest.raises(ProviderUntrusted, match="redirects"):
            of_port(place, port, authority.file).create(A)
    assert seen == []


def test_service_without_tls_is_refused(place: ProviderPlace, authority: TestAuthority) -> None:
    with serve(lambda request: Reply.of({}), None) as port, pytest.raises(ProviderUntrusted):
        of_port(place, port, authority.file).create(A)


def test_nobody_listening_is_unreachable(place: ProviderPlace, authority: TestAuthority) -> None:
    with serve(lambda request: Reply.of({}), None) as port:
        pass
    with pytest.raises(ProviderUnreachable):
        of_port(place, port, authority.file).create(A)


class FakeTransit:
    """Answers as Transit does, but keeps no key: what is wrong with it is what a test is about."""

    def __init__(self, **wrong: object) -> None:
        self.wrong = wrong

    def __call__(self, request: Request) -> Reply:
        name = request.path.rsplit("/", 1)[-1]
        if request.method == "GET":
            key = {"name": name, "type": "aes256-gcm96", "derived": False, "exportable": False}
            return Reply.of({"data": {**key, "allow_plaintext_backup": False, **self.wrong}})
        if "/keys/" in request.path:
            return Reply(204)
        items = request.json["batch_input"]
        if "/encrypt/" in request.path:
            return Reply.of({"data": {"batch_results": [{"ciphertext": self._wrap(it["plaintext"])} for it in items]}})
        plain = [base64.b64decode(it["ciphertext"].split(":")[2])[28:] for it in items]
        return Reply.of({"data": {"batch_results": [{"plaintext": base64.b64encode(it).decode()} for it in plain]}})

    @staticmethod
    def _wrap(plaintext: str) -> str:
        return "vault:v1:" + base64.b64encode(bytes(28) + base64.b64decode(plaintext)).decode()


def test_service_that_ignores_associated_data_is_refused(place: ProviderPlace, authority: TestAuthority) -> None:
    with serve(FakeTransit(), authority.server()) as port:
        provider = of_port(place, port, authority.file)
        with pytest.raises(ProviderAnswerInvalid, match="ignores associated data"):
            provider.create(A)
        assert list(provider.list()) == []


@pytest.mark.parametrize(
    "wrong", [{"exportable": True}, {"allow_plaintext_backup": True}, {"type": "rsa-2048"}, {"name": "other"}]
)
def test_service_that_makes_another_key_than_asked_is_refused(
    place: ProviderPlace, authority: TestAuthority, wrong: dict[str, object]
) -> None:
    with serve(FakeTransit(**wrong), authority.server()) as port, pytest.raises(ProviderAnswerInvalid, match="another"):
        of_port(place, port, authority.file).create(A)


def answering(bao: OpenBao, change: Callable[[Request, Reply], Reply]) -> Callable[..., Reply]:
    """Return a service that asks the real one and changes its answers."""
    import http.client
    import ssl

    host = bao.url.removeprefix("https://")

    def answer(request: Request) -> Reply:
        context = ssl.create_default_context(cafile=str(bao.ca))
        connection = http.client.HTTPSConnection(host, context=context)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        return change(request, Reply(response.status, response.read()))

    return answer


CHANGES: Mapping[str, Callable[[object], object]] = {
    "no data": lambda body: {},
    "one result too few": lambda body: {"data": {"batch_results": []}},
    "not a list": lambda body: {"data": {"batch_results": {"0": 1}}},
    "not objects": lambda body: {"data": {"batch_results": ["x"]}},
    "no plaintext": lambda body: {"data": {"batch_results": [{}]}},
    "short key": lambda body: {"data": {"batch_results": [{"plaintext": "AAAA"}]}},
    "not base64": lambda body: {"data": {"batch_results": [{"plaintext": "%%%%"}]}},
    "a list": lambda body: [body],
}


@pytest.mark.parametrize("change", CHANGES)
def test_malformed_answer_is_refused(bao: OpenBao, place: ProviderPlace, authority: TestAuthority, change: str) -> None:
    provider = open_provider(bao, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])

    def changed(request: Request, reply: Reply) -> Reply:
        return Reply.of(CHANGES[change](json.loads(reply.content)))

    with serve(answering(bao, changed), authority.server()) as port:
        token = secret_file(place, "token", bao.new_token())
        between = open_vault(
            {"url": f"https://localhost:{port}", "ca": str(authority.file), "token_file": token}, place
        )
        with pytest.raises(ProviderAnswerInvalid):
            between.unwrap([wrapped])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"{}" + b" " * (1024 * 1024)),
        Reply(200, b"<html>"),
        Reply(200, b'{"data": {}, "data": {}}'),
        Reply(200, b'{"data": NaN}'),
        Reply(200, b"\xff\xfe"),
        Reply(200, b"[" * 100_000),
        Reply(418, b"{}"),
        Reply(404, b'{"errors": ["no handler for route"]}'),
    ],
    ids=["oversize", "html", "repeated name", "NaN", "not UTF-8", "nested", "teapot", "no engine"],
)
def test_strange_or_oversize_answer_is_refused(place: ProviderPlace, authority: TestAuthority, reply: Reply) -> None:
    with serve(lambda request: reply, authority.server()) as port, pytest.raises(ProviderAnswerInvalid):
        of_port(place, port, authority.file).create(A)


@pytest.mark.parametrize("status", [429, 473, 500, 503])
def test_sealed_or_busy_service_is_unreachable(place: ProviderPlace, authority: TestAuthority, status: int) -> None:
    reply = Reply.of({"errors": ["Vault is sealed"]}, status)
    with serve(lambda request: reply, authority.server()) as port, pytest.raises(ProviderUnreachable):
        of_port(place, port, authority.file).create(A)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["data", "batch_results", "plaintext", "ciphertext", "errors", "error", "name"]),
                    inner,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    status=st.sampled_from([200, 204, 400, 403, 404, 500]),
)
def test_any_answer_is_a_redoubt_error(
    holder_port: tuple[HeldProvider, list[Reply]], content: bytes, status: int
) -> None:
    provider, replies = holder_port
    replies[:] = [Reply(status, b"" if status == 204 else content)]
    with pytest.raises(RedoubtError):
        provider.create(A)


@pytest.fixture
def holder_port(place: ProviderPlace, authority: TestAuthority) -> Iterator[tuple[HeldProvider, list[Reply]]]:
    replies: list[Reply] = []
    with serve(lambda request: replies[0], authority.server()) as port:
        yield of_port(place, port, authority.file), replies


def test_ciphertext_spelt_with_version_zero_is_refused(bao: OpenBao, place: ProviderPlace) -> None:
    from dataclasses import replace

    provider = open_provider(bao, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    with pytest.raises(WrapRefused):
        provider.unwrap([replace(wrapped, ciphertext=bytes(4) + wrapped.ciphertext[4:])])


def test_pod_logs_in_with_its_projected_token_and_namespace(place: ProviderPlace, authority: TestAuthority) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        if request.path == "/v1/auth/k8s/login":
            return Reply.of({"auth": {"client_token": "s.pod", "lease_duration": 60, "renewable": True}})
        return Reply.of({"data": {"ttl": 60}})

    (place.folder / "..data").write_text("header.payload.signature")
    (place.folder / "jwt").symlink_to("..data")
    given = {"kubernetes_role": "job", "jwt_file": "jwt", "auth_mount": "k8s", "vault_namespace": "team/a"}
    with serve(answer, authority.server()) as port:
        provider = open_vault({"url": f"https://localhost:{port}", "ca": str(authority.file), **given}, place)
        assert "logged in for 60 s" in provider.probe()
    login, lookup = seen
    assert login.json == {"role": "job", "jwt": "header.payload.signature"}
    assert "X-Vault-Token" not in login.headers
    assert (lookup.headers["X-Vault-Token"], lookup.headers["X-Vault-Namespace"]) == ("s.pod", "team/a")


def test_token_is_replaced_before_its_lease_ends(place: ProviderPlace, authority: TestAuthority) -> None:
    from redoubt.keys.https import Address, https_client
    from redoubt.keys.vault_login import Lease, VaultSession

    now, tokens = [0.0], iter(["s.first", "s.second"])
    with serve(lambda request: Reply.of({"token": request.headers["X-Vault-Token"]}), authority.server()) as port:
        session = VaultSession(
            https_client(Address.parse(f"https://localhost:{port}"), ca_file=authority.file),
            lambda client, headers: Lease(next(tokens), 600.0),
            namespace=None,
            clock=lambda: now[0],
        )
        used = []
        for now[0] in (0.0, 539.0, 541.0):
            used.append(session.call("GET", "/").body["token"])
    assert used == ["s.first", "s.first", "s.second"]
