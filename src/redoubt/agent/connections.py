"""The connections of a key endpoint: bounded in number, and each with a deadline that no slow peer can move."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Connections:
    """Open connections and their deadlines, in seconds of a monotonic clock."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether another connection would be one too many."""
        return len(self._deadlines) >= self._limit

    def add(self, connection: socket.socket, seconds: float) -> None:
        """Count *connection*, which ends after *seconds* unless :meth:`renew` moves that."""
        with self._lock:
            self._deadlines[connection] = self._clock() + seconds

    def renew(self, connection: socket.socket, seconds: float) -> None:
        """Let *connection* live for *seconds* from now."""
        with self._lock:
            if connection in self._deadlines:
                self._deadlines[connection] = self._clock() + seconds

    def remove(self, connection: socket.socket) -> None:
        """Count *connection* no more."""
        with self._lock:
            self._deadlines.pop(connection, None)

    def end_late(self) -> None:
        """Shut every connection down whose deadline has passed; its thread then reads the end of the stream."""
        now = self._clock()
        with self._lock:
            late = [connection for connection, deadline in self._deadlines.items() if deadline <= now]
            for connection in late:
                with contextlib.suppress(OSError):
                    # The plain socket's: an SSLSocket's own would take the TLS object from under the thread that reads.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
