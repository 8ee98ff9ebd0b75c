"""Looking after sealed datasets: re-wrap, adoption of standalone files, removal of orphans."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from redoubt.errors import CommitConflict, IdentityMismatch, KeyError_, NotFound, PartChanged, SealedError
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeySource, Provider
from redoubt.keys.types import WrappedKey
from redoubt.sealed import keyfiles
from redoubt.sealed.commit import Operation, Part, PartKind
from redoubt.sealed.dataset import Dataset, commit_numbers
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.objects import storage_for
from redoubt.sealed.parquet_tail import is_of_dataset, read_crypto_metadata
from redoubt.sealed.standalone import Rewrapped, open_standalone
from redoubt.sealed.storage import Storage
from redoubt.sealed.verify import orphans
from redoubt.sealed.write import DatasetWrite, WriteMode

#: Orphans younger than this may belong to a write in progress.
GC_MINIMUM_AGE_SECONDS = 24 * 3600.0

_CAS_ATTEMPTS = 8


def rewrap_dataset(
    location: str | Storage, *, keys: KeySource, provider_for: Callable[[KeyName], Provider]
) -> Rewrapped:
    """Wrap every data key of a dataset under the newest version of its primary key. Touches key files only.

    Readers and writers go on meanwhile. Interrupted, it leaves every key file old or new; run again, it finishes.

    Every record is authenticated, and compared with the dataset that the head states, before an older one is removed
    or an older version's use is forgotten: a planted key file must not cost this dataset its key, nor another one its
    references.

    Raises:
        NoCommit: there is no dataset.
        IdentityMismatch: a key file is another dataset's; nothing was changed.
        SealedError, KeyError_, StorageError: a key cannot be re-wrapped; those done stay done.
    """
    storage = storage_for(location) if isinstance(location, str) else location
    dataset_id = Dataset.open(storage, keys=keys).id
    ids = keyfiles.data_key_ids(storage)
    for data_key_id in ids:
        _, found = keyfiles.read_current(storage, data_key_id)
        _check_owner(found, dataset_id)
    replaced = current = 0
    for data_key_id in ids:
        for _ in range(_CAS_ATTEMPTS):
            generation, old = keyfiles.read_current(storage, data_key_id)
            _check_owner(old, dataset_id)
            provider = provider_for(old.key)
            if old.version == provider.describe(old.key).current.version:
                provider.unwrap([old])
                _settle(storage, provider, generation, old)  # for a re-wrap that was interrupted here
                current += 1
                break
            (new,) = provider.rewrap([old])
            if keyfiles.replace(storage, generation=generation, wrapped=new):
                _settle(storage, provider, generation + 1, new)
                replaced += 1
                break
        else:
            raise CommitConflict(f"other re-wraps of data key {data_key_id} came first {_CAS_ATTEMPTS} times")
    return Rewrapped(replaced, current)


def _check_owner(wrapped: WrappedKey, dataset_id: UUID) -> None:
    if wrapped.context.dataset_id != dataset_id:
        raise IdentityMismatch(
            f"the key file of data key {wrapped.context.data_key_id} belongs to another dataset",
            hint="Remove its folder below _keys if you did not put it there.",
        )


def _settle(storage: Storage, provider: Provider, generation: int, current: WrappedKey) -> None:
    keyfiles.remove_older(storage, current.context.data_key_id, generation)
    provider.settle([current])


def adopt(location: str, *, keys: KeySource, key: str | None = None) -> Dataset:
    """Write a commit record that lists every standalone sealed file below the local folder *location*.

    For what a Hadoop codec wrote. Every file is authenticated to its end first. An existing dataset is appended to,
    with the files that it does not list yet. Names that start with ``.`` or ``_`` are left out, as Spark does.

    Raises:
        NotSealed: a file is not a standalone sealed file; nothing is committed.
        NotFound: there is nothing to adopt.
        SealedError, KeyError_: a file is not authentic.
    """
    storage = LocalStorage(Path(location))
    exists = bool(commit_numbers(storage))
    listed = {part.name for part in Dataset.open(storage, keys=keys).parts} if exists else set()
    names = sorted(
        entry.name
        for entry in storage.list()
        if entry.name not in listed and not any(segment[0] in "._" for segment in entry.name.split("/"))
    )
    if not names:
        raise NotFound(f"{location} holds no file to adopt")
    parts = [_adopted(storage, name, keys) for name in names]
    mode = WriteMode.APPEND if exists else WriteMode.CREATE
    write = DatasetWrite.begin(storage, keys=keys, mode=mode, key=key)
    return write.commit(parts, operation=Operation.ADOPT)


def _adopted(storage: Storage, name: str, keys: KeySource) -> Part:
    file = storage.open(name)
    try:
        digest = hashlib.sha256()
        opened = open_standalone(file, keys=keys, where=name)
        for _ in opened.reader.stream():
            pass
        buffer = memoryview(bytearray(1 << 20))
        offset = 0
        while count := file.read_into(offset, buffer):
            digest.update(buffer[:count])
            offset += count
        if offset != file.size:
            raise PartChanged("its length changed while it was read")
    except (SealedError, KeyError_) as error:
        raise type(error)(f"{name}: {error.what}", hint=error.hint, why=error.why) from None
    finally:
        file.close()
    header = opened.preamble.header
    return Part(
        name=name,
        kind=PartKind.STANDALONE,
        commit=header.commit_id,
        key=header.data_key_id,
        owner=header.dataset_id,
        # Length and prefix are those that were authenticated, whatever stands in the file by now.
        length=file.size,
        prefix=opened.reader.prefix.hex(),
        sha256=digest.hexdigest(),
        media_type=header.media_type,
    )


def collect_garbage(
    location: str | Storage,
    *,
    keys: KeySource,
    older_than: float = GC_MINIMUM_AGE_SECONDS,
    dry_run: bool = False,
    now: float | None = None,
) -> list[str]:
    """Delete orphans whose age exceeds *older_than* seconds; return their names.

    Orphans are unlisted files below ``data/``, where only writers put files, and what a dead ``df.write.parquet``
    left beside the parts of its table: sealed Parquet files that state to be parts of this dataset. What else lies in
    the folder (files that wait to be adopted, other people's) and keys are never deleted. *dry_run* deletes nothing.

    Raises:
        SealedError, KeyError_: the head is not authentic; nothing is deleted.
    """
    storage = storage_for(location) if isinstance(location, str) else location
    limit = (time.time() if now is None else now) - older_than
    old = {entry.name for entry in storage.list() if entry.modified < limit}
    # The head is read after the listing: what was committed meanwhile is spared.
    dataset = Dataset.open(storage, keys=keys)
    doomed = [
        name
        for name in orphans(dataset)
        if name in old and (name.startswith("data/") or _is_native_leftover(dataset, name))
    ]
    if not dry_run:
        for name in doomed:
            storage.delete(name)
    return doomed


def _is_native_leftover(dataset: Dataset, name: str) -> bool:
    """Tell whether an orphan outside ``data/`` was written by Spark as a Parquet part of this dataset."""
    if not name.endswith(".parquet"):
        return False
    try:
        file = dataset.storage.open(name)
    except NotFound:
        return False
    try:
        return is_of_dataset(read_crypto_metadata(file, where=name), dataset_id=dataset.id, name=name)
    except SealedError:
        return False
    finally:
        file.close()
