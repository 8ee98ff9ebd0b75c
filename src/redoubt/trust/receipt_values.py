"""What stands in a receipt: the facts of the proved part and the reported part as values, and their JSON, strictly.

``docs/receipts.md`` describes each member. Decides only that a part is well formed and within its bounds; who signed it
and whether the parts agree is :mod:`redoubt.trust.receipt_verify`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redoubt.errors import ReceiptMalformed
from redoubt.evidence.claims import JSON, Tee
from redoubt.keys.register import CommitHead
from redoubt.limits import (
    LARGEST_INTEGER,
    MAX_RECEIPT_ENGINES,
    MAX_RECEIPT_FACTS,
    MAX_RECEIPT_ROLES,
    MAX_TOKEN_BYTES,
)
from redoubt.trust.policy import Action, Binding
from redoubt.trust.receipt_fields import Members, head_json, many, time_text, uuid_json, uuids


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One attestation of the job with which it was given secrets: a row of the broker's audit log."""

    #: The id of the attestation result, and the digest of its token.
    ear: UUID
    token: str
    tee: Tee
    binding: Binding
    program: str
    manifest: str
    evidence: str
    at: datetime
    row: int

    def to_json(self) -> JSON:
        """Return the role as it stands in the proved part."""
        return {
            "at": time_text(self.at),
            "binding": self.binding.value,
            "ear": str(self.ear),
            "evidence": self.evidence,
            "manifest": self.manifest,
            "program": self.program,
            "row": self.row,
            "tee": self.tee.value,
            "token": self.token,
        }

    @classmethod
    def of(cls, value: JSON) -> Role:
        """Return the role that *value* is; raises ReceiptMalformed."""
        found = Members(value, "at binding ear evidence manifest program row tee token", what="a role")
        return cls(
            ear=found.uuid("ear"),
            token=found.digest("token"),
            tee=found.word("tee", Tee),
            binding=found.word("binding", Binding),
            program=found.digest("program"),
            manifest=found.digest("manifest"),
            evidence=found.digest("evidence"),
            at=found.time("at"),
            row=found.number("row", 1, LARGEST_INTEGER),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Data keys of one dataset that the job was given, to read at a registered head, or to write."""

    dataset: UUID
    action: Action
    #: The head that was registered then; None if none was, and for keys to write with.
    head: CommitHead | None
    #: How many different ones.
    data_keys: int
    #: The attestation results by which they were asked for.
    ears: tuple[UUID, ...]
    #: The dataset of the manifest to which one belongs that a program created.
    parent: UUID | None = None

    def to_json(self) -> JSON:
        """Return the release as it stands in the proved part."""
        return {
            "action": self.action.value,
            "data_keys": self.data_keys,
            "dataset": str(self.dataset),
            "ears": list(map(str, self.ears)),
            "head": head_json(self.head),
            "parent": uuid_json(self.parent),
        }

    @classmethod
    def of(cls, value: JSON) -> Release:
        """Return the release that *value* is; raises ReceiptMalformed."""
        found = Members(value, "action data_keys dataset ears head parent", what="a key release")
        return cls(
            dataset=found.uuid("dataset"),
            action=found.word("action", Action),
            head=found.head("head"),
            data_keys=found.number("data_keys", 1, LARGEST_INTEGER),
            ears=uuids(found.list("ears", MAX_RECEIPT_ROLES)),
            parent=found.optional_uuid("parent"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit that the job registered as a dataset's head."""

    dataset: UUID
    head: CommitHead
    ear: UUID
    at: datetime
    row: int
    parent: UUID | None = None

    def to_json(self) -> JSON:
        """Return the commit as it stands in the proved part."""
        return {
            "at": time_text(self.at),
            "dataset": str(self.dataset),
            "ear": str(self.ear),
            "head": head_json(self.head),
            "parent": uuid_json(self.parent),
            "row": self.row,
        }

    @classmethod
    def of(cls, value: JSON) -> Commit:
        """Return the commit that *value* is; raises ReceiptMalformed."""
        found = Members(value, "at dataset ear head parent row", what="a commit")
        head = found.head("head")
        if head is None:
            raise ReceiptMalformed("a commit of the receipt has no head")
        return cls(
            dataset=found.uuid("dataset"),
            head=head,
            ear=found.uuid("ear"),
            at=found.time("at"),
            row=found.number("row", 1, LARGEST_INTEGER),
            parent=found.optional_uuid("parent"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource (``repository/type/tag``) that the job was given."""

    path: str
    ears: tuple[UUID, ...]

    def to_json(self) -> JSON:
        """Return the resource as it stands in the proved part."""
        return {"ears": list(map(str, self.ears)), "path": self.path}

    @classmethod
    def of(cls, value: JSON) -> Resource:
        """Return the resource that *value* is; raises ReceiptMalformed."""
        found = Members(value, "ears path", what="a resource")
        return cls(path=found.text("path"), ears=uuids(found.list("ears", MAX_RECEIPT_ROLES)))


@dataclass(frozen=True, slots=True)
class Touched:
    """A dataset at one commit, as an agent saw it; no head where none was registered."""

    dataset: UUID
    head: CommitHead | None

    def to_json(self) -> JSON:
        """Return it as it stands in the reported part."""
        return {"dataset": str(self.dataset), "head": head_json(self.head)}

    @classmethod
    def of(cls, value: JSON) -> Touched:
        """Return what *value* is; raises ReceiptMalformed."""
        found = Members(value, "dataset head", what="a dataset of the reported part")
        return cls(found.uuid("dataset"), found.head("head"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What an attested agent says of the program that it ran. Nobody but the agent vouches for it."""

    job: str
    program: str
    #: The manifest in force when the program had ended.
    manifest: str
    #: Digest of the canonical list of the arguments that may vary.
    arguments: str
    #: Name → version of what ran.
    engine: Mapping[str, str]
    started: datetime
    ended: datetime
    #: As shells say it: 128 and the signal's number if a signal ended the program.
    status: int
    inputs: tuple[Touched, ...]
    outputs: tuple[Touched, ...]
    #: Every attestation result of the job, as compact JWS.
    ears: tuple[str, ...]

    def to_json(self) -> JSON:
        """Return the part as it stands in its predicate."""
        return {
            "arguments": self.arguments,
            "ears": list(self.ears),
            "ended": time_text(self.ended),
            "engine": dict(self.engine),
            "inputs": [it.to_json() for it in self.inputs],
            "job": self.job,
            "manifest": self.manifest,
            "outputs": [it.to_json() for it in self.outputs],
            "program": self.program,
            "started": time_text(self.started),
            "status": self.status,
        }

    @classmethod
    def of(cls, value: JSON) -> Reported:
        """Return the part that *value* is; raises ReceiptMalformed."""
        names = "arguments ears ended engine inputs job manifest outputs program started status"
        found = Members(value, names, what="the reported part")
        ears = found.list("ears", MAX_RECEIPT_ROLES)
        if not ears or not all(isinstance(it, str) and it.isascii() and len(it) <= MAX_TOKEN_BYTES for it in ears):
            raise ReceiptMalformed("the reported part holds no attestation result, or one that is none")
        return cls(
            job=found.digest("job"),
            program=found.digest("program"),
            manifest=found.digest("manifest"),
            arguments=found.digest("arguments"),
            engine=found.texts("engine", MAX_RECEIPT_ENGINES),
            started=found.time("started"),
            ended=found.time("ended"),
            status=found.number("status", 0, 255),
            inputs=many(found.list("inputs", MAX_RECEIPT_FACTS), Touched.of),
            outputs=many(found.list("outputs", MAX_RECEIPT_FACTS), Touched.of),
            ears=tuple(map(str, ears)),
        )
