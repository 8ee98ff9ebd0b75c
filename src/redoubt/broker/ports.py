"""What the broker's service needs of its store. One contract suite runs against every implementation.

Every method is safe for several threads and several brokers on one store at once, and durable when it returns. Times
are passed in; nothing here reads a clock. A store holds no secret in clear: primary keys, resources and the broker's
signing key lie in it wrapped under a root key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.evidence.claims import JSON
from redoubt.keys.provider import Provider
from redoubt.protocol.key_api import RegisteredHead as RegisteredHead  # part of the contract, and of messages
from redoubt.trust.audit_chain import AuditEntry as AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestSession:
    """A challenge that the broker gave out: its nonce is the broker's own and good for one attestation."""

    id: UUID
    nonce: bytes
    tee: str
    expires: datetime


class SessionStore(Protocol):
    """Challenges and the results that came of them."""

    def open(self, session: AttestSession) -> None:
        """Remember a challenge."""

    def claim(self, session_id: UUID, *, now: datetime) -> AttestSession:
        """Return the challenge, once: raises SessionUnknown, SessionExpired, or NonceReplayed the second time."""

    def settle(self, session_id: UUID, token: bytes) -> None:
        """Keep the attestation result of a claimed session."""

    def use_once(self, token_id: UUID, *, expires: datetime) -> None:
        """Remember the id of a token that is good for one request; raises NonceReplayed the second time.

        It may be forgotten once *expires* is past: whoever checks the token refuses it then.
        """

    def token(self, session_id: UUID, *, now: datetime) -> bytes:
        """Return the result; raises SessionUnknown or SessionExpired, also if there is none yet."""


class ManifestHistory(Protocol):
    """Signed manifests (DSSE envelopes) by version, from 1 on without a gap; never replaced."""

    def envelopes(self) -> Sequence[bytes]:
        """Return all of them, oldest first."""

    def append(self, version: int, envelope: bytes) -> None:
        """Add the next one; raises ManifestRollback if another broker added that version meanwhile."""


class ResourceStore(Protocol):
    """Secrets that attested programs may fetch, by ``repository/type/tag``."""

    def put(self, path: str, content: bytes) -> None:
        """Store or replace one."""

    def get(self, path: str) -> bytes:
        """Return one; raises ResourceMissing."""

    def paths(self) -> Sequence[str]:
        """Return the names, sorted."""


class AuditLog(Protocol):
    """A hash chain of decisions."""

    def append(self, event: Mapping[str, JSON], *, at: datetime) -> AuditEntry:
        """Add a row to the chain; raises JobClosed if it would give something to a job that was closed."""

    def entries(self, *, start: int = 1, limit: int = 1000) -> Sequence[AuditEntry]:
        """Return rows from number *start* on, at most *limit*."""

    def of_job(self, job: str, *, start: int = 1) -> Sequence[AuditEntry]:
        """Return a page of the rows whose event names *job* as its holder, from number *start* on."""

    def of_domain(self, domain: str, *, since: datetime, start: int = 1) -> Sequence[AuditEntry]:
        """Return a page of the rows that gave certificates of *domain* at *since* or later, from number *start* on."""

    def newest(self, facts: Mapping[str, str]) -> AuditEntry | None:
        """Return the newest row whose event has all *facts*; reads the whole log if there is none."""

    def head(self) -> AuditEntry | None:
        """Return the newest row."""


class CommitRegister(Protocol):
    """Which commit of a dataset is the newest."""

    def head(self, dataset_id: UUID) -> RegisteredHead | None:
        """Return the registered head."""

    def advance(self, dataset_id: UUID, *, previous: RegisteredHead | None, head: RegisteredHead) -> None:
        """Compare and swap; raises RegisterConflict if the head is not *previous* (None: not registered yet)."""

    def put(self, dataset_id: UUID, head: RegisteredHead) -> None:
        """Register *head*, whatever was registered or announced: an owner's word."""

    def announced(self, dataset_id: UUID) -> frozenset[RegisteredHead]:
        """Return the announced commits after the registered one."""

    def announce(self, dataset_id: UUID, head: RegisteredHead, *, at: datetime) -> None:
        """Add a commit to them, unless it is not after the registered one; of too many the oldest is forgotten."""


class CreatedDatasets(Protocol):
    """Datasets that programs made under a grant to create (:mod:`redoubt.broker.created`)."""

    def parent(self, dataset_id: UUID) -> UUID | None:
        """Return the manifest's dataset that a created one belongs to; None if no program made it."""

    def add(self, dataset_id: UUID, *, parent: UUID, data_key_id: UUID, check_value: bytes) -> None:
        """Note a data key, and with the first one the dataset.

        Raises:
            DatasetTaken: the dataset belongs to another one or has a registered head, or the data key was noted before.
        """

    def check_value(self, dataset_id: UUID, data_key_id: UUID) -> bytes | None:
        """Return what was noted with a data key; None if it was not."""


class RefusalStore(Protocol):
    """Records of refusals (:class:`redoubt.trust.refusal.Refusal`), for the owners."""

    def put(self, refusal_id: UUID, record: bytes, *, at: datetime) -> None:
        """Keep one; the oldest beyond a bound are dropped."""

    def get(self, refusal_id: UUID) -> bytes:
        """Return one; raises RefusalMissing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedJob:
    """A job that asked for its receipt: the digest of what it reported, and the receipt once it is signed."""

    reported: str
    receipt: bytes | None


class ReceiptStore(Protocol):
    """Receipts by job, never replaced."""

    def close(self, job: str, *, reported: str, at: datetime) -> ClosedJob:
        """Close a job, or return how it was closed before."""

    def fill(self, job: str, receipt: bytes) -> bytes:
        """Keep the receipt of a closed job, unless it has one; return the one that is kept. Raises ReceiptMissing."""

    def get(self, job: str) -> bytes:
        """Return the receipt of a job; raises ReceiptMissing."""

    def closed_at(self, job: str) -> datetime | None:
        """Return when a job asked for its receipt, None if it did not."""

    def is_closed(self, job: str) -> bool:
        """Return whether a job asked for its receipt."""


class BrokerStore(Protocol):
    """Everything that a broker keeps."""

    @property
    def sessions(self) -> SessionStore:
        """Challenges."""

    @property
    def manifests(self) -> ManifestHistory:
        """The owners' policy."""

    @property
    def resources(self) -> ResourceStore:
        """Secrets by name."""

    @property
    def audit(self) -> AuditLog:
        """Decisions."""

    @property
    def register(self) -> CommitRegister:
        """Head commits."""

    @property
    def created(self) -> CreatedDatasets:
        """Datasets that programs made."""

    @property
    def refusals(self) -> RefusalStore:
        """Records of refusals."""

    @property
    def receipts(self) -> ReceiptStore:
        """Receipts of jobs."""

    @property
    def provider(self) -> Provider:
        """Primary keys."""

    @property
    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The broker's P-384 key: signs attestation results and audit heads. Brokers on one store share it."""

    def check(self) -> None:
        """Check that the store answers; raises StorageError."""

    def close(self) -> None:
        """Let go of connections."""
