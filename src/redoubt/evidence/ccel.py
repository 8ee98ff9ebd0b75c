"""TDX event logs (CCEL), replayed to the RTMRs of a quote.

Sources: TCG PC Client Platform Firmware Profile 1.06, section 10 (crypto-agile log format, with the first event in the
old format); UEFI 2.11, 38.4.1 (measurement registers of TDX: index 0 is MRTD, 1 to 4 are RTMR0 to RTMR3).

An RTMR proves the order of the *digests* that were extended into it. It proves neither the events' data nor their
types, so nothing but digests leaves this module.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha384
from typing import Final

from redoubt.errors import EvidenceMalformed, LogMismatch
from redoubt.evidence.claims import JSON
from redoubt.limits import MAX_EVENT_LOG_BYTES, MAX_EVENTS, MAX_LOG_DIGESTS

RTMRS: Final = 4
_SHA384: Final = 0x000C
_DIGEST_BYTES: Final = 48
_NO_ACTION: Final = 3
_OLD_DIGEST_BYTES: Final = 20
_SIGNATURE: Final = b"Spec ID Event03\0"
#: Firmware leaves the unused end of the table filled with ones or zeros.
_ENDS: Final = frozenset({0xFFFFFFFF, 0})


@dataclass(frozen=True, slots=True)
class Replay:
    """What a log says was extended."""

    #: RTMR0 to RTMR3 after the replay.
    registers: tuple[bytes, ...]
    #: The digests that went into each, in order.
    digests: tuple[tuple[bytes, ...], ...]
    #: All events after the header, with those that extend nothing.
    events: int
    #: The log without the unused end of its table.
    canonical: bytes


def replay(log: bytes) -> Replay:
    """Return what *log* replays to. Raises EvidenceMalformed."""
    if len(log) > MAX_EVENT_LOG_BYTES:
        raise EvidenceMalformed(f"the event log is larger than {MAX_EVENT_LOG_BYTES} bytes")
    reader = _Reader(log)
    sizes = _read_algorithms(reader)
    digests: list[list[bytes]] = [[] for _ in range(RTMRS)]
    events = 0
    for register, digest in _read_events(reader, sizes):
        events += 1
        if events > MAX_EVENTS:
            raise EvidenceMalformed(f"the event log has more than {MAX_EVENTS} events")
        if digest is not None:
            digests[register].append(digest)
    registers = []
    for extended in digests:
        value = bytes(_DIGEST_BYTES)
        for digest in extended:
            value = sha384(value + digest).digest()
        registers.append(value)
    return Replay(tuple(registers), tuple(map(tuple, digests)), events, log[: reader.at])


def check_log(log: bytes, *, quoted: Mapping[int, bytes]) -> Replay:
    """Return the replay of *log* if all four RTMRs are the *quoted* ones. Raises LogMismatch, EvidenceMalformed."""
    found = replay(log)
    if set(quoted) != set(range(RTMRS)):
        raise LogMismatch(f"a log is compared with all {RTMRS} RTMRs of a quote")
    wrong = [str(index) for index in range(RTMRS) if not hmac.compare_digest(found.registers[index], quoted[index])]
    if wrong:
        raise LogMismatch(f"the event log does not replay to RTMR {', '.join(wrong)} of the quote")
    return found


def claims(found: Replay) -> dict[str, JSON]:
    """Return the claims of a log that was checked."""
    registers: dict[str, JSON] = {f"ccel.rtmr{index}": value.hex() for index, value in enumerate(found.registers)}
    counts: dict[str, JSON] = {f"ccel.rtmr{index}_extends": len(each) for index, each in enumerate(found.digests)}
    return registers | counts | {"ccel.events": found.events}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise EvidenceMalformed("the event log ends within an event")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def _read_algorithms(reader: _Reader) -> Mapping[int, int]:
    """Read the first event and return the digest sizes of the log by algorithm; SHA-384 must be one."""
    reader.take(4)  # the register of an event that extends nothing
    kind, digest, size = reader.number(4), reader.take(_OLD_DIGEST_BYTES), reader.number(4)
    event = _Reader(reader.take(size))
    if kind != _NO_ACTION or any(digest) or event.take(len(_SIGNATURE)) != _SIGNATURE:
        raise EvidenceMalformed("the event log does not begin with a Spec ID event of the crypto-agile format")
    event.take(8)  # platform class, version, errata, size of a native word
    count = event.number(4)
    if not 0 < count <= MAX_LOG_DIGESTS:
        raise EvidenceMalformed(f"the event log names {count} digest algorithms")
    sizes = {event.number(2): event.number(2) for _ in range(count)}
    event.take(event.number(1))  # vendor data
    if len(sizes) != count or sizes.get(_SHA384) != _DIGEST_BYTES or event.at != size:
        raise EvidenceMalformed("the event log's algorithms are contradictory, or lack SHA-384")
    return sizes


def _read_events(reader: _Reader, sizes: Mapping[int, int]) -> Iterator[tuple[int, bytes | None]]:
    """Yield (RTMR, digest) of every event; the digest is None where nothing was extended."""
    end = len(reader.data)
    while reader.at < end:
        start = reader.at
        if int.from_bytes(reader.data[start : start + 4], "little") in _ENDS:
            rest = reader.data[start:]
            if rest.strip(b"\xff") and rest.strip(b"\0"):
                raise EvidenceMalformed("bytes follow the end of the event log, or an event is of MRTD")
            return
        register, kind, count = reader.number(4), reader.number(4), reader.number(4)
        if not 1 <= register <= RTMRS or count != len(sizes):
            raise EvidenceMalformed(f"an event is of register {register} with {count} digests")
        found = {}
        for _ in range(count):
            algorithm = reader.number(2)
            if algorithm not in sizes:
                raise EvidenceMalformed(f"an event has a digest of algorithm {algorithm:#x}")
            found[algorithm] = reader.take(sizes[algorithm])
        if len(found) != count:
            raise EvidenceMalformed("an event has two digests of one algorithm")
        reader.take(reader.number(4))
        yield register - 1, None if kind == _NO_ACTION else found[_SHA384]
