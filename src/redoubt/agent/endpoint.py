"""The key endpoint: gives data keys to the processes of one job, over a socket that only this job's user can reach.

Transport and checks are those of ``docs/endpoint.md``: a unix socket in a 0700 folder with the peer's user compared, or
TLS 1.3 on loopback with a certificate made for this job and a token. Unwrapped keys are cached in memory, bounded in
number and time, and are gone when the endpoint closes. What stands behind it is any
:class:`redoubt.keys.provider.KeySource`.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import secrets
import shutil
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol, Self

from redoubt.agent.certificate import job_certificate
from redoubt.agent.connections import Connections
from redoubt.agent.runtime import make_socket_folder
from redoubt.errors import EndpointError, EndpointRefused, EndpointUnreachable, ExitStatus, RedoubtError
from redoubt.keys.cache import CachingKeySource
from redoubt.keys.provider import KeySource
from redoubt.limits import (
    ENDPOINT_ADMISSION_SECONDS,
    ENDPOINT_TIMEOUT_SECONDS,
    MAX_ENDPOINT_CONNECTIONS,
    MAX_ENDPOINT_REQUEST_BYTES,
)
from redoubt.protocol.endpoint import (
    ANNOUNCED_PATH,
    API_NAME,
    API_VERSION,
    ENDPOINT_FILE,
    ERROR_URN,
    REGISTER_PATH,
    RESOURCE_NAME,
    RESOURCE_PATH,
    DataKeyRequest,
    UnwrapRequest,
    dataset_of,
    decode_announcement,
    decode_heads,
    encode_announced,
    encode_data_key,
    encode_head,
    encode_keys,
)

_LINGER_SECONDS = 1.0
_POLL_SECONDS = 0.05
_LENGTH_DIGITS = len(str(MAX_ENDPOINT_REQUEST_BYTES))
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Transport(StrEnum):
    """How clients reach the endpoint."""

    UNIX = "unix"
    TLS = "tls"


class ResourceSource(Protocol):
    """Gives named secrets to the program."""

    def resource(self, path: str) -> bytes:
        """Return the resource ``repository/type/tag``; raises a RedoubtError if it is not given."""


class KeyEndpoint:
    """A running key endpoint. ``folder`` is what clients are told; :meth:`close` ends it and removes the folder."""

    def __init__(
        self,
        keys: KeySource,
        *,
        transport: Transport = Transport.UNIX,
        parent: Path | None = None,
        resources: ResourceSource | None = None,
        user: int | None = None,
    ) -> None:
        """*resources* answers what is asked for as of CoCo's hub; *user* is another user id that is served instead."""
        self._keys = CachingKeySource(keys)
        client = os.getuid() if user is None else user
        # In a caller's own folder (tests), else in one whose path is short enough for a socket.
        self.folder = (
            Path(tempfile.mkdtemp(prefix="redoubt-", dir=parent)) if parent else make_socket_folder("redoubt-")
        )
        self._server: _UnixServer | _TlsServer
        try:
            if transport is Transport.UNIX:
                self._server = _UnixServer(self.folder / "endpoint.sock", self._keys, client)
                description: dict[str, Any] = {"socket": "endpoint.sock"}
            else:
                self._server, description = _tls_server(self.folder, self._keys)
            _write_private(
                self.folder / ENDPOINT_FILE,
                json.dumps({"version": API_VERSION, "transport": transport.value, **description}).encode(),
            )
            self._server.resources = resources
            if user is not None:
                for it in (*self.folder.iterdir(), self.folder):
                    os.chown(it, user, -1)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise EndpointError(
                f"the key endpoint cannot be set up in {self.folder}: {error.strerror or error}",
                hint="Set XDG_RUNTIME_DIR or TMPDIR to a folder with a short path: a socket's has at most 107 bytes.",
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="redoubt-endpoint", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving, forget every key, remove the folder. May be called twice."""
        self._server.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._keys.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection: the three calls of API version 1."""

    protocol_version = "HTTP/1.1"
    server_version = API_NAME
    sys_version = ""
    timeout = ENDPOINT_TIMEOUT_SECONDS
    server: _UnixServer | _TlsServer

    def do_GET(self) -> None:
        if self.path.startswith(RESOURCE_PATH):
            self._answer({self.path: self._resource}, media_type="application/octet-stream")
        elif self.path.startswith(REGISTER_PATH):
            self._answer({self.path: self._head})
        elif self.path.startswith(ANNOUNCED_PATH):
            self._answer({self.path: self._announced})
        else:
            self._answer({"/v1/health": lambda _: json.dumps({"api": API_NAME, "version": API_VERSION}).encode()})

    def do_POST(self) -> None:
        if self.path.startswith(REGISTER_PATH):
            self._answer({self.path: self._register})
        elif self.path.startswith(ANNOUNCED_PATH):
            self._answer({self.path: self._announce})
        else:
            self._answer({"/v1/unwrap": self._unwrap, "/v1/data-keys": self._data_key})

    def _answer(self, calls: dict[str, Callable[[bytes], bytes]], *, media_type: str = "application/json") -> None:
        keep = not self.close_connection
        self.close_connection = True  # until the request is known to be read to its end
        try:
            if self.server.ended.is_set():
                raise EndpointUnreachable("the key endpoint has ended")
            self.server.authorise(self)  # before a byte of the body is read
            self.server.connections.renew(self.connection, ENDPOINT_TIMEOUT_SECONDS)
            body = self._body()
            self.close_connection = not keep
            call = calls.get(self.path)
            if call is None:
                raise EndpointError("there is no such call in version 1 of the key endpoint")
            answer = call(body)
        except RedoubtError as error:
            self._problem(error)
        except Exception:  # noqa: BLE001  (a client must get an answer, and never our internals)
            self._problem(EndpointError("the key endpoint failed internally"))
        else:
            self._send(HTTPStatus.OK, media_type, answer)
            self.server.connections.renew(self.connection, ENDPOINT_TIMEOUT_SECONDS)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what :mod:`http.server` itself refuses (a malformed request line, say) with a problem document."""
        self.close_connection = True
        self._problem(EndpointError(f"the request is no HTTP request of this API (HTTP status {int(code)})"))

    def _unwrap(self, body: bytes) -> bytes:
        return encode_keys(self.server.keys.unwrap(UnwrapRequest.decode(body).records))

    def _data_key(self, body: bytes) -> bytes:
        request = DataKeyRequest.decode(body)
        return encode_data_key(*self.server.keys.new_data_key(request.key, request.context))

    def _head(self, body: bytes) -> bytes:
        return encode_head(self.server.keys.registered_head(dataset_of(self.path)))

    def _register(self, body: bytes) -> bytes:
        previous, head = decode_heads(body)
        dataset_id = dataset_of(self.path)
        self.server.keys.register_head(dataset_id, previous=previous, head=head)
        return encode_head(head)

    def _announced(self, body: bytes) -> bytes:
        return encode_announced(self.server.keys.announced_heads(dataset_of(self.path)))

    def _announce(self, body: bytes) -> bytes:
        head = decode_announcement(body)
        self.server.keys.announce_head(dataset_of(self.path), head)
        return encode_head(head)

    def _resource(self, body: bytes) -> bytes:
        name = self.path.removeprefix(RESOURCE_PATH)
        if self.server.resources is None or not RESOURCE_NAME.fullmatch(name):
            raise EndpointError("there is no such resource here: its name is repository/type/tag")
        return self.server.resources.resource(name)

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", ["0"] if self.command == "GET" else [])
        if len(lengths) != 1 or not re.fullmatch("[0-9]+", lengths[0]) or "Transfer-Encoding" in self.headers:
            raise EndpointError("the request states no length")
        # Compared as text first: Python refuses to convert thousands of digits.
        if len(lengths[0]) > _LENGTH_DIGITS or int(lengths[0]) > MAX_ENDPOINT_REQUEST_BYTES:
            raise EndpointError(f"a request has at most {MAX_ENDPOINT_REQUEST_BYTES} bytes")
        body = self.rfile.read(int(lengths[0]))
        if len(body) != int(lengths[0]):
            raise EndpointError("the request is shorter than it states")
        return body

    def finish(self) -> None:
        """Let the peer read its answer: to close while bytes of it are unread would reset the connection."""
        with contextlib.suppress(OSError, ValueError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            unread = MAX_ENDPOINT_REQUEST_BYTES
            while unread > 0 and (data := self.connection.recv(65536)):
                unread -= len(data)
        super().finish()

    def _problem(self, error: RedoubtError) -> None:
        status = HTTPStatus.FORBIDDEN if error.exit_status is ExitStatus.REFUSED else HTTPStatus.BAD_REQUEST
        problem = {"type": ERROR_URN + error.code, "title": error.cause, "status": status.value, "detail": error.what}
        self._send(status, "application/problem+json", json.dumps(problem).encode())

    def _send(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server calls it so)
        """Say nothing: requests name datasets, and the audit trail is the broker's (issue B)."""


class _Threads(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A thread a connection, for so many connections and so long; further ones wait in the system's queue."""

    daemon_threads = True
    request_queue_size = 128
    resources: ResourceSource | None = None
    #: From accepting a connection to its first request with the right token.
    admission_seconds = ENDPOINT_TIMEOUT_SECONDS

    def __init__(self, *arguments: Any) -> None:
        self.connections = Connections(MAX_ENDPOINT_CONNECTIONS)
        self.ended = threading.Event()
        super().__init__(*arguments)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, if there is room."""
        if self.connections.full:
            time.sleep(_POLL_SECONDS / 10)
            raise OSError("as many connections as there may be")  # socketserver tries again; not seen by anybody
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection and start its thread."""
        self.connections.add(request, self.admission_seconds)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Count a connection that has ended no more."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End what is late; called by socketserver between connections and every _POLL_SECONDS."""
        super().service_actions()
        self.connections.end_late()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that fails the handshake or goes away in mid-request is no event."""


class _UnixServer(_Threads, socketserver.UnixStreamServer):
    def __init__(self, path: Path, keys: CachingKeySource, client: int) -> None:
        self.keys = keys
        self._client = client
        super().__init__(str(path), _Handler)
        path.chmod(0o600)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Drop connections of other users before a byte of theirs is read (socketserver's hook, hence the bool)."""
        raw = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return bool(_PEER.unpack(raw)[1] == self._client)

    def authorise(self, handler: _Handler) -> None:
        """The peer was checked when it connected."""


class _TlsServer(_Threads, socketserver.TCPServer):
    admission_seconds = ENDPOINT_ADMISSION_SECONDS

    def __init__(self, context: ssl.SSLContext, token: str, keys: CachingKeySource) -> None:
        self.keys = keys
        self._context = context
        self._token = token
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; the handshake happens in the handler's thread, so a slow peer blocks nobody."""
        connection, address = super().get_request()
        connection.settimeout(ENDPOINT_TIMEOUT_SECONDS)
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def authorise(self, handler: _Handler) -> None:
        """Compare the bearer token in constant time; raises EndpointRefused."""
        sent = handler.headers.get("Authorization", "")
        if not hmac.compare_digest(sent.encode(), f"Bearer {self._token}".encode()):
            raise EndpointRefused("the request does not carry this job's token")


def _tls_server(folder: Path, keys: CachingKeySource) -> tuple[_TlsServer, dict[str, Any]]:
    certificate = job_certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    certificate.load_into(context)
    token = secrets.token_urlsafe(32)
    server = _TlsServer(context, token, keys)
    _write_private(folder / "certificate.pem", certificate.pem)
    _write_private(folder / "token", token.encode())
    return server, {"port": server.server_address[1], "certificate": "certificate.pem", "token": "token"}


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
