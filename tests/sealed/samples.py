"""What the tests of this room share: datasets and files to look at, and to spoil."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from redoubt.keys.provider import KeySource
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.standalone import open_standalone, write_standalone
from redoubt.sealed.storage import SinkGuard, Storage
from redoubt.sealed.write import DatasetWrite, WriteMode

#: Name within the commit → plaintext; the edges of chunks, and names that need their UTF-8.
CONTENTS: Mapping[str, bytes] = {
    "a.csv": b"x,y\n1,2\n",
    "empty.csv": b"",
    "deep/er/köln.csv": bytes(i * 13 & 255 for i in range(40000)),
    "one-chunk.csv": b"c" * 16384,
}


def write_parts(write: DatasetWrite, contents: Mapping[str, bytes]) -> list[Part]:
    """Write one part a content."""
    parts = []
    for name, content in contents.items():
        part = write.parts.part(name, media_type="text/csv")
        part.write(content)
        parts.append(part.finish())
    return parts


def write_dataset(
    location: str | Path | Storage,
    keys: KeySource,
    *,
    mode: WriteMode = WriteMode.CREATE,
    contents: Mapping[str, bytes] = CONTENTS,
    key: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> Dataset:
    """Write *contents* as one commit."""
    where = str(location) if isinstance(location, Path) else location
    write = DatasetWrite.begin(where, keys=keys, mode=mode, key=key)
    return write.commit(write_parts(write, contents), properties=properties)


def read_dataset(dataset: Dataset) -> dict[str, bytes]:
    """Return the plaintext of every part, by its name without ``data/<commit>/``."""
    found = {}
    for part in dataset.parts:
        reader = dataset.open_part(part)
        try:
            found[part.name.removeprefix(f"data/{part.commit}/")] = b"".join(map(bytes, reader.stream()))
            assert reader.read() == found[part.name.removeprefix(f"data/{part.commit}/")]
        finally:
            reader.close()
    return found


def write_file(path: Path, content: bytes, keys: KeySource, *, key: str | None = None) -> None:
    """Write one standalone sealed file."""
    with SinkGuard(AtomicFile(path, replace=False)) as guard:
        writer = write_standalone(guard.sink, keys=keys, key=key, media_type="text/csv")
        writer.write(content)
        writer.finish()


def read_file(path: Path, keys: KeySource) -> bytes:
    """Return the plaintext of a standalone sealed file."""
    file = LocalFile(path)
    try:
        return open_standalone(file, keys=keys, where=path.name).reader.read()
    finally:
        file.close()


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of a file; negative positions count from its end."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below *folder*, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def put_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make *folder* hold exactly *files*."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def part_named(dataset: Dataset, end: str) -> Part:
    """Return the part whose name ends so."""
    (part,) = (part for part in dataset.parts if part.name.endswith(end))
    return part


def paths_of(folder: Path, parts: Sequence[Part]) -> list[Path]:
    """Return where the local files of *parts* are."""
    return [folder / part.name for part in parts]
