"""Sealed files and datasets for the codec's tests, written by Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from redoubt.keys.provider import KeySource
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.standalone import open_standalone, write_standalone
from redoubt.sealed.write import DatasetWrite, WriteMode


def rows(count: int, *, seed: int = 0) -> list[str]:
    """CSV rows without quoting, of different lengths: ``number,text``."""
    return [f"{number},{'abcdefghij' * ((number * 7 + seed) % 9)}{number % 10}" for number in range(count)]


def lines(content: list[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in content).encode()


def seal_file(path: Path, content: bytes, *, keys: KeySource, media_type: str = "text/csv") -> Path:
    sink = AtomicFile(path, replace=True)
    writer = write_standalone(sink, keys=keys, media_type=media_type)
    writer.write(content)
    writer.finish()
    sink.finish()
    return path


def read_standalone(path: Path, *, keys: KeySource) -> bytes:
    reader = open_standalone(LocalFile(path), keys=keys, where=path.name).reader
    try:
        return reader.read()
    finally:
        reader.close()


def write_dataset(
    folder: Path, parts: Mapping[str, bytes], *, keys: KeySource, mode: WriteMode = WriteMode.CREATE
) -> dict[str, Path]:
    """Commit *parts* as one write; return their paths."""
    write = DatasetWrite.begin(str(folder), keys=keys, mode=mode)
    entries = []
    for name, content in parts.items():
        part = write.parts.part(name, media_type="text/csv")
        part.write(content)
        entries.append(part.finish())
    write.commit(entries)
    return {name: folder / entry.name for name, entry in zip(parts, entries, strict=True)}
