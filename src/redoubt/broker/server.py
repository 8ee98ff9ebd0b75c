"""A running broker: the service behind TLS 1.3, in this thread or in one of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import uvicorn

from redoubt.broker.bounded_http import BoundedHttpProtocol
from redoubt.broker.core import Core, Event, Settings, system_clock
from redoubt.broker.metrics import Metrics
from redoubt.broker.ports import BrokerStore
from redoubt.broker.rate import RateLimiter
from redoubt.broker.service import Service
from redoubt.broker.table import make_routes
from redoubt.broker.verifiers import Verifier
from redoubt.broker.web import make_app
from redoubt.errors import BrokerConfigInvalid, BrokerError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Attester
from redoubt.limits import BROKER_HANDSHAKE_SECONDS, BROKER_SHUTDOWN_SECONDS, BROKER_START_SECONDS
from redoubt.pki.build import Certified
from redoubt.pki.server import server_context
from redoubt.trust.refusal import Refusal


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's loop with a bound of ours on TLS handshakes, which uvicorn has no setting for (asyncio's is 60 s)."""

    async def create_server(self, *arguments: Any, **named: Any) -> asyncio.Server:
        """Listen, as asyncio does."""
        if named.get("ssl") is not None:
            named.setdefault("ssl_handshake_timeout", BROKER_HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **named)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens. Port 0 is a free one."""

    host: str
    port: int


class RunningBroker:
    """A broker that serves; :meth:`close` ends it. Use it in a ``with`` statement.

    The table of *verifiers* decides what evidence is verified: there is no other way to add a kind.
    """

    def __init__(
        self,
        store: BrokerStore,
        *,
        address: Address,
        identity: Certified,
        settings: Settings,
        verifiers: Mapping[Tee, Verifier],
        limiter: RateLimiter | None = None,
        on_refusal: Callable[[Refusal], None] = lambda refusal: None,
        attester: Attester | None = None,
    ) -> None:
        """Bind the address and start serving.

        Raises:
            BrokerConfigInvalid: the address cannot be bound, or the certificate cannot be used.
            RedoubtError: the store is not whole.
        """
        self.metrics = Metrics()
        self.core = Core(
            store=store,
            settings=settings,
            on_refusal=on_refusal,
            on_event=lambda event, decision: self.metrics.decision(event.value, decision),
            clock=system_clock,
        )
        history = self.core.policy.all()
        self.metrics.manifest(history[-1].manifest.version if history else 0)
        service = Service(core=self.core, verifiers=verifiers, metrics=self.metrics, attester=attester)
        app = make_app(make_routes(service), metrics=self.metrics, limiter=limiter or RateLimiter())
        self._socket = _bind(address)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(_config(app, identity))
        self._thread = threading.Thread(target=self._run, name="redoubt-broker", daemon=True)
        self._failure: BaseException | None = None
        self.core.granted(Event.STARTED, {"name": settings.name, "simulated": settings.development})

    def start(self) -> Self:
        """Serve in a thread, and return when the broker answers; raises BrokerError if it does not come up."""
        self._thread.start()
        self._thread.join(0)
        for _ in range(int(BROKER_START_SECONDS / 0.005)):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            self._thread.join(0.005)
        raise BrokerError(f"the broker did not start: {type(self._failure).__name__}")

    def serve(self) -> None:
        """Serve in this thread, until the process is told to stop."""
        self._run_loop()
        self._socket.close()

    def stop(self) -> None:
        """Let :meth:`serve` end soon, from any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Stop serving and wait until what runs has ended. May be called twice."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(BROKER_SHUTDOWN_SECONDS * 2)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._server.serve(sockets=[self._socket]))

    def _run(self) -> None:
        try:
            self._run_loop()
        except BaseException as error:  # noqa: BLE001 - reported by start(), in the thread that waits
            self._failure = error


def _bind(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's algorithm off: an answer is two writes, and would wait 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise BrokerConfigInvalid(
            f"{address.host}:{address.port} cannot be bound: {error.strerror}",
            why="The port is in use, or the address is not this machine's, or the port is one for root only.",
            hint="Stop what listens there, or choose another port.",
        ) from None
    return bound


def _config(app: object, identity: Certified) -> uvicorn.Config:
    try:
        context = server_context(identity)
    except (ssl.SSLError, OSError) as error:
        raise BrokerConfigInvalid(
            f"certificate and key cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # It would write paths with their queries, wherever a handler happens to be; web.py has the log of requests.
    logging.getLogger("uvicorn.access").disabled = True
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # Addresses come from the connection: a header that names another is anybody's to write.
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(BROKER_SHUTDOWN_SECONDS),
        ssl_context_factory=lambda config, default: context,
    )
