"""The key endpoint over both transports: one contract; then who is refused, and what is left when it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sealed.samples import CONTENTS, read_dataset, write_dataset

from redoubt.agent.certificate import job_certificate
from redoubt.agent.client import EndpointClient, endpoint_keys
from redoubt.agent.endpoint import KeyEndpoint, Transport
from redoubt.errors import (
    EndpointError,
    EndpointRefused,
    EndpointUnreachable,
    KeyDisabled,
    KeyUnknown,
    RedoubtError,
    WrapRefused,
)
from redoubt.keys.provider import KeyState
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.limits import MAX_ENDPOINT_CONNECTIONS, MAX_ENDPOINT_REQUEST_BYTES
from redoubt.protocol.endpoint import UnwrapRequest
from redoubt.sealed.dataset import Dataset

fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def keys(workspace: Workspace) -> Workspace:
    return workspace


@pytest.fixture(params=list(Transport))
def endpoint(request: pytest.FixtureRequest, keys: Workspace) -> Iterator[KeyEndpoint]:
    with KeyEndpoint(keys, transport=request.param) as running:
        yield running


@pytest.fixture
def client(endpoint: KeyEndpoint) -> EndpointClient:
    return EndpointClient(endpoint.folder)


def make(client: EndpointClient) -> tuple[DataKey, WrappedKey]:
    return client.new_data_key(None, WrapContext(uuid4(), uuid4()))


def connect(folder: Path) -> http.client.HTTPConnection:
    """A connection as the client makes it, to say on it what the client never would."""
    return EndpointClient(folder)._connect()


def headers(folder: Path) -> dict[str, str]:
    return EndpointClient(folder)._authorisation()


def ask(
    folder: Path, method: str, path: str, body: bytes = b"", more: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    """Send one request; return status, media type and body."""
    connection = connect(folder)
    try:
        with contextlib.suppress(BrokenPipeError):  # refused unread: the answer is there
            connection.request(method, path, body=body, headers={**headers(folder), **(more or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()
    finally:
        connection.close()


def problem(answer: tuple[int, str, bytes]) -> str:
    """Check that *answer* is a problem document; return its code."""
    status, media_type, body = answer
    document = json.loads(body)
    assert media_type == "application/problem+json"
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status >= 400
    return str(document["type"]).removeprefix("urn:redoubt:error:")


# --- the contract -----------------------------------------------------------------------------------------------------
def test_health(client: EndpointClient) -> None:
    assert client.health() == {"api": "redoubt-key-endpoint", "version": 1}


def test_what_was_made_is_unwrapped(client: EndpointClient, keys: Workspace) -> None:
    made, wrapped = make(client)
    (again,) = client.unwrap([wrapped])
    (direct,) = keys.unwrap([wrapped])
    assert made.secret == again.secret == direct.secret


def test_batches_keep_their_order_across_datasets(client: EndpointClient) -> None:
    made = [make(client) for _ in range(3)] * 2
    assert [key.secret for key in client.unwrap([wrapped for _, wrapped in made])] == [key.secret for key, _ in made]
    assert client.unwrap([]) == []


def test_large_batches_are_cut(client: EndpointClient) -> None:
    _, wrapped = make(client)
    assert len(client.unwrap([wrapped] * 1500)) == 1500


def test_a_dataset_is_written_and_read_through_it(endpoint: KeyEndpoint, tmp_path: Path) -> None:
    source = endpoint_keys(str(endpoint.folder))
    write_dataset(tmp_path / "dataset", source)
    assert read_dataset(Dataset.open(str(tmp_path / "dataset"), keys=source)) == dict(CONTENTS)


def test_many_clients_at_once(endpoint: KeyEndpoint) -> None:
    def use(_: int) -> bool:
        client = EndpointClient(endpoint.folder)
        made, wrapped = make(client)
        return client.unwrap([wrapped])[0].secret == made.secret

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(use, range(48)))


def test_errors_come_back_as_what_they_were(client: EndpointClient, keys: Workspace) -> None:
    with pytest.raises(KeyUnknown):
        client.new_data_key("nobody", WrapContext(uuid4(), uuid4()))
    _, wrapped = make(client)
    from dataclasses import replace

    with pytest.raises(WrapRefused) as caught:
        client.unwrap([replace(wrapped, ciphertext=bytes(60))])
    assert caught.value.code == "key.context"
    name = keys.resolve(f"disabled-{uuid4().hex[:8]}")
    keys.provider_for(name).create(name)
    keys.provider_for(name).set_state(name, KeyState.DISABLED)
    with pytest.raises(KeyDisabled):
        client.new_data_key(str(name), WrapContext(uuid4(), uuid4()))


def test_a_record_of_another_dataset_than_asked_for_is_refused(client: EndpointClient, endpoint: KeyEndpoint) -> None:
    _, wrapped = make(client)
    body = UnwrapRequest(uuid4(), wrapped.context.purpose, (wrapped,)).encode()
    assert problem(ask(endpoint.folder, "POST", "/v1/unwrap", body)) == "endpoint.failed"


def test_keep_alive(endpoint: KeyEndpoint) -> None:
    connection = connect(endpoint.folder)
    for _ in range(3):
        connection.request("GET", "/v1/health", headers=headers(endpoint.folder))
        assert connection.getresponse().read()
        connection.request("POST", "/v1/unwrap", body=b"{}", headers=headers(endpoint.folder))
        answer = connection.getresponse()
        assert answer.status == 400
        answer.read()
    connection.close()


# --- malformed requests -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/unwrap"),
        ("POST", "/v1/health"),
        ("POST", "/v2/unwrap"),
        ("PUT", "/v1/unwrap"),
        ("BREW", "/"),
    ],
)
def test_other_calls_are_problems(endpoint: KeyEndpoint, method: str, path: str) -> None:
    assert problem(ask(endpoint.folder, method, path, b"{}" if method != "GET" else b"")) == "endpoint.failed"


@fuzz
@given(st.sampled_from(["/v1/unwrap", "/v1/data-keys"]), st.binary(max_size=200) | st.just(b"[" * 5000))
def test_any_body_is_answered_by_a_problem(endpoint: KeyEndpoint, path: str, body: bytes) -> None:
    assert problem(ask(endpoint.folder, "POST", path, body)) == "endpoint.failed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@fuzz
@given(st.data())
def test_any_json_is_answered_by_a_problem(endpoint: KeyEndpoint, data: st.DataObject) -> None:
    path, members = data.draw(
        st.sampled_from(
            [
                ("/v1/unwrap", ("dataset", "purpose", "records")),
                ("/v1/data-keys", ("key", "dataset", "data_key", "purpose")),
            ]
        )
    )
    body = {member: data.draw(json_values) for member in members}
    code = problem(ask(endpoint.folder, "POST", path, json.dumps(body).encode()))
    assert code.partition(".")[0] in {"endpoint", "key"}


def test_a_primary_key_named_by_nonsense_is_a_problem(endpoint: KeyEndpoint) -> None:
    for name in ("\ud800", "../../etc", "x" * 10_000, "key:a/b/c"):
        body = {"key": name, "dataset": str(uuid4()), "data_key": str(uuid4()), "purpose": "data"}
        assert problem(ask(endpoint.folder, "POST", "/v1/data-keys", json.dumps(body).encode())).startswith("key.")


@pytest.mark.parametrize(
    "more",
    [
        {"Content-Length": str(MAX_ENDPOINT_REQUEST_BYTES + 1)},
        {"Content-Length": "9" * 5000},
        {"Content-Length": "-1"},
        {"Content-Length": "1e3"},
        {"Content-Length": "٣"},
        {"Content-Length": ""},
        {"Transfer-Encoding": "chunked", "Content-Length": "2"},
    ],
)
def test_oversize_and_unbounded_requests_are_refused_unread(endpoint: KeyEndpoint, more: dict[str, str]) -> None:
    connection = connect(endpoint.folder)
    connection.putrequest("POST", "/v1/unwrap")
    for name, value in {**headers(endpoint.folder), **more}.items():
        connection.putheader(name, value.encode("utf-8"))
    connection.endheaders()
    answer = connection.getresponse()
    assert problem((answer.status, answer.headers.get_content_type(), answer.read())) == "endpoint.failed"
    assert answer.headers["Connection"] == "close" or answer.isclosed()
    connection.close()


def test_two_lengths_are_refused(endpoint: KeyEndpoint) -> None:
    connection = connect(endpoint.folder)
    connection.putrequest("POST", "/v1/unwrap")
    for name, value in [*headers(endpoint.folder).items(), ("Content-Length", "2"), ("Content-Length", "3")]:
        connection.putheader(name, value)
    connection.endheaders(b"{}")
    answer = connection.getresponse()
    assert problem((answer.status, answer.headers.get_content_type(), answer.read())) == "endpoint.failed"
    connection.close()


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET /v1/health HTTP/9.9\r\n\r\n", b"\0" * 70_000 + b"\r\n\r\n"])
def test_what_is_no_http_gets_a_problem_or_nothing(endpoint: KeyEndpoint, raw: bytes) -> None:
    connection = connect(endpoint.folder)
    connection.connect()
    answer = b""
    try:
        connection.sock.sendall(raw)
        while more := connection.sock.recv(65536):
            answer += more
    except OSError:
        pass
    connection.close()
    assert b"<html" not in answer.lower()
    assert b"Traceback" not in answer
    assert EndpointClient(endpoint.folder).health()


def test_a_client_that_goes_away_harms_nobody(endpoint: KeyEndpoint) -> None:
    for sent in (b"", b"POST /v1/unwrap HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf"):
        connection = connect(endpoint.folder)
        connection.connect()
        connection.sock.sendall(sent)
        connection.close()
    assert EndpointClient(endpoint.folder).health()


def test_internal_failures_show_nothing_of_the_inside(tmp_path: Path) -> None:
    class Broken:
        def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
            raise RuntimeError("the secret is hunter2")

        def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
            raise RuntimeError("the secret is hunter2")

    with KeyEndpoint(Broken()) as endpoint, pytest.raises(EndpointError) as caught:
        make(EndpointClient(endpoint.folder))
    assert "hunter2" not in caught.value.explain()
    assert "internally" in str(caught.value)


def test_no_answer_but_the_asked_one_holds_a_secret(endpoint: KeyEndpoint, client: EndpointClient) -> None:
    from base64 import b64encode

    made, wrapped = make(client)
    secret = b64encode(made.secret)
    body = UnwrapRequest(made.dataset_id, made.purpose, (wrapped,)).encode()
    assert secret in ask(endpoint.folder, "POST", "/v1/unwrap", body)[2]
    record = b64encode(wrapped.encode())
    for bad in (body.replace(record, record[:-8]), body[:-5], body.replace(b'"data"', b'"model"')):
        assert secret not in ask(endpoint.folder, "POST", "/v1/unwrap", bad)[2]


# --- who is refused ---------------------------------------------------------------------------------------------------
def test_the_folder_is_private(endpoint: KeyEndpoint) -> None:
    assert stat.S_IMODE(endpoint.folder.stat().st_mode) == 0o700
    for path in endpoint.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in endpoint.folder.iterdir() if path.is_file())


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770])
def test_a_folder_open_to_others_is_refused(endpoint: KeyEndpoint, mode: int) -> None:
    endpoint.folder.chmod(mode)
    with pytest.raises(EndpointRefused, match="not private"):
        EndpointClient(endpoint.folder)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606])
def test_a_description_open_to_others_is_refused(endpoint: KeyEndpoint, mode: int) -> None:
    (endpoint.folder / "endpoint.json").chmod(mode)
    with pytest.raises(EndpointRefused, match="not private"):
        EndpointClient(endpoint.folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_folder_of_another_user_is_refused(endpoint: KeyEndpoint) -> None:
    os.chown(endpoint.folder, 65534, 65534)
    with pytest.raises(EndpointRefused):
        EndpointClient(endpoint.folder)


def test_a_linked_description_is_refused(endpoint: KeyEndpoint, tmp_path: Path) -> None:
    (endpoint.folder / "endpoint.json").rename(tmp_path / "elsewhere")
    (endpoint.folder / "endpoint.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EndpointUnreachable):
        EndpointClient(endpoint.folder)


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2,"transport":"unix","socket":"endpoint.sock"}',
        b'{"version":1,"transport":"tcp","port":1}',
        b'{"version":1,"transport":"unix","socket":"../elsewhere/endpoint.sock"}',
        b'{"version":1,"transport":"unix","socket":7}',
        b'{"version":1,"transport":"unix","socket":"endpoint.sock","more":1}',
        b'{"version":1,"transport":"tls","port":70000,"certificate":"c","token":"t"}',
        b'{"version":1,"transport":"tls","port":true,"certificate":"c","token":"t"}',
        b'{"version":1,"transport":["unix"],"socket":"endpoint.sock"}',
    ],
)
def test_a_description_of_something_else_is_refused(tmp_path: Path, description: bytes) -> None:
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    (folder / "endpoint.json").write_bytes(description)
    (folder / "endpoint.json").chmod(0o600)
    with pytest.raises(EndpointError):
        EndpointClient(folder)


FOREIGN = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(10)
connection.connect(sys.argv[1])
try:
    connection.sendall(b"GET /v1/health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(len(connection.recv(1000)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_gets_no_answer(keys: Workspace) -> None:
    """The folder's permissions are taken away first, so that only the comparison of the peer is left."""
    with KeyEndpoint(keys, parent=Path("/tmp")) as endpoint:
        path = endpoint.folder / "endpoint.sock"
        endpoint.folder.chmod(0o711)
        path.chmod(0o666)
        ended = subprocess.run(
            [sys.executable, "-c", FOREIGN, str(path)], capture_output=True, text=True, timeout=30, check=True
        )
        assert ended.stdout == "0\n", ended.stderr
        endpoint.folder.chmod(0o700)
        assert EndpointClient(endpoint.folder).health()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_cannot_reach_the_socket(keys: Workspace) -> None:
    with KeyEndpoint(keys, parent=Path("/tmp")) as endpoint:
        command = [sys.executable, "-c", FOREIGN, str(endpoint.folder / "endpoint.sock")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "PermissionError" in ended.stderr


@pytest.fixture
def tls(keys: Workspace) -> Iterator[KeyEndpoint]:
    with KeyEndpoint(keys, transport=Transport.TLS) as running:
        yield running


@pytest.mark.parametrize("authorisation", [None, "Bearer wrong", "Bearer ", "Basic {}", "bearer {}", "Bearer {} ", "é"])
def test_a_wrong_token_is_refused_before_the_body_is_read(tls: KeyEndpoint, authorisation: str | None) -> None:
    connection = connect(tls.folder)
    connection.putrequest("POST", "/v1/unwrap")
    if authorisation is not None:
        token = (tls.folder / "token").read_text()
        value = authorisation.format(token[:-1] if authorisation.endswith("} ") else token)
        connection.putheader("Authorization", value.encode("latin-1"))
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert problem((answer.status, answer.headers.get_content_type(), answer.read())) == "endpoint.refused"
    assert answer.status == 403
    connection.close()


def test_a_client_with_a_wrong_token_is_told_so_however_much_it_sends(tls: KeyEndpoint) -> None:
    _, wrapped = make(EndpointClient(tls.folder))
    (tls.folder / "token").write_text("wrong")
    for count in (1, 1024):
        with pytest.raises(EndpointRefused):
            EndpointClient(tls.folder).unwrap([wrapped] * count)


def test_a_server_with_another_certificate_is_refused(tls: KeyEndpoint) -> None:
    (tls.folder / "certificate.pem").write_bytes(job_certificate().pem)
    with pytest.raises(EndpointRefused, match="not the key endpoint"):
        EndpointClient(tls.folder).health()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_only_tls_1_3_on_loopback(tls: KeyEndpoint, version: ssl.TLSVersion) -> None:
    port = json.loads((tls.folder / "endpoint.json").read_text())["port"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=(tls.folder / "certificate.pem").read_text())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        if version is ssl.TLSVersion.TLSv1_3:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                assert connection.version() == "TLSv1.3"
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_tls_listens_on_loopback_only(tls: KeyEndpoint) -> None:
    assert tls._server.socket.getsockname()[0] == "127.0.0.1"


def test_plain_http_gets_nothing_from_the_tls_endpoint(tls: KeyEndpoint) -> None:
    port = json.loads((tls.folder / "endpoint.json").read_text())["port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/health")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def test_silent_strangers_get_a_bounded_number_of_threads_and_no_time(
    tls: KeyEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack by any user of the machine: connect to the port and say nothing, or a byte now and then."""
    monkeypatch.setattr(type(tls._server), "admission_seconds", 1.0)
    before = threading.active_count()
    port = json.loads((tls.folder / "endpoint.json").read_text())["port"]
    silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(MAX_ENDPOINT_CONNECTIONS + 40)]
    time.sleep(0.5)
    assert threading.active_count() - before <= MAX_ENDPOINT_CONNECTIONS
    assert EndpointClient(tls.folder).health()["version"] == 1
    for connection in silent[:MAX_ENDPOINT_CONNECTIONS]:
        assert connection.recv(1) == b""
    for connection in silent:
        connection.close()


def test_a_stranger_who_dribbles_a_request_without_token_is_cut_off(
    tls: KeyEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tls._server), "admission_seconds", 1.0)
    connection = connect(tls.folder)
    connection.connect()
    begin = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT012  (which byte it is that fails depends on the buffers)
        while time.monotonic() - begin < 10:
            connection.sock.send(b"G")
            time.sleep(0.1)
    assert time.monotonic() - begin < 5
    connection.close()


def test_a_request_has_a_deadline_however_steadily_it_dribbles(
    endpoint: KeyEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.agent.endpoint.ENDPOINT_TIMEOUT_SECONDS", 1.0)
    connection = connect(endpoint.folder)
    connection.putrequest("POST", "/v1/unwrap")
    for name, value in {**headers(endpoint.folder), "Content-Length": "1000"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    begin = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT012
        while time.monotonic() - begin < 10:
            connection.sock.send(b" ")
            time.sleep(0.1)
    assert time.monotonic() - begin < 5
    connection.close()
    assert EndpointClient(endpoint.folder).health()["version"] == 1


def test_more_honest_clients_than_connections_are_all_served(endpoint: KeyEndpoint) -> None:
    def use(_: int) -> int:
        return int(EndpointClient(endpoint.folder).health()["version"])

    with ThreadPoolExecutor(2 * MAX_ENDPOINT_CONNECTIONS) as pool:
        assert sum(pool.map(use, range(3 * MAX_ENDPOINT_CONNECTIONS))) == 3 * MAX_ENDPOINT_CONNECTIONS


# --- the end ----------------------------------------------------------------------------------------------------------
def test_closing_it_removes_the_folder_and_the_keys(keys: Workspace) -> None:
    endpoint = KeyEndpoint(keys)
    client = EndpointClient(endpoint.folder)
    _, wrapped = make(client)
    assert endpoint._keys._cache
    endpoint.close()
    endpoint.close()
    assert not endpoint.folder.exists()
    assert not endpoint._keys._cache
    with pytest.raises(EndpointUnreachable):
        client.unwrap([wrapped])
    with pytest.raises(EndpointUnreachable):
        EndpointClient(endpoint.folder)


@pytest.mark.parametrize("transport", list(Transport))
def test_a_kept_connection_gives_no_keys_after_the_end(keys: Workspace, transport: Transport) -> None:
    endpoint = KeyEndpoint(keys, transport=transport)
    made, wrapped = make(EndpointClient(endpoint.folder))
    connection, authorisation = connect(endpoint.folder), headers(endpoint.folder)
    connection.request("GET", "/v1/health", headers=authorisation)
    connection.getresponse().read()
    endpoint.close()
    body = UnwrapRequest(made.dataset_id, made.purpose, (wrapped,)).encode()
    try:
        connection.request("POST", "/v1/unwrap", body=body, headers=authorisation)
        answer = connection.getresponse()
        assert problem((answer.status, answer.headers.get_content_type(), answer.read())) == "endpoint.unreachable"
    except (OSError, http.client.HTTPException):
        pass  # the connection is gone: as good
    connection.close()
    assert not endpoint._keys._cache


def test_an_endpoint_that_cannot_be_set_up_says_why(keys: Workspace, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(EndpointError, match="cannot be set up"):
        KeyEndpoint(keys, parent=deep)
    assert list(deep.iterdir()) == []


def test_unwrapped_keys_are_asked_for_once(keys: Workspace) -> None:
    asked: list[int] = []

    class Counting:
        def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
            return keys.new_data_key(key, context)

        def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
            asked.append(len(wrapped))
            return keys.unwrap(wrapped)

    _, wrapped = keys.new_data_key(None, WrapContext(uuid4(), uuid4()))
    with KeyEndpoint(Counting()) as endpoint:
        for _ in range(3):
            EndpointClient(endpoint.folder).unwrap([wrapped])
    assert asked == [1]


# --- where it is ------------------------------------------------------------------------------------------------------
def test_the_endpoint_is_found_by_the_environment(
    keys: Workspace, monkeypatch: pytest.MonkeyPatch, endpoint: KeyEndpoint
) -> None:
    monkeypatch.delenv("REDOUBT_ENDPOINT", raising=False)
    with pytest.raises(EndpointUnreachable, match="REDOUBT_ENDPOINT"):
        endpoint_keys()
    monkeypatch.setenv("REDOUBT_ENDPOINT", str(endpoint.folder))
    assert endpoint_keys() is endpoint_keys(str(endpoint.folder))
    with KeyEndpoint(keys) as second:
        monkeypatch.setenv("REDOUBT_ENDPOINT", str(second.folder))
        assert endpoint_keys() is not endpoint_keys(str(endpoint.folder))
        assert endpoint_keys().unwrap([]) == []


def test_no_endpoint_is_unreachable(tmp_path: Path, endpoint: KeyEndpoint) -> None:
    with pytest.raises(EndpointUnreachable):
        EndpointClient(tmp_path / "none")
    stale = tmp_path / "stale"
    shutil.copytree(endpoint.folder, stale, ignore=shutil.ignore_patterns("*.sock"))
    stale.chmod(0o700)
    client = EndpointClient(stale)
    endpoint.close()
    with pytest.raises(EndpointUnreachable):
        client.health()


def answer_with(folder: Path, raw: bytes) -> Callable[[], None]:
    """Make an endpoint folder whose server gives one prepared answer."""
    folder.mkdir(mode=0o700)
    (folder / "endpoint.json").write_text('{"version":1,"transport":"unix","socket":"endpoint.sock"}')
    (folder / "endpoint.json").chmod(0o600)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "endpoint.sock"))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(raw)
        connection.close()
        server.close()

    return serve


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"HTTP/1.1 200 OK\r\n\r\nnot json",
        b'HTTP/1.1 200 OK\r\n\r\n{"api":"other","version":1}',
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (4 * 1024 * 1024 + 1),
        b"HTTP/1.1 500 No\r\n\r\n<html>",
        b'HTTP/1.1 400 No\r\n\r\n["type"]',
        b'HTTP/1.1 400 No\r\n\r\n{"type":"urn:redoubt:error:no.such","detail":"x"}',
    ],
    ids=["nothing", "nonsense", "no json", "another api", "too long", "html", "no problem", "unknown code"],
)
def test_a_server_that_lies_is_an_endpoint_error(raw: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="liar-") as parent, ThreadPoolExecutor(1) as pool:
        folder = Path(parent) / "e"
        pool.submit(answer_with(folder, raw))
        with pytest.raises(EndpointError):
            EndpointClient(folder).health()


def test_an_unknown_code_is_still_an_error() -> None:
    from redoubt.agent.client import _problem

    error = _problem(b'{"type":"urn:redoubt:error:future.code","detail":"what failed"}')
    assert type(error) is EndpointError
    assert isinstance(_problem(b'{"type":"urn:redoubt:error:key.context","detail":"x"}'), RedoubtError)
