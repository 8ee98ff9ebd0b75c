"""HTTPS to one broker, or to several on one store: TLS 1.3 with a pinned CA, bounded in time, tried again where safe.

What a lost connection may have done decides: a request that never left is always repeated, one that did only if the
caller says that it may be repeated. Brokers are tried in turn, with growing pauses of random length, until
BROKER_RETRY_SECONDS are over. A broker whose certificate does not chain to the pinned CA ends it at once.
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
from uuid import UUID

from redoubt.errors import BrokerMessage, BrokerUnreachable, BrokerUntrusted, RedoubtError, UsageError
from redoubt.limits import (
    BROKER_CONNECT_SECONDS,
    BROKER_RETRY_SECONDS,
    BROKER_TIMEOUT_SECONDS,
    MAX_BROKER_ANSWER_BYTES,
)
from redoubt.protocol.problem import parse_problem

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_TRY_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker answered, with a status below 400."""

    status: int
    body: bytes
    cookies: tuple[str, ...] = ()


class Refused(Exception):
    """A problem document: the error, and the id under which the owners find its reasons."""

    def __init__(self, error: RedoubtError, correlation: UUID | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.correlation = correlation


class _Lost(Exception):
    """A connection failed; ``sent`` says whether the request may have arrived."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """The brokers that one agent may speak to."""

    #: ``https://host:port``, without a path.
    urls: tuple[str, ...]
    #: The CA's certificates, PEM: whoever they did not certify is not the broker.
    ca: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.urls:
            raise UsageError("no broker is named")
        for url in self.urls:
            parts = urlsplit(url)
            plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
            if parts.scheme != "https" or not parts.hostname or not plain:
                raise UsageError(f"{url!r} is not https://HOST:PORT")


class BrokerConnection:
    """Asks the brokers. Safe for several threads."""

    def __init__(
        self,
        brokers: Brokers,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._urls: Sequence[str] = brokers.urls
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            self._context.load_verify_locations(cadata=brokers.ca.decode("ascii"))
        except (ValueError, ssl.SSLError):
            raise UsageError("the broker's CA is not a certificate in PEM") from None
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
        repeatable: bool,
    ) -> Answer:
        """Return the answer to one request; *repeatable* says that doing it twice is as good as once.

        Raises:
            Refused: the broker said no.
            BrokerUntrusted: what answers is not a pinned broker.
            BrokerUnreachable: none answers in time, or one may have done what cannot be repeated.
        """
        deadline = self._clock() + BROKER_RETRY_SECONDS
        pause = _FIRST_PAUSE
        tries = 0
        while True:
            url = self._urls[self._next % len(self._urls)]
            wait = 0.0
            try:
                answer, wait = self._once(url, method, path, body, headers or {})
                if answer is not None:
                    return answer
                reason, may_repeat = f"{url} is busy", True
            except _Lost as lost:
                reason, may_repeat = f"{url}: {lost}", repeatable or not lost.sent
            tries += 1
            self._next += 1
            if not may_repeat or self._clock() >= deadline:
                raise BrokerUnreachable(f"no broker answers: {reason}")
            if tries % len(self._urls) == 0:
                self._sleep(min(max(pause * random.uniform(0.5, 1.0), wait), deadline - self._clock() + _FIRST_PAUSE))  # noqa: S311 - a pause, no secret
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(
        self, url: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Answer | None, float]:
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
            raise _Lost(str(error) or type(error).__name__, sent=sent) from None
        finally:
            connection.close()
        if len(content) > MAX_BROKER_ANSWER_BYTES:
            raise BrokerMessage(f"the broker's answer exceeds {MAX_BROKER_ANSWER_BYTES} bytes")
        if response.status in _TRY_LATER:
            return None, _seconds(response.getheader("Retry-After"))
        if response.status >= HTTPStatus.BAD_REQUEST:
            problem = parse_problem(content, status=response.status)
            raise Refused(problem.error, problem.correlation)
        return Answer(response.status, content, tuple(response.headers.get_all("Set-Cookie", []))), 0.0


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) <= len("99") else 0.0


def plain_error(refused: Refused) -> RedoubtError:
    """Return the error of a refusal that has no id, or names it where it has one."""
    error, told = refused.error, refused.error.what
    if refused.correlation is None:
        return error
    return type(error)(
        told if str(refused.correlation) in told else f"{told} (id {refused.correlation})",
        hint=f"Give the id to a data owner: `redoubt explain {refused.correlation}` shows the reason.",
    )
