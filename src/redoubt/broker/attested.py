"""The key API for attested programs: data keys, the register of heads, resources.

Each call is authenticated by an attestation result, judged by the manifest in force, and written to the audit log. What
holds a secret is encrypted to the attested key, so an intercepted result is of no use to anybody else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from redoubt.broker.core import Core, Event
from redoubt.broker.created import check_made, check_value
from redoubt.broker.release import (
    CREATES,
    UNWRAPS,
    WRITES,
    Release,
    authenticate,
    check_key,
    choose_key,
    named,
    release_dataset,
    release_new,
    release_resource,
)
from redoubt.errors import AttesterUnauthenticated, GrantRefused, JobClosed, ResourceMissing
from redoubt.evidence.claims import JSON
from redoubt.keys.types import DataKey
from redoubt.limits import DATA_KEY_BYTES
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.jwe import Recipient, encrypt
from redoubt.protocol.key_api import AdvanceRequest, AnnounceRequest, DataKeyAnswer, RegisteredHead, UnwrapAnswer
from redoubt.trust.ear_verify import AttestationResult
from redoubt.trust.policy import Action
from redoubt.trust.receipt_audit import HOLDER
from redoubt.trust.refusal import Refusal
from redoubt.trust.signer_key import thumbprint
from redoubt.trust.signing import SignedManifest

#: repository/type/tag, as Trustee takes them.
RESOURCE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """An attested program at the broker: only :meth:`Keys.authenticate` makes one."""

    result: AttestationResult
    policy: SignedManifest

    @property
    def job(self) -> str:
        """The job that the attested key is: the same for every result of one agent."""
        return thumbprint(self.result.key)

    @property
    def facts(self) -> dict[str, JSON]:
        """What every row of the audit log says of who asked."""
        return {"evidence": self.result.evidence, "ear": self.result.token_id, HOLDER: self.job}

    @property
    def recipient(self) -> Recipient:
        """The attested key."""
        return Recipient.parse(dict(self.result.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The key API of a broker."""

    core: Core

    def authenticate(self, token: bytes) -> Attested:
        """Return who holds the attestation result *token*; raises AttesterUnauthenticated or ManifestMissing."""
        policy = self.core.policy.current()
        try:
            result = authenticate(
                token,
                issuer=self.core.issuer,
                policy=policy,
                simulated=self.core.settings.development,
                now=self.core.clock(),
            )
        except AttesterUnauthenticated as error:
            self.core.refused(Event.UNAUTHENTICATED, error, {"manifest": policy.digest})
            raise
        return Attested(result=result, policy=policy)

    def unwrap(self, attested: Attested, request: UnwrapRequest) -> bytes:
        """Return the data keys of *request* and the registered head, encrypted to the attested key.

        Raises:
            GrantRefused: with the refusal's id.
            KeyError_: a record was changed, or its primary key cannot be used.
        """
        release = self._release(Event.UNWRAP, attested, request.dataset_id, UNWRAPS, asked=Action.READ)
        facts = self._facts(attested, release, request.dataset_id) | {
            "data_keys": [str(it.context.data_key_id) for it in request.records],
            "purpose": request.purpose.value,
        }
        with self.core.audited(Event.UNWRAP, facts):
            for record in request.records:
                check_key(release, record.key)
            keys = self.core.store.provider.unwrap(request.records)
            if release.created:
                check_made(self.core.store.created, keys)
            head = self.core.store.register.head(request.dataset_id)
            facts["head"] = None if head is None else head.to_json()
        return encrypt(UnwrapAnswer(keys=keys, head=head).encode(), attested.recipient)

    def data_key(self, attested: Attested, request: DataKeyRequest) -> bytes:
        """Return a fresh data key, wrapped and in clear, and a ticket, encrypted to the attested key.

        Raises:
            GrantRefused: with the refusal's id.
            KeyError_: the primary key cannot be used.
            DatasetTaken: the program makes a dataset under an id that is in use.
        """
        dataset_id = request.context.dataset_id
        release = self._release_for_writing(attested, request)
        facts = self._facts(attested, release, dataset_id) | {
            "data_keys": [str(request.context.data_key_id)],
            "purpose": request.context.purpose.value,
        }
        with self.core.audited(Event.DATA_KEY, facts):
            name = choose_key(release, request.key)
            facts["key"] = str(name)
            key = DataKey(context=request.context, secret=os.urandom(DATA_KEY_BYTES))
            if release.created:  # before the wrap, which the key's books would count for a dataset that is refused
                self.core.store.created.add(
                    dataset_id,
                    parent=release.dataset.id,
                    data_key_id=request.context.data_key_id,
                    check_value=check_value(key),
                )
            (wrapped,) = self.core.store.provider.wrap(name, [key])
            ticket = self.core.tickets.issue(dataset_id=dataset_id, holder=attested.result.key, now=self.core.clock())
        return encrypt(DataKeyAnswer(key=key, wrapped=wrapped, ticket=ticket).encode(), attested.recipient)

    def head(self, attested: Attested, dataset_id: UUID) -> RegisteredHead | None:
        """Return the registered head of a dataset that the program may use; raises GrantRefused."""
        self._release(Event.REGISTER, attested, dataset_id, UNWRAPS, asked=Action.READ)
        return self.core.store.register.head(dataset_id)

    def advance(self, attested: Attested, dataset_id: UUID, request: AdvanceRequest) -> None:
        """Move the registered head of a dataset.

        Raises:
            GrantRefused, TicketRefused: the program may not, or was given no data key of this dataset.
            RegisterConflict: the head is another one than the request says.
        """
        with self._committing(Event.REGISTER, attested, dataset_id, request.head, ticket=request.ticket):
            self.core.store.register.advance(dataset_id, previous=request.previous, head=request.head)

    def announced(self, attested: Attested, dataset_id: UUID) -> frozenset[RegisteredHead]:
        """Return the announced commits of a dataset that the program may use; raises GrantRefused."""
        self._release(Event.ANNOUNCE, attested, dataset_id, UNWRAPS, asked=Action.READ)
        return self.core.store.register.announced(dataset_id)

    def announce(self, attested: Attested, dataset_id: UUID, request: AnnounceRequest) -> None:
        """Note a commit that is about to be made.

        Raises:
            GrantRefused, TicketRefused: the program may not, or was given no data key of this dataset.
            RegisterConflict: a commit of that number is registered.
        """
        with self._committing(Event.ANNOUNCE, attested, dataset_id, request.head, ticket=request.ticket):
            self.core.store.register.announce(dataset_id, request.head, at=self.core.clock())

    @contextmanager
    def _committing(
        self, event: Event, attested: Attested, dataset_id: UUID, head: RegisteredHead, *, ticket: str
    ) -> Iterator[None]:
        # Who may only create publishes what it made: the ticket says that it was given a data key of this dataset.
        writes = WRITES if named(attested.policy, dataset_id) is not None else WRITES | CREATES
        release = self._release(event, attested, dataset_id, writes, asked=Action.WRITE)
        if self.core.store.receipts.is_closed(attested.job):  # its row comes after the deed
            raise JobClosed("the job has asked for its receipt, and commits nothing more")
        facts = self._facts(attested, release, dataset_id) | {"head": head.to_json()}
        with self.core.audited(event, facts):
            self.core.tickets.check(ticket, dataset_id=dataset_id, holder=attested.result.key, now=self.core.clock())
            yield

    def resource(self, attested: Attested, path: str) -> bytes:
        """Return the resource at *path* (``repository/type/tag``), encrypted to the attested key.

        Raises:
            GrantRefused: no grant reaches the dataset that the repository is named after.
            ResourceMissing: there is none.
        """
        facts = attested.facts | {"resource": path}
        with self.core.audited(Event.RESOURCE, facts):
            check_resource_path(path)
            repository = path.partition("/")[0]
            facts["program"] = release_resource(attested.result, policy=attested.policy, repository=repository)
            content = self.core.store.resources.get(path)
        return encrypt(content, attested.recipient)

    def _release_for_writing(self, attested: Attested, request: DataKeyRequest) -> Release:
        dataset_id = request.context.dataset_id
        if named(attested.policy, dataset_id) is not None or self.core.store.created.parent(dataset_id) is not None:
            return self._release(Event.DATA_KEY, attested, dataset_id, WRITES, asked=Action.WRITE)
        try:
            return release_new(attested.result, policy=attested.policy, key=request.key)
        except GrantRefused as error:
            raise self._refuse(Event.DATA_KEY, error, attested, dataset="NAME", asked=Action.CREATE) from None

    def _release(
        self, event: Event, attested: Attested, dataset_id: UUID, actions: AbstractSet[Action], *, asked: Action
    ) -> Release:
        name = named(attested.policy, dataset_id)
        parent = self.core.store.created.parent(dataset_id) if name is None else None
        try:
            return release_dataset(
                attested.result, policy=attested.policy, dataset_id=dataset_id, parent=parent, actions=actions
            )
        except GrantRefused as error:
            if name is None and parent is not None:
                name = named(attested.policy, parent)
            raise self._refuse(event, error, attested, dataset=name or str(dataset_id), asked=asked) from None

    def _refuse(
        self, event: Event, error: GrantRefused, attested: Attested, *, dataset: str, asked: Action
    ) -> GrantRefused:
        record = Refusal.not_granted(
            attested.result,
            dataset=dataset,
            action=asked,
            policy=attested.policy,
            now=self.core.clock(),
            refusal_id=uuid4(),
        )
        self.core.keep_refusal(event, error, record)
        return GrantRefused(error.what, refusal=record.id)

    @staticmethod
    def _facts(attested: Attested, release: Release, dataset_id: UUID) -> dict[str, JSON]:
        return attested.facts | {
            "program": release.program,
            "dataset": str(dataset_id),
            "parent": str(release.dataset.id) if release.created else None,
            "manifest": release.result.manifest,
        }


def check_resource_path(path: str) -> None:
    """Return if *path* is ``repository/type/tag``; raises ResourceMissing."""
    parts = path.split("/")
    if len(parts) != 3 or not all(RESOURCE.fullmatch(it) for it in parts):
        raise ResourceMissing("a resource is named repository/type/tag, of letters, digits, '.', '-' and '_'")
