"""Verifying sealed data without writing plaintext anywhere: every fault is found, not only the first.

:func:`verify_dataset` walks the whole history, checks every listed part to its last byte, and names what no commit
lists. It raises for what makes the dataset unreadable as a whole (no authentic head); faults of single parts and records
are collected, and :meth:`Report.check` raises the first of them, so a faulty dataset never passes silently.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from redoubt.errors import CommitInvalid, PartChanged, RedoubtError, SealedError
from redoubt.keys.provider import KeySource
from redoubt.limits import CHUNK_CIPHERTEXT_BYTES
from redoubt.sealed import keyfiles
from redoubt.sealed.commit import Part, PartKind, commit_name
from redoubt.sealed.dataset import Dataset, Head, commit_numbers, read_commit
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
    """What was verified. ``bytes`` counts ciphertext of parts; ``orphans`` are objects that no head entry lists."""

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
    progress: Progress = lambda _: None,
    workers: int | None = None,
) -> Report:
    """Verify history, key files and every part of the dataset at *location* with *workers* threads (default: all cores).

    Raises:
        SealedError, KeyError_, StorageError: there is no authentic head, or it is not the pinned one.
    """
    dataset = Dataset.open(location, keys=keys, at_commit=at_commit)
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

    An encrypted Parquet file is checked by its digest, which the authentic commit record lists.

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
    dataset.check_lengths([part])
    digest, size = _digest(dataset.storage, part.name, progress)
    # A standalone part may have been re-wrapped since it was adopted: its key slots differ, its body may not.
    if part.kind is not PartKind.STANDALONE and digest != part.sha256:
        raise PartChanged(f"the SHA-256 of part {part.name} ({size} bytes) is not the listed one")


def orphans(dataset: Dataset) -> list[str]:
    """Return the names of data objects that the head does not list: unfinished, replaced or foreign; never read."""
    listed = {part.name for part in dataset.parts}
    names = (entry.name for entry in dataset.storage.list())
    return sorted(name for name in names if name not in listed and name.partition("/")[0] not in {"_commits", "_keys"})


def _verify_history(dataset: Dataset) -> list[Fault]:
    """Walk the chain of commit records back from the head."""
    faults: list[Fault] = []
    newer: Head = dataset.head
    for number in range(len(commit_numbers(dataset.storage)) - 1, 0, -1):
        name = commit_name(number)
        try:
            older = read_commit(dataset.storage, number, keys=dataset.keys)
            if older.digest != newer.commit.previous:
                raise CommitInvalid(f"record {number} is not the predecessor that record {number + 1} names")
            if older.commit.dataset != dataset.id:
                raise CommitInvalid(f"record {number} belongs to another dataset")
        except RedoubtError as error:
            faults.append(Fault(name, error))
            break
        newer = older
    for data_key_id in keyfiles.data_key_ids(dataset.storage):
        try:
            dataset.data_key(data_key_id)
        except SealedError as error:
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
