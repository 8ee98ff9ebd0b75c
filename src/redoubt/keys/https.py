"""JSON over HTTPS to one key service: verified TLS, no redirects, no proxies, bounded answers.

Decides that a URL is plain https, that the service proves its name to the configured CA (or the system's), and that an
answer is one bounded JSON object. It never follows a redirect, since that would let the service, or whoever speaks for
it, choose another host for a request with a credential, and it takes no proxy from the environment.

``http.client`` of the standard library does all of this; ``docs/adr/0013-providers.md`` has what others would weigh.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from redoubt.crypto.strict_json import JSON, parse_object
from redoubt.errors import (
    NotFound,
    ProviderAnswerInvalid,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    ProviderUntrusted,
)
from redoubt.keys.private import read_regular_file
from redoubt.limits import (
    MAX_CA_FILE_BYTES,
    MAX_IDLE_PROVIDER_CONNECTIONS,
    MAX_PROVIDER_ANSWER_BYTES,
    PROVIDER_TIMEOUT_SECONDS,
)

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service is: host, port, and the path below which its own paths lie."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, *, what: str = "the setting 'url'") -> Self:
        """Parse an https URL that is nothing but host, port and path.

        Raises:
            ProviderSettingsInvalid: it is another scheme, or carries a user, a query or a fragment.
        """
        try:
            parts = urlsplit(url)
            port = 443 if parts.port is None else parts.port
        except ValueError:
            raise ProviderSettingsInvalid(f"{what} is not a URL") from None
        if parts.scheme != "https":
            raise ProviderSettingsInvalid(f"{what} does not begin with https://")
        host, path = parts.hostname or "", parts.path.rstrip("/")
        plain = f"https://{host}" + (f":{port}" if parts.port is not None else "") + parts.path
        if url != plain or not _HOST.fullmatch(host) or not _PATH.fullmatch(path) or not 0 < port < 65536:
            raise ProviderSettingsInvalid(f"{what} is not https://HOST[:PORT][/PATH] in lower case")
        if any(step in (".", "..") for step in path.split("/")):
            raise ProviderSettingsInvalid(f"{what} is not https://HOST[:PORT][/PATH] in lower case")
        return cls(host, port, path)

    def __str__(self) -> str:
        return f"https://{self.host}" + (f":{self.port}" if self.port != 443 else "") + self.path


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status and its JSON object, empty if there was no content."""

    status: int
    body: Mapping[str, JSON]


class JsonClient:
    """Talks to one service. Safe for several threads, and across a fork."""

    def __init__(self, what: str, connect: Callable[[], http.client.HTTPConnection]) -> None:
        """Use :func:`https_client`; *connect* makes a connection that is not yet open, *what* names the service."""
        self._what = what
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._process = os.getpid()

    def call(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return its answer, whatever its status is, except a redirect.

        Raises:
            ProviderUntrusted: the certificate is not good, or the answer is a redirect.
            ProviderUnreachable: nothing answers in time.
            ProviderAnswerInvalid: the answer is too large, or not a JSON object.
        """
        connection, reused = self._take()
        with self._errors():
            try:
                return self._exchange(connection, method, path, body, headers or {})
            except (BrokenPipeError, ConnectionResetError):  # RemoteDisconnected is one of the latter
                if not reused:
                    raise
            # A kept connection that the service closed meanwhile. Every call here may be sent twice.
            return self._exchange(self._connect(), method, path, body, headers or {})

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._process != os.getpid():  # the parent's sockets are not ours to use
                self._idle, self._process = [], os.getpid()
            return (self._idle.pop(), True) if self._idle else (self._connect(), False)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        keep = False
        try:
            connection.request(method, path, body, {"Accept": "application/json", **headers})
            response = connection.getresponse()
            content = response.read(MAX_PROVIDER_ANSWER_BYTES + 1)
            keep = response.isclosed() and not response.will_close
        finally:
            if not keep:
                connection.close()
        with self._lock:
            if keep and len(self._idle) < MAX_IDLE_PROVIDER_CONNECTIONS:
                self._idle.append(connection)
        if 300 <= response.status < 400:
            raise ProviderUntrusted(f"{self._what} redirects (status {response.status}), which is never followed")
        if not content:
            return Answer(response.status, {})
        what = f"the answer of {self._what} (status {response.status})"
        return Answer(
            response.status,
            parse_object(content, what=what, limit=MAX_PROVIDER_ANSWER_BYTES, refusal=ProviderAnswerInvalid),
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ProviderUntrusted(f"{self._what} is not proved: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise ProviderUntrusted(f"{self._what} speaks no acceptable TLS: {error.reason}") from error
        except OSError as error:
            raise ProviderUnreachable(f"{self._what} cannot be reached: {error.strerror or error}") from error
        except http.client.HTTPException as error:
            raise ProviderAnswerInvalid(f"{self._what} does not speak HTTP: {type(error).__name__}") from error


def https_client(address: Address, *, ca_file: Path | None) -> JsonClient:
    """Return a client of the service at *address*, whose certificate leads to *ca_file*, or to the system's CAs.

    Raises:
        ProviderSettingsInvalid: the CA file cannot be used.
    """
    return JsonClient(str(address), https_connector(address, ca_file=ca_file))


def https_connector(address: Address, *, ca_file: Path | None) -> Callable[[], http.client.HTTPSConnection]:
    """Return a function that makes unopened connections for :func:`https_client`; raises ProviderSettingsInvalid."""
    context = ssl.create_default_context(cadata=None if ca_file is None else _read_ca(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def connect() -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=PROVIDER_TIMEOUT_SECONDS, context=context
        )

    return connect


def _read_ca(path: Path) -> str:
    try:
        pem = read_regular_file(
            path, limit_bytes=MAX_CA_FILE_BYTES, what="the CA file", refusal=ProviderSettingsInvalid
        )
    except NotFound as error:
        raise ProviderSettingsInvalid(error.what) from None
    text = pem.decode("latin-1")
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ProviderSettingsInvalid(f"the CA file {path} holds no certificate in PEM")
    return text
