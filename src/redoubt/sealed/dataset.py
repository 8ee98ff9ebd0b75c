"""Sealed datasets: opening one at its head commit, and reading its parts.

What a reader may rely on after :meth:`Dataset.open`: the head record is authentic under a data key that the key source
released for this dataset, it lists every part, and each part opened through :meth:`Dataset.open_part` is exactly the
listed one. What it may not rely on: that the head is the newest ever written. Whoever can delete the newest records
rolls a dataset back. A key source that is a register of heads is asked, and a head behind the registered one refused;
``at_commit`` pins a digest. :attr:`Dataset.freshness` says which of the two vouches, if any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID

from redoubt.crypto import chunked
from redoubt.errors import (
    CommitInvalid,
    CommitUnexpected,
    IdentityMismatch,
    NoCommit,
    NotADataset,
    NotFound,
    PartChanged,
    PartMissing,
    RegisterRollback,
    SealedError,
)
from redoubt.keys.provider import KeySource
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, WrapContext
from redoubt.limits import MAX_COMMIT_BYTES, MAX_COMMIT_NUMBER, MAX_HEADER_BYTES
from redoubt.sealed import keyfiles
from redoubt.sealed.body import SealedReader, open_body
from redoubt.sealed.commit import Commit, Part, PartKind, commit_name, digest_of, parse_commit_name
from redoubt.sealed.freshness import PreviousOf, fresh
from redoubt.sealed.header import COMMIT_MEDIA_TYPE, FilePurpose, Header
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.objects import storage_for
from redoubt.sealed.standalone import open_standalone
from redoubt.sealed.storage import Storage


class Freshness(StrEnum):
    """What vouches that the head is the newest commit."""

    PINNED = "pinned"
    #: It is, or follows, the commit that the broker's register holds.
    REGISTERED = "registered"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit record: its content and the public digest of its file."""

    commit: Commit
    digest: str


class Dataset:
    """A sealed dataset at one commit. Keeps unwrapped data keys in memory; safe for several threads."""

    def __init__(self, storage: Storage, *, keys: KeySource, head: Head, freshness: Freshness) -> None:
        self.storage = storage
        self.keys = keys
        self.head = head
        self.freshness = freshness
        self._data_keys: dict[UUID, DataKey] = {}

    @classmethod
    def open(
        cls,
        location: str | Storage,
        *,
        keys: KeySource,
        at_commit: str | None = None,
        dataset_id: UUID | None = None,
    ) -> Self:
        """Open the dataset at *location* at its head.

        *at_commit* pins the head's digest (``sha256:<hex>``), *dataset_id* the identity that the reader expects.

        Raises:
            NoCommit: there is no dataset.
            CommitUnexpected, IdentityMismatch: it is not the pinned one.
            RegisterRollback, CommitUnannounced: it is older than the register says, or newer by nobody's right.
            SealedError, KeyError_, StorageError: it cannot be read or is not authentic.
        """
        storage = storage_for(location) if isinstance(location, str) else location
        head, registered = fresh(
            keys,
            lambda: _newest(storage, keys),
            facts=lambda it: (it.commit.dataset, CommitHead(it.commit.number, it.digest)),
            previous_of=chain(storage, keys=keys),
            where=storage.location,
        )
        if dataset_id is not None and head.commit.dataset != dataset_id:
            raise IdentityMismatch(f"{storage.location} is dataset {head.commit.dataset}, expected {dataset_id}")
        if at_commit is not None and head.digest != at_commit:
            raise CommitUnexpected(f"the head of {storage.location} is {head.digest}, expected {at_commit}")
        freshness = Freshness.REGISTERED if registered else Freshness.NOT_CHECKED
        freshness = freshness if at_commit is None else Freshness.PINNED
        return cls(storage, keys=keys, head=head, freshness=freshness)

    @property
    def id(self) -> UUID:
        """The dataset id."""
        return self.head.commit.dataset

    @property
    def commit_digest(self) -> str:
        """The public digest of the head commit record."""
        return self.head.digest

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part, sorted by name."""
        return self.head.commit.parts

    def check_lengths(self, parts: Sequence[Part] | None = None) -> None:
        """Compare the stored length of *parts* (default: all) with the listed ones; for planning, reads no content.

        Raises:
            PartMissing, PartChanged: naming the first such part.
        """
        chosen = self.parts if parts is None else parts
        sizes = _sizes(self.storage, chosen)
        for part in chosen:
            if part.name not in sizes:
                raise PartMissing(f"part {part.name} of {self.storage.location} is missing")
            if sizes[part.name] != part.length:
                raise PartChanged(f"part {part.name} has {sizes[part.name]} bytes; its commit lists {part.length}")

    def open_part(self, part: Part) -> SealedReader:
        """Open one part for range reads; errors as :func:`open_listed`."""
        return open_listed(self.storage, part, dataset_id=self.id, keys=self.keys, data_key=self.data_key)

    def data_key(self, data_key_id: UUID) -> DataKey:
        """Return a data key of this dataset, unwrapped once."""
        if data_key_id not in self._data_keys:
            self._data_keys[data_key_id] = unwrap(self.storage, data_key_id, dataset_id=self.id, keys=self.keys)
        return self._data_keys[data_key_id]


def open_listed(
    storage: Storage,
    part: Part,
    *,
    dataset_id: UUID,
    keys: KeySource,
    data_key: Callable[[UUID], DataKey] | None = None,
) -> SealedReader:
    """Open exactly the part that an authentic commit record lists as *part*, for range reads.

    *data_key* gives data keys by id; by default they are unwrapped from the dataset's key files.

    Raises:
        PartMissing, PartChanged, IdentityMismatch: it is not the listed one.
        SealedError, KeyError_: it is not authentic, or its key is not released.
    """
    if part.kind is PartKind.PARQUET:
        raise SealedError(
            f"part {part.name} is an encrypted Parquet file: read it with a Parquet reader",
            why="The dataset is a sealed Parquet table, whose files are columns and not the bytes of a file.",
            hint="Read the table's folder with `spark.read.parquet`, or in Python with `redoubt.sealed.parquet`.",
        )
    try:
        file = storage.open(part.name)
    except NotFound:
        raise PartMissing(f"part {part.name} of {storage.location} is missing") from None
    try:
        if file.size != part.length:
            raise PartChanged(f"part {part.name} has {file.size} bytes; its commit lists {part.length}")
        if part.kind is PartKind.STANDALONE:
            return open_standalone(file, keys=keys, where=part.name, listed=part).reader
        start = bytearray(MAX_HEADER_BYTES)
        header, length = Header.parse(bytes(start[: file.read_into(0, memoryview(start))]))
        header.expect(part_header(part, dataset_id=dataset_id))
        key = data_key(part.key) if data_key else unwrap(storage, part.key, dataset_id=dataset_id, keys=keys)
        return open_body(
            file,
            data_key=key,
            context=bytes(start[:length]),
            offset=length,
            where=part.name,
            listed_prefix=part.prefix,
        )
    except BaseException:
        file.close()
        raise


def part_header(part: Part, *, dataset_id: UUID) -> Header:
    """Return the header that the file of *part* must have."""
    return Header(FilePurpose.PART, part.key, dataset_id, part.commit, part.name, part.media_type)


def unwrap(storage: Storage, data_key_id: UUID, *, dataset_id: UUID, keys: KeySource) -> DataKey:
    """Unwrap a data key from its key file, for exactly this dataset.

    Raises:
        KeyFileMissing, IdentityMismatch, HeaderInvalid, KeyError_: no such key, or another dataset's.
    """
    _, wrapped = keyfiles.read_current(storage, data_key_id)
    if wrapped.context != WrapContext(dataset_id, data_key_id):
        raise IdentityMismatch(f"the key file of data key {data_key_id} belongs to another dataset or purpose")
    return keys.unwrap([wrapped])[0]


def commit_numbers(storage: Storage) -> list[int]:
    """Return the numbers of the commit records, ascending; contiguous from 1 by rule.

    Raises:
        CommitInvalid: a record is missing.
        NotADataset: *storage* is one file.
    """
    if isinstance(storage, LocalStorage) and storage.root.is_file():
        # Spark shows no more than this line.
        raise NotADataset(
            f"{storage.location} is one file, not a sealed dataset; file readers such as spark.read.csv read it"
        )
    names = (entry.name for entry in storage.list("_commits"))
    numbers = sorted(filter(None, map(parse_commit_name, names)))
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) > MAX_COMMIT_NUMBER:
        raise CommitInvalid(f"the commit records of {storage.location} are not numbered 1 to {len(numbers)}")
    return numbers


def chain(storage: Storage, *, keys: KeySource, head: Head | None = None) -> PreviousOf:
    """Return what follows the chain of commit records, each of which must be the one that is asked for.

    *head* was just written or read, and is not read again.
    """

    def previous_of(commit: CommitHead) -> str | None:
        if head is not None and commit == CommitHead(head.commit.number, head.digest):
            return head.commit.previous
        found = read_commit(storage, commit.number, keys=keys)
        if found.digest != commit.digest:
            raise RegisterRollback(
                f"commit {commit.number} of {storage.location} is not the one that is registered or followed"
            )
        return found.commit.previous

    return previous_of


def read_commit(storage: Storage, number: int, *, keys: KeySource) -> Head:
    """Read, authenticate and parse commit record *number*.

    Raises:
        SealedError, KeyError_, StorageError: it is missing, not authentic, or not the record of that number.
    """
    name = commit_name(number)
    raw = storage.read(name, limit=MAX_COMMIT_BYTES)
    header, length = Header.parse(raw[:MAX_HEADER_BYTES])
    header.expect(commit_header(header.data_key_id, header.dataset_id, header.commit_id, number=number))
    data_key = unwrap(storage, header.data_key_id, dataset_id=header.dataset_id, keys=keys)
    plaintext = chunked.decrypt(raw[length:], data_key=data_key.secret, context=raw[:length])
    commit = Commit.decode(plaintext)
    if (commit.dataset, commit.id, commit.number) != (header.dataset_id, header.commit_id, number):
        raise CommitInvalid(f"record {number} contradicts its own header")
    return Head(commit, digest_of(raw))


def commit_header(data_key_id: UUID, dataset_id: UUID, commit_id: UUID, *, number: int) -> Header:
    """Return the header of commit record *number*."""
    return Header(FilePurpose.COMMIT, data_key_id, dataset_id, commit_id, commit_name(number), COMMIT_MEDIA_TYPE)


def _newest(storage: Storage, keys: KeySource) -> Head:
    numbers = commit_numbers(storage)
    if not numbers:
        raise NoCommit(f"{storage.location} holds no commit record")
    return read_commit(storage, numbers[-1], keys=keys)


def _sizes(storage: Storage, parts: Sequence[Part]) -> dict[str, int]:
    """Return the stored sizes of *parts*, from one listing a top folder instead of one request a part."""
    sizes: dict[str, int] = {}
    for folder in {part.name.rpartition("/")[0] for part in parts}:
        sizes.update((entry.name, entry.size) for entry in storage.list(folder))
    return sizes
