"""The Java client of the key endpoint: both transports, whom it refuses, and answers that are not in the protocol."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from tests.jvm.conftest import java_of

from redoubt.agent.endpoint import KeyEndpoint, Transport
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import Workspace

pytestmark = pytest.mark.spark


@pytest.fixture
def client(spark: SparkSession) -> Iterator[Callable[[Path], Any]]:
    """Makes the client of an endpoint folder."""
    clients = java_of(spark).io.redoubt.keys.EndpointClient

    def of(folder: Path) -> Any:
        configuration = java_of(spark).org.apache.hadoop.conf.Configuration(False)
        configuration.set("redoubt.endpoint", str(folder))
        return clients.of(configuration)

    yield of
    clients.clear()


@pytest.fixture
def new_id(spark: SparkSession) -> Callable[[], Any]:
    return lambda: java_of(spark).java.util.UUID.randomUUID()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Py4JJavaError) as caught:
        call()
    return str(caught.value.java_exception.code())


@pytest.mark.parametrize("transport", list(Transport))
def test_a_new_key_is_unwrapped_again(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any], transport: Transport
) -> None:
    with KeyEndpoint(workspace, transport=transport) as endpoint:
        fresh = client(endpoint.folder).newDataKey(None, new_id(), new_id())
        again = client(endpoint.folder).unwrap(fresh.wrapped())
        assert again.id().toString() == fresh.key().id().toString()
        assert bytes(again.subkey("test", [])) == bytes(fresh.key().subkey("test", []))
        assert "secret=…" in fresh.key().toString()


def test_a_batch_keeps_its_order(
    spark: SparkSession, workspace: Workspace, client: Callable[[Path], Any], endpoint: KeyEndpoint
) -> None:
    dataset = uuid4()
    keys = [workspace.new_data_key(None, WrapContext(dataset, uuid4())) for _ in range(5)]
    decode = java_of(spark).io.redoubt.keys.WrappedKey.decode
    for _ in range(2):  # the second time from memory
        found = client(endpoint.folder).unwrap([decode(wrapped.encode()) for _, wrapped in keys])
        assert [key.id().toString() for key in found] == [str(key.id) for key, _ in keys]


def test_keys_are_remembered_until_they_are_cleared(
    spark: SparkSession, workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any]
) -> None:
    with KeyEndpoint(workspace) as endpoint:
        wrapped = client(endpoint.folder).newDataKey(None, new_id(), new_id()).wrapped()
        client(endpoint.folder).unwrap(wrapped)
    client(endpoint.folder).unwrap(wrapped)
    java_of(spark).io.redoubt.keys.EndpointClient.clear()
    assert code_of(lambda: client(endpoint.folder).unwrap(wrapped)) == "endpoint.unreachable"


def test_the_code_of_a_refusal_is_kept(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any], endpoint: KeyEndpoint
) -> None:
    assert code_of(lambda: client(endpoint.folder).newDataKey("no-such-key", new_id(), new_id())) == "key.unknown"
    assert code_of(lambda: client(endpoint.folder).newDataKey("no such name", new_id(), new_id())) == "key.invalid"


@pytest.mark.parametrize("name", ["", "endpoint.json"])
@pytest.mark.parametrize("mode", [0o740, 0o701, 0o720])
def test_what_others_can_reach_is_refused(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any], name: str, mode: int
) -> None:
    with KeyEndpoint(workspace) as endpoint:
        (endpoint.folder / name).chmod(mode)
        assert code_of(lambda: client(endpoint.folder).newDataKey(None, new_id(), new_id())) == "endpoint.refused"


@pytest.mark.parametrize("name", ["token", "certificate.pem"])
def test_tls_files_that_others_can_read_are_refused(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any], name: str
) -> None:
    with KeyEndpoint(workspace, transport=Transport.TLS) as endpoint:
        (endpoint.folder / name).chmod(0o644)
        assert code_of(lambda: client(endpoint.folder).newDataKey(None, new_id(), new_id())) == "endpoint.refused"


def test_symbolic_links_are_refused(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any], tmp_path: Path
) -> None:
    with KeyEndpoint(workspace) as endpoint:
        (tmp_path / "link").symlink_to(endpoint.folder)
        assert code_of(lambda: client(tmp_path / "link").newDataKey(None, new_id(), new_id())) == "endpoint.unreachable"


def test_another_jobs_certificate_or_token_is_refused(
    workspace: Workspace, client: Callable[[Path], Any], new_id: Callable[[], Any]
) -> None:
    with KeyEndpoint(workspace, transport=Transport.TLS) as one, KeyEndpoint(workspace, transport=Transport.TLS) as two:
        for name in ("certificate.pem", "token"):
            original = (one.folder / name).read_bytes()
            (one.folder / name).write_bytes((two.folder / name).read_bytes())
            assert code_of(lambda: client(one.folder).newDataKey(None, new_id(), new_id())) == "endpoint.refused"
            (one.folder / name).write_bytes(original)
        client(one.folder).newDataKey(None, new_id(), new_id())


@pytest.mark.parametrize(
    "description",
    [
        "{}",
        "[]",
        "{",
        '{"version": 2, "transport": "unix", "socket": "endpoint.sock"}',
        '{"version": 1, "transport": "tcp", "socket": "endpoint.sock"}',
        '{"version": 1, "transport": "unix", "socket": "../endpoint.sock"}',
        '{"version": 1, "transport": "unix", "socket": "/tmp/endpoint.sock"}',
        '{"version": 1, "transport": "unix", "socket": ".."}',
        '{"version": 1, "transport": "tls", "port": 0, "certificate": "a", "token": "b"}',
        '{"version": 1, "version": 1, "transport": "unix", "socket": "endpoint.sock"}',
    ],
)
def test_malformed_descriptions_are_refused(
    client: Callable[[Path], Any], new_id: Callable[[], Any], tmp_path: Path, description: str
) -> None:
    folder = _folder(tmp_path, description)
    assert code_of(lambda: client(folder).newDataKey(None, new_id(), new_id())) == "endpoint.failed"


def _folder(parent: Path, description: str) -> Path:
    folder = parent / "e"
    folder.mkdir(mode=0o700)
    (folder / "endpoint.json").touch(mode=0o600)
    (folder / "endpoint.json").write_text(description)
    return folder


def _answer(body: object, status: str = "200 OK") -> bytes:
    text = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


ANSWERS = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "too long": b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
    "no members": _answer({}),
    "error without code": _answer({"type": "about:blank"}, "500 Internal Server Error"),
    "secret of another length": _answer({"record": "", "secret": "AAAA"}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_out_of_protocol_are_refused(
    client: Callable[[Path], Any], new_id: Callable[[], Any], tmp_path: Path, answer: bytes
) -> None:
    folder = _folder(tmp_path, '{"version": 1, "transport": "unix", "socket": "s"}')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            # A client that has seen enough hangs up.
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        code = code_of(lambda: client(folder).newDataKey(None, new_id(), new_id()))
        thread.join()
    assert code in {"endpoint.failed", "sealed.header"}
