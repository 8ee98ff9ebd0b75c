"""Receipts at the broker: proved from its own audit log, for the attested agent that asks, once a job.

Nothing in the proved part comes from the request. The request is only checked to be signed by the attested key and not
to contradict the log; so a receipt that the broker signed is one that its verifier accepts.

A job is closed before its rows are read, and the log refuses rows that give something to a closed job
(:mod:`redoubt.broker.sql_audit`). So all that was given stands in the receipt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from redoubt.broker.attested import Attested
from redoubt.broker.core import Core, Event
from redoubt.errors import ReceiptConflict
from redoubt.evidence.claims import digest as sha256_text
from redoubt.limits import ROLE_CERTIFICATE_SECONDS
from redoubt.pki.spiffe import SpiffeId
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.trust.audit_chain import START, AuditEntry, ChainEnd
from redoubt.trust.audit_head import sign_head
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.receipt import check_reported, parse_report, sign_receipt
from redoubt.trust.receipt_audit import Signatory, certified, member_part, proved_part
from redoubt.trust.receipt_proved import Member
from redoubt.trust.receipt_verify import Trusted, verify_receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """The receipts of a broker."""

    core: Core

    def issue(self, attested: Attested, body: bytes) -> bytes:
        """Return the receipt of the job that asks, around what it reports in *body*; the same one if it asks again.

        Raises:
            ReceiptConflict: the job reported something else before.
            ReceiptError: what is reported is not signed by the attested key, or contradicts the audit log.
            AuditBroken: the audit log is not whole, so nothing is signed.
        """
        reported = sha256_text(body)
        facts = attested.facts | {"reported": reported}
        with self.core.audited(Event.RECEIPT, facts):
            report = parse_report(body)
            check_reported(report, signer=None if attested.result.signer is None else dict(attested.result.signer))
            store = self.core.store.receipts
            closed = store.close(attested.job, reported=reported, at=self.core.clock())
            if closed.reported != reported:
                raise ReceiptConflict("the job has reported something else before")
            return closed.receipt or store.fill(attested.job, self._make(attested, report))

    def read(self, job: str) -> bytes:
        """Return the receipt of *job*; raises ReceiptMissing."""
        return self.core.store.receipts.get(job)

    def _make(self, attested: Attested, report: SignedStatement) -> bytes:
        core = self.core
        rows = tuple(self._rows(attested.job))
        members = tuple(self._members(attested.job, rows))
        # After the rows: the head covers every one of them, and its time is the receipt's.
        newest, now = core.store.audit.head(), core.clock()
        end = START if newest is None else ChainEnd.of(newest)
        key = core.store.signing_key
        by = Signatory(
            issuer=str(core.issuer.name),
            key=BrokerFacts.jwk(key.public_key()),
            ear=UUID(attested.result.token_id),
            at=now.replace(microsecond=0),
            audit=sign_head(end, key=key, at=now).decode(),
        )
        simulated = core.settings.development
        proved = proved_part(attested.job, rows, by=by, members=members)
        made = sign_receipt(proved, report, key=key, simulated=simulated)
        trusted = Trusted(brokers=frozenset({core.id}), simulated=simulated)
        verify_receipt(made, trusted=trusted, now=now)
        return made

    def _members(self, job: str, rows: Sequence[AuditEntry]) -> Iterator[Member]:
        """Yield everybody else who could be a peer of *job*: who had a certificate of its domain and had not ended."""
        own = next(filter(None, map(certified, rows)), None)
        if own is None:
            return
        lifetime = timedelta(seconds=ROLE_CERTIFICATE_SECONDS)
        names: dict[str, SpiffeId] = {}
        start = 1
        while page := self.core.store.audit.of_domain(own.name.domain, since=own.at - lifetime, start=start):
            for it in filter(None, map(certified, page)):
                names.setdefault(it.job, it.name)
            start = page[-1].number + 1
        for other, name in names.items():
            closed = self.core.store.receipts.closed_at(other)
            if other != job and (closed is None or closed >= own.at):
                yield member_part(name, other, self._rows(other))

    def _rows(self, job: str) -> Iterator[AuditEntry]:
        start = 1
        while page := self.core.store.audit.of_job(job, start=start):
            yield from page
            start = page[-1].number + 1
