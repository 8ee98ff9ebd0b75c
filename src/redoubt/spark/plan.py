"""Planning of a read: which byte ranges of which parts a task gets.

Planning reads no content: it opens the dataset at its head, compares every part's stored length with the listed one,
and cuts parts into ranges. Tasks get the commit entries of their parts and nothing secret (hardening H22); each opens
its part by that entry, so that an overwrite that lands meanwhile changes nothing, and unwraps keys from its own key
endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from redoubt.errors import NotFound, OptionRefused
from redoubt.keys.provider import KeySource
from redoubt.limits import PREAMBLE_BYTES
from redoubt.sealed.body import SealedReader
from redoubt.sealed.commit import Part, PartKind
from redoubt.sealed.dataset import Dataset, open_listed
from redoubt.sealed.objects import open_object, storage_for
from redoubt.sealed.standalone import open_standalone
from redoubt.spark.options import TextOptions


@dataclass(frozen=True, slots=True)
class Split:
    """A task's range ``[start, end)`` of the plaintext of one file, in bytes; an ``end`` of None is the file's.

    Ranges are cut by the length of the sealed file, which is a little more than its plaintext's; the last one is open.
    ``part`` and ``dataset_id`` are None in a loose read, where ``location`` is the standalone file itself.
    """

    location: str
    dataset_id: UUID | None
    part: Part | None
    start: int
    end: int | None


def plan(options: TextOptions, *, keys: KeySource) -> list[Split]:
    """Return the splits of the dataset (or, loose, of the standalone files) that *options* name.

    Raises:
        NoCommit: the path is no dataset, and the read is not loose.
        SealedError, KeyError_, StorageError: it cannot be read as listed.
    """
    if options.loose:
        return [
            Split(location, None, None, start, end)
            for location, size in _loose_files(options.path)
            for start, end in _ranges(max(size - PREAMBLE_BYTES, 0), options)
        ]
    dataset = Dataset.open(options.path, keys=keys, at_commit=options.at_commit, dataset_id=options.dataset_id)
    if any(part.kind is PartKind.PARQUET for part in dataset.parts):
        raise OptionRefused(
            f"{options.path} is a sealed Parquet table", hint="Read it with spark.read.parquet or redoubt.spark.read."
        )
    dataset.check_lengths()
    return [
        Split(options.path, dataset.id, part, start, end)
        for part in dataset.parts
        for start, end in _ranges(part.length, options)
    ]


def open_split(split: Split, *, keys: KeySource) -> SealedReader:
    """Open the file that *split* is a range of; errors as :meth:`redoubt.sealed.dataset.Dataset.open_part`."""
    if split.part is not None and split.dataset_id is not None:
        return open_listed(storage_for(split.location), split.part, dataset_id=split.dataset_id, keys=keys)
    file = open_object(split.location)
    if file is None:
        raise NotFound(f"{split.location} is no file any more")
    return open_standalone(file, keys=keys, where=split.location).reader


def _ranges(size: int, options: TextOptions) -> Iterator[tuple[int, int | None]]:
    """Cut *size* bytes into ranges of about the wished size; the last one is open, so that nothing is left out."""
    count = 1 if options.multi_line else max(round(size / options.split_bytes), 1)
    step = size // count
    for index in range(count):
        yield index * step, (index + 1) * step if index + 1 < count else None


def _loose_files(path: str) -> Iterator[tuple[str, int]]:
    """Yield (location, size) of the sealed files below *path*; hidden ones and ``_…`` are left out, as Spark does."""
    file = open_object(path)
    if file is not None:
        yield path, file.size
        file.close()
        return
    storage = storage_for(path)
    entries = sorted(storage.list(), key=lambda entry: entry.name)
    for entry in entries:
        if not any(segment[0] in "._" for segment in entry.name.split("/")):
            yield f"{path.rstrip('/')}/{entry.name}", entry.size
