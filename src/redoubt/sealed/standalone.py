"""Standalone sealed files: one file that carries its wrapped key and needs no commit record."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from redoubt.errors import IdentityMismatch, SlotDamaged, StorageError
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeySource, Provider
from redoubt.keys.types import WrapContext
from redoubt.limits import PREAMBLE_BYTES
from redoubt.sealed.body import SealedReader, SealedWriter, open_body
from redoubt.sealed.commit import Part
from redoubt.sealed.header import DEFAULT_MEDIA_TYPE, NIL, FilePurpose, Header
from redoubt.sealed.local import storage_errors
from redoubt.sealed.slots import Preamble, repairable
from redoubt.sealed.storage import RandomAccess, Sink

_TORN_READS = 2
_TORN_READ_PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class OpenStandalone:
    """An authenticated standalone file: its identity and a reader of its plaintext."""

    preamble: Preamble
    reader: SealedReader


def write_standalone(
    sink: Sink, *, keys: KeySource, key: str | None = None, media_type: str = DEFAULT_MEDIA_TYPE
) -> SealedWriter:
    """Start a standalone file in *sink* under a fresh data key; the caller writes, then finishes writer and sink."""
    context = WrapContext(dataset_id=uuid4(), data_key_id=uuid4())
    data_key, wrapped = keys.new_data_key(key, context)
    header = Header(FilePurpose.STANDALONE, data_key.id, data_key.dataset_id, NIL, "", media_type)
    preamble = Preamble.new(header, wrapped)
    return SealedWriter(
        sink, data_key=data_key, context=preamble.header_bytes, preamble=preamble.encode(), digest=False
    )


def read_preamble(file: RandomAccess) -> Preamble:
    """Parse the preamble of *file*; errors as :meth:`Preamble.parse`.

    A slot that does not parse is read again: a re-wrap may be writing it this moment.
    """
    raw = bytearray(PREAMBLE_BYTES)
    for _ in range(_TORN_READS):
        with contextlib.suppress(SlotDamaged):
            return Preamble.parse(bytes(raw[: file.read_into(0, memoryview(raw))]))
        time.sleep(_TORN_READ_PAUSE_SECONDS)
    return Preamble.parse(bytes(raw[: file.read_into(0, memoryview(raw))]))


def open_standalone(file: RandomAccess, *, keys: KeySource, where: str, listed: Part | None = None) -> OpenStandalone:
    """Open a standalone file; its end is authenticated unless a commit record lists it, and so vouches for its length.

    Raises:
        IdentityMismatch: it is another file than the one *listed*.
        SealedError, KeyError_: the file is not authentic, or its key is not released.
    """
    preamble = read_preamble(file)
    header = preamble.header
    if listed and (header.dataset_id, header.data_key_id, header.media_type) != (
        listed.owner,
        listed.key,
        listed.media_type,
    ):
        raise IdentityMismatch(f"{where} is another standalone file than the commit lists")
    data_key = keys.unwrap([preamble.slot.wrapped])[0]
    reader = open_body(
        file,
        data_key=data_key,
        context=preamble.header_bytes,
        offset=PREAMBLE_BYTES,
        where=where,
        listed_prefix=listed.prefix if listed else None,
    )
    return OpenStandalone(preamble, reader)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a re-wrap did: wrapped keys replaced, and those that were current already."""

    replaced: int
    current: int


def rewrap_standalone(path: Path, *, provider_for: Callable[[KeyName], Provider]) -> Rewrapped:
    """Wrap the data key of a local standalone file under the newest version of its primary key, in place.

    Only the 2048 bytes of one key slot are written, and none if the key is current already. A damaged slot is repaired.
    *provider_for* maps the key's name to its provider. Readers and other re-wraps may go on meanwhile.

    Raises:
        SealedError, KeyError_, StorageError: nothing was changed.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with storage_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # two re-wraps at once would write the same slot
            raw = os.pread(descriptor, PREAMBLE_BYTES, 0)
            preamble = repairable(raw)
            wrapped = preamble.slot.wrapped
            provider = provider_for(wrapped.key)
            if wrapped.version == provider.describe(wrapped.key).current.version:
                provider.unwrap([wrapped])  # only what is authentic may settle references
            else:
                (wrapped,) = provider.rewrap([wrapped])
            intact = wrapped == preamble.slot.wrapped and preamble.encode() == raw
            if not intact:
                offset, slot = preamble.replacement(wrapped)
                if os.pwrite(descriptor, slot, offset) != len(slot):
                    raise StorageError(f"{path}: the key slot was not written whole")
                os.fsync(descriptor)
        provider.settle([wrapped])  # also for a re-wrap that was interrupted here
    finally:
        os.close(descriptor)
    return Rewrapped(replaced=0, current=1) if intact else Rewrapped(replaced=1, current=0)
