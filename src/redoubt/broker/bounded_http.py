"""uvicorn's HTTP protocol with bounds of its own: on the head of a request, on waiting for it, and on connections.

llhttp, the parser, takes heads of any length, and uvicorn waits for a first request for ever: a stranger could fill
memory or hold every connection without sending one whole request. It also waits for ever for a peer that asks and does
not read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from redoubt.broker.gate import Gate
from redoubt.limits import (
    BROKER_ANSWER_SECONDS,
    BROKER_HEAD_SECONDS,
    MAX_BROKER_CONNECTIONS,
    MAX_BROKER_HEAD_BYTES,
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, gate: Gate, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None
        self._reads_by: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room, and start its clock."""
        super().connection_made(transport)
        self._gate.established(transport.get_extra_info("peername"))
        if len(self.connections) > MAX_BROKER_CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_waiting()
        self._stop_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the clock of a peer that does not read its answer."""
        self._reads_by = self.loop.call_later(BROKER_ANSWER_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The peer reads."""
        self._stop_writing()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, and end a connection whose head has become too long."""
        if self._in_head and self._deadline is None:
            self._await_head()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_BROKER_HEAD_BYTES:
                self.transport.abort()

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request has ended; what follows is the head of the next one."""
        self._in_head = True
        super().on_message_complete()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(BROKER_HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_writing(self) -> None:
        if self._reads_by is not None:
            self._reads_by.cancel()
            self._reads_by = None

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: two lines of log, with advice on what to install, for whatever header a stranger sends."""
