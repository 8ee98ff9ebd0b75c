"""Key files of a dataset: ``_keys/<data key id>/<generation>``, replaced by compare-and-swap (hardening H18).

The highest generation counts. Replacing means creating the next generation if absent, so two re-wraps at once cannot
both win, and readers that listed before still find the generation they listed or list again.
"""

from __future__ import annotations

import re
from uuid import UUID

from redoubt.errors import AlreadyExists, IdentityMismatch, KeyFileMissing, NotFound, SlotDamaged
from redoubt.keys.types import WrappedKey
from redoubt.limits import MAX_KEY_GENERATION, MAX_WRAPPED_RECORD_BYTES
from redoubt.sealed.storage import Storage

_READ_ATTEMPTS = 5
_NAME = re.compile(r"_keys/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([0-9]{8})")


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
        SealedError: it is not a record of this data key.
    """
    for _ in range(_READ_ATTEMPTS):
        generations = _generations(storage, data_key_id)
        if not generations:  # perhaps the old one went while it was listed, and the new one came just after
            continue
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
    """Make *wrapped* the successor of *generation*; False if another re-wrap came first.

    Raises:
        SlotDamaged: *generation* is the last that a name can state; no writer gets there.
    """
    data_key_id = wrapped.context.data_key_id
    if generation >= MAX_KEY_GENERATION:
        raise SlotDamaged(f"the generation of the key file of {data_key_id} is one that no writer reaches")
    try:
        storage.put_if_absent(key_file_name(data_key_id, generation + 1), wrapped.encode())
    except AlreadyExists:
        return False
    return True


def remove_older(storage: Storage, data_key_id: UUID, generation: int) -> None:
    """Remove the generations below *generation*, which is durable: readers that find one gone list again."""
    for old in _generations(storage, data_key_id):
        if old < generation:
            storage.delete(key_file_name(data_key_id, old))


def data_key_ids(storage: Storage) -> list[UUID]:
    """Return the ids of every data key that has key files, sorted."""
    return sorted({parsed[0] for entry in storage.list("_keys") if (parsed := parse_key_file_name(entry.name))})


def parse_key_file_name(name: str) -> tuple[UUID, int] | None:
    """Return (data key id, generation) of a key file's name, or None if it is no such name (a temporary, say)."""
    match = _NAME.fullmatch(name)
    return (UUID(match[1]), int(match[2])) if match and int(match[2]) else None


def _generations(storage: Storage, data_key_id: UUID) -> list[int]:
    names = (parse_key_file_name(entry.name) for entry in storage.list(f"_keys/{data_key_id}"))
    return sorted(parsed[1] for parsed in names if parsed and parsed[0] == data_key_id)
