"""What stands around the service: rates, the history in force, statuses of errors, the OpenAPI page, the memory."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from tests.broker.world import envelope, successor

from redoubt.broker.answers import problem_reply, status_of
from redoubt.broker.core import Core
from redoubt.broker.in_force import PolicyHistory
from redoubt.broker.memory import BrokerMemory, Remembered
from redoubt.broker.metrics import Metrics
from redoubt.broker.openapi import OPENAPI_PATH, openapi_document
from redoubt.broker.openapi_schemas import SCHEMAS
from redoubt.broker.rate import RateLimiter
from redoubt.broker.routes import Call, Reply
from redoubt.broker.service import Service
from redoubt.broker.table import make_routes
from redoubt.broker.web import make_app
from redoubt.errors import (
    BrokerError,
    ManifestError,
    ManifestMissing,
    RateLimited,
    RedoubtError,
    RegisterRollback,
    WorkspaceError,
    by_code,
)
from redoubt.limits import MAX_RATE_LIMITED_PEERS
from redoubt.trust.signing import verify_manifest

PAGE = Path(__file__).parents[2] / "docs/openapi.json"
NOBODY: Core = None  # type: ignore[assignment]  # handlers are named here, never called
ROUTES = make_routes(Service(core=NOBODY, verifiers={}, metrics=Metrics()))


# --- rates ------------------------------------------------------------------------------------------------------------
def test_peer_that_asks_too_often_waits_and_others_do_not() -> None:
    limiter = RateLimiter(per_second=2, burst=3)
    for _ in range(3):
        limiter.admit("a", now=0)
    with pytest.raises(RateLimited) as refused:
        limiter.admit("a", now=0)
    assert refused.value.hint == "1"
    limiter.admit("b", now=0)
    limiter.admit("a", now=0.5)
    with pytest.raises(RateLimited):
        limiter.admit("a", now=0.5)


def test_page_of_the_interface_is_not_served_past_the_rate_limit() -> None:
    metrics = Metrics()
    app = make_app(ROUTES, metrics=metrics, limiter=RateLimiter(per_second=0.001, burst=2))
    assert [_status(app, OPENAPI_PATH) for _ in range(3)] == [200, 200, 429]
    assert b'redoubt_broker_requests_total{route="openapi",status="200"} 2.0' in metrics.text()


def test_methods_that_starlette_would_refuse_by_itself_are_not_answered_past_the_rate_limit() -> None:
    metrics = Metrics()
    app = make_app(ROUTES, metrics=metrics, limiter=RateLimiter(per_second=0.001, burst=2))
    assert [_status(app, "/healthz", "TRACE") for _ in range(3)] == [404, 404, 429]
    assert b'redoubt_broker_requests_total{route="unknown",status="404"} 2.0' in metrics.text()


def test_one_ipv6_network_has_one_bucket() -> None:
    app = make_app(ROUTES, metrics=Metrics(), limiter=RateLimiter(per_second=0.001, burst=2))
    peers = [f"2001:db8::{number}" for number in range(1, 4)]
    assert [_status(app, OPENAPI_PATH, peer=it) for it in (*peers, "2001:db8:0:1::1")] == [200, 200, 429, 200]


def test_host_header_does_not_change_which_path_an_owners_token_is_for() -> None:
    paths: list[str] = []
    route = replace(next(it for it in ROUTES if it.name == "health"), handle=lambda call: _note(paths, call))
    app = make_app((route,), metrics=Metrics(), limiter=RateLimiter())
    for host in (b"x/redoubt/v1/keys?", b"x#", b"[::1", b"a@b", b"x:99999", b"x\\y", b""):
        assert _status(app, route.path, headers=[(b"host", host)]) == 200
    assert set(paths) == {route.path}


def _note(paths: list[str], call: Call) -> Reply:
    paths.append(call.path)
    return Reply()


def _status(
    app: Starlette,
    path: str,
    method: str = "GET",
    *,
    peer: str = "192.0.2.1",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> int:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "client": (peer, 1),
        "server": ("127.0.0.1", 443),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_refusals_cost_more_and_are_forgiven() -> None:
    limiter = RateLimiter(per_second=1, burst=10)
    limiter.admit("a", now=0)
    for _ in range(100):
        limiter.charge("a", 10, now=0)
    with pytest.raises(RateLimited):
        limiter.admit("a", now=10)
    limiter.admit("a", now=12)


def test_number_of_peers_is_bounded() -> None:
    limiter = RateLimiter(per_second=1, burst=1)
    for peer in range(MAX_RATE_LIMITED_PEERS + 100):
        limiter.admit(str(peer), now=0)
    assert len(limiter._buckets) == MAX_RATE_LIMITED_PEERS


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=50))
def test_no_peer_gets_more_than_its_rate(steps: list[tuple[float, bool]]) -> None:
    limiter, now, admitted = RateLimiter(per_second=5, burst=5), 0.0, 0
    for pause, refused in steps:
        now += pause
        try:
            limiter.admit("a", now=now)
            admitted += 1
        except RateLimited:
            continue
        if refused:
            limiter.charge("a", 3, now=now)
    assert admitted <= 5 + 5 * now + 1


# --- the history in force ---------------------------------------------------------------------------------------------
class Envelopes:
    def __init__(self, *held: bytes) -> None:
        self.held = list(held)
        #: How many each look has read.
        self.read: list[int] = []

    def envelopes(self, *, start: int = 1) -> Sequence[bytes]:
        self.read.append(len(self.held) + 1 - start)
        return tuple(self.held[start - 1 :])

    def append(self, version: int, envelope: bytes) -> None:
        self.held.append(envelope)


FIRST = envelope()
SECOND = successor(verify_manifest(FIRST, previous=None))


def test_manifest_of_another_broker_is_in_force_at_once() -> None:
    store = Envelopes()
    history = PolicyHistory(store)
    with pytest.raises(ManifestMissing):
        history.current()
    store.append(1, FIRST.encode())
    assert history.current().manifest.version == 1
    assert history.add(SECOND).manifest.version == 2
    assert history.current().manifest.version == 2


@pytest.mark.parametrize("left", [[], [FIRST.encode()], [SECOND.encode(), FIRST.encode()]])
def test_history_that_was_put_back_releases_nothing(left: list[bytes]) -> None:
    store = Envelopes(FIRST.encode(), SECOND.encode())
    history = PolicyHistory(store)
    assert len(history.all()) == 2
    store.held = left
    for _ in range(2):
        with pytest.raises(RegisterRollback):
            history.current()


def test_long_history_is_not_read_anew_for_each_request() -> None:
    """A stranger's request for the broker's public facts cost as much as all manifests that ever were."""
    store = Envelopes(FIRST.encode(), SECOND.encode())
    history = PolicyHistory(store)
    assert [len(history.all()) for _ in range(3)] == [2, 2, 2]
    assert store.read == [2, 1, 1]


def test_manifest_that_nobody_signed_is_never_in_force() -> None:
    store = Envelopes(FIRST.encode().replace(b'"sig":"', b'"sig":"AAAA', 1))
    for _ in range(2):
        with pytest.raises(ManifestError):
            PolicyHistory(store).current()


# --- answers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [by_code()[code] for code in sorted(by_code())], ids=str)
def test_every_error_has_a_status_in_both_forms(kind: type[RedoubtError]) -> None:
    error = kind("what")
    assert 400 <= status_of(error) < 600
    for kbs in (False, True):
        reply = problem_reply(error, kbs=kbs)
        document = json.loads(reply.body)
        assert (document["status"], document["code"]) == (reply.status, kind.code)
        assert not kbs or reply.status in (401, 403, 404, 413, 429, 500, 503)


def test_a_fault_of_ours_is_no_refusal() -> None:
    assert status_of(BrokerError("the broker failed internally")) == 500


# --- OpenAPI ----------------------------------------------------------------------------------------------------------
def test_page_in_the_repository_is_what_is_served() -> None:
    assert json.loads(PAGE.read_text()) == json.loads(json.dumps(openapi_document(ROUTES)))


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    text = PAGE.read_text()
    used = {it.partition('"')[0] for it in text.split("#/components/schemas/")[1:]}
    assert used == set(SCHEMAS)
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)


def test_every_route_with_a_body_bounds_it() -> None:
    for route in ROUTES:
        assert (route.request is None) == (route.limit == 0), route.name


def test_metrics_have_no_label_that_a_request_could_choose() -> None:
    metrics = Metrics()
    for route in ROUTES:
        metrics.request(route.name, 200, 0.1)
    metrics.rate_limited()
    metrics.decision("attest", "granted")
    text = metrics.text().decode()
    assert 'redoubt_broker_requests_total{route="unwrap",status="200"} 1.0' in text
    labels = set(re.findall(r'[{,]([a-z]+)="', text))
    assert labels == {"route", "status", "le", "event", "decision"}


# --- memory -----------------------------------------------------------------------------------------------------------
def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    memory = BrokerMemory(tmp_path)
    assert memory.recall("https://a") is None
    seen = Remembered(broker="ab", head="a.b.c")
    memory.remember("https://a", seen)
    assert (memory.recall("https://a"), memory.recall("https://b")) == (seen, None)
    assert memory.ids() == {"ab"}
    (file,) = (tmp_path / "brokers").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{}")
    with pytest.raises(WorkspaceError):
        memory.ids()
    with pytest.raises(WorkspaceError):
        memory.recall("https://a")
