"""Readers, streams and writers of one body on a storage."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.crypto import chunked
from redoubt.errors import ChunkTampered, CommitmentMismatch, PartChanged, SealedError, StorageError, Truncated
from redoubt.keys.types import DataKey, WrapContext
from redoubt.limits import BODY_PREFIX_BYTES, CHUNK_CIPHERTEXT_BYTES
from redoubt.sealed import body as body_module
from redoubt.sealed.body import SealedReader, SealedStream, SealedWriter, open_body

KEY = DataKey(context=WrapContext(uuid4(), uuid4()), secret=bytes(range(32)))
CONTEXT = b"header"
PLAIN = bytes(i * 17 & 255 for i in range(70_000))


@dataclass
class Memory:
    """A file in memory, and how it was read."""

    content: bytes
    reads: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False
    before_read: Callable[[int], None] = lambda offset: None

    @property
    def size(self) -> int:
        return len(self.content)

    def read_into(self, offset: int, out: memoryview) -> int:
        self.before_read(offset)
        data = self.content[offset : offset + len(out)]
        self.reads.append((offset, len(out)))
        out[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.closed = True


class MemorySink:
    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.content += bytes(data)

    def finish(self) -> None: ...

    def abort(self) -> None: ...


def sealed(plain: bytes = PLAIN) -> bytes:
    return CONTEXT + chunked.encrypt(plain, data_key=KEY.secret, context=CONTEXT)


def opened(content: bytes, listed_prefix: str | None = None) -> tuple[SealedReader, Memory]:
    file = Memory(content)
    reader = open_body(
        file, data_key=KEY, context=CONTEXT, offset=len(CONTEXT), where="it", listed_prefix=listed_prefix
    )
    return reader, file


def prefix_of(content: bytes) -> str:
    return content[len(CONTEXT) :][:BODY_PREFIX_BYTES].hex()


@pytest.fixture(params=[1, 2, 256])
def run_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(body_module, "RUN_CHUNKS", request.param)
    return int(request.param)


@pytest.mark.usefixtures("run_chunks")
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 32768, 70_000])
def test_every_way_of_reading_agrees(size: int) -> None:
    reader, _ = opened(sealed(PLAIN[:size]))
    assert reader.size == size
    assert reader.read() == PLAIN[:size]
    assert b"".join(map(bytes, reader.stream())) == PLAIN[:size]
    assert SealedStream(reader).read() == PLAIN[:size]


@settings(max_examples=50)
@given(st.integers(0, 80_000), st.integers(0, 80_000))
def test_a_range_is_that_slice(start: int, end: int) -> None:
    assert READER.read(start, end) == PLAIN[start:end]


READER, _FILE = opened(sealed())


def test_a_range_reads_only_its_chunks() -> None:
    reader, file = opened(sealed(), listed_prefix=None)
    file.reads.clear()
    reader.read(20_000, 20_001)
    assert file.reads == [(len(CONTEXT) + BODY_PREFIX_BYTES + CHUNK_CIPHERTEXT_BYTES, CHUNK_CIPHERTEXT_BYTES)]


def test_without_a_commit_the_end_is_authenticated_before_anything_is_released() -> None:
    cut = sealed()[: len(CONTEXT) + BODY_PREFIX_BYTES + 2 * CHUNK_CIPHERTEXT_BYTES + 100]
    with pytest.raises(ChunkTampered):
        opened(cut)


def test_a_commit_vouches_for_the_length() -> None:
    content = sealed()
    _, file = opened(content, listed_prefix=prefix_of(content))
    assert file.reads == [(len(CONTEXT), BODY_PREFIX_BYTES)]


def test_another_attempt_at_the_same_part_is_refused() -> None:
    """Same key, same header, authentic: only the listed prefix tells them apart."""
    with pytest.raises(PartChanged):
        opened(sealed(), listed_prefix=prefix_of(sealed()))


def test_another_attempt_put_in_place_after_the_check_is_refused() -> None:
    """The prefix that was checked is the one that is used, not the one that stands there by then."""
    content = sealed()
    reader, file = opened(content, listed_prefix=prefix_of(content))
    file.content = sealed(PLAIN[::-1])
    with pytest.raises(ChunkTampered):
        list(reader.stream())
    with pytest.raises(ChunkTampered):
        reader.read()


def test_nothing_of_a_block_is_yielded_before_it_is_authentic() -> None:
    content = bytearray(sealed())
    content[-1] ^= 1
    reader, _ = opened(bytes(content), listed_prefix=prefix_of(bytes(content)))
    assert reader.read(0, 65_536) == PLAIN[:65_536]
    with pytest.raises(ChunkTampered):
        next(reader.blocks())
    blocks = reader.stream()
    assert next(blocks) == PLAIN[:65_536]
    with pytest.raises(ChunkTampered, match="last chunk"):
        next(blocks)


def test_a_file_that_shrinks_while_it_is_read_is_truncated() -> None:
    content = sealed()
    reader, file = opened(content)
    file.content = content[:-5]
    with pytest.raises(Truncated, match="became shorter"):
        reader.read()
    with pytest.raises(Truncated, match="became shorter"):
        list(reader.stream())


@pytest.mark.parametrize("length", range(0, 80, 7))
def test_a_body_shorter_than_one_chunk_is_truncated(length: int) -> None:
    with pytest.raises(Truncated):
        opened(sealed(b"")[: min(length, len(sealed(b"")) - 1)])


def test_another_header_is_a_commitment_mismatch() -> None:
    with pytest.raises(CommitmentMismatch):
        open_body(Memory(sealed()), data_key=KEY, context=b"h", offset=len(CONTEXT), where="", listed_prefix=None)


def test_storage_failures_come_through() -> None:
    reader, file = opened(sealed())

    def fail(offset: int) -> None:
        raise StorageError("the disk is gone")

    file.before_read = fail
    with pytest.raises(StorageError):
        reader.read()


class TestSealedStream:
    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-5, 75_000), st.integers(0, 40_000)), max_size=6))
    def test_it_behaves_like_a_file(self, steps: list[tuple[int, int, int]]) -> None:
        ours, theirs = io.BufferedReader(SealedStream(READER)), io.BytesIO(PLAIN)
        for whence, offset, length in steps:
            moved = offset if whence == io.SEEK_SET else -offset
            if (0, theirs.tell(), len(PLAIN))[whence] + moved < 0:  # BytesIO would clamp some of these to the start
                with pytest.raises((ValueError, OSError)):
                    ours.seek(moved, whence)
                continue
            assert ours.seek(moved, whence) == theirs.seek(moved, whence)
            assert ours.read(length) == theirs.read(length)
            assert ours.tell() == theirs.tell()
        ours.detach()

    def test_closing_it_closes_the_file(self) -> None:
        reader, file = opened(sealed())
        stream = SealedStream(reader)
        assert stream.readable()
        assert stream.seekable()
        assert not stream.writable()
        stream.close()
        stream.close()
        assert file.closed
        with pytest.raises(ValueError, match="closed"):
            stream.read(1)

    @pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-70_001, 2), (-1, 1), (0, 9)])
    def test_impossible_positions_are_refused(self, offset: int, whence: int) -> None:
        with pytest.raises(ValueError, match="no such position"):
            SealedStream(opened(sealed())[0]).seek(offset, whence)

    def test_tampering_comes_through(self) -> None:
        content = bytearray(sealed())
        content[100] ^= 1
        reader, _ = opened(bytes(content))
        with pytest.raises(SealedError):
            SealedStream(reader).read()


class TestSealedWriter:
    @pytest.mark.usefixtures("run_chunks")
    @pytest.mark.parametrize("sizes", [[], [0], [1], [16384], [5, 16380, 40_000, 0, 1], [70_000]])
    def test_what_it_remembers_is_what_it_wrote(self, sizes: list[int]) -> None:
        import hashlib

        sink = MemorySink()
        writer = SealedWriter(sink, data_key=KEY, context=CONTEXT, preamble=CONTEXT, digest=True)
        plain = b""
        for size in sizes:
            writer.write(PLAIN[:size])
            plain += PLAIN[:size]
        writer.finish()
        assert writer.length == len(sink.content)
        assert writer.prefix == prefix_of(sink.content)
        assert writer.sha256 == hashlib.sha256(sink.content).hexdigest()
        decryptor = Cobblestone256Decryptor(KEY.secret, CONTEXT)
        assert decryptor.update(sink.content[len(CONTEXT) :]) + decryptor.finalize() == plain

    def test_arrays_of_wider_items_are_written_as_bytes(self) -> None:
        from array import array

        sink = MemorySink()
        writer = SealedWriter(sink, data_key=KEY, context=CONTEXT, preamble=CONTEXT, digest=False)
        writer.write(memoryview(array("I", [1, 2, 3])))
        writer.finish()
        assert opened(sink.content)[0].read() == array("I", [1, 2, 3]).tobytes()
        with pytest.raises(ValueError, match="without digest"):
            _ = writer.sha256


def test_a_listed_length_that_ends_in_a_false_empty_chunk_is_refused() -> None:
    """A cut at a chunk's edge leaves 16 bytes that pass for an empty last chunk: whoever reads to the end checks it."""
    content = sealed(PLAIN[:40_000])
    cut = content[: len(CONTEXT) + BODY_PREFIX_BYTES + 16400 + 16]
    reader, _ = opened(cut, prefix_of(content))
    assert reader.size == 16384
    with pytest.raises(ChunkTampered):
        reader.read()
    assert reader.read(0, 100) == PLAIN[:100]
