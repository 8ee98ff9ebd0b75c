"""The proved part of a receipt, from the rows of one job in the broker's audit log. Pure.

The rules:

1. Only rows count, and only those whose decision was to grant. Nothing that a job says of itself gets here.
2. A role is an attestation whose result was used: by it a secret was given, a commit registered, or the receipt asked
   for. A result that got lost on its way was used by nobody.
3. Each row must have the digest that the chain gave it: what was changed in the store is not signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from redoubt.errors import AuditBroken, AuditRowChanged, ReceiptMalformed, ReceiptTooLarge, SpiffeInvalid
from redoubt.evidence.claims import JSON
from redoubt.keys.register import CommitHead
from redoubt.limits import (
    MAX_KEY_BATCH,
    MAX_RECEIPT_FACTS,
    MAX_RECEIPT_MEMBERS,
    MAX_RECEIPT_ROLES,
    MAX_RECEIPT_ROWS,
)
from redoubt.pki.spiffe import SpiffeId
from redoubt.trust.audit_chain import AuditEntry, row_digest
from redoubt.trust.policy import Action
from redoubt.trust.receipt_fields import Members, time_text
from redoubt.trust.receipt_proved import Member, Proved
from redoubt.trust.receipt_values import Commit, Release, Resource, Role

#: The member of a row that names the job which it is about (:func:`redoubt.trust.signer_key.thumbprint`).
HOLDER: Final = "holder"
GRANTED: Final = "granted"
REFUSED: Final = "refused"
_GIVE: Final = frozenset({"unwrap", "data-key", "register", "resource", "certificate"})


def giving_job(event: Mapping[str, JSON]) -> str | None:
    """Return the job that a row with this event gives something to, None if it gives nothing."""
    job = event.get(HOLDER)
    gives = event.get("event") in _GIVE and event.get("decision") == GRANTED
    return job if gives and isinstance(job, str) else None


def refused_as(event: Mapping[str, JSON], code: str) -> dict[str, JSON]:
    """Return the event of a decision that was turned down after all."""
    return {**event, "decision": REFUSED, "code": code}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatory:
    """The broker that signs a receipt, and by which result of the job it was asked to."""

    issuer: str
    key: Mapping[str, JSON]
    ear: UUID
    at: datetime
    audit: str


@dataclass(slots=True)
class _Given:
    data_keys: set[str] = field(default_factory=set)
    ears: dict[UUID, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Tally:
    """What the rows that were read so far add up to."""

    attested: dict[UUID, Role] = field(default_factory=dict)
    given: dict[tuple[UUID, UUID | None, Action, CommitHead | None], _Given] = field(default_factory=dict)
    resources: dict[str, _Given] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    used: set[UUID] = field(default_factory=set)
    name: SpiffeId | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """The attestations that were used."""
        return tuple(role for ear, role in self.attested.items() if ear in self.used)

    @property
    def releases(self) -> tuple[Release, ...]:
        """Data keys that were given."""
        return tuple(
            Release(
                dataset=dataset,
                action=action,
                head=head,
                data_keys=len(it.data_keys),
                ears=tuple(it.ears),
                parent=parent,
            )
            for (dataset, parent, action, head), it in self.given.items()
        )

    @property
    def fetched(self) -> tuple[Resource, ...]:
        """Resources that were given."""
        return tuple(Resource(path=path, ears=tuple(it.ears)) for path, it in self.resources.items())

    @classmethod
    def of(cls, job: str, rows: Iterable[AuditEntry], *, used: Iterable[UUID] = ()) -> Self:
        """Return what the *rows* of *job* add up to; raises AuditBroken or ReceiptTooLarge."""
        tally = cls(used=set(used))
        for count, entry in enumerate(rows, start=1):
            if count > MAX_RECEIPT_ROWS:
                raise ReceiptTooLarge(f"the audit log has more than {MAX_RECEIPT_ROWS} rows of this job")
            _check_row(entry, job)
            if entry.event.get("decision") != GRANTED:
                continue
            try:
                tally.add(entry)
            except ReceiptMalformed as error:
                raise AuditBroken(f"row {entry.number} is no row that a broker writes: {error.what}") from None
        if max(len(tally.given), len(tally.resources), len(tally.commits)) > MAX_RECEIPT_FACTS:
            raise ReceiptTooLarge(f"a receipt has at most {MAX_RECEIPT_FACTS} datasets, resources and commits")
        if len(tally.used) > MAX_RECEIPT_ROLES:
            raise ReceiptTooLarge(f"a receipt has at most {MAX_RECEIPT_ROLES} attestation results")
        if missing := tally.used - set(tally.attested):
            raise AuditBroken(f"the audit log has no attestation with the result {min(missing)}")
        return tally

    def add(self, entry: AuditEntry) -> None:
        """Count one row that granted something."""
        event = entry.event
        kind = event.get("event")
        if kind == "attest":
            role = Role.of({**_place(entry), **{it: event.get(it) for it in _ROLE}})
            self.attested[role.ear] = role
            return
        if kind not in _GIVE:
            return
        ear = Members({"ear": event.get("ear")}, "ear", what="a row").uuid("ear")
        self.used.add(ear)
        if kind == "register":
            self.commits.append(Commit.of({**_place(entry), **{it: event.get(it) for it in _COMMIT}}))
        elif (issued := certified(entry)) is not None:
            self.name = issued.name
        elif kind == "resource":
            path = Members({"path": event.get("resource")}, "path", what="a row").text("path")
            self.resources.setdefault(path, _Given()).ears[ear] = None
        else:
            read = Members({it: event.get(it) for it in _RELEASE}, " ".join(_RELEASE), what="a row")
            action = Action.READ if kind == "unwrap" else Action.WRITE
            name = read.uuid("dataset"), read.optional_uuid("parent"), action, read.head("head")
            found = self.given.setdefault(name, _Given())
            found.data_keys.update(map(str, read.list("data_keys", MAX_KEY_BATCH)))
            found.ears[ear] = None


_ROLE: Final = ("binding", "ear", "evidence", "manifest", "program", "tee", "token")
_COMMIT: Final = ("dataset", "ear", "head", "parent")
_RELEASE: Final = ("data_keys", "dataset", "head", "parent")


def proved_part(job: str, rows: Iterable[AuditEntry], *, by: Signatory, members: Iterable[Member] = ()) -> Proved:
    """Return what the audit *rows* of *job* prove; *members* are the others of its trust domain.

    Raises:
        AuditBroken: a row is not whole, or is no row that a broker writes.
        ReceiptTooLarge: there are more facts than a receipt may have.
    """
    tally = _Tally.of(job, rows, used={by.ear})
    others = tuple(members)
    if len(others) > MAX_RECEIPT_MEMBERS:
        raise ReceiptTooLarge(f"a receipt has at most {MAX_RECEIPT_MEMBERS} members of a trust domain")
    return Proved(
        issuer=by.issuer,
        key=by.key,
        job=job,
        ear=by.ear,
        at=by.at,
        roles=tally.roles,
        releases=tally.releases,
        resources=tally.fetched,
        commits=tuple(tally.commits),
        name=tally.name,
        members=others,
        audit=by.audit,
    )


def member_part(name: SpiffeId, job: str, rows: Iterable[AuditEntry]) -> Member:
    """Return what the audit *rows* of another *job* of the trust domain prove; raises as :func:`proved_part`."""
    tally = _Tally.of(job, rows)
    return Member(
        name=name,
        job=job,
        roles=tally.roles,
        releases=tally.releases,
        resources=tally.fetched,
        commits=tuple(tally.commits),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A certificate that was issued: to which job, as what, when."""

    job: str
    name: SpiffeId
    at: datetime


def certified(entry: AuditEntry) -> Certified | None:
    """Return the certificate that a row granted, None for other rows; raises AuditBroken."""
    event = entry.event
    if (event.get("event"), event.get("decision")) != ("certificate", GRANTED):
        return None
    try:
        found = Members({"job": event.get(HOLDER), "name": event.get("name")}, "job name", what="a row")
        return Certified(job=found.digest("job"), name=SpiffeId.parse(found.text("name")), at=entry.at)
    except (ReceiptMalformed, SpiffeInvalid) as error:
        raise AuditBroken(f"row {entry.number} is no row that a broker writes: {error.what}") from None


def _check_row(entry: AuditEntry, job: str) -> None:
    whole = row_digest(number=entry.number, at=entry.at, event=entry.event, previous=entry.previous)
    if whole != entry.digest:
        raise AuditRowChanged(f"row {entry.number} was changed: it does not have its digest")
    if entry.event.get(HOLDER) != job:
        raise AuditBroken(f"row {entry.number} is of another job than the store's index says")


def _place(entry: AuditEntry) -> dict[str, JSON]:
    return {"at": time_text(entry.at), "row": entry.number}
