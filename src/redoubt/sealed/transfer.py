"""Sealing and unsealing whole files and folders: the moving parts behind ``redoubt seal`` and ``redoubt unseal``.

A file becomes a standalone sealed file; a folder becomes a dataset, one part a file. Plaintext is only ever written
to the destination the caller named, through :class:`redoubt.sealed.local.AtomicFile`, so a crash leaves none behind.
One thread reads, encrypts and writes a file in small steps; the sink makes the data durable behind it.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from redoubt.crypto.chunked import BodyDecryptor
from redoubt.errors import HeaderInvalid, NotFound, UsageError
from redoubt.keys.provider import KeySource
from redoubt.limits import CHUNK_PLAINTEXT_BYTES, MAX_HEADER_BYTES, PREAMBLE_BYTES
from redoubt.sealed.body import STREAM_CHUNKS, SealedReader
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.header import DEFAULT_MEDIA_TYPE, NIL, check_part_name
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.objects import storage_for
from redoubt.sealed.slots import Preamble, is_sealed
from redoubt.sealed.standalone import open_standalone, write_standalone
from redoubt.sealed.storage import RandomAccess, Sink, SinkGuard
from redoubt.sealed.write import DatasetWrite, WriteMode

#: Called with the number of plaintext bytes done since the last call.
Progress = Callable[[int], None]

T = TypeVar("T")
R = TypeVar("R")

SEALED_SUFFIX = ".sealed"
_BLOCK_BYTES = STREAM_CHUNKS * CHUNK_PLAINTEXT_BYTES


def media_type_of(name: str) -> str:
    """Guess the media type of a plaintext file from its name."""
    known = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonl", ".txt": "text/plain"}
    suffix = Path(name).suffix.lower()
    return known.get(suffix) or mimetypes.guess_type(name)[0] or DEFAULT_MEDIA_TYPE


def refuse_sealed(source: Path) -> None:
    """Refuse to seal what is sealed already; raises UsageError."""
    file = LocalFile(source)
    try:
        start = bytearray(MAX_HEADER_BYTES)
        if is_sealed(bytes(start[: file.read_into(0, memoryview(start))])):
            raise UsageError(f"{source} is sealed already", hint="Unseal it first, or copy it as it is.")
    finally:
        file.close()


def seal_file(
    source: Path, sink: Sink, *, keys: KeySource, key: str | None = None, progress: Progress = lambda _: None
) -> None:
    """Seal one local file into *sink* as a standalone sealed file; the sink is finished, or aborted on error.

    Raises:
        UsageError: the file is sealed already.
    """
    with SinkGuard(sink):
        refuse_sealed(source)
        with contextlib.closing(LocalFile(source)) as file:
            writer = write_standalone(sink, keys=keys, key=key, media_type=media_type_of(source.name))
            for block in file_blocks(file):
                writer.write(block)
                progress(len(block))
            writer.finish()


def seal_stream(stream: BinaryIO, sink: Sink, *, keys: KeySource, key: str | None = None, progress: Progress) -> None:
    """Seal what *stream* yields until its end into *sink*; the sink is finished, or aborted on error.

    Raises:
        UsageError: the stream is sealed already.
    """
    with SinkGuard(sink):
        block = stream.read(_BLOCK_BYTES)
        if is_sealed(block):
            raise UsageError("the stream is sealed already", hint="Unseal it first, or copy it as it is.")
        writer = write_standalone(sink, keys=keys, key=key)
        while block:
            writer.write(block)
            progress(len(block))
            block = stream.read(_BLOCK_BYTES)
        writer.finish()


def unseal_file(source: RandomAccess, sink: Sink, *, keys: KeySource, where: str, progress: Progress) -> None:
    """Unseal one standalone file into *sink*, after its end was authenticated; finished, or aborted on error."""
    with SinkGuard(sink):
        opened = open_standalone(source, keys=keys, where=where)
        _copy(opened.reader, sink, progress)


def unseal_stream(stream: BinaryIO, sink: Sink, *, keys: KeySource, progress: Progress) -> None:
    """Unseal a standalone file that arrives through a pipe. A named *sink* appears only when all was authentic.

    Raises:
        SealedError, KeyError_: it is not authentic; what a :class:`StreamSink` got before was.
    """
    with SinkGuard(sink):
        preamble = Preamble.parse(_read_exactly(stream, PREAMBLE_BYTES))
        data_key = keys.unwrap([preamble.slot.wrapped])[0]
        decryptor = BodyDecryptor(data_key=data_key.secret, context=preamble.header_bytes)
        while block := stream.read(_BLOCK_BYTES):
            plain = decryptor.update(block)
            sink.write(plain)
            progress(len(plain))
        sink.write(decryptor.finalize())


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def seal_folder(
    files: Sequence[tuple[Path, str]],
    location: str,
    *,
    keys: KeySource,
    key: str | None = None,
    mode: WriteMode = WriteMode.CREATE,
    progress: Progress = lambda _: None,
    workers: int | None = None,
) -> Dataset:
    """Seal local *files*, pairs of (path, name within the dataset), as one commit of the dataset at *location*.

    Raises:
        UsageError: a file is sealed already, or its name cannot be a part's.
        AlreadyExists, CommitConflict: as the mode says.
    """
    for path, name in files:
        refuse_sealed(path)
        _check_name(name)
    write = DatasetWrite.begin(location, keys=keys, mode=mode, key=key)

    def seal(item: tuple[Path, str]) -> Part:
        path, name = item
        file = LocalFile(path)
        part = write.parts.part(name + SEALED_SUFFIX, media_type=media_type_of(name))
        try:
            for block in file_blocks(file):
                part.write(block)
                progress(len(block))
            return part.finish()
        except BaseException:
            part.abort()
            raise
        finally:
            file.close()

    return write.commit(_parallel(seal, files, workers))


def unseal_folder(
    dataset: Dataset,
    target: Path,
    *,
    replace: bool,
    progress: Progress,
    by_write: bool = False,
    workers: int | None = None,
) -> list[Path]:
    """Write every part of *dataset* below the folder *target*, named as when it was sealed; return the paths.

    With *by_write* the files of each write lie in a folder of their own, which has the write's id for its name.

    Raises:
        UsageError: two parts would become the same file.
    """
    names = {it.name: f"{it.commit}/{plain_name(it)}" if by_write else plain_name(it) for it in dataset.parts}
    once: set[str] = set()
    for name in names.values():
        if name in once:
            raise UsageError(
                f"two parts of the dataset have the same file name, {name!r}",
                why="Files of one name were appended to it more than once; one would take the other's place.",
                hint="Pass --by-write: the files of each write come into a folder of their own.",
            )
        once.add(name)
    dataset.check_lengths()

    def unseal(part: Part) -> Path:
        path = target / names[part.name]
        reader = dataset.open_part(part)
        try:
            reader.check_end()
            with SinkGuard(AtomicFile(path, replace=replace)) as guard:
                _copy(reader, guard.sink, progress)
        finally:
            reader.close()
        return path

    return _parallel(unseal, dataset.parts, workers)


def _check_name(name: str) -> None:
    try:
        check_part_name(f"data/{NIL}/{name}{SEALED_SUFFIX}")
    except HeaderInvalid as error:
        raise UsageError(f"{name!r} cannot be sealed under its name: {error.what}", hint="Rename the file.") from None


def plain_name(part: Part) -> str:
    """Return the file name of a part's plaintext: without ``data/<commit>/`` and without the suffix ``.sealed``."""
    inner = f"data/{part.commit}/"
    return part.name.removeprefix(inner).removesuffix(SEALED_SUFFIX)


def folder_files(source: Path) -> list[tuple[Path, str]]:
    """Return (path, name relative to *source*) of every regular file below it, sorted; hidden files included.

    Raises:
        NotFound: there is none.
        UsageError: something is a link, which may lead out of the folder, or neither file nor folder.
    """
    found = []
    for path in sorted(source.rglob("*")):
        if path.is_symlink():
            raise UsageError(
                f"{path} is a symbolic link; links inside a folder are not followed",
                hint="Remove the link, put the file or folder itself there, or name what it points to as another SRC.",
            )
        if path.is_file():
            found.append(path)
        elif not path.is_dir():
            raise UsageError(f"{path} is neither a file nor a folder", hint="Remove it.")
    if not found:
        raise NotFound(f"{source} holds no file")
    return [(path, path.relative_to(source).as_posix()) for path in found]


def open_output(path: str, *, replace: bool) -> Sink:
    """Return a sink for a local path, or for an object of a store if *path* is a URI."""
    if "://" in path:
        location, query = path.partition("?")[::2]
        folder, _, name = location.rpartition("/")
        return storage_for(folder + ("?" + query if query else "")).create(name)
    return AtomicFile(Path(path), replace=replace)


class StreamSink:
    """A sink that writes to an open binary stream such as stdout; what was written cannot be taken back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*."""
        self._stream.write(data)

    def finish(self) -> None:
        """Flush."""
        self._stream.flush()

    def abort(self) -> None:
        """Nothing can be taken back; the caller's exit status tells."""


def file_blocks(file: LocalFile) -> Iterator[memoryview]:
    """Yield the content of *file* in blocks of up to 256 KiB, each valid until the next one is asked for."""
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    offset = 0
    while count := file.read_into(offset, buffer):
        offset += count
        yield buffer[:count]


def _copy(reader: SealedReader, sink: Sink, progress: Progress) -> None:
    for block in reader.stream():
        sink.write(block)
        progress(len(block))


def _parallel(function: Callable[[T], R], items: Iterable[T], workers: int | None) -> list[R]:
    from concurrent.futures import ThreadPoolExecutor  # a single file, which is most of what is sealed, needs no pool

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        return list(pool.map(function, items))
