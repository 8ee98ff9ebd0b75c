"""Key files of a dataset: ``_keys/<data key id>/<generation>``, replaced by compare-and-swap (hardening H18).

The highest generation counts. Replacing means creating the next generation if absent, so two re-wraps at once cannot
both win, and readers that listed before still find the generation they listed or list again.
"""

from __future__ import annotations

from uuid import UUID

from redoubt.errors import AlreadyExists, IdentityMismatch, KeyFileMissing, NotFound
from redoubt.keys.types import WrappedKey
from redoubt.limits import MAX_KEY_GENERATION, MAX_WRAPPED_RECORD_BYTES
from redoubt.sealed.storage import Storage

_READ_ATTEMPTS = 5


def key_file_name(data_key_id: UUID, generation: int) -> str:
    """Return the name of a key file relative to the dataset."""
    return f"_keys/{data_key_id}/{generation:08d}"


def write_first(storage: Storage, wrapped: WrappedKey) -> None:
    """Store the first generation of a fresh data key."""
    storage.put_if_absent(key_file_name(wrapped.context.data_key_id, 1), wrapped.encode())


def read_current(storage: Storage, data_key_id: UUID) -> tuple[int, WrappedKey]:
    """Return (generation, wrapped key) of the current key file.

    Raises:
        KeyFileMissing: there is none.
        HeaderInvalid, IdentityMismatch: it is not a record of this data key.
    """
    for _ in range(_READ_ATTEMPTS):
        generations = _generations(storage, data_key_id)
        if not generations:
            break
        try:
            raw = storage.read(key_file_name(data_key_id, generations[-1]), limit=MAX_WRAPPED_RECORD_BYTES)
        except NotFound:  # replaced and removed since it was listed
            continue
        wrapped = WrappedKey.decode(raw)
        if wrapped.context.data_key_id != data_key_id:
            raise IdentityMismatch(f"the key file of data key {data_key_id} holds another data key")
        return generations[-1], wrapped
    raise KeyFileMissing(f"{storage.location} has no key file of data key {data_key_id}")


def replace(storage: Storage, *, generation: int, wrapped: WrappedKey) -> bool:
    """Make *wrapped* the successor of *generation* and remove older ones; False if another re-wrap came first."""
    data_key_id = wrapped.context.data_key_id
    try:
        storage.put_if_absent(key_file_name(data_key_id, generation + 1), wrapped.encode())
    except AlreadyExists:
        return False
    for old in _generations(storage, data_key_id):
        if old < generation:
            storage.delete(key_file_name(data_key_id, old))
    storage.delete(key_file_name(data_key_id, generation))
    return True


def data_key_ids(storage: Storage) -> list[UUID]:
    """Return the ids of every data key that has key files, sorted."""
    found: set[UUID] = set()
    try:
        for entry in storage.list("_keys"):
            segments = entry.name.split("/")
            if len(segments) == 3 and _generation(segments[2]):
                try:
                    found.add(UUID(segments[1]))
                except ValueError:
                    continue
    except NotFound:
        return []
    return sorted(found)


def _generations(storage: Storage, data_key_id: UUID) -> list[int]:
    try:
        names = [entry.name.rpartition("/")[2] for entry in storage.list(f"_keys/{data_key_id}")]
    except NotFound:
        return []
    return sorted(filter(None, map(_generation, names)))


def _generation(name: str) -> int:
    """Return the generation that a file name states, or 0 if it is no key file (a temporary, say)."""
    if len(name) == 8 and name.isascii() and name.isdecimal():
        return int(name) if 1 <= int(name) <= MAX_KEY_GENERATION else 0
    return 0
