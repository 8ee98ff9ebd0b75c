"""The audit log of a broker as a hash chain: its rows, their digests, its export, and how it can be broken.

A row is ``{"at", "event", "number", "previous"}``; its digest is SHA-256 over the RFC 8785 form of that, and
``previous`` is the digest of the row before (64 zeros before the first). Numbers begin with 1 and have no gap. An
export is one row a line, RFC 8785, with ``digest`` added (``docs/operations.md``, "Audit log").

The chain alone finds a row that was changed, removed, swapped or repeated. Whoever rewrites every digest behind it, or
cuts the end off, is found by a head that the broker signed (:mod:`redoubt.trust.audit_head`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import rfc8785

from redoubt.errors import AuditBroken, AuditRowChanged, AuditRowMisplaced, AuditRowMissing, UsageError
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import LARGEST_INTEGER, MAX_AUDIT_EVENT_BYTES, MAX_AUDIT_LINE_BYTES
from redoubt.trust.program import is_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One row of the audit log. ``digest`` covers the row and the digest of the one before it."""

    number: int
    at: datetime
    event: Mapping[str, JSON]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnd:
    """Where a chain ends: the number and digest of its last row, 0 and zeros before the first."""

    number: int
    digest: str

    @classmethod
    def of(cls, entry: AuditEntry) -> ChainEnd:
        """Return the end of a chain whose last row is *entry*."""
        return cls(number=entry.number, digest=entry.digest)


START: Final = ChainEnd(number=0, digest="sha256:" + "0" * 64)


def next_entry(end: ChainEnd, event: Mapping[str, JSON], *, at: datetime) -> AuditEntry:
    """Return the row that continues the chain at *end*.

    Raises:
        UsageError: the event has no RFC 8785 form, or is too large.
    """
    if len(event_text(event)) > MAX_AUDIT_EVENT_BYTES:
        raise UsageError(f"an event of the audit log has at most {MAX_AUDIT_EVENT_BYTES} bytes")
    number = end.number + 1
    digest = row_digest(number=number, at=at, event=event, previous=end.digest)
    return AuditEntry(number=number, at=at.astimezone(UTC), event=event, previous=end.digest, digest=digest)


def event_text(event: Mapping[str, JSON]) -> bytes:
    """Return the RFC 8785 form of an event; raises UsageError if it has none."""
    try:
        return rfc8785.dumps(dict(event))
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError):
        raise UsageError("an event of the audit log holds what RFC 8785 cannot spell") from None


def row_digest(*, number: int, at: datetime, event: Mapping[str, JSON], previous: str) -> str:
    """Return the digest of a row."""
    row: dict[str, JSON] = {"at": _time_text(at), "event": dict(event), "number": number, "previous": previous}
    return "sha256:" + hashlib.sha256(event_text(row)).hexdigest()


def follow(end: ChainEnd, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
    """Yield *entries*, each checked to continue the chain at *end*.

    Raises:
        AuditRowMissing, AuditRowMisplaced, AuditRowChanged: one does not; the text names it.
    """
    for entry in entries:
        expected = end.number + 1
        if entry.number > expected:
            raise AuditRowMissing(f"row {expected} is missing: row {entry.number} stands in its place")
        if entry.number < expected:
            raise AuditRowMisplaced(f"row {entry.number} stands where row {expected} belongs")
        if entry.digest != row_digest(number=entry.number, at=entry.at, event=entry.event, previous=entry.previous):
            raise AuditRowChanged(f"row {entry.number} was changed: it does not have its digest")
        if entry.previous != end.digest:
            raise AuditRowChanged(f"row {entry.number} does not follow the row before it, one of the two was rewritten")
        yield entry
        end = ChainEnd.of(entry)


def export_line(entry: AuditEntry) -> bytes:
    """Return *entry* as one line of an export, with its line end."""
    row: dict[str, JSON] = {
        "at": _time_text(entry.at),
        "digest": entry.digest,
        "event": dict(entry.event),
        "number": entry.number,
        "previous": entry.previous,
    }
    return event_text(row) + b"\n"


def parse_line(line: bytes) -> AuditEntry:
    """Return the row in one line of an export.

    Raises:
        AuditBroken: it is no row in its one spelling.
    """
    what = "a line of the audit log"
    body = parse_object(line.removesuffix(b"\n"), what=what, limit=MAX_AUDIT_LINE_BYTES, refusal=AuditBroken)
    if set(body) != {"at", "digest", "event", "number", "previous"}:
        raise AuditBroken(f"{what} has other members than a row")
    number, event = body["number"], body["event"]
    if type(number) is not int or not 1 <= number <= LARGEST_INTEGER or not isinstance(event, Mapping):
        raise AuditBroken(f"{what} has an impossible number or event")
    entry = AuditEntry(
        number=number,
        at=_time(body["at"], what),
        event=event,
        previous=_digest(body["previous"], what),
        digest=_digest(body["digest"], what),
    )
    try:
        spelled = export_line(entry)
    except UsageError:
        raise AuditBroken(f"{what} holds what RFC 8785 cannot spell") from None
    if spelled.rstrip(b"\n") != line.removesuffix(b"\n"):
        raise AuditBroken(f"{what} is not in its one spelling (RFC 8785)")
    return entry


def _time_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time(value: JSON, what: str) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and value.endswith("Z") else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise AuditBroken(f"{what} has an impossible time")
    return at


def _digest(value: JSON, what: str) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise AuditBroken(f"{what} has something else where a digest belongs")
    return value
