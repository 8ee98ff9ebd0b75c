"""What a stored dataset shows without a key: which dataset it says it is, and the digests of its commit records.

Nothing here is authentic by itself. It is for comparing with a digest that somebody trusted vouches for: a receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from redoubt.errors import NoCommit, NotFound
from redoubt.keys.register import CommitHead
from redoubt.limits import MAX_COMMIT_BYTES, MAX_HEADER_BYTES
from redoubt.sealed.commit import commit_name, digest_of
from redoubt.sealed.dataset import commit_numbers
from redoubt.sealed.header import Header
from redoubt.sealed.objects import storage_for
from redoubt.sealed.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHistory:
    """The commit records of one stored dataset."""

    storage: Storage
    #: As the newest record's header says it.
    dataset: UUID
    numbers: Sequence[int]

    @classmethod
    def open(cls, location: str) -> StoredHistory:
        """Look at the dataset at *location*.

        Raises:
            NotFound, NoCommit: there is none.
            SealedError, StorageError: it cannot be read.
        """
        storage = storage_for(location)
        numbers = commit_numbers(storage)
        if not numbers:
            raise NoCommit(f"{location} holds no commit record")
        raw = storage.read(commit_name(numbers[-1]), limit=MAX_COMMIT_BYTES)
        header, _ = Header.parse(raw[:MAX_HEADER_BYTES])
        return cls(storage=storage, dataset=header.dataset_id, numbers=numbers)

    def commit(self, number: int) -> CommitHead | None:
        """Return number and digest of the record *number*, None if there is none; raises StorageError."""
        try:
            raw = self.storage.read(commit_name(number), limit=MAX_COMMIT_BYTES)
        except NotFound:
            return None
        return CommitHead(number, digest_of(raw))
