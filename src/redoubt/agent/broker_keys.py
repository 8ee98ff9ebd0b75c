"""Data keys and resources of a broker, for the key endpoint of an attested program.

Every call carries the current attestation result; every answer with a secret is a JWE that only this agent's key opens.
A result that the broker takes no more (the manifest changed, its time is over) is replaced once, by attesting again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import rfc8785

from redoubt.agent.attest import Attestation, AttestedAgent
from redoubt.errors import AttesterUnauthenticated, RegisterConflict
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_TICKETS
from redoubt.protocol import rcar
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest, unwrap_in_batches
from redoubt.protocol.https import Answer
from redoubt.protocol.jwe import decrypt
from redoubt.protocol.key_api import (
    PATH,
    AdvanceRequest,
    AnnounceRequest,
    DataKeyAnswer,
    RegisteredHead,
    UnwrapAnswer,
    parse_announced,
    parse_head,
)
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.receipt_values import Touched


class BrokerKeySource:
    """A :class:`redoubt.keys.provider.KeySource` behind which an attested broker stands."""

    def __init__(self, agent: AttestedAgent) -> None:
        self._agent = agent
        #: Dataset → the ticket of its newest data key.
        self._tickets: OrderedDict[UUID, str] = OrderedDict()
        self._released: set[tuple[UUID, UUID]] = set()
        #: In order, each once; bounded by what a receipt may have.
        self._read: dict[Touched, None] = {}
        self._written: dict[Touched, None] = {}
        self._lock = threading.Lock()

    @property
    def released(self) -> frozenset[tuple[UUID, UUID]]:
        """Dataset and id of every data key that the broker gave."""
        with self._lock:
            return frozenset(self._released)

    @property
    def inputs(self) -> tuple[Touched, ...]:
        """Each dataset that keys were given to read, with the head that was registered then."""
        with self._lock:
            return tuple(self._read)

    @property
    def outputs(self) -> tuple[Touched, ...]:
        """Each commit that was registered."""
        with self._lock:
            return tuple(self._written)

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        """Make a data key; see :class:`redoubt.keys.provider.KeySource`.

        Raises:
            GrantRefused: the manifest does not let this program write the dataset.
            BrokerError: the broker refuses, or does not answer.
        """
        request = DataKeyRequest(key, context)
        # Asked twice it makes two keys, of which one is never used: as good as once.
        answer, used = self._call("POST", f"{PATH}/data-keys", request.encode())
        found = DataKeyAnswer.parse(decrypt(answer.body, used.key), request)
        self._note([found.key])
        with self._lock:
            self._tickets[context.dataset_id] = found.ticket
            self._tickets.move_to_end(context.dataset_id)
            while len(self._tickets) > MAX_TICKETS:
                self._tickets.popitem(last=False)
        return found.key, found.wrapped

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[DataKey]:
        """Unwrap, in batches of one dataset and purpose, in order.

        Raises:
            GrantRefused: the manifest does not let this program read a dataset.
            WrapRefused: a record was changed, or belongs to another context.
            BrokerError: the broker refuses, or does not answer.
        """
        return unwrap_in_batches(wrapped, self._unwrap)

    def resource(self, path: str) -> bytes:
        """Return the resource ``repository/type/tag``; raises ResourceMissing, GrantRefused or BrokerError."""
        answer, used = self._call("GET", f"{rcar.PATH}/resource/{path}", b"")
        return decrypt(answer.body, used.key)

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        """Return the registered head of a dataset; raises GrantRefused or BrokerError."""
        found = parse_head(self._call("GET", f"{PATH}/register/{dataset_id}", b"")[0].body)
        return None if found is None else CommitHead(found.number, found.digest)

    def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
        """Return the announced commits of a dataset; raises GrantRefused or BrokerError."""
        found = parse_announced(self._call("GET", f"{PATH}/announced/{dataset_id}", b"")[0].body)
        return frozenset(CommitHead(it.number, it.digest) for it in found)

    def announce_head(self, dataset_id: UUID, head: CommitHead) -> None:
        """Announce *head*, with the ticket of the dataset's newest data key.

        Raises:
            RegisterConflict: a commit of that number is registered, or this agent made no data key for the dataset.
            BrokerError: the broker refuses, or does not answer.
        """
        announced = RegisteredHead(number=head.number, digest=head.digest)
        request = AnnounceRequest(head=announced, ticket=self._ticket(dataset_id))
        # Asked twice it is announced once.
        self._call("POST", f"{PATH}/announced/{dataset_id}", request.encode())

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        """Register *head* as the successor of *previous*, with the ticket of the dataset's newest data key.

        Raises:
            RegisterConflict: another head is registered, or this agent made no data key for the dataset.
            BrokerError: the broker refuses, or does not answer.
        """
        ticket = self._ticket(dataset_id)
        before = None if previous is None else RegisteredHead(number=previous.number, digest=previous.digest)
        after = RegisteredHead(number=head.number, digest=head.digest)
        body = AdvanceRequest(previous=before, head=after, ticket=ticket).encode()
        try:
            self._call("POST", f"{PATH}/register/{dataset_id}", body)
        except RegisterConflict:
            # The answer to a first try may have been lost: then the head is the one that was asked for.
            if self.registered_head(dataset_id) != head:
                raise
        with self._lock:
            # The ticket stays: another write of this job to the dataset may still have to be committed.
            self._written[Touched(dataset_id, head)] = None

    def _unwrap(self, request: UnwrapRequest) -> Sequence[DataKey]:
        answer, used = self._call("POST", f"{PATH}/unwrap", request.encode())
        found = UnwrapAnswer.parse(decrypt(answer.body, used.key), request)
        self._note(found.keys)
        head = None if found.head is None else CommitHead(found.head.number, found.head.digest)
        with self._lock:
            self._read[Touched(request.dataset_id, head)] = None
        return found.keys

    def receipt(self, report: SignedStatement, attested: Attestation) -> bytes:
        """Return the receipt of this job, around what its agent reports; raises ReceiptError or BrokerError."""
        return self._ask("POST", f"{PATH}/receipts", rfc8785.dumps(report.to_json()), attested).body

    def _ticket(self, dataset_id: UUID) -> str:
        with self._lock:
            ticket = self._tickets.get(dataset_id)
        if ticket is None:
            raise RegisterConflict(f"no data key of dataset {dataset_id} was made here, so there is no right to commit")
        return ticket

    def _note(self, keys: Sequence[DataKey]) -> None:
        with self._lock:
            self._released.update((it.dataset_id, it.id) for it in keys)

    def _call(self, method: str, path: str, body: bytes) -> tuple[Answer, Attestation]:
        attested = self._agent.current()
        try:
            return self._ask(method, path, body, attested), attested
        except AttesterUnauthenticated:
            attested = self._agent.renew(attested)
            return self._ask(method, path, body, attested), attested

    def _ask(self, method: str, path: str, body: bytes, attested: Attestation) -> Answer:
        headers = {"Authorization": f"Bearer {attested.token}"}
        return self._agent.brokers.call(method, path, body=body, headers=headers, repeatable=True)
