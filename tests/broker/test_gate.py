"""Strangers at the door: stalled handshakes, hoarded connections, peers that do not read, odd paths and methods."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
from tests.broker.client import Client

from redoubt.broker.core import Settings
from redoubt.broker.gate import Gate, peer_of
from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.keys.rootkey import create_root_key_file
from redoubt.limits import MAX_HANDSHAKES, MAX_PEER_CONNECTIONS, MAX_PEER_HANDSHAKES
from redoubt.pki.server import make_ca, make_server_certificate

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A broker with an empty store."""
    folder = tmp_path_factory.mktemp("gate")
    create_root_key_file(folder / "root.key")
    now = datetime.now(UTC)
    ca = make_ca("test", now=now)
    with (
        closing(SqlStore.create(SqliteLocation(folder / "s"), source=FileRoot(folder / "root.key"))) as store,
        RunningBroker(
            store,
            address=Address(HERE, 0),
            identity=make_server_certificate(ca, name="test", hosts=[HERE], now=now),
            settings=Settings(),
            verifiers={},
        ) as broker,
    ):
        yield Client(broker.port, ca.certificate, broker.core.id)


def stall(client: Client, address: str) -> socket.socket:
    """A connection from *address* that never begins its handshake."""
    return socket.create_connection((HERE, client.port), timeout=5, source_address=(address, 0))


def ended(connection: socket.socket, *, within: float = 5) -> bool:
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def tls(client: Client, request: bytes, *, receive_bytes: int | None = None) -> ssl.SSLSocket:
    plain = socket.socket()
    if receive_bytes is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.settimeout(5)
    plain.connect((HERE, client.port))
    context = ssl.create_default_context(cadata=client.ca.decode())
    connection = context.wrap_socket(plain, server_hostname=HERE)
    connection.sendall(request)
    return connection


def read_up_to(connection: socket.socket, most: int) -> int:
    """How many bytes come before *most*, or before the peer resets the connection."""
    got = 0
    try:
        while got < most and (data := connection.recv(1 << 20)):
            got += len(data)
    except (ConnectionResetError, ssl.SSLError):
        pass
    return got


def status(client: Client, request: bytes) -> bytes:
    with tls(client, request) as connection:
        return connection.recv(4000).split(b" ")[1]


# --- handshakes -------------------------------------------------------------------------------------------------------
def test_stalled_handshakes_of_one_peer_are_bounded_and_others_are_served(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.broker.gate.MAX_PEER_HANDSHAKES", 8)
    with ExitStack() as stack:
        held = [stack.enter_context(stall(client, "127.0.0.9")) for _ in range(8)]
        assert ended(stack.enter_context(stall(client, "127.0.0.9")))
        assert client.call("GET", "/healthz").status == 200
        assert not ended(held[0], within=0.05)
        held[0].close()
        time.sleep(0.1)
        assert not ended(stack.enter_context(stall(client, "127.0.0.9")), within=0.05)


def test_stalled_handshakes_of_many_peers_crowd_out_only_each_other(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.broker.gate.MAX_HANDSHAKES", 8)
    with ExitStack() as stack:
        held = [stack.enter_context(stall(client, f"127.0.1.{number}")) for number in range(1, 9)]
        assert client.call("GET", "/healthz").status == 200
        assert ended(held[0])
        assert not ended(held[1], within=0.05)


def test_finished_and_failed_handshakes_leave_no_count(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.broker.gate.MAX_PEER_HANDSHAKES", 2)
    monkeypatch.setattr("redoubt.broker.gate.MAX_PEER_CONNECTIONS", 3)
    for _ in range(6):
        assert client.call("GET", "/healthz").status == 200
        with socket.create_connection((HERE, client.port), timeout=5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(1000):
                pass
        time.sleep(0.02)


def test_connections_of_one_peer_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.broker.gate.MAX_PEER_CONNECTIONS", 3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(tls(client, b""))
        assert ended(stack.enter_context(stall(client, HERE)))
        assert not ended(stack.enter_context(stall(client, "127.0.0.9")), within=0.05)
    time.sleep(0.1)
    assert client.call("GET", "/healthz").status == 200


def test_gate_counts_what_comes_and_goes() -> None:
    gate = Gate()
    with ExitStack() as stack:
        one = stack.enter_context(socket.socket())
        for port in range(MAX_PEER_HANDSHAKES):
            assert gate.admit(one, ("192.0.2.1", port))
        assert not gate.admit(one, ("192.0.2.1", 9999))
        for port in range(MAX_PEER_HANDSHAKES):
            gate.established(("192.0.2.1", port))
        for port in range(MAX_PEER_HANDSHAKES, MAX_PEER_CONNECTIONS):
            assert gate.admit(one, ("192.0.2.1", port))
            gate.established(("192.0.2.1", port))
        assert not gate.admit(one, ("192.0.2.1", 9999))
        assert gate.admit(one, ("192.0.2.2", 1))
        for port in range(MAX_PEER_CONNECTIONS):
            gate.closed(("192.0.2.1", port))
        gate.closed(("192.0.2.2", 1))
        assert not gate._handshakes
        assert not gate._handshakes_of
        assert not gate._connections_of
        for number in range(2 * MAX_HANDSHAKES):
            assert gate.admit(one, (f"10.0.{number // 256}.{number % 256}", 1))
        assert len(gate._handshakes) == MAX_HANDSHAKES


def test_one_ipv6_network_is_one_peer() -> None:
    """Whoever has one address of it has 2^64: each would have a full bucket."""
    assert peer_of("2001:db8:1:2::1") == peer_of("2001:db8:1:2:ffff::9") != peer_of("2001:db8:1:3::1")
    assert peer_of("::ffff:192.0.2.1") == peer_of("192.0.2.1") != peer_of("192.0.2.2")
    assert peer_of("fe80::1%eth0") == peer_of("fe80::2%eth1")
    assert peer_of("unknown") == "unknown"


def test_broker_makes_room_for_its_connections(client: Client) -> None:
    """With 1024 descriptors, the usual soft limit, as many idle strangers would keep the store from being opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == resource.RLIM_INFINITY or soft >= min(hard, 1024 + MAX_HANDSHAKES)


# --- answers that nobody reads ----------------------------------------------------------------------------------------
def test_peer_that_asks_and_never_reads_is_let_go(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.broker.bounded_http.BROKER_ANSWER_SECONDS", 0.3)
    document = client.call("GET", "/openapi.json").ok
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with tls(client, request * 300, receive_bytes=4096) as greedy:
        time.sleep(0.8)
        assert read_up_to(greedy, 300 * len(document)) < 200 * len(document)


# --- paths and methods ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "line", ["TRACE /healthz", "PROPFIND /healthz", "OPTIONS *", "POST /healthz", "GET /healthz/", "GET //healthz"]
)
def test_other_methods_and_paths_are_answered_by_the_broker_and_lead_nowhere(client: Client, line: str) -> None:
    with tls(client, f"{line} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode()) as connection:
        answer = b"".join(iter(lambda: connection.recv(4000), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"usage.not_found" in answer
    assert b"evil.example" not in answer


def test_path_that_an_owner_signs_is_the_one_that_is_served_whatever_the_host_header_says(client: Client) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n"
    for host in (b"x/redoubt/v1/keys?", b"x#", b"[::1", b"a@b", b"x:99999", b"x\\y"):
        assert status(client, head % host) == b"200"
