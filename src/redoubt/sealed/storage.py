"""The storage seam: what sealed data needs of a file system or object store, and no more.

Objects are written once under a new name; nothing relies on rename. The one atomic operation is
:meth:`Storage.put_if_absent`, which commit records and key files stand on (hardening H16). Names are canonical relative
paths (``redoubt.sealed.header.check_part_name``) below the storage's location.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from redoubt.errors import Truncated


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object: name relative to the location, size in bytes, modification time in seconds since the epoch."""

    name: str
    size: int
    modified: float


class RandomAccess(Protocol):
    """An open object. Reads do not depend on a cursor and may come from several threads."""

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""

    def read_into(self, offset: int, out: memoryview) -> int:
        """Fill *out* from *offset*; return bytes read, fewer only at the end of the object."""

    def close(self) -> None:
        """Release the object."""


class Sink(Protocol):
    """A new object being written from front to back. It exists for others only after :meth:`finish`, or never."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*."""

    def finish(self) -> None:
        """Make the object durable (fsync where the store has one)."""

    def abort(self) -> None:
        """Give up and remove what was written, as far as the store lets us."""


@runtime_checkable
class Storage(Protocol):
    """A folder or bucket prefix. Failures are StorageError; a missing object is NotFound."""

    @property
    def location(self) -> str:
        """Path or URI, for messages and for opening the same place in another process."""

    @property
    def conditional(self) -> bool:
        """True if :meth:`put_if_absent` is atomic between writers; False means one writer at a time."""

    def open(self, name: str) -> RandomAccess:
        """Open an object for reading."""

    def create(self, name: str) -> Sink:
        """Start a new object; AlreadyExists if there is one (checked where the store can)."""

    def put_if_absent(self, name: str, data: bytes) -> None:
        """Store a small object durably, or raise AlreadyExists and change nothing."""

    def read(self, name: str, *, limit: int) -> bytes:
        """Return a whole object of at most *limit* bytes; Truncated if it is longer."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every object below the folder *prefix* ("" is the location), recursively, in no particular order.

        A folder that does not exist holds nothing; one that cannot be read is StorageError.
        """

    def size(self, name: str) -> int:
        """Return an object's length in bytes."""

    def delete(self, name: str) -> None:
        """Delete an object; a missing one is not an error."""


def read_whole(file: RandomAccess, *, limit: int, where: str) -> bytes:
    """Return the content of *file* and close it; Truncated if it is longer than *limit* bytes."""
    try:
        if file.size > limit:
            raise Truncated(f"{where} has {file.size} bytes; at most {limit} are allowed")
        out = bytearray(file.size)
        return bytes(out[: file.read_into(0, memoryview(out))])
    finally:
        file.close()


class SinkGuard:
    """Context manager that finishes a sink on success and aborts it on any exception."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.sink.finish()
        else:
            self.sink.abort()
