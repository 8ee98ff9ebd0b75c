"""Targets: what strangers, attested programs and owners send to a broker, through its handlers; and what it answers.

A handler runs on a real store, without HTTP before it. It gets a token that is right for whatever it is sent, so that
the fuzz reaches what is behind authentication.
"""

from __future__ import annotations

import base64
import functools
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from tests.broker.client import Client, SimulatedMachine
from tests.broker.world import ALICE, INPUT, OUTPUT, PROGRAM, envelope
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.broker.core import Core, Settings
from redoubt.broker.metrics import Metrics
from redoubt.broker.routes import Access, Call, Reply, Route
from redoubt.broker.service import Service
from redoubt.broker.table import make_routes
from redoubt.broker.tickets import Tickets
from redoubt.crypto.strict_json import parse_object
from redoubt.errors import (
    AuditBroken,
    BrokerError,
    BrokerMessage,
    OwnerUnauthenticated,
    RedoubtError,
    TicketRefused,
    TokenError,
)
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.protocol import owner_api
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.key_api import AdvanceRequest, AnnounceRequest, RegisteredHead
from redoubt.protocol.owner_token import OwnerRequest, sign_owner_token, verify_owner_token
from redoubt.protocol.rcar import AttestRequest, AuthRequest, Challenge
from redoubt.trust.audit_chain import START, export_line, follow, next_entry, parse_line
from redoubt.trust.audit_head import TYPE, sign_head, verify_head
from redoubt.trust.broker_key import key_id, sign_compact
from redoubt.trust.store import ManifestStore
from redoubt_dev import DevelopmentKey
from redoubt_dev.broker import simulated_verifiers
from redoubt_dev.workspace_store import WorkspaceStore

_NONCE, _EVIDENCE = b"NONCE", b"EVIDENCE"
_MEMORY = Path("/dev/shm")
_RENEW_SECONDS = 60.0
_WORDS = json.dumps(
    {
        "bearer": "eyJh.eyJh.AAAA",
        "session": str(UUID(int=1)),
        "dataset": str(OUTPUT),
        "id": str(UUID(int=2)),
        "repository": "input",
        "type": "key",
        "tag": "1",
        "start": "1",
        "limit": "10",
    }
).encode()


class Handlers:
    """The handlers of one development broker, on a store in memory where there is such a place."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="redoubt-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None, ignore_cleanup_errors=True
        )
        self.workspace = Workspace.init(Path(self._folder.name))
        for name in ("second", "bobs"):
            key = self.workspace.resolve(name)
            self.workspace.provider_for(key).create(key)
        ManifestStore(self.workspace.state_folder).put(envelope())
        machine = DevelopmentKey.generate()
        self.core = Core(store=WorkspaceStore.open(self.workspace), settings=Settings(development=True))
        service = Service(core=self.core, verifiers=simulated_verifiers(machine.key_set), metrics=Metrics())
        self.routes = {it.name: it for it in make_routes(service)}
        self.attester = SimulatedMachine(Client(0, b"", self.core.id), machine, PROGRAM)
        self._result, self._renew_at = "", 0.0

    def call(
        self,
        name: str,
        body: bytes,
        *,
        bearer: str | None = None,
        session: str | None = None,
        query: Mapping[str, str] = {},
        **words: str,
    ) -> Reply:
        """Call one handler; *words* are parameters of its path."""
        route = self.routes[name]
        values = {"dataset": str(OUTPUT), "repository": "input", "type": "t", "tag": "x", "id": str(uuid4()), **words}
        path = route.path.format(**values)
        return route.handle(
            Call(
                method=route.method,
                path=path,
                parameters={it: values[it] for it in values if f"{{{it}}}" in route.path},
                query=query,
                bearer=self._owner_token(route, path, body) if bearer is None else bearer,
                session=session,
                body=body,
            )
        )

    def _owner_token(self, route: Route, path: str, body: bytes) -> str | None:
        if route.access is not Access.OWNER and route.access is not Access.ENVELOPE:
            return self.result if route.access is Access.ATTESTER else None
        request = OwnerRequest(broker=self.core.id, method=route.method, path=path, body=body)
        return sign_owner_token(ALICE, request, now=datetime.now(UTC), token_id=uuid4())

    def words(self, data: bytes) -> None:
        """Call handlers with what HTTP carries outside of bodies: words of paths, queries, tokens and cookies."""
        found = parse_object(data, what="the words", limit=10_000, refusal=BrokerMessage)
        words = {name: str(found.get(name, "")) for name in ("dataset", "id", "repository", "type", "tag")}
        page = {name: str(found[name]) for name in ("start", "limit") if name in found}
        bearer, session = (str(found.get(it, "")) for it in ("bearer", "session"))
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("audit", {"query": page}),
            ("refusal", words),
            ("register", words),
            ("resource", words),
            ("resource", {**words, "bearer": bearer}),
            ("register", {**words, "bearer": bearer}),
            ("keys", {"bearer": bearer}),
            ("attest", {"bearer": "", "session": session}),
        )
        for name, given in calls:
            try:
                self.call(name, b"{}" if name == "attest" else b"", **given)
            except RedoubtError:
                continue

    def attest(self, data: bytes) -> Reply:
        """Send an attestation whose nonce and evidence, where they are not changed, are the right ones."""
        reply = self.call("auth", AuthRequest("simulated").encode(), bearer="")
        session = reply.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        nonce = base64.b64encode(Challenge.parse(reply.body).nonce)
        body = data.replace(_NONCE, nonce)
        if _EVIDENCE in body:
            try:
                report_data = AttestRequest.parse(body).report_data
            except RedoubtError:
                report_data = bytes(64)
            evidence = self.attester.evidence(report_data)
            assert isinstance(evidence, dict)
            body = body.replace(_EVIDENCE, str(evidence["eat"]).encode())
        return self.call("attest", body, bearer="", session=session)

    def attestation(self) -> bytes:
        """Return the body of an attestation with places for nonce and evidence."""
        request = json.loads(self.attester.request(bytes(32), evidence={"eat": _EVIDENCE.decode()}).encode())
        request["runtime-data"]["nonce"] = _NONCE.decode()
        return json.dumps(request).encode()

    @property
    def result(self) -> str:
        """An attestation result that holds: a run of tests lasts longer than one does."""
        if time.monotonic() >= self._renew_at:
            self._result = str(json.loads(self.attest(self.attestation()).body)["token"])
            self._renew_at = time.monotonic() + _RENEW_SECONDS
        return self._result

    def wrapped(self, dataset: UUID) -> WrappedKey:
        """A wrapped data key of *dataset*."""
        _, wrapped = self.workspace.new_data_key("default", WrapContext(dataset, uuid4()))
        return wrapped


def _handled(handlers: Handlers) -> list[Target]:
    """Every handler that reads a body, with bodies that it answers."""
    wrapped = handlers.wrapped(INPUT)
    name = KeyName.parse("key:main/default.dev")
    context = WrapContext(OUTPUT, uuid4())
    secret = DataKey(context=context, secret=bytes(32))
    key = owner_api.KeyRequest(name=name).encode()
    bodies: dict[str, bytes] = {
        "auth": AuthRequest("simulated").encode(),
        "unwrap": UnwrapRequest(INPUT, wrapped.context.purpose, (wrapped,)).encode(),
        "data-keys": DataKeyRequest("default", context).encode(),
        "keys-describe": key,
        "keys-rotate": key,
        "keys-references": key,
        "keys-wrap": owner_api.WrapRequest(name=name, keys=(secret,)).encode(),
    }

    def handle(route: str) -> Callable[[bytes], object]:
        return lambda body: handlers.call(route, body)

    return [
        *(
            Target(f"handler-{route}", handle(route), (body,), (RedoubtError,), Shape.JSON, slow=True)
            for route, body in bodies.items()
        ),
        Target("handler-words", handlers.words, (_WORDS,), (BrokerMessage,), Shape.JSON, slow=True),
        Target("handler-attest", handlers.attest, (handlers.attestation(),), (RedoubtError,), Shape.JSON, slow=True),
    ]


def _bare(handlers: Handlers) -> list[Target]:
    """Handlers whose honest body is good once, or not here: what they are sent is refused anyway."""
    head = RegisteredHead(number=1, digest="sha256:" + "ab" * 32)
    return [
        Target(
            "handler-register-advance",
            lambda body: handlers.call("register-advance", body),
            (AdvanceRequest(previous=None, head=head, ticket="AAAA").encode(),),
            (RedoubtError,),
            Shape.JSON,
            slow=True,
            refused=True,
        ),
        Target(
            "handler-announce",
            lambda body: handlers.call("announce", body),
            (AnnounceRequest(head=head, ticket="AAAA").encode(),),
            (RedoubtError,),
            Shape.JSON,
            slow=True,
            refused=True,
        ),
        Target(
            "handler-manifest-set",
            lambda body: handlers.call("manifest-set", body),
            (envelope().encode(),),
            (RedoubtError,),
            Shape.JSON,
            slow=True,
            refused=True,
        ),
    ]


def _owner_messages() -> list[Target]:
    """Both halves of the owners' key API."""
    name = KeyName.parse("key:main/default.dev")
    context = WrapContext(OUTPUT, UUID(int=9))
    secret = DataKey(context=context, secret=bytes(32))
    wrapped = WrappedKey(context, name, 1, "aes-256-gcm", bytes(60))
    info = _info(name)
    parsers: dict[str, tuple[Callable[[bytes], object], bytes]] = {
        "key": (owner_api.KeyRequest.parse, owner_api.KeyRequest(name=name).encode()),
        "wrap": (owner_api.WrapRequest.parse, owner_api.WrapRequest(name=name, keys=(secret,)).encode()),
        "info": (owner_api.parse_info, owner_api.encode_info(info)),
        "list": (owner_api.parse_list, owner_api.encode_list([info], frozenset({Assurance.DEV}))),
        "records": (owner_api.parse_records, owner_api.encode_records([wrapped])),
        "secrets": (lambda body: owner_api.parse_secrets(body, [wrapped]), owner_api.encode_secrets([secret])),
        "contexts": (owner_api.parse_contexts, owner_api.encode_contexts([context])),
    }
    return [
        Target(f"owner-api-{it}", parse, (good,), (BrokerError,), Shape.JSON) for it, (parse, good) in parsers.items()
    ]


def _info(name: KeyName) -> KeyInfo:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.init(Path(folder))
        return workspace.provider_for(name).describe(name)


_REQUEST = OwnerRequest(broker="broker", method="POST", path="/x", body=b"{}")
_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _owner_token(data: bytes) -> object:
    return verify_owner_token(data.decode(errors="replace"), _REQUEST, now=_AT)


def _signed_owner_token(payload: bytes) -> object:
    """Anybody can sign a token with a key of his own: it is the key that may be no owner's."""
    header = sign_owner_token(ALICE, _REQUEST, now=_AT, token_id=UUID(int=1)).partition(".")[0].encode()
    signed = header + b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    token = signed + b"." + base64.urlsafe_b64encode(ALICE.sign(signed)).rstrip(b"=")
    return verify_owner_token(token.decode(), _REQUEST, now=_AT)


def _claims(token: str) -> bytes:
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _audit_line(data: bytes) -> object:
    entry = parse_line(data)
    assert export_line(entry).rstrip(b"\n") == data.rstrip(b"\n")
    return list(follow(START, [entry]))


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    handlers = Handlers()
    signing = handlers.core.store.signing_key
    keys = KeySet((IssuerKey(signing.public_key(), kid=key_id(signing.public_key()), algorithm="ES384"),))
    owner = sign_owner_token(ALICE, _REQUEST, now=_AT, token_id=UUID(int=1))
    head = sign_head(START, key=signing, at=_AT)
    tickets = Tickets(signing)
    holder = {"kty": "EC"}
    ticket = tickets.issue(dataset_id=OUTPUT, holder=holder, now=_AT)
    facts = handlers.call("broker", b"", bearer="").body
    line = export_line(next_entry(START, {"event": "started", "n": 1}, at=_AT))
    return (
        *_handled(handlers),
        *_bare(handlers),
        *_owner_messages(),
        Target("owner-token", _owner_token, (owner.encode(),), (OwnerUnauthenticated,), Shape.TOKEN),
        Target("owner-token-signed", _signed_owner_token, (_claims(owner),), (OwnerUnauthenticated,), Shape.JSON),
        Target("broker-facts", BrokerFacts.parse, (facts,), (BrokerError,), Shape.JSON, slow=True),
        Target("audit-line", _audit_line, (line,), (AuditBroken,), Shape.JSON),
        Target("audit-head", functools.partial(verify_head, keys=keys, now=_AT), (head,), (TokenError,), Shape.TOKEN),
        Target(
            "audit-head-signed",
            lambda data: verify_head(sign_compact(data, key=signing, kind=TYPE), keys=keys, now=_AT),
            (_claims(head.decode()),),
            (TokenError,),
            Shape.JSON,
            slow=True,
        ),
        Target(
            "ticket",
            lambda data: tickets.check(data.decode(errors="replace"), dataset_id=OUTPUT, holder=holder, now=_AT),
            (ticket.encode(),),
            (TicketRefused,),
        ),
    )
