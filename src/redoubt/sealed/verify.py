"""Verifying sealed data without writing plaintext anywhere: every fault is found, not only the first.

:func:`verify_dataset` walks the whole history, checks every listed part to its last byte, and names what no commit
lists. It raises for what makes the dataset unreadable as a whole (no authentic head); faults of single parts and
records are collected, and :meth:`Report.check` raises the first of them, so a faulty dataset never passes silently.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from redoubt.errors import CommitInvalid, NotFound, PartChanged, PartMissing, RedoubtError
from redoubt.keys.provider import KeySource
from redoubt.limits import CHUNK_CIPHERTEXT_BYTES
from redoubt.sealed import keyfiles
from redoubt.sealed.commit import Part, PartKind, commit_name
from redoubt.sealed.dataset import Dataset, commit_numbers, read_commit
from redoubt.sealed.parquet_tail import check_identity, read_crypto_metadata
from redoubt.sealed.storage import Storage

#: Called with the number of bytes done since the last call.
Progress = Callable[[int], None]

_HASH_RUN = 256 * CHUNK_CIPHERTEXT_BYTES


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: object name and error."""

    name: str
    error: RedoubtError


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified. ``bytes`` counts ciphertext of parts; ``orphans`` are objects that nothing refers to."""

    dataset: Dataset
    commits: int
    parts: int
    bytes: int
    orphans: tuple[str, ...]
    faults: tuple[Fault, ...]

    def check(self) -> Dataset:
        """Return the dataset if nothing is wrong; raise the first fault otherwise."""
        if self.faults:
            raise self.faults[0].error
        return self.dataset


def verify_dataset(
    location: str | Storage,
    *,
    keys: KeySource,
    at_commit: str | None = None,
    dataset_id: UUID | None = None,
    progress: Progress = lambda _: None,
    workers: int | None = None,
) -> Report:
    """Verify history, keys and every part of the dataset at *location* with *workers* threads (default: one a core).

    Raises:
        SealedError, KeyError_, StorageError: there is no authentic head, or it is not the pinned one.
    """
    dataset = Dataset.open(location, keys=keys, at_commit=at_commit, dataset_id=dataset_id)
    faults = _verify_history(dataset)

    def check(part: Part) -> Fault | None:
        try:
            verify_part(dataset, part, progress=progress)
        except RedoubtError as error:
            return Fault(part.name, error)
        return None

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        faults += [fault for fault in pool.map(check, dataset.parts) if fault]
    total = sum(part.length for part in dataset.parts)
    return Report(
        dataset, dataset.head.commit.number, len(dataset.parts), total, tuple(orphans(dataset)), tuple(faults)
    )


def verify_part(dataset: Dataset, part: Part, *, progress: Progress = lambda _: None) -> None:
    """Check one part: listed identity, length and digest of the file, and every chunk of a sealed body.

    An encrypted Parquet file is checked by its digest, which the authentic commit record lists, and by the identity
    that it states; its pages need a Parquet reader.

    Raises:
        PartMissing, PartChanged, SealedError, KeyError_: it is not the listed part, or not authentic.
    """
    if part.kind is not PartKind.PARQUET:
        reader = dataset.open_part(part)
        try:
            for _ in reader.stream():
                pass
        finally:
            reader.close()
    try:
        digest, size = _digest(dataset.storage, part.name, progress)
    except NotFound:
        raise PartMissing(f"part {part.name} of {dataset.storage.location} is missing") from None
    # A standalone part may have been re-wrapped since it was adopted: its key slots differ, its body may not.
    if part.kind is not PartKind.STANDALONE and digest != part.sha256:
        raise PartChanged(f"the SHA-256 of part {part.name} ({size} bytes) is not the listed one")
    if part.kind is PartKind.PARQUET:
        file = dataset.storage.open(part.name)
        try:
            check_identity(read_crypto_metadata(file, where=part.name), part)
        finally:
            file.close()


def orphans(dataset: Dataset) -> list[str]:
    """Return the names of objects that nothing authentic refers to: unfinished, replaced or foreign; never read."""
    known = {part.name for part in dataset.parts}
    known.update(commit_name(number) for number in commit_numbers(dataset.storage))
    current: dict[UUID, int] = {}
    names = [entry.name for entry in dataset.storage.list()]
    for data_key_id, generation in filter(None, map(keyfiles.parse_key_file_name, names)):
        current[data_key_id] = max(current.get(data_key_id, 0), generation)
    known.update(keyfiles.key_file_name(*item) for item in current.items())
    return sorted(name for name in names if name not in known)


def _verify_history(dataset: Dataset) -> list[Fault]:
    """Walk the chain of commit records back from the head; then ask for every data key that the head names."""
    faults: list[Fault] = []
    previous = dataset.head.commit.previous
    for number in range(dataset.head.commit.number - 1, 0, -1):
        try:
            older = read_commit(dataset.storage, number, keys=dataset.keys)
            if previous not in (None, older.digest):
                raise CommitInvalid(f"record {number} is not the predecessor that record {number + 1} names")
            if older.commit.dataset != dataset.id:
                raise CommitInvalid(f"record {number} belongs to another dataset")
            previous = older.commit.previous
        except RedoubtError as error:
            faults.append(Fault(commit_name(number), error))
            previous = None  # what came before the faulty record cannot be compared with it
    for data_key_id in sorted({part.key for part in dataset.parts if part.kind is not PartKind.STANDALONE}):
        try:
            dataset.data_key(data_key_id)
        except RedoubtError as error:
            faults.append(Fault(f"_keys/{data_key_id}", error))
    return faults


def _digest(storage: Storage, name: str, progress: Progress) -> tuple[str, int]:
    file = storage.open(name)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_HASH_RUN))
    offset = 0
    try:
        while count := file.read_into(offset, buffer):
            digest.update(buffer[:count])
            offset += count
            progress(count)
    finally:
        file.close()
    return digest.hexdigest(), offset
