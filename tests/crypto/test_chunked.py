"""Chunked encryption: every range agrees with the whole-stream decryption of `cryptography`, and no change survives."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redoubt.crypto.chunked import (
    BodyDecryptor,
    BodyEncryptor,
    BodyGeometry,
    BodyKey,
    chunk_runs,
    decrypt,
    derive,
    encrypt,
)
from redoubt.errors import ChunkTampered, CommitmentMismatch, SealedError, Truncated
from redoubt.limits import BODY_PREFIX_BYTES, CHUNK_CIPHERTEXT_BYTES, CHUNK_PLAINTEXT_BYTES, MAX_CHUNKS

KEY = bytes(range(32))
CONTEXT = b"the header"
PLAIN = bytes(i * 31 & 255 for i in range(3 * CHUNK_PLAINTEXT_BYTES + 5))
EDGES = [0, 1, 2, 16383, 16384, 16385, 32767, 32768, 32769, len(PLAIN)]

sizes = st.one_of(st.sampled_from(EDGES), st.integers(0, len(PLAIN)))


def by_cryptography(body: bytes, *, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    decryptor = Cobblestone256Decryptor(key, context)
    return decryptor.update(body) + decryptor.finalize()


def sealed(plain: bytes) -> bytes:
    return encrypt(plain, data_key=KEY, context=CONTEXT)


def open_body(body: bytes) -> BodyKey:
    return BodyKey.open(data_key=KEY, context=CONTEXT, prefix=body[:BODY_PREFIX_BYTES], ciphertext_length=len(body))


def read_range(body: bytes, start: int, end: int, run_chunks: int = 2) -> bytes:
    """What a reader does: only the chunks that cover the range."""
    key = open_body(body)
    found = b""
    for first, last in chunk_runs(key.geometry, start=start, end=end, run_chunks=run_chunks):
        offset, length = key.geometry.chunk_span(first, last)
        out = bytearray(run_chunks * CHUNK_PLAINTEXT_BYTES)
        count = key.decrypt_into(memoryview(body)[offset : offset + length], first_chunk=first, out=memoryview(out))
        base = first * CHUNK_PLAINTEXT_BYTES
        found += out[max(start - base, 0) : min(end - base, count)]
    return found


@pytest.mark.parametrize("size", EDGES)
def test_cryptography_opens_what_we_seal_and_the_other_way_round(size: int) -> None:
    plain = PLAIN[:size]
    assert by_cryptography(sealed(plain)) == plain
    encryptor = Cobblestone256Encryptor(KEY, CONTEXT)
    theirs = encryptor.update(plain) + encryptor.finalize()
    assert decrypt(theirs, data_key=KEY, context=CONTEXT) == plain
    assert open_body(theirs).geometry == BodyGeometry.for_plaintext(size) == BodyGeometry.of(len(theirs))


@settings(max_examples=60)
@given(sizes, sizes, sizes, st.integers(1, 4))
@example(len(PLAIN), 16384, 32768, 1)
@example(16384, 16383, 16384, 1)
@example(0, 0, 0, 1)
def test_a_range_is_that_slice_of_the_whole(size: int, one: int, other: int, run_chunks: int) -> None:
    body, (start, end) = sealed(PLAIN[:size]), sorted((one, other))
    whole = by_cryptography(body)
    assert read_range(body, start, min(end, size), run_chunks) == whole[start:end]


@settings(max_examples=40)
@given(sizes, st.lists(st.integers(0, 20000), max_size=8), st.lists(st.integers(1, 20000), min_size=1, max_size=8))
def test_streams_do_not_depend_on_how_they_are_cut(size: int, writes: list[int], reads: list[int]) -> None:
    encryptor = BodyEncryptor(data_key=KEY, context=CONTEXT)
    body = b"".join(bytes(encryptor.update(piece)) for piece in cut(PLAIN[:size], writes)) + encryptor.finalize()
    assert len(body) == BodyGeometry.for_plaintext(size).ciphertext_length
    decryptor = BodyDecryptor(data_key=KEY, context=CONTEXT)
    plain = b"".join(bytes(decryptor.update(piece)) for piece in cut(body, reads)) + decryptor.finalize()
    assert plain == PLAIN[:size]


def cut(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    for length in lengths:
        yield data[:length]
        data = data[length:]
    yield data


def test_a_view_stays_valid_until_the_next_call() -> None:
    encryptor = BodyEncryptor(data_key=KEY, context=CONTEXT)
    block = PLAIN[: 2 * CHUNK_PLAINTEXT_BYTES]
    body = b""
    for size in (5, len(block), 0, 1, len(block)):
        body += encryptor.update(block[:size])
    plain = block[:5] + block + block[:1] + block
    assert by_cryptography(body + encryptor.finalize()) == plain


def test_an_encryptor_is_refused_in_a_forked_process() -> None:
    encryptor = BodyEncryptor(data_key=KEY, context=CONTEXT)
    encryptor.update(b"parent")
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (lambda: encryptor.update(b"child"), encryptor.finalize):
            try:
                call()
            except RuntimeError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    encryptor.finalize()


def test_salts_are_fresh_for_every_body() -> None:
    assert len({sealed(b"same")[:24] for _ in range(64)}) == 64


@pytest.mark.parametrize("length", [0, 55, 56, 71, 56 + 16400, 56 + 16400 + 1, 56 + 16400 + 15, 56 + 2 * 16400])
def test_impossible_lengths_are_truncation(length: int) -> None:
    with pytest.raises(Truncated):
        BodyGeometry.of(length)


def test_the_longest_body_is_the_formats_longest() -> None:
    longest = BODY_PREFIX_BYTES + (MAX_CHUNKS - 1) * CHUNK_CIPHERTEXT_BYTES + CHUNK_CIPHERTEXT_BYTES - 1
    assert BodyGeometry.of(longest).chunk_count == MAX_CHUNKS
    with pytest.raises(Truncated, match="longer than the format allows"):
        BodyGeometry.of(longest + 1 + 16)


@given(st.integers(0, 2**45))
def test_geometry_is_consistent(plaintext_length: int) -> None:
    geometry = BodyGeometry.for_plaintext(plaintext_length)
    assert BodyGeometry.of(geometry.ciphertext_length) == geometry
    assert geometry.plaintext_length == plaintext_length
    last = geometry.chunk_count - 1
    offset, length = geometry.chunk_span(last, last)
    assert offset + length == geometry.ciphertext_length
    assert 16 <= length < CHUNK_CIPHERTEXT_BYTES


@pytest.mark.parametrize("position", [0, 23, 24, 55])
def test_a_bit_of_the_prefix_flipped_is_a_commitment_mismatch(position: int) -> None:
    with pytest.raises(CommitmentMismatch):
        open_body(flipped(sealed(b"x"), position))


@pytest.mark.parametrize(("key", "context"), [(bytes(32), CONTEXT), (KEY, b"another header"), (KEY, b"")])
def test_another_key_or_header_is_a_commitment_mismatch(key: bytes, context: bytes) -> None:
    with pytest.raises(CommitmentMismatch):
        decrypt(sealed(b"x"), data_key=key, context=context)


@settings(max_examples=60)
@given(st.integers(0, 3 * CHUNK_CIPHERTEXT_BYTES), st.integers(0, 7))
def test_a_bit_of_a_chunk_flipped_is_refused_by_every_reader(position: int, bit: int) -> None:
    body = sealed(PLAIN)
    bad = flipped(body, BODY_PREFIX_BYTES + position, bit)
    with pytest.raises(ChunkTampered):
        decrypt(bad, data_key=KEY, context=CONTEXT)
    with pytest.raises(InvalidTag):
        by_cryptography(bad)
    with pytest.raises((ChunkTampered, Truncated)):
        stream(bad)


@settings(max_examples=60)
@given(st.integers(0, BodyGeometry.for_plaintext(len(PLAIN)).ciphertext_length - 1))
def test_every_truncation_is_refused(length: int) -> None:
    bad = sealed(PLAIN)[:length]
    with pytest.raises((Truncated, ChunkTampered)):
        open_body(bad).check_end(last_chunk(bad))
    with pytest.raises((Truncated, ChunkTampered)):
        stream(bad)


@pytest.mark.parametrize("extra", [b"\0", bytes(16), bytes(16400), bytes(20000)])
def test_every_extension_is_refused(extra: bytes) -> None:
    bad = sealed(PLAIN) + extra
    with pytest.raises(SealedError):
        open_body(bad).check_end(last_chunk(bad))
    with pytest.raises(SealedError):
        stream(bad)


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 0, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 1, 2, 3), (3, 1, 2, 0)])
def test_chunks_moved_doubled_or_removed_are_refused(order: tuple[int, ...]) -> None:
    body = sealed(PLAIN)
    chunks = [body[56 + 16400 * k : 56 + 16400 * (k + 1)] for k in range(4)]
    bad = body[:56] + b"".join(chunks[k] for k in order)
    with pytest.raises(SealedError):
        decrypt(bad, data_key=KEY, context=CONTEXT)
    with pytest.raises(SealedError):
        stream(bad)


def test_a_chunk_of_another_body_under_the_same_key_and_header_is_refused() -> None:
    one, other = sealed(PLAIN), sealed(PLAIN)
    bad = one[:56] + other[56 : 56 + 16400] + one[56 + 16400 :]
    with pytest.raises(ChunkTampered, match="chunk 0 of 4"):
        decrypt(bad, data_key=KEY, context=CONTEXT)


def test_nothing_of_a_refused_range_stays_in_the_buffer() -> None:
    body = flipped(sealed(PLAIN), 56 + 16400 + 7)  # the second chunk
    key = open_body(body)
    out = bytearray(b"\xaa" * (2 * CHUNK_PLAINTEXT_BYTES))
    offset, length = key.geometry.chunk_span(0, 1)
    with pytest.raises(ChunkTampered):
        key.decrypt_into(memoryview(body)[offset : offset + length], first_chunk=0, out=memoryview(out))
    assert not any(out)


@pytest.mark.parametrize("size", [0, 5, 15, 16, 16399, 16400])
def test_a_last_chunk_of_another_length_is_refused(size: int) -> None:
    body = sealed(PLAIN)
    with pytest.raises(Truncated, match="impossible length"):
        open_body(body).check_end(body[-16400:][:size])


def test_a_decryptor_that_failed_stays_failed() -> None:
    body = sealed(PLAIN)
    decryptor = BodyDecryptor(data_key=KEY, context=CONTEXT)
    with pytest.raises(ChunkTampered):
        decryptor.update(flipped(body, 60))
    with pytest.raises(Exception, match="finalized"):
        decryptor.update(body)


@pytest.mark.parametrize(("key", "salt"), [(bytes(16), bytes(24)), (bytes(33), bytes(24)), (KEY, bytes(23))])
def test_keys_and_salts_of_other_sizes_are_a_programmers_error(key: bytes, salt: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        derive(data_key=key, salt=salt, context=b"")


def test_a_short_prefix_is_truncation() -> None:
    with pytest.raises(Truncated):
        BodyKey.open(data_key=KEY, context=CONTEXT, prefix=bytes(55), ciphertext_length=100)


def stream(body: bytes) -> bytes:
    decryptor = BodyDecryptor(data_key=KEY, context=CONTEXT)
    return bytes(decryptor.update(body)) + decryptor.finalize()


def last_chunk(body: bytes) -> bytes:
    key = open_body(body)
    offset, length = key.geometry.chunk_span(key.geometry.chunk_count - 1, key.geometry.chunk_count - 1)
    return body[offset : offset + length]


def flipped(data: bytes, position: int, bit: int = 0) -> bytes:
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]
