"""A capture of the loopback interface, and the byte streams in it.

Where the system allows, the program under test gets a network namespace of its own: its loopback then carries nothing
but its own traffic. ``tcpdump`` records whole packets; a capture that lost one is an error, not a result. What it has
not read when it is ended it drops, so a last word is sent and waited for first. Run as a program, this module is the
process that holds the namespace (``hold``) or that says the last word in it (``say WORD``).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Final, Self

_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL", "--")
# Not in immediate mode: there every packet takes the room of the largest, and a thousand fill the buffer.
_TCPDUMP: Final = (*_WITH_PARENT, "tcpdump", "-i", "lo", "-s", "0", "-B", "131072", "-U")
_LAST_WORD_SECONDS: Final = 30.0
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1
_ETHERNET: Final = 1
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6


@cache
def unavailable() -> str | None:
    """Return why nothing can be captured here, or None."""
    if os.geteuid() != 0:
        return "capturing needs root"
    if shutil.which("tcpdump") is None:
        return "tcpdump is not installed (packages.txt)"
    # Root of a container may lack the right to listen; asking for the link's types opens it as capturing does.
    opened = subprocess.run(["tcpdump", "-i", "lo", "-L"], check=False, capture_output=True, text=True)
    return f"tcpdump cannot capture: {opened.stderr.strip()}" if opened.returncode else None


class Loopback:
    """A running capture of loopback into *pcap*. ``prefix`` begins command lines whose loopback is the captured one."""

    def __init__(self, pcap: Path, *, own_network: bool = True) -> None:
        self._holder: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []
        self._pcap = pcap
        unshare = ["unshare", "--net", "--"]
        if own_network and subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode == 0:
            self._holder = subprocess.Popen(
                [*unshare, sys.executable, __file__, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            _wait_for(self._holder.stdout, b"ready")
            self.prefix = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]
        self._tcpdump = subprocess.Popen(
            [*self.prefix, *_TCPDUMP, "-w", str(pcap), "tcp"],
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
        _wait_for(self._tcpdump.stderr, b"listening on")

    def stop(self) -> None:
        """End the capture when all that was sent so far is recorded; AssertionError if packets were lost."""
        if self._tcpdump.poll() is None:
            word = secrets.token_hex(32)
            subprocess.run([*self.prefix, sys.executable, __file__, "say", word], check=True)
            end = time.monotonic() + _LAST_WORD_SECONDS
            while word.encode() not in self._pcap.read_bytes():
                assert time.monotonic() < end, "the last word was not recorded"
                time.sleep(0.05)
            self._tcpdump.send_signal(signal.SIGINT)
            _, report = self._tcpdump.communicate(timeout=30)
            assert b"\n0 packets dropped by kernel" in report, report.decode()

    def close(self) -> None:
        """End the capture and give the namespace up."""
        try:
            self.stop()
        finally:
            self._tcpdump.kill()
            if self._holder is not None:
                self._holder.communicate(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _wait_for(stream: IO[bytes] | None, word: bytes) -> None:
    assert stream is not None
    for line in stream:
        if word in line:
            return
    raise AssertionError(f"the process ended before it said {word.decode()!r}")


def tcp_streams(pcap: bytes) -> dict[str, bytes]:
    """Return the bytes of each direction of each TCP connection, by ``source > destination #n``.

    Segments are put in order of their sequence numbers, counted from the first one seen and through wrap-around;
    repeated bytes are dropped, and a missing stretch is left out.
    """
    segments: dict[tuple[bytes, int, bytes, int, int], list[tuple[int, bytes]]] = {}
    starts: dict[tuple[bytes, int, bytes, int], list[int]] = {}
    for source, source_port, target, target_port, sequence, is_start, payload in _tcp_packets(pcap):
        flow = (source, source_port, target, target_port)
        if is_start or flow not in starts:
            first = (sequence + 1) % 2**32 if is_start else sequence
            if first not in starts.setdefault(flow, [])[-1:]:
                starts[flow].append(first)
        if payload:
            offset = (sequence - starts[flow][-1] + 2**31) % 2**32 - 2**31
            segments.setdefault((*flow, len(starts[flow])), []).append((offset, payload))
    return {
        f"{socket.inet_ntop(_family(flow[0]), flow[0])}:{flow[1]} > {socket.inet_ntop(_family(flow[2]), flow[2])}:"
        f"{flow[3]} #{flow[4]}": _ordered(parts)
        for flow, parts in segments.items()
    }


def _family(address: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _ordered(parts: list[tuple[int, bytes]]) -> bytes:
    output = bytearray()
    end: int | None = None
    for offset, payload in sorted(parts, key=lambda part: part[0]):
        known = 0 if end is None else max(end - offset, 0)
        output += payload[known:]
        end = offset + len(payload) if end is None else max(end, offset + len(payload))
    return bytes(output)


def _tcp_packets(pcap: bytes) -> Iterator[tuple[bytes, int, bytes, int, int, bool, bytes]]:
    """Yield (source, port, destination, port, sequence number, whether SYN, payload) of a little-endian pcap file."""
    assert pcap[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"), "no little-endian pcap file"
    assert int.from_bytes(pcap[20:24], "little") == _ETHERNET
    position = 24
    while position + 16 <= len(pcap):
        captured, original = struct.unpack_from("<II", pcap, position + 8)
        assert captured == original, "a packet was cut"
        frame = pcap[position + 16 : position + 16 + captured]
        position += 16 + captured
        kind = int.from_bytes(frame[12:14], "big")
        if kind == _IPV4:
            start = 14 + (frame[14] & 0x0F) * 4
            protocol, source, target = frame[23], frame[26:30], frame[30:34]
            end = 14 + int.from_bytes(frame[16:18], "big") if any(frame[16:18]) else len(frame)
        elif kind == _IPV6:
            start = 54
            protocol, source, target = frame[20], frame[22:38], frame[38:54]
            end = 54 + int.from_bytes(frame[18:20], "big") if any(frame[18:20]) else len(frame)
        else:
            continue
        if protocol != _TCP:
            continue
        source_port, target_port, sequence = struct.unpack_from(">HHI", frame, start)
        header = (frame[start + 12] >> 4) * 4
        yield (
            source,
            source_port,
            target,
            target_port,
            sequence,
            bool(frame[start + 13] & 0x02),
            frame[start + header : end],
        )


def _say(word: bytes) -> None:
    """Send *word* over the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(word)
        with server.accept()[0] as connection:
            connection.recv(len(word), socket.MSG_WAITALL)


def _hold_namespace() -> None:
    """Bring the namespace's loopback up and keep it until standard input ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "say":
        _say(sys.argv[2].encode())
    else:
        _hold_namespace()
