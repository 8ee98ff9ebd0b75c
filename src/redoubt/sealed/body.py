"""Reading and writing the body of one sealed file on a storage: ranges in, chunks out.

:class:`SealedReader` is what every reader of sealed bytes stands on (CLI, Data Source, pyarrow). It needs the exact
length to be trusted: either a commit record states it, or :meth:`SealedReader.check_end` authenticates the last chunk
first (hardening H27); :func:`open_body` does whichever applies before it returns.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

from redoubt.crypto.chunked import BodyDecryptor, BodyEncryptor, BodyKey, chunk_runs
from redoubt.errors import ChunkTampered, PartChanged, Truncated
from redoubt.keys.types import DataKey
from redoubt.limits import BODY_PREFIX_BYTES, CHUNK_CIPHERTEXT_BYTES, CHUNK_PLAINTEXT_BYTES
from redoubt.sealed.storage import RandomAccess, Sink

#: Ciphertext of a range read at once: 256 chunks, 4 MiB, for object stores and parsers.
RUN_CHUNKS = 256
#: A step of whole streams: 16 chunks, 256 KiB, which stay in the second-level cache between reading, encrypting and
#: writing. Measured: half the CPU time of 4 MiB steps, and of steps that change threads.
STREAM_CHUNKS = 16


class SealedReader:
    """Random access to the plaintext of one sealed body, for one thread. Lengths and offsets in bytes."""

    def __init__(
        self, file: RandomAccess, *, data_key: DataKey, context: bytes, prefix: bytes, offset: int, where: str
    ) -> None:
        self._file = file
        self._data_key = data_key
        self._context = context
        #: The 56 bytes before the first chunk, whose commitment was checked.
        self.prefix = prefix
        self._key = BodyKey.open(
            data_key=data_key.secret, context=context, prefix=prefix, ciphertext_length=file.size - offset
        )
        self._offset = offset
        self._where = where
        run = min(RUN_CHUNKS, self._key.geometry.chunk_count)
        self._ciphertext = bytearray(run * CHUNK_CIPHERTEXT_BYTES)
        self._plaintext = bytearray(run * CHUNK_PLAINTEXT_BYTES)

    @property
    def size(self) -> int:
        """Length of the plaintext."""
        return self._key.geometry.plaintext_length

    def check_end(self) -> None:
        """Authenticate the last chunk and with it :attr:`size`; raises ChunkTampered or Truncated."""
        last = self._key.geometry.chunk_count - 1
        offset, length = self._key.geometry.chunk_span(last, last)
        self._key.check_end(bytes(self._read(offset, length)))

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """Yield the plaintext of ``[start, end)`` in blocks of up to 4 MiB.

        A block is valid until the next one is asked for. Nothing is yielded before it is authenticated.

        Raises:
            ChunkTampered, Truncated, StorageError: from the block on that cannot be read.
        """
        end = self.size if end is None else min(end, self.size)
        geometry = self._key.geometry
        if start < end == self.size and end % CHUNK_PLAINTEXT_BYTES == 0:
            # The last chunk is empty: no run below holds it, and only it vouches for the end.
            self.check_end()
        for first, last in chunk_runs(geometry, start=start, end=end, run_chunks=RUN_CHUNKS):
            offset, length = geometry.chunk_span(first, last)
            ciphertext = self._read(offset, length)
            written = self._key.decrypt_into(ciphertext, first_chunk=first, out=memoryview(self._plaintext))
            base = first * CHUNK_PLAINTEXT_BYTES
            yield memoryview(self._plaintext)[max(start - base, 0) : min(end - base, written)]

    def stream(self) -> Iterator[memoryview]:
        """Yield the whole plaintext in blocks of up to 256 KiB, each valid until the next one is asked for.

        Faster than :meth:`blocks` for whole files: ``cryptography`` decrypts a block in one call.

        Raises:
            ChunkTampered, Truncated, StorageError: from the block on that cannot be read.
        """
        decryptor = BodyDecryptor(data_key=self._data_key.secret, context=self._context)
        # The prefix that was checked, not the one that stands in the file by now: a writer's other attempt at the same
        # part is authentic under the same header, and only its salt tells it from this one.
        decryptor.update(self.prefix)
        total = self._key.geometry.ciphertext_length
        step = min(STREAM_CHUNKS * CHUNK_CIPHERTEXT_BYTES, len(self._ciphertext))
        for offset in range(BODY_PREFIX_BYTES, total, step):
            yield decryptor.update(self._read(offset, min(step, total - offset)))
        try:
            yield memoryview(decryptor.finalize())
        except Truncated:  # the length is right: every byte of it was read
            raise ChunkTampered(f"the last chunk of {self._where} fails authentication") from None

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the plaintext of ``[start, end)``."""
        return b"".join(bytes(block) for block in self.blocks(start, end))

    def close(self) -> None:
        """Close the underlying file."""
        self._file.close()

    def _read(self, offset: int, length: int) -> memoryview:
        view = memoryview(self._ciphertext)[:length]
        if self._file.read_into(self._offset + offset, view) != length:
            raise Truncated(f"{self._where} became shorter while it was read")
        return view


class SealedStream(io.RawIOBase):
    """A seekable binary file object over a :class:`SealedReader`, for libraries that want one."""

    def __init__(self, reader: SealedReader) -> None:
        super().__init__()
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._reader.size}
        if whence not in bases or bases[whence] + offset < 0:
            raise ValueError(f"no such position: {offset} from {whence}")
        self._position = bases[whence] + offset
        return self._position

    def tell(self) -> int:  # noqa: D102
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # noqa: D102
        if self.closed:
            raise ValueError("read of a closed file")
        view = memoryview(buffer).cast("B")
        done = 0
        for block in self._reader.blocks(self._position, self._position + len(view)):
            view[done : done + len(block)] = block
            done += len(block)
        self._position += done
        return done

    def close(self) -> None:  # noqa: D102
        if not self.closed:
            self._reader.close()
        super().close()


def open_body(
    file: RandomAccess, *, data_key: DataKey, context: bytes, offset: int, where: str, listed_prefix: str | None
) -> SealedReader:
    """Open the body that starts at *offset* of *file*.

    *listed_prefix* is the hex prefix from a commit record, which also vouches for the length; without one (None) the
    last chunk is authenticated here.

    Raises:
        PartChanged: the prefix is not the listed one.
        CommitmentMismatch, ChunkTampered, Truncated: the body is not authentic.
    """
    prefix = bytearray(BODY_PREFIX_BYTES)
    if file.read_into(offset, memoryview(prefix)) != BODY_PREFIX_BYTES:
        raise Truncated(f"{where} ends before its body starts")
    if listed_prefix is not None and prefix.hex() != listed_prefix:
        raise PartChanged(f"{where} is not the file that its commit record lists")
    reader = SealedReader(file, data_key=data_key, context=context, prefix=bytes(prefix), offset=offset, where=where)
    if listed_prefix is None:
        try:
            reader.check_end()
        except ChunkTampered as error:
            raise ChunkTampered(
                error.what,
                why="The file was cut short, or its end was changed: from the file alone both look the same.",
            ) from None
    return reader


class SealedWriter:
    """Encrypts a stream into a sink and remembers what a commit record needs: length, prefix, SHA-256 of the file.

    Hashing is left out for standalone files, which no commit lists.
    """

    def __init__(self, sink: Sink, *, data_key: DataKey, context: bytes, preamble: bytes, digest: bool) -> None:
        self._sink = sink
        self._encryptor = BodyEncryptor(data_key=data_key.secret, context=context)
        self._hash = hashlib.sha256() if digest else None
        self._body_offset = len(preamble)
        self._prefix = b""
        self.length = 0
        self._put(preamble)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and append *data*."""
        view = memoryview(data).cast("B")
        step = STREAM_CHUNKS * CHUNK_PLAINTEXT_BYTES
        for start in range(0, len(view), step):
            self._put(self._encryptor.update(view[start : start + step]))

    def finish(self) -> None:
        """Write the end of the body; the sink is left for its owner to finish."""
        self._put(self._encryptor.finalize())

    @property
    def prefix(self) -> str:
        """Hex of the body's first 56 bytes."""
        return self._prefix.hex()

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the whole file, valid after :meth:`finish`."""
        if self._hash is None:
            raise ValueError("this writer was made without digest")
        return self._hash.hexdigest()

    def _put(self, data: bytes | memoryview) -> None:
        missing = BODY_PREFIX_BYTES - len(self._prefix)
        if missing and self.length >= self._body_offset:
            self._prefix += bytes(data[:missing])
        self._sink.write(data)
        self.length += len(data)
        if self._hash is not None:
            self._hash.update(data)
