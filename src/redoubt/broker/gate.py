"""Who may connect: how many connections wait for the end of their TLS handshake, and how many one peer holds.

A handshake costs its peer one packet and the broker memory, a descriptor and a place, and asyncio bounds it in time
alone. Decides, when a connection is accepted and before a byte of it is read:

1. one peer has at most MAX_PEER_HANDSHAKES unfinished handshakes and MAX_PEER_CONNECTIONS connections; further ones
   are closed at once, so no peer takes the places of all others;
2. all peers together have at most MAX_HANDSHAKES unfinished handshakes; the oldest one makes room for a new one, since
   an honest peer's takes milliseconds: who has many addresses and never answers crowds out only itself.

A peer is an address, or an IPv6 network: whoever has one address there has all of them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections import Counter
from functools import lru_cache
from typing import Any, Final

from redoubt.errors import BrokerConfigInvalid
from redoubt.limits import MAX_HANDSHAKES, MAX_PEER_CONNECTIONS, MAX_PEER_HANDSHAKES, MAX_RATE_LIMITED_PEERS

#: What RFC 6177 and every provider give to one site at the least.
_NETWORK_BITS: Final = 64


@lru_cache(maxsize=MAX_RATE_LIMITED_PEERS)
def peer_of(address: str) -> str:
    """Return whom *address* stands for: itself, or the IPv6 network that it lies in."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))


class Gate:
    """The connections of one listening socket. For the thread of its event loop alone."""

    def __init__(self) -> None:
        #: Full address → connection whose handshake has not ended, oldest first.
        self._handshakes: dict[Any, socket.socket] = {}
        self._handshakes_of: Counter[str] = Counter()
        self._connections_of: Counter[str] = Counter()

    def admit(self, connection: socket.socket, address: Any) -> bool:
        """Count a connection if there is room for it (a hook of :class:`Listener`, hence the bool)."""
        self.established(address)  # of an address that comes again, the former connection is gone
        peer = peer_of(address[0])
        if self._handshakes_of[peer] >= MAX_PEER_HANDSHAKES or self._connections_of[peer] >= MAX_PEER_CONNECTIONS:
            return False
        if len(self._handshakes) >= MAX_HANDSHAKES:
            oldest, waiting = next(iter(self._handshakes.items()))
            self.established(oldest)
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)  # its transport reads the end of the stream, and closes it
        self._handshakes[address] = connection
        self._handshakes_of[peer] += 1
        self._connections_of[peer] += 1
        return True

    def established(self, address: Any) -> None:
        """Count the connection from *address* no more as one whose handshake goes on."""
        if self._handshakes.pop(address, None) is not None:
            _less(self._handshakes_of, peer_of(address[0]))

    def closed(self, address: Any) -> None:
        """Count the connection from *address* no more."""
        self.established(address)
        _less(self._connections_of, peer_of(address[0]))


class Listener(socket.socket):
    """A bound TCP socket that accepts what its gate admits."""

    def __init__(self, host: str, port: int, gate: Gate) -> None:
        """Bind; raises BrokerConfigInvalid if that is refused."""
        # With its protocol named, asyncio turns Nagle's algorithm off: an answer is two writes, and would wait 40 ms.
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._gate = gate
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((host, port))
            self.listen()  # whoever is told the port may connect, even if the broker serves a moment later
        except OSError as error:
            self.close()
            raise BrokerConfigInvalid(
                f"{host}:{port} cannot be bound: {error.strerror}",
                why="The port is in use, or the address is not this machine's, or the port is one for root only.",
                hint="Stop what listens there, or choose another port.",
            ) from None

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and its address.

        Raises:
            ConnectionAbortedError: it was not admitted, and is closed; to asyncio that is one that went away.
        """
        plain, address = super().accept()
        connection = _Counted(self._gate, address, plain.detach())
        if not self._gate.admit(connection, address):
            connection.refuse()
            raise ConnectionAbortedError
        return connection, address


class _Counted(socket.socket):
    """A connection that tells the gate when it is closed."""

    def __init__(self, gate: Gate, address: Any, descriptor: int) -> None:
        super().__init__(fileno=descriptor)
        self._gate: Gate | None = gate
        self._address = address

    def refuse(self) -> None:
        """Close without having been counted."""
        self._gate = None
        self.close()

    def close(self) -> None:
        """Close; may be called twice."""
        gate, self._gate = self._gate, None
        super().close()
        if gate is not None:
            gate.closed(self._address)


def _less(counter: Counter[str], peer: str) -> None:
    counter[peer] -= 1
    if counter[peer] <= 0:
        del counter[peer]
