"""The provider ``ehsm`` on a local eHSM-KMS that checks what the real one checks; and services that are not that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.keys.peers.ehsm import Ehsm, hmac_of, joined
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
from redoubt.keys.ehsm import open_ehsm
from redoubt.keys.ehsm_wire import EhsmClient, Parameters, enroll, sign, signed_text
from redoubt.keys.held import HeldProvider
from redoubt.keys.https import Address, https_client
from redoubt.keys.names import KeyName
from redoubt.keys.provider import Provider
from redoubt.keys.registry import ProviderPlace

A = KeyName.parse("key:main/a.dev")


@dataclass
class Running:
    ehsm: Ehsm
    authority: TestAuthority
    port: int
    change: Callable[[Request, Reply], Reply]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = Running(Ehsm(), TestAuthority(tmp_path_factory.mktemp("ehsm")), 0, lambda request, reply: reply)
    with serve(lambda request: state.change(request, state.ehsm(request)), state.authority.server()) as port:
        state.port = port
        yield state


@pytest.fixture
def service(running: Running) -> Running:
    running.change = lambda request, reply: reply
    return running


@pytest.fixture
def place(tmp_path: Path) -> ProviderPlace:
    (tmp_path / ".redoubt").mkdir(mode=0o700)
    return ProviderPlace(tmp_path, None)


def key_file(place: ProviderPlace, api_key: str) -> str:
    path = place.folder / "apikey"
    path.touch(mode=0o600)
    path.write_text(api_key + "\n")
    return "apikey"


def open_provider(service: Running, place: ProviderPlace, **changes: str) -> HeldProvider:
    appid, api_key = service.ehsm.enroll()
    given = {"url": f"https://localhost:{service.port}", "ca": str(service.authority.file), "appid": appid}
    return open_ehsm({**given, "apikey_file": key_file(place, api_key), **changes}, place)


class TestEhsm(ProviderContract):
    @pytest.fixture
    def provider(self, service: Running, place: ProviderPlace) -> Provider:
        return open_provider(service, place)


# --- the wire ---------------------------------------------------------------------------------------------------------
def test_signed_text_is_the_references() -> None:
    values: Parameters = {
        "timestamp": "1643050812444",
        "appid": "12345678-0123",
        "payload": {"origin": "EH_INTERNAL_KEY", "keyspec": "EH_RSA_3072", "empty": ""},
    }
    text = "appid=12345678-0123&payload=keyspec=EH_RSA_3072&origin=EH_INTERNAL_KEY&timestamp=1643050812444"
    assert signed_text(values) == text


LEAVES = st.one_of(st.text(alphabet="abcXYZ019+/=-_", max_size=8), st.booleans(), st.integers(0, 999))


@given(st.dictionaries(st.sampled_from("abcdefgh"), LEAVES | st.dictionaries(st.sampled_from("klmno"), LEAVES)))
def test_signature_agrees_with_another_reading_of_the_reference(values: dict[str, object]) -> None:
    assert signed_text(values) == joined(values)  # type: ignore[arg-type]
    assert sign("key", values) == hmac_of("key", values)  # type: ignore[arg-type]


def test_enrolled_application_works_and_prints_without_its_key(service: Running, place: ProviderPlace) -> None:
    client = https_client(Address.parse(f"https://localhost:{service.port}"), ca_file=service.authority.file)
    made = enroll(client, base="")
    assert made.api_key not in repr(made)
    given = {"url": f"https://localhost:{service.port}", "ca": str(service.authority.file), "appid": made.appid}
    open_ehsm({**given, "apikey_file": key_file(place, made.api_key)}, place).create(A)


@pytest.mark.parametrize(
    "result", [{}, {"appid": "a b", "apikey": "k"}, {"appid": "a"}, {"appid": "a", "apikey": "\n"}]
)
def test_malformed_enrolment_is_refused(service: Running, result: dict[str, str]) -> None:
    service.change = lambda request, reply: Reply.of({"code": 200, "result": result})
    client = https_client(Address.parse(f"https://localhost:{service.port}"), ca_file=service.authority.file)
    with pytest.raises(ProviderAnswerInvalid):
        enroll(client, base="")


def test_requests_within_one_millisecond_have_timestamps_of_their_own(service: Running) -> None:
    appid, api_key = service.ehsm.enroll()
    client = EhsmClient(
        https_client(Address.parse(f"https://localhost:{service.port}"), ca_file=service.authority.file),
        base="",
        appid=appid,
        api_key=lambda: api_key,
        clock=lambda start=time.time(): start,  # type: ignore[misc]
    )
    for _ in range(3):
        client.call("ListKey", {})
    times = [int(timestamp) for owner, timestamp, _ in service.ehsm.seen if owner == appid]
    assert len(set(times)) == 3


# --- credentials and keys ---------------------------------------------------------------------------------------------
def test_another_api_key_is_denied_and_never_shown(service: Running, place: ProviderPlace) -> None:
    provider = open_provider(service, place)
    key_file(place, "not-the-key")
    with pytest.raises(ProviderDenied) as refusal:
        provider.create(A)
    assert "not-the-key" not in refusal.value.explain()


def test_api_key_is_never_sent(service: Running, place: ProviderPlace) -> None:
    seen: list[bytes] = []

    def record(request: Request, reply: Reply) -> Reply:
        seen.append(request.body + str(dict(request.headers)).encode())
        return reply

    provider = open_provider(service, place)
    service.change = record
    provider.create(A)
    secret = (place.folder / "apikey").read_text().strip().encode()
    assert len(seen) > 1
    assert all(secret not in request for request in seen)


def test_clock_far_off_is_denied(service: Running, place: ProviderPlace) -> None:
    appid, api_key = service.ehsm.enroll()
    client = EhsmClient(
        https_client(Address.parse(f"https://localhost:{service.port}"), ca_file=service.authority.file),
        base="",
        appid=appid,
        api_key=lambda: api_key,
        clock=lambda: time.time() - 3600,
    )
    with pytest.raises(ProviderDenied):
        client.call("ListKey", {})


@pytest.mark.parametrize("loss", ["expired", "disabled", "deleted", "of another application"])
def test_key_that_the_service_lost_is_missing(service: Running, place: ProviderPlace, loss: str) -> None:
    provider, before = open_provider(service, place), set(service.ehsm.keys)
    provider.create(A)
    key = data_key()
    (wrapped,) = provider.wrap(A, [key])
    assert [facts(it) for it in provider.unwrap([wrapped])] == [facts(key)]
    (keyid,) = set(service.ehsm.keys) - before
    if loss == "expired":
        service.ehsm.keys[keyid].expires = time.time() - 1
    elif loss == "disabled":
        service.ehsm.keys[keyid].enabled = False
    elif loss == "deleted":
        del service.ehsm.keys[keyid]
    else:
        service.ehsm.keys[keyid].owner = "somebody"
    with pytest.raises((ProviderKeyMissing, ProviderDenied)):
        provider.unwrap([wrapped])


def test_destroyed_version_is_deleted_in_the_service(service: Running, place: ProviderPlace) -> None:
    provider, before = open_provider(service, place), set(service.ehsm.keys)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    provider.destroy(A, version=1, even_if_referenced=True)
    assert set(service.ehsm.keys) == before
    with pytest.raises(KeyDestroyed):
        provider.unwrap([wrapped])


def test_probe_says_that_it_is_archived(service: Running, place: ProviderPlace) -> None:
    assert "archived" in open_provider(service, place).probe()


# --- settings and services that are not what they say -----------------------------------------------------------------
@pytest.mark.parametrize(
    "changes", [{"url": "http://localhost:1"}, {"appid": "a&payload=x"}, {"ca": "none.pem"}, {"url": "https://a/?x"}]
)
def test_unusable_settings_are_refused_at_once(service: Running, place: ProviderPlace, changes: dict[str, str]) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        open_provider(service, place, **changes)


def test_service_of_another_ca_is_refused(service: Running, place: ProviderPlace, tmp_path: Path) -> None:
    with pytest.raises(ProviderUntrusted):
        open_provider(service, place, ca=str(TestAuthority(tmp_path / "other").file)).create(A)


def test_service_that_ignores_the_context_is_refused(service: Running, place: ProviderPlace) -> None:
    kept: dict[str, str] = {}

    def change(request: Request, reply: Reply) -> Reply:
        if "Encrypt" in request.path:
            kept["plaintext"] = request.json["payload"]["plaintext"]
        return Reply.of({"code": 200, "result": kept}) if "Decrypt" in request.path else reply

    service.change = change
    provider = open_provider(service, place)
    with pytest.raises(ProviderAnswerInvalid, match="ignores associated data"):
        provider.create(A)
    assert list(provider.list()) == []


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (Reply(200, b"{}" + b" " * (1024 * 1024)), ProviderAnswerInvalid),
        (Reply(200, b"<html>"), ProviderAnswerInvalid),
        (Reply.of({"code": 200}), ProviderAnswerInvalid),
        (Reply.of({"code": "200", "result": {"keyid": "x"}}), ProviderAnswerInvalid),
        (Reply.of({"code": 200, "result": {"keyid": "../x"}}), ProviderAnswerInvalid),
        (Reply.of({"code": 400, "message": "Internal error", "result": {}}), ProviderAnswerInvalid),
        (Reply(302, b"", {"Location": "https://evil.example"}), ProviderUntrusted),
        (Reply.of({}, 502), ProviderUnreachable),
    ],
    ids=["oversize", "html", "no result", "code as text", "not a key id", "unknown message", "redirect", "down"],
)
def test_strange_answer_is_refused(
    service: Running, place: ProviderPlace, reply: Reply, refusal: type[RedoubtError]
) -> None:
    provider = open_provider(service, place)
    service.change = lambda request, answer: reply
    with pytest.raises(refusal):
        provider.create(A)


@pytest.mark.parametrize("plaintext", [None, "", "AAAA", "%%%%", 7])
def test_key_of_another_length_is_refused(service: Running, place: ProviderPlace, plaintext: object) -> None:
    provider = open_provider(service, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    service.change = lambda request, reply: Reply.of({"code": 200, "result": {"plaintext": plaintext}})
    with pytest.raises(ProviderAnswerInvalid):
        provider.unwrap([wrapped])


def test_changed_ciphertext_is_refused_as_such_and_an_outage_is_not(service: Running, place: ProviderPlace) -> None:
    provider = open_provider(service, place)
    provider.create(A)
    (wrapped,) = provider.wrap(A, [data_key()])
    with pytest.raises(WrapRefused):
        provider.unwrap([replace(wrapped, ciphertext=wrapped.ciphertext[:-1] + b"\0")])
    service.change = lambda request, reply: Reply.of({}, 503)
    with pytest.raises(ProviderUnreachable):
        provider.unwrap([wrapped])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "result", "keyid", "ciphertext", "plaintext"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), JSON_VALUES.map(lambda value: json.dumps(value).encode())))
def test_any_answer_is_a_redoubt_error(service: Running, place: ProviderPlace, content: bytes) -> None:
    service.change = lambda request, reply: Reply(200, content)
    with pytest.raises(RedoubtError):
        open_provider(service, place).create(A)
