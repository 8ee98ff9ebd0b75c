"""The provider ``broker``: the contract over HTTPS on a real broker, and brokers, owners and answers that are not."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.broker.client import Client
from tests.broker.world import BOB, MALLORY
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve
from tests.keys.provider_contract import DATASETS, NAMES, ProviderContract, data_key, facts
from tests.protocol.owners_broker import CA, PATIENCE, OwnersBroker, client_of, manifest, running_broker
from tests.protocol.samples import json_values, mutate

from redoubt.errors import (
    BrokerUntrusted,
    KeyError_,
    ManifestRollback,
    OwnerUnauthenticated,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    ProviderUntrusted,
)
from redoubt.keys.names import KeyName
from redoubt.keys.provider import Provider
from redoubt.keys.registry import ProviderPlace, open_provider
from redoubt.keys.types import WrappedKey
from redoubt.protocol.jwe import Recipient, encrypt, public_jwk
from redoubt.protocol.owner_api import encode_secrets
from redoubt.protocol.owner_provider import BrokerProvider
from redoubt.trust.owner_key import create_owner_key

A = KeyName.parse("key:main/a.dev")
FIRST = manifest(DATASETS, NAMES)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OwnersBroker]:
    """A broker under a manifest by which ALICE owns the contract's datasets."""
    with running_broker(tmp_path) as found:
        found.client().set_manifest(FIRST)
        yield found


class TestBroker(ProviderContract):
    @pytest.fixture
    def provider(self, broker: OwnersBroker) -> Provider:
        return broker.provider()


# --- who may ----------------------------------------------------------------------------------------------------------
def test_first_manifest_by_no_bootstrap_owner_is_refused(tmp_path: Path) -> None:
    with running_broker(tmp_path) as empty:
        for key in (None, BOB):
            with pytest.raises(OwnerUnauthenticated):
                empty.client(key).set_manifest(FIRST)
        assert empty.provider().create(A).name == A  # a bootstrap owner may, and may not unwrap
        (wrapped,) = empty.provider().wrap(A, [data_key()])
        with pytest.raises(ProviderDenied):
            empty.provider().unwrap([wrapped])


def test_manifests_are_listed_verified_and_an_older_one_is_refused(broker: OwnersBroker) -> None:
    (listed,) = broker.client().manifests()
    assert (listed.manifest.version, listed.signers) == (1, frozenset({"alice", "bob"}))
    with pytest.raises(ManifestRollback):
        broker.client(None).set_manifest(FIRST)


def test_key_of_no_owner_is_denied_everything(broker: OwnersBroker) -> None:
    broker.provider().create(A)
    (wrapped,) = broker.provider().wrap(A, [data_key()])
    stranger = broker.provider(MALLORY)
    for call in (
        stranger.list,
        lambda: stranger.create(KeyName.parse("key:main/m.dev")),
        lambda: stranger.describe(A),
        lambda: stranger.wrap(A, [data_key()]),
        lambda: stranger.unwrap([wrapped]),
        lambda: stranger.destroy(A, version=1, even_if_referenced=True),
    ):
        with pytest.raises(ProviderDenied, match="no owner's"):
            call()


def test_other_owner_gets_no_data_key_and_manages_no_key(broker: OwnersBroker) -> None:
    broker.provider().create(A)
    (wrapped,) = broker.provider().wrap(A, [data_key()])
    bob = broker.provider(BOB)
    for call in (
        lambda: bob.unwrap([wrapped]),
        lambda: bob.release([wrapped]),
        lambda: bob.rotate(A),
    ):
        with pytest.raises(ProviderDenied, match="owner_forbidden"):
            call()


def test_dataset_that_no_manifest_lists_is_not_opened(broker: OwnersBroker) -> None:
    broker.provider().create(A)
    (wrapped,) = broker.provider().wrap(A, [data_key(dataset=UUID(int=77))])
    with pytest.raises(ProviderDenied):
        broker.provider().unwrap([wrapped])


def test_audit_log_has_what_owners_did_and_no_secret(broker: OwnersBroker) -> None:
    broker.provider().create(A)
    key = data_key()
    (wrapped,) = broker.provider().wrap(A, [key])
    broker.provider().unwrap([wrapped])
    head, _ = broker.client().audit_head()
    rows = list(broker.client().audit_rows(start=1, end=head.end.number))
    assert [it.number for it in rows] == list(range(1, head.end.number + 1))
    assert [it.event.get("call") for it in rows if it.event["event"] == "keys"] == ["create", "wrap", "unwrap"]
    assert base64.b64encode(key.secret).decode() not in str(rows)


# --- brokers that are not ---------------------------------------------------------------------------------------------
def test_broker_of_another_ca_is_refused(broker: OwnersBroker, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path / "other").file.read_bytes()
    with pytest.raises(ProviderUntrusted, match="pinned"):
        BrokerProvider(client_of(broker.url, ca=other)).list()


def test_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, b"{}")

    with serve(answer, authority.server("broker.example")) as port, pytest.raises(ProviderUntrusted):
        BrokerProvider(client_of(f"https://localhost:{port}", ca=authority.file.read_bytes())).wrap(A, [data_key()])
    assert seen == []


def test_broker_with_another_id_is_refused_before_it_is_sent_a_key(broker: OwnersBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerUntrusted):
        broker.client(broker_id="ab" * 32).facts()
    with between(broker, tmp_path, lambda request, reply: reply) as (url, ca, seen):
        provider = BrokerProvider(client_of(url, ca=ca, broker_id="ab" * 32))
        for _ in range(2):
            with pytest.raises(ProviderUntrusted):
                provider.wrap(A, [data_key()])
    assert {it.path for it in seen} == {"/redoubt/v1/broker"}


def test_pinned_broker_is_served(broker: OwnersBroker) -> None:
    assert broker.client(broker_id=broker.id).facts().id == broker.id


def test_token_for_another_broker_under_the_same_ca_is_refused(broker: OwnersBroker, tmp_path: Path) -> None:
    def lie(request: Request, reply: Reply) -> Reply:
        if request.path != "/redoubt/v1/broker":
            return reply
        return Reply.of({**json.loads(other), "name": "liar"})

    (tmp_path / "other").mkdir()
    with running_broker(tmp_path / "other") as second:
        other = Client(second.running.port, CA.certificate, second.id).call("GET", "/redoubt/v1/broker").ok
        with between(broker, tmp_path, lie) as (url, ca, _), pytest.raises(ProviderDenied, match="'aud' differs"):
            BrokerProvider(client_of(url, ca=ca)).list()


# --- answers that were changed ----------------------------------------------------------------------------------------
class between:  # noqa: N801 - a context manager that reads as a word
    """Someone with a certificate of a trusted CA, between an owner and the broker, who changes answers."""

    def __init__(self, broker: OwnersBroker, folder: Path, change: Callable[[Request, Reply], Reply]) -> None:
        self._client = Client(broker.running.port, CA.certificate, broker.id)
        self._authority = TestAuthority(folder / "between")
        self._change = change
        self.seen: list[Request] = []

    def _answer(self, request: Request) -> Reply:
        self.seen.append(request)
        headers = {name: it for name, it in request.headers.items() if name.lower() == "authorization"}
        answer = self._client.call(request.method, request.path, request.body or None, headers=headers)
        return self._change(request, Reply(answer.status, answer.body))

    def __enter__(self) -> tuple[str, bytes, list[Request]]:
        self._server = serve(self._answer, self._authority.server())
        port = self._server.__enter__()
        return f"https://localhost:{port}", self._authority.file.read_bytes(), self.seen

    def __exit__(self, *_: Any) -> None:
        self._server.__exit__(None, None, None)


def _to_another_key(_: Any) -> bytes:
    stranger = ec.generate_private_key(ec.SECP256R1())
    return encrypt(encode_secrets([data_key()]), Recipient.parse(public_jwk(stranger)))


def _cut_ciphertext(body: Any) -> bytes:
    return json.dumps({**body, "ciphertext": body["ciphertext"][:-4]}).encode()


@pytest.mark.parametrize(
    "change",
    [_to_another_key, _cut_ciphertext, lambda body: b'{"secrets":[]}', lambda body: b"", lambda body: b"[]"],
    ids=["to another key", "cut", "in the clear", "empty", "a list"],
)
def test_changed_unwrap_is_refused(broker: OwnersBroker, tmp_path: Path, change: Callable[[Any], bytes]) -> None:
    key = data_key()
    broker.provider().create(A)
    (wrapped,) = broker.provider().wrap(A, [key])
    changes = [False]

    def answer(request: Request, reply: Reply) -> Reply:
        if not changes[0] or not request.path.endswith("/unwrap"):
            return reply
        return Reply(200, change(json.loads(reply.content)))

    with between(broker, tmp_path, answer) as (url, ca, _):
        provider = BrokerProvider(client_of(url, ca=ca))
        assert facts(provider.unwrap([wrapped])[0]) == facts(key)  # the control
        changes[0] = True
        with pytest.raises(ProviderAnswerInvalid):
            provider.unwrap([wrapped])


def test_wrapped_keys_of_another_context_or_number_are_refused(broker: OwnersBroker, tmp_path: Path) -> None:
    broker.provider().create(A)
    (other,) = broker.provider().wrap(A, [data_key()])
    text = base64.b64encode(other.encode()).decode()
    old = replace(other, version=9)
    for records in ([text], [], [text, text]):
        with between(broker, tmp_path, lambda request, reply, found=records: _records(request, reply, found)) as (  # type: ignore[misc]
            url,
            ca,
            _,
        ):
            provider = BrokerProvider(client_of(url, ca=ca))
            with pytest.raises(ProviderAnswerInvalid):
                provider.wrap(A, [data_key()])
            with pytest.raises(ProviderAnswerInvalid):  # an older version, or other than asked for
                provider.rewrap([old])


def _records(request: Request, reply: Reply, found: list[str]) -> Reply:
    changed = request.path.endswith(("/wrap", "/rewrap"))
    return Reply.of({"records": found}) if changed else reply


def test_facts_of_another_key_are_refused(broker: OwnersBroker, tmp_path: Path) -> None:
    def renamed(request: Request, reply: Reply) -> Reply:
        return Reply(reply.status, reply.content.replace(b"main/a.dev", b"main/b.dev"))

    with between(broker, tmp_path, renamed) as (url, ca, _), pytest.raises(ProviderAnswerInvalid, match="main/b"):
        BrokerProvider(client_of(url, ca=ca)).create(A)


_CALLS: dict[str, Callable[[Provider, WrappedKey], object]] = {
    "GET /keys": lambda provider, wrapped: provider.list(),
    "POST /keys/describe": lambda provider, wrapped: provider.describe(A),
    "POST /keys/wrap": lambda provider, wrapped: provider.wrap(A, [data_key()]),
    "POST /keys/unwrap": lambda provider, wrapped: provider.unwrap([wrapped]),
    "POST /keys/rewrap": lambda provider, wrapped: provider.rewrap([wrapped]),
    "POST /keys/settle": lambda provider, wrapped: provider.settle([wrapped]),
    "POST /keys/references": lambda provider, wrapped: provider.references(A),
}


@dataclass
class Recorded:
    """Honest answers by request, and a server that gives them, or others."""

    wrapped: WrappedKey
    honest: dict[str, bytes] = field(default_factory=dict)
    changed: dict[str, Reply] = field(default_factory=dict)
    provider: Callable[[], BrokerProvider] = field(init=False)

    @staticmethod
    def name(request: Request) -> str:
        return f"{request.method} {request.path.removeprefix('/redoubt/v1')}"

    def record(self, request: Request, reply: Reply) -> Reply:
        self.honest[self.name(request)] = reply.content
        return reply

    def replay(self, request: Request) -> Reply:
        name = self.name(request)
        return self.changed.get(name, Reply(200, self.honest[name]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    with running_broker(folder) as broker:
        broker.client().set_manifest(FIRST)
        broker.provider().create(A)
        (wrapped,) = broker.provider().wrap(A, [data_key()])
        found = Recorded(wrapped)
        with between(broker, folder, found.record) as (url, ca, _):
            for call in _CALLS.values():
                call(BrokerProvider(client_of(url, ca=ca)), wrapped)
    authority = TestAuthority(folder / "replayed")
    with serve(found.replay, authority.server()) as port:
        pem = authority.file.read_bytes()
        found.provider = lambda: BrokerProvider(client_of(f"https://localhost:{port}", ca=pem))
        yield found


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    name=st.sampled_from(["GET /broker", *_CALLS]),
    value=json_values,
    status=st.sampled_from([200, 200, 200, 400, 404, 500]),
)
def test_any_answer_is_an_error_of_keys_or_what_was_asked_for(
    recorded: Recorded, data: st.DataObject, name: str, value: Any, status: int
) -> None:
    body = json.loads(recorded.honest[name])
    content = json.dumps(mutate(body, data, value) if body else value).encode()
    recorded.changed = {name: Reply(status, content)}
    with contextlib.suppress(KeyError_):
        _CALLS.get(name, _CALLS["GET /keys"])(recorded.provider(), recorded.wrapped)


# --- brokers that are ill ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "reply",
    [Reply(500, b""), Reply(500, b"<html>"), Reply(503, b"{}"), Reply(502, b""), Reply(429, b"{}"), Reply(307, b"{}")],
    ids=["500", "html", "503", "502", "429", "redirect"],
)
def test_broker_that_fails_is_unreachable(broker: OwnersBroker, tmp_path: Path, reply: Reply) -> None:
    def fail(request: Request, honest: Reply) -> Reply:
        return honest if request.path == "/redoubt/v1/broker" else reply

    with between(broker, tmp_path, fail) as (url, ca, seen):
        provider = BrokerProvider(client_of(url, ca=ca))
        with pytest.raises(ProviderUnreachable):
            provider.settle([])
        with pytest.raises(ProviderUnreachable):
            provider.create(A)
    tokens = [it.headers["Authorization"] for it in seen if it.path != "/redoubt/v1/broker"]
    assert len(set(tokens)) == len(tokens)  # each is good once, so each try has its own


def test_lost_answer_does_not_create_or_wrap_twice(broker: OwnersBroker, tmp_path: Path) -> None:
    def lose(request: Request, honest: Reply) -> Reply:
        return honest if request.path == "/redoubt/v1/broker" else Reply(502, b"")

    with between(broker, tmp_path, lose) as (url, ca, _):
        provider = BrokerProvider(client_of(url, ca=ca))
        with pytest.raises(ProviderUnreachable):
            provider.create(A)
        with pytest.raises(ProviderUnreachable):
            provider.wrap(A, [data_key()])
        with pytest.raises(ProviderUnreachable):
            provider.rotate(A)
    (first, second) = broker.provider().describe(A).versions
    assert (first.wraps, second.wraps) == (1, 0)


def test_nobody_listening_is_unreachable() -> None:
    assert PATIENCE < 5
    with pytest.raises(ProviderUnreachable):
        BrokerProvider(client_of("https://127.0.0.1:9", ca=CA.certificate)).list()


# --- settings ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def place(tmp_path: Path) -> ProviderPlace:
    create_owner_key(tmp_path / "owner.pem")
    (tmp_path / "ca.pem").write_bytes(CA.certificate)
    (tmp_path / "text").write_text("no certificate")
    return ProviderPlace(tmp_path, None)


GOOD = {"url": "https://127.0.0.1:8443", "ca": "ca.pem", "owner_key": "owner.pem"}


def test_settings_are_relative_to_the_workspace_and_ask_nobody(place: ProviderPlace) -> None:
    assert isinstance(open_provider("broker", GOOD, place), BrokerProvider)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://127.0.0.1:8443"},
        {"url": "https://user:secret@127.0.0.1"},
        {"url": "https://127.0.0.1/path"},
        {"ca": "missing.pem"},
        {"ca": "text"},
        {"ca": "."},
        {"owner_key": "missing.pem"},
    ],
)
def test_unusable_settings_are_refused_at_once(place: ProviderPlace, wrong: dict[str, str]) -> None:
    with pytest.raises(ProviderSettingsInvalid):
        open_provider("broker", {**GOOD, **wrong}, place)


def test_missing_setting_and_open_owner_key_are_refused(place: ProviderPlace) -> None:
    from redoubt.errors import OwnerKeyInvalid

    with pytest.raises(ProviderSettingsInvalid, match="owner_key"):
        open_provider("broker", {it: GOOD[it] for it in ("url", "ca")}, place)
    (place.folder / "owner.pem").chmod(0o640)
    with pytest.raises(OwnerKeyInvalid):
        open_provider("broker", GOOD, place)
