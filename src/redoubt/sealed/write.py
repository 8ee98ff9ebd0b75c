"""Writing to a sealed dataset: parts first, the commit record last, put-if-absent (hardening H16).

A :class:`DatasetWrite` makes a fresh data key for the write, stores its key file, hands out part writers (in this
process or, by :class:`WriteTicket`, in others) and commits. A write that is never committed leaves orphans that no
reader opens. State machine of :meth:`DatasetWrite.commit`:

1. create ``_commits/<head + 1>`` if absent; done if that succeeds;
2. else, or if the answer was lost, read the records from that number on: if one is this write's, done;
3. an append starts again on the new head, COMMIT_ATTEMPTS times; create and overwrite raise CommitConflict, because
   they were decided on a state that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID, uuid4

from redoubt.crypto import chunked
from redoubt.errors import (
    AlreadyExists,
    CommitConflict,
    CommitInvalid,
    CommitUnexpected,
    RegisterConflict,
    StorageError,
)
from redoubt.keys.provider import KeySource
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, WrapContext
from redoubt.limits import COMMIT_ATTEMPTS, MAX_COMMIT_BYTES
from redoubt.sealed import keyfiles
from redoubt.sealed.body import SealedWriter
from redoubt.sealed.commit import Commit, Operation, Part, PartKind, commit_name, digest_of
from redoubt.sealed.dataset import Dataset, Freshness, Head, chain, commit_header, commit_numbers, read_commit, unwrap
from redoubt.sealed.freshness import announce, check_registered, register
from redoubt.sealed.header import FilePurpose, Header
from redoubt.sealed.objects import storage_for
from redoubt.sealed.storage import Sink, Storage


class WriteMode(StrEnum):
    """What a write does to a dataset that may exist."""

    CREATE = "create"
    APPEND = "append"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class WriteTicket:
    """What another process needs to go on with a dataset write: names and ids only, nothing secret (H22).

    ``base`` is the commit that the write started from, None if there was none.
    """

    location: str
    mode: WriteMode
    dataset_id: UUID
    commit_id: UUID
    data_key_id: UUID
    write_id: UUID
    base: CommitHead | None

    def open(self, *, keys: KeySource) -> PartFactory:
        """Unwrap the write's data key here and return a factory of part writers."""
        storage = storage_for(self.location)
        data_key = unwrap(storage, self.data_key_id, dataset_id=self.dataset_id, keys=keys)
        return PartFactory(storage, self, data_key)


class PartFactory:
    """Makes part writers of one dataset write."""

    def __init__(self, storage: Storage, ticket: WriteTicket, data_key: DataKey) -> None:
        self._storage = storage
        self._ticket = ticket
        self._data_key = data_key

    def part(self, name: str, *, media_type: str) -> PartWriter:
        """Start the part ``data/<commit id>/<name>``; *name* must be unique per attempt."""
        full = f"data/{self._ticket.commit_id}/{name}"
        header = Header(
            FilePurpose.PART, self._data_key.id, self._ticket.dataset_id, self._ticket.commit_id, full, media_type
        )
        return PartWriter(self._storage.create(full), header, self._data_key)


class PartWriter:
    """Writes one part. Call :meth:`finish` for its commit entry, or :meth:`abort`; also a context manager."""

    def __init__(self, sink: Sink, header: Header, data_key: DataKey) -> None:
        self._sink = sink
        self._header = header
        context = header.encode()
        self._body = SealedWriter(sink, data_key=data_key, context=context, preamble=context, digest=True)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and append *data*."""
        self._body.write(data)

    def finish(self) -> Part:
        """Make the part durable and return its entry for the commit record."""
        self._body.finish()
        self._sink.finish()
        return Part(
            name=self._header.part_name,
            kind=PartKind.PART,
            commit=self._header.commit_id,
            key=self._header.data_key_id,
            owner=self._header.dataset_id,
            length=self._body.length,
            prefix=self._body.prefix,
            sha256=self._body.sha256,
            media_type=self._header.media_type,
        )

    def abort(self) -> None:
        """Remove what was written."""
        self._sink.abort()


class DatasetWrite:
    """One write to a dataset, from :meth:`begin` to :meth:`commit`."""

    def __init__(
        self,
        storage: Storage,
        *,
        keys: KeySource,
        head: Head | None,
        data_key: DataKey,
        ticket: WriteTicket,
    ) -> None:
        self.storage = storage
        self.ticket = ticket
        self.parts = PartFactory(storage, ticket, data_key)
        self._keys = keys
        self._head = head
        self._data_key = data_key

    @classmethod
    def begin(cls, location: str | Storage, *, keys: KeySource, mode: WriteMode, key: str | None = None) -> Self:
        """Start a write under the primary key *key* (None: the default).

        Raises:
            AlreadyExists: mode create, and the dataset exists.
            SealedError, KeyError_, StorageError: the existing dataset is not authentic, or no key can be made.
        """
        storage = storage_for(location) if isinstance(location, str) else location
        head: Head | None = None
        if commit_numbers(storage):
            if mode is WriteMode.CREATE:
                raise AlreadyExists(f"{storage.location} is a sealed dataset already")
            head = Dataset.open(storage, keys=keys).head
        dataset_id = head.commit.dataset if head else uuid4()
        data_key, wrapped = keys.new_data_key(key, WrapContext(dataset_id, uuid4()))
        keyfiles.write_first(storage, wrapped)
        base = CommitHead(head.commit.number, head.digest) if head else None
        ticket = WriteTicket(storage.location, mode, dataset_id, uuid4(), data_key.id, uuid4(), base)
        return cls(storage, keys=keys, head=head, data_key=data_key, ticket=ticket)

    @classmethod
    def resume(cls, ticket: WriteTicket, *, keys: KeySource) -> Self:
        """Go on with a write that another process began.

        Raises:
            CommitUnexpected: the commit that the write started from is another one now.
            SealedError, KeyError_, StorageError: it is not authentic, or a key cannot be had.
        """
        storage = storage_for(ticket.location)
        head = read_commit(storage, ticket.base.number, keys=keys) if ticket.base else None
        if head is not None and ticket.base is not None and head.digest != ticket.base.digest:
            raise CommitUnexpected(
                f"commit {ticket.base.number} of {storage.location} is not the one that this write started from"
            )
        data_key = unwrap(storage, ticket.data_key_id, dataset_id=ticket.dataset_id, keys=keys)
        return cls(storage, keys=keys, head=head, data_key=data_key, ticket=ticket)

    def commit(
        self,
        parts: Iterable[Part],
        *,
        properties: Mapping[str, str] | None = None,
        operation: Operation | None = None,
        now: float | None = None,
    ) -> Dataset:
        """Publish *parts*; *properties* replace the dataset's, or are kept if None. *now*: seconds since the epoch.

        Raises:
            CommitConflict: another writer came first and this write cannot go on top of it.
            CommitUnannounced: the commit that came first is by nobody who may write.
            RegisterConflict, BrokerError: the commit is there, but the register of heads did not take it.
            RegisterRollback: storage has shown others another history, which is registered.
        """
        added = sorted(parts, key=lambda part: part.name.encode())
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if now is None else now))
        for _ in range(COMMIT_ATTEMPTS):
            record = self._record(added, properties, operation, created)
            try:
                head = self._publish(record)
            except (AlreadyExists, StorageError, RegisterConflict) as error:
                newer = self._records_from(record.number)
                if newer:  # by whom: what goes on top of a commit, or registers it, vouches for it
                    newer[-1] = Dataset.open(self.storage, keys=self._keys).head
                mine = next((it for it in newer if it.commit.write == self.ticket.write_id), None)
                if mine is not None:
                    self._check_follows(mine, newer[-1])
                    return self._dataset(newer[-1])
                # A conflict of the register without a newer record: no right to commit, or a dataset that was put back.
                if isinstance(error, StorageError) or (isinstance(error, RegisterConflict) and not newer):
                    raise
                if newer and (
                    self.ticket.mode is not WriteMode.APPEND or newer[-1].commit.dataset != self.ticket.dataset_id
                ):
                    raise CommitConflict(
                        f"another writer committed to {self.storage.location} first; nothing of this write is visible"
                    ) from None
                self._head = newer[-1] if newer else self._head
                continue
            return self._dataset(head)
        raise CommitConflict(f"{COMMIT_ATTEMPTS} commits to {self.storage.location} lost the race in a row")

    def _record(
        self, added: list[Part], properties: Mapping[str, str] | None, operation: Operation | None, created: str
    ) -> Commit:
        before = self._head.commit if self._head else None
        kept = before.parts if before and self.ticket.mode is WriteMode.APPEND else ()
        if operation is None:
            operation = Operation(self.ticket.mode.value) if before else Operation.CREATE
        merged = sorted([*kept, *added], key=lambda part: part.name.encode())
        return Commit(
            dataset=self.ticket.dataset_id,
            id=self.ticket.commit_id,
            number=before.number + 1 if before else 1,
            previous=self._head.digest if self._head else None,
            operation=operation,
            write=self.ticket.write_id,
            created=created,
            parts=tuple(merged),
            properties=dict(properties) if properties is not None else dict(before.properties if before else {}),
        )

    def _publish(self, commit: Commit) -> Head:
        header = commit_header(self._data_key.id, commit.dataset, commit.id, number=commit.number).encode()
        record = header + chunked.encrypt(commit.encode(), data_key=self._data_key.secret, context=header)
        if len(record) > MAX_COMMIT_BYTES:
            raise CommitInvalid(
                f"the commit record would have {len(record)} bytes; at most {MAX_COMMIT_BYTES} are allowed"
            )
        digest = digest_of(record)
        announce(self._keys, commit.dataset, CommitHead(commit.number, digest))
        self.storage.put_if_absent(commit_name(commit.number), record)
        return Head(commit, digest)

    def _records_from(self, number: int) -> list[Head]:
        later = [found for found in commit_numbers(self.storage) if found >= number]
        return [read_commit(self.storage, found, keys=self._keys) for found in later]

    def _check_follows(self, mine: Head, newest: Head) -> None:
        """Check that the newest commit is on top of *mine*, which its storage could have put beside the history."""
        check_registered(
            CommitHead(mine.commit.number, mine.digest),
            CommitHead(newest.commit.number, newest.digest),
            previous_of=chain(self.storage, keys=self._keys, head=newest),
            where=self.storage.location,
        )

    def _dataset(self, head: Head) -> Dataset:
        register(
            self._keys,
            head.commit.dataset,
            CommitHead(head.commit.number, head.digest),
            previous_of=chain(self.storage, keys=self._keys, head=head),
            where=self.storage.location,
        )
        return Dataset(self.storage, keys=self._keys, head=head, freshness=Freshness.NOT_CHECKED)
