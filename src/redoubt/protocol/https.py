"""HTTPS to one broker, or to several on one store: TLS 1.3 with a pinned CA, bounded in time, tried again where safe.

What a lost connection may have done decides: a request that never left is always repeated, one that did only if the
caller says that it may be repeated. Brokers are tried in turn, with growing pauses of random length, until
their caller's patience is over. A broker whose certificate does not chain to the pinned CA ends it at once.
"""

from __future__ import annotations

import http.client
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from redoubt.errors import BrokerMessage, BrokerUnreachable, BrokerUntrusted, RedoubtError, UsageError
from redoubt.limits import (
    BROKER_CONNECT_SECONDS,
    BROKER_RETRY_SECONDS,
    BROKER_TIMEOUT_SECONDS,
    MAX_BROKER_ANSWER_BYTES,
)
from redoubt.protocol.problem import ReadProblem, parse_problem

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_TRY_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker answered, with a status below 300: no redirect is followed."""

    status: int
    body: bytes
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try that brought no answer."""

    why: str
    #: Whether the request may have been acted on.
    sent: bool
    #: How long the broker asked to wait.
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """The brokers that one agent or owner may speak to."""

    #: ``https://host:port``, without a path.
    urls: tuple[str, ...]
    #: The CA's certificates, PEM: whoever they did not certify is not the broker.
    ca: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.urls:
            raise UsageError("no broker is named")
        for url in self.urls:
            if not _is_address(url):
                raise UsageError("a broker's address is not https://HOST:PORT")
        _tls_context(self.ca)  # found here, a wrong CA costs no measuring of a program


def _tls_context(ca: bytes) -> ssl.SSLContext:
    """Return the context of a client that trusts the certificates in *ca* (PEM) alone; raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise UsageError(
            "the broker's CA is not a certificate in PEM",
            why="The file holds no certificate that starts with -----BEGIN CERTIFICATE-----.",
            hint="Give --ca the `ca.pem` that `redoubt broker setup` made, or `redoubt broker dev --ca` wrote.",
        ) from None
    return context


class BrokerConnection:
    """Asks the brokers. Safe for several threads."""

    def __init__(
        self,
        brokers: Brokers,
        *,
        patience: float = BROKER_RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._urls: Sequence[str] = brokers.urls
        self._context = _tls_context(brokers.ca)
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._next = 0

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        authorize: Callable[[], str] | None = None,
        repeatable: bool,
    ) -> Answer:
        """Return the answer to one request; *repeatable* says that doing it twice is as good as once.

        *authorize* makes the bearer token of each try, for tokens that are good once.

        Raises:
            RedoubtError: the broker said no; with the id under which the owners find the reasons, if there is one.
            BrokerUntrusted: what answers is not a pinned broker.
            BrokerUnreachable: none answers in time, or one may have done what cannot be repeated.
        """
        deadline = self._clock() + self._patience
        pause = _FIRST_PAUSE
        tries = 0
        while True:
            url = self._urls[self._next % len(self._urls)]
            bearer = {} if authorize is None else {"Authorization": f"Bearer {authorize()}"}
            found = self._once(url, method, path, body, {**(headers or {}), **bearer})
            if isinstance(found, Answer):
                return found
            tries += 1
            self._next += 1
            left = deadline - self._clock()
            if (found.sent and not repeatable) or left <= 0:
                raise BrokerUnreachable(f"no broker answers: {url}: {found.why}")
            if tries % len(self._urls) == 0:
                waiting = pause * random.uniform(0.5, 1.0)  # noqa: S311 - a pause is no secret
                self._sleep(min(max(waiting, found.wait), left))
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, url: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer | _Failed:
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=BROKER_CONNECT_SECONDS, context=self._context
        )
        sent = False
        try:
            connection.connect()
            connection.sock.settimeout(BROKER_TIMEOUT_SECONDS)
            sent = True
            connection.request(
                method, path, body=body, headers={"Content-Type": "application/json", "Connection": "close", **headers}
            )
            response = connection.getresponse()
            content = response.read(MAX_BROKER_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise BrokerUntrusted(f"{url} is not the pinned broker: {error.verify_message or error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            return _Failed(str(error) or type(error).__name__, sent)
        finally:
            connection.close()
        if len(content) > MAX_BROKER_ANSWER_BYTES:
            raise BrokerMessage(f"the broker's answer exceeds {MAX_BROKER_ANSWER_BYTES} bytes")
        if response.status in _TRY_LATER:
            # What stands between may have passed the request on; the broker itself refuses before it acts.
            passed_on = response.status == HTTPStatus.BAD_GATEWAY
            return _Failed("it is busy", sent=passed_on, wait=_seconds(response.getheader("Retry-After")))
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _with_id(parse_problem(content, status=response.status))
        return Answer(response.status, content, tuple(response.headers.get_all("Set-Cookie", [])))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    return parts.scheme == "https" and bool(parts.hostname) and not more and port != 0


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) <= len("99") else 0.0


def _with_id(problem: ReadProblem) -> RedoubtError:
    """Return the error, naming the id of its reasons if it has one."""
    error, told = problem.error, problem.error.what
    if problem.correlation is None:
        return error
    return type(error)(
        told if str(problem.correlation) in told else f"{told} (id {problem.correlation})",
        hint=f"Give the id to a data owner: `redoubt explain {problem.correlation}` shows the reason.",
    )
