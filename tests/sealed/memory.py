"""A storage in memory, as a dictionary of names and bytes: for tests that make thousands of datasets."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping

from redoubt.errors import AlreadyExists, NotFound
from redoubt.sealed.storage import Entry, read_whole


class MemoryFile:
    """Bytes, as :class:`redoubt.sealed.storage.RandomAccess`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read_into(self, offset: int, out: memoryview) -> int:
        data = self._content[offset : offset + len(out)]
        out[: len(data)] = data
        return len(data)

    def close(self) -> None: ...


class _MemorySink:
    def __init__(self, storage: MemoryStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._content = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._content += data

    def finish(self) -> None:
        self._storage.put_if_absent(self._name, bytes(self._content))

    def abort(self) -> None: ...


class MemoryStorage:
    """See :class:`redoubt.sealed.storage.Storage`."""

    conditional = True
    location = "memory"

    def __init__(self, files: MutableMapping[str, bytes] | None = None) -> None:
        self.files = {} if files is None else files
        self._lock = threading.Lock()

    def open(self, name: str) -> MemoryFile:
        if name not in self.files:
            raise NotFound(f"{name} does not exist")
        return MemoryFile(self.files[name])

    def create(self, name: str) -> _MemorySink:
        if name in self.files:
            raise AlreadyExists(f"{name} exists")
        return _MemorySink(self, name)

    def put_if_absent(self, name: str, data: bytes) -> None:
        with self._lock:
            if name in self.files:
                raise AlreadyExists(f"{name} exists")
            self.files[name] = data

    def read(self, name: str, *, limit: int) -> bytes:
        return read_whole(self.open(name), limit=limit, where=name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for name, content in sorted(self.files.items()):
            if not prefix or name.startswith(prefix + "/"):
                yield Entry(name, len(content), 1.7e9)

    def size(self, name: str) -> int:
        return self.open(name).size

    def delete(self, name: str) -> None:
        self.files.pop(name, None)
