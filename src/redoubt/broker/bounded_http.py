"""uvicorn's HTTP protocol with bounds of its own: on the head of a request, on waiting for it, and on connections.

llhttp, the parser, takes heads of any length, and uvicorn waits for a first request for ever: a stranger could fill
memory or hold every connection without sending one whole request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from redoubt.limits import BROKER_HEAD_SECONDS, MAX_BROKER_CONNECTIONS, MAX_BROKER_HEAD_BYTES


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room, and start its clock."""
        super().connection_made(transport)
        if len(self.connections) > MAX_BROKER_CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

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
