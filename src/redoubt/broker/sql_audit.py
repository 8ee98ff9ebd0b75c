"""The audit log in the store: the chain of :mod:`redoubt.trust.audit_chain`, continued by one writer at a time.

The next writer locks the one row of ``audit_head`` and checks that it is the newest row's: a log that was cut behind
the store's back is refused at the next decision, not at the next export.

A row that gives something to a job is decided in the same transaction: once the job is closed
(:class:`redoubt.broker.sql_receipts.SqlReceipts`) it becomes a refusal. So a receipt has all that its job was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from redoubt.broker.combine import Combiner
from redoubt.broker.database import Database, fetch, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import AUDIT, AUDIT_HEAD, AUDIT_JOBS, RECEIPTS, from_microseconds, to_microseconds
from redoubt.errors import AuditBroken, AuditTruncated, JobClosed, StoreDamaged
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import MAX_AUDIT_BATCH, MAX_AUDIT_EVENT_BYTES, MAX_AUDIT_PAGE
from redoubt.trust.audit_chain import START, AuditEntry, ChainEnd, event_text, next_entry
from redoubt.trust.receipt_audit import GRANTED, HOLDER, giving_job, refused_as

_COLUMNS: Final = (AUDIT.c.number, AUDIT.c.at, AUDIT.c.event, AUDIT.c.previous, AUDIT.c.digest)


#: In the place of a job, which is a digest.
_DOMAIN: Final = "domain:"


class SqlAudit:
    """See :class:`redoubt.broker.ports.AuditLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._appends = Combiner(self._append, largest=MAX_AUDIT_BATCH)

    def append(self, event: Mapping[str, JSON], *, at: datetime) -> AuditEntry:
        """Add a row to the chain; rows of several threads share a transaction.

        Raises:
            JobClosed: it would give something to a job that asked for its receipt; the row says that it was refused.
            UsageError: the event is too large, or holds what RFC 8785 cannot spell.
            AuditTruncated: the newest row is not the one that was written last.
        """
        next_entry(START, event, at=at)  # whoever brings an impossible event fails alone
        entry = self._appends.call((event, at))
        if entry.event.get("code") == JobClosed.code:
            raise JobClosed("the job has asked for its receipt, and is given nothing more")
        return entry

    def _append(self, batch: Sequence[tuple[Mapping[str, JSON], datetime]]) -> Sequence[AuditEntry]:
        def work(connection: Connection) -> Sequence[AuditEntry]:
            end = lock_log(connection)
            given = {giving_job(event) for event, _ in batch}
            closed = _closed(connection, given - {None})
            entries = []
            for event, at in batch:
                judged = refused_as(event, JobClosed.code) if giving_job(event) in closed else event
                entries.append(next_entry(end, judged, at=at))
                end = ChainEnd.of(entries[-1])
            connection.execute(insert(AUDIT), [_row(entry) for entry in entries])
            index = [{"job": key, "number": it.number} for it in entries for key in _indexed(it)]
            if index:
                connection.execute(insert(AUDIT_JOBS), index)
            connection.execute(update(AUDIT_HEAD).values(number=end.number, digest=end.digest))
            return entries

        # To write down a decision twice does no harm; to lose one does.
        return self._database.writing(work, repeatable=True)

    def entries(self, *, start: int = 1, limit: int = MAX_AUDIT_PAGE) -> Sequence[AuditEntry]:
        """Return rows from number *start* on, at most *limit* and never more than a page."""
        statement = (
            select(*_COLUMNS)
            .where(AUDIT.c.number >= start)
            .order_by(AUDIT.c.number)
            .limit(max(0, min(limit, MAX_AUDIT_PAGE)))
        )
        rows = self._database.reading(lambda connection: fetch(connection, statement))
        return tuple(map(_entry, rows))

    def of_job(self, job: str, *, start: int = 1) -> Sequence[AuditEntry]:
        """Return a page of the rows about *job*, from number *start* on."""
        return self._of(job, start, since=None)

    def of_domain(self, domain: str, *, since: datetime, start: int = 1) -> Sequence[AuditEntry]:
        """Return a page of the rows that gave certificates of a trust domain *since* then, from number *start* on."""
        return self._of(_DOMAIN + domain, start, since=since)

    def _of(self, key: str, start: int, *, since: datetime | None) -> Sequence[AuditEntry]:
        statement = (
            select(*_COLUMNS)
            .join(AUDIT_JOBS, AUDIT_JOBS.c.number == AUDIT.c.number)
            .where(AUDIT_JOBS.c.job == key, AUDIT_JOBS.c.number >= start)
            .order_by(AUDIT.c.number)
            .limit(MAX_AUDIT_PAGE)
        )
        if since is not None:
            statement = statement.where(AUDIT.c.at >= to_microseconds(since))
        rows = self._database.reading(lambda connection: fetch(connection, statement))
        return tuple(map(_entry, rows))

    def newest(self, facts: Mapping[str, str]) -> AuditEntry | None:
        """Return the newest row whose event has all *facts*; reads the whole log if there is none."""
        # As RFC 8785 spells a member. In a string of another member its quotes would be escaped.
        members = [event_text({name: value}).decode()[1:-1] for name, value in facts.items()]
        statement = (
            select(*_COLUMNS)
            .where(*(AUDIT.c.event.contains(it, autoescape=True) for it in members))
            .order_by(AUDIT.c.number.desc())
            .limit(1)
        )
        row = self._database.reading(lambda connection: fetch_one(connection, statement))
        return None if row is None else _entry(row)

    def head(self) -> AuditEntry | None:
        """Return the newest row."""
        row = self._database.reading(_newest)
        return None if row is None else _entry(row)


def start_log(connection: Connection) -> None:
    """Begin the empty log of a new store."""
    connection.execute(insert(AUDIT_HEAD).values(one=1, number=START.number, digest=START.digest))


def lock_log(connection: Connection) -> ChainEnd:
    """Return the log's end, and let no other transaction add to it before this one ends; raises AuditTruncated."""
    found = fetch_one(connection, select(AUDIT_HEAD.c.number, AUDIT_HEAD.c.digest).with_for_update())
    if found is None:
        raise StoreDamaged("the store has no head of its audit log")
    end = ChainEnd(number=READER.exactly(int, found[0]), digest=READER.exactly(str, found[1]))
    newest = _newest(connection)
    if (START if newest is None else ChainEnd(number=newest[0], digest=newest[4])) != end:
        raise AuditTruncated(f"the newest row of the audit log is not row {end.number}, which was written last")
    return end


def _indexed(entry: AuditEntry) -> Iterator[str]:
    """Yield under what a row is found again: its job, and the trust domain of a certificate that it gave."""
    event = entry.event
    if isinstance(job := event.get(HOLDER), str):
        yield job
    issued = (event.get("event"), event.get("decision")) == ("certificate", GRANTED)
    if issued and isinstance(domain := event.get("domain"), str):
        yield _DOMAIN + domain


def _closed(connection: Connection, jobs: set[str | None]) -> frozenset[str | None]:
    if not jobs:
        return frozenset()
    found = fetch(connection, select(RECEIPTS.c.job).where(RECEIPTS.c.job.in_(jobs)))
    return frozenset(READER.exactly(str, it[0]) for it in found)


def _newest(connection: Connection) -> Sequence[Any] | None:
    return fetch_one(connection, select(*_COLUMNS).order_by(AUDIT.c.number.desc()).limit(1))


def _row(entry: AuditEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "at": to_microseconds(entry.at),
        "event": event_text(entry.event).decode(),
        "previous": entry.previous,
        "digest": entry.digest,
    }


def _entry(row: Sequence[Any]) -> AuditEntry:
    number, at, event, previous, digest = row
    try:
        moment = from_microseconds(READER.exactly(int, at))
    except OverflowError:
        raise StoreDamaged("a row of the audit log has an impossible time") from None
    text = READER.exactly(str, event).encode("utf-8", "surrogatepass")
    return AuditEntry(
        number=READER.exactly(int, number),
        at=moment,
        event=parse_object(text, what="an event of the audit log", limit=MAX_AUDIT_EVENT_BYTES, refusal=AuditBroken),
        previous=READER.exactly(str, previous),
        digest=READER.exactly(str, digest),
    )
