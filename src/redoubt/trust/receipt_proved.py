"""The proved part of a receipt: what the broker says of the job, and of the other members of its trust domain.

A role of a trust domain sends to whoever shows a certificate of that domain, and to nobody else. So a receipt names
all that were certified while the job ran, with what each was given by the broker. Which of them took part is not known
to the broker: the trust domain is the boundary (hardening H11).

The broker names their attestation results by digest. The results themselves stand in each member's own receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redoubt.errors import ReceiptMalformed, SpiffeInvalid
from redoubt.evidence.claims import JSON
from redoubt.limits import MAX_RECEIPT_FACTS, MAX_RECEIPT_MEMBERS, MAX_RECEIPT_ROLES, MAX_TOKEN_BYTES
from redoubt.pki.spiffe import SpiffeId
from redoubt.trust.receipt_fields import Members, many, time_text
from redoubt.trust.receipt_values import Commit, Release, Resource, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One job of the trust domain, with its name there and what it was given until the receipt was signed."""

    name: SpiffeId
    job: str
    roles: tuple[Role, ...]
    releases: tuple[Release, ...]
    resources: tuple[Resource, ...]
    commits: tuple[Commit, ...]

    def to_json(self) -> JSON:
        """Return the member as it stands in the proved part."""
        return {
            "commits": [it.to_json() for it in self.commits],
            "job": self.job,
            "name": str(self.name),
            "releases": [it.to_json() for it in self.releases],
            "resources": [it.to_json() for it in self.resources],
            "roles": [it.to_json() for it in self.roles],
        }

    @classmethod
    def of(cls, value: JSON) -> Member:
        """Return the member that *value* is; raises ReceiptMalformed."""
        found = Members(value, "commits job name releases resources roles", what="a member")
        return cls(
            name=_name(found.text("name")),
            job=found.digest("job"),
            roles=many(found.list("roles", MAX_RECEIPT_ROLES), Role.of),
            releases=many(found.list("releases", MAX_RECEIPT_FACTS), Release.of),
            resources=many(found.list("resources", MAX_RECEIPT_FACTS), Resource.of),
            commits=many(found.list("commits", MAX_RECEIPT_FACTS), Commit.of),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What the broker says from its own audit log."""

    #: Who says it: the ``iss`` of its attestation results, and its public key (JWK).
    issuer: str
    key: Mapping[str, JSON]
    job: str
    #: The attestation result by which the receipt was asked for.
    ear: UUID
    at: datetime
    roles: tuple[Role, ...]
    releases: tuple[Release, ...]
    resources: tuple[Resource, ...]
    commits: tuple[Commit, ...]
    #: What the job was certified as in a trust domain, and who else was there; nothing for a job without a role.
    name: SpiffeId | None
    members: tuple[Member, ...]
    #: A signed head of the audit log (:mod:`redoubt.trust.audit_head`), of the same second.
    audit: str

    def to_json(self) -> JSON:
        """Return the part as it stands in the predicate."""
        return {
            "at": time_text(self.at),
            "audit": self.audit,
            "broker": {"issuer": self.issuer, "key": dict(self.key)},
            "commits": [it.to_json() for it in self.commits],
            "ear": str(self.ear),
            "job": self.job,
            "members": [it.to_json() for it in self.members],
            "name": None if self.name is None else str(self.name),
            "releases": [it.to_json() for it in self.releases],
            "resources": [it.to_json() for it in self.resources],
            "roles": [it.to_json() for it in self.roles],
        }

    @classmethod
    def of(cls, value: JSON) -> Proved:
        """Return the part that *value* is; raises ReceiptMalformed."""
        names = "at audit broker commits ear job members name releases resources roles"
        found = Members(value, names, what="the proved part")
        broker = Members(found.raw("broker"), "issuer key", what="the broker of the receipt")
        return cls(
            issuer=broker.text("issuer"),
            key=broker.object("key"),
            job=found.digest("job"),
            ear=found.uuid("ear"),
            at=found.time("at"),
            roles=many(found.list("roles", MAX_RECEIPT_ROLES), Role.of),
            releases=many(found.list("releases", MAX_RECEIPT_FACTS), Release.of),
            resources=many(found.list("resources", MAX_RECEIPT_FACTS), Resource.of),
            commits=many(found.list("commits", MAX_RECEIPT_FACTS), Commit.of),
            name=None if found.raw("name") is None else _name(found.text("name")),
            members=many(found.list("members", MAX_RECEIPT_MEMBERS), Member.of),
            audit=found.text("audit", longest=MAX_TOKEN_BYTES),
        )


def _name(text: str) -> SpiffeId:
    """Return the name that *text* is; raises ReceiptMalformed."""
    try:
        return SpiffeId.parse(text)
    except SpiffeInvalid as error:
        raise ReceiptMalformed(f"a member of the receipt: {error.what}") from None
