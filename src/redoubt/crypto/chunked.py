"""C2SP chunked encryption, AES-256-GCM with SHA-512 ("Cobblestone-256"): geometry, streams and range reads.

Source: c2sp.org/chunked-encryption@v1. Whole streams go through ``cryptography``'s Cobblestone-256; that class has no
range reads, so :class:`BodyKey` derives the same chunk key and decrypts chunks by number. Both are pure: bytes in,
bytes out.

Rules of the format that this module holds:

* the commitment is checked, in constant time, before any chunk is touched;
* nothing of a chunk is released before its tag verified;
* whoever relies on a body's total length authenticates the last chunk (:meth:`BodyKey.check_end`);
* salts come from the operating system inside the encryptor; only ``redoubt.crypto.hazmat`` may choose one.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from redoubt.errors import ChunkTampered, CommitmentMismatch, Truncated
from redoubt.limits import (
    BODY_COMMITMENT_BYTES,
    BODY_PREFIX_BYTES,
    BODY_SALT_BYTES,
    CHUNK_CIPHERTEXT_BYTES,
    CHUNK_PLAINTEXT_BYTES,
    CHUNK_TAG_BYTES,
    DATA_KEY_BYTES,
    GCM_NONCE_BYTES,
    MAX_CHUNKS,
)

_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


@dataclass(frozen=True, slots=True)
class BodyGeometry:
    """Where the chunks of a body of known ciphertext length lie. Lengths and offsets in bytes."""

    ciphertext_length: int
    chunk_count: int

    @classmethod
    def of(cls, ciphertext_length: int) -> Self:
        """Return the geometry of a body that is *ciphertext_length* bytes long, prefix included.

        Raises:
            Truncated: no body has this length (C2SP chunked-encryption, "Decryption").
        """
        chunks_length = ciphertext_length - BODY_PREFIX_BYTES
        if chunks_length < CHUNK_TAG_BYTES:
            raise Truncated(f"a body of {ciphertext_length} bytes ends before its first chunk does")
        full, last = divmod(chunks_length, CHUNK_CIPHERTEXT_BYTES)
        if last < CHUNK_TAG_BYTES:
            raise Truncated(f"a body of {ciphertext_length} bytes lacks its last, short chunk")
        if full + 1 > MAX_CHUNKS:
            raise Truncated(f"a body of {ciphertext_length} bytes is longer than the format allows")
        return cls(ciphertext_length, full + 1)

    @property
    def plaintext_length(self) -> int:
        """Bytes of plaintext in the body, if its last chunk is authentic."""
        return self.ciphertext_length - BODY_PREFIX_BYTES - self.chunk_count * CHUNK_TAG_BYTES

    @classmethod
    def for_plaintext(cls, plaintext_length: int) -> Self:
        """Return the geometry of the body that *plaintext_length* bytes become."""
        count = plaintext_length // CHUNK_PLAINTEXT_BYTES + 1
        return cls(BODY_PREFIX_BYTES + plaintext_length + count * CHUNK_TAG_BYTES, count)

    def chunk_span(self, first: int, last: int) -> tuple[int, int]:
        """Return (offset, length) in the body of the ciphertext of chunks *first* to *last*, both included."""
        start = BODY_PREFIX_BYTES + first * CHUNK_CIPHERTEXT_BYTES
        end = min(BODY_PREFIX_BYTES + (last + 1) * CHUNK_CIPHERTEXT_BYTES, self.ciphertext_length)
        return start, end - start


class BodyKey:
    """The chunk key of one body: decrypts chunks by number. Made only by :meth:`open`."""

    __slots__ = ("_aead", "_nonce", "geometry")

    def __init__(self, aead: AESGCM, nonce: int, geometry: BodyGeometry) -> None:
        self._aead = aead
        self._nonce = nonce
        self.geometry = geometry

    @classmethod
    def open(cls, *, data_key: bytes, context: bytes, prefix: bytes, ciphertext_length: int) -> Self:
        """Derive the chunk key of the body that starts with the 56-byte *prefix*, and check its commitment.

        Raises:
            Truncated: the prefix is short, or no body has this length.
            CommitmentMismatch: wrong data key, wrong context, or a changed prefix.
        """
        geometry = BodyGeometry.of(ciphertext_length)
        if len(prefix) != BODY_PREFIX_BYTES:
            raise Truncated(f"a body prefix has {BODY_PREFIX_BYTES} bytes, not {len(prefix)}")
        key, nonce, commitment = derive(data_key=data_key, salt=prefix[:BODY_SALT_BYTES], context=context)
        if not hmac.compare_digest(commitment, prefix[BODY_SALT_BYTES:]):
            raise CommitmentMismatch("the key commitment of the body does not verify")
        return cls(AESGCM(key), int.from_bytes(nonce, "big"), geometry)

    def decrypt_into(self, ciphertext: memoryview, *, first_chunk: int, out: memoryview) -> int:
        """Decrypt whole consecutive chunks that start with number *first_chunk* into *out*; return bytes written.

        *ciphertext* is the chunks as :meth:`BodyGeometry.chunk_span` cuts them, joined. On error *out* is zeroed.

        Raises:
            ChunkTampered: a tag does not verify.
            Truncated: a chunk other than the last is short, or the last one is full.
        """
        written = 0
        number = first_chunk
        decrypt = self._aead.decrypt_into
        for offset in range(0, len(ciphertext), CHUNK_CIPHERTEXT_BYTES):
            chunk = ciphertext[offset : offset + CHUNK_CIPHERTEXT_BYTES]
            if (len(chunk) == CHUNK_CIPHERTEXT_BYTES) == (number == self.geometry.chunk_count - 1):
                out[:written] = bytes(written)
                raise Truncated(f"chunk {number} has an impossible length")
            size = len(chunk) - CHUNK_TAG_BYTES
            nonce = (self._nonce ^ number).to_bytes(GCM_NONCE_BYTES, "big")
            try:
                decrypt(nonce, chunk, None, out[written : written + size])
            except InvalidTag:
                out[: written + size] = bytes(written + size)
                raise ChunkTampered(f"chunk {number} of {self.geometry.chunk_count} fails authentication") from None
            written += size
            number += 1
        return written

    def check_end(self, last_chunk: bytes) -> None:
        """Authenticate the last chunk, and with it the body's total length.

        Raises:
            ChunkTampered: the chunk does not verify: changed, or the body was truncated or extended.
            Truncated: it is not as long as the last chunk is.
        """
        last = self.geometry.chunk_count - 1
        if len(last_chunk) != self.geometry.chunk_span(last, last)[1]:
            raise Truncated(f"chunk {last} has an impossible length")
        out = bytearray(CHUNK_PLAINTEXT_BYTES)
        self.decrypt_into(memoryview(last_chunk), first_chunk=last, out=memoryview(out))


def derive(*, data_key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (key, base nonce, commitment) of a body (C2SP chunked-encryption, "Key derivation")."""
    if len(data_key) != DATA_KEY_BYTES or len(salt) != BODY_SALT_BYTES:
        raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes, a salt {BODY_SALT_BYTES}")
    length = 32 + GCM_NONCE_BYTES + BODY_COMMITMENT_BYTES
    okm = HKDFExpand(SHA512(), length, _INFO + salt + context).derive(data_key)
    return okm[:32], okm[32 : 32 + GCM_NONCE_BYTES], okm[32 + GCM_NONCE_BYTES :]


class _ReusedBuffer:
    """One buffer that grows as needed: fresh memory for every block would cost more than its encryption."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def of(self, size: int) -> bytearray:
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return self._buffer


class BodyEncryptor:
    """Encrypts one body as a stream through ``cryptography``'s Cobblestone-256."""

    def __init__(self, *, data_key: bytes, context: bytes) -> None:
        self._inner = Cobblestone256Encryptor(data_key, context)
        self._buffer = _ReusedBuffer()
        self._process = os.getpid()

    def update(self, data: bytes | bytearray | memoryview) -> memoryview:
        """Encrypt *data*; the view returned is valid until the next call.

        Raises:
            RuntimeError: the process forked since: two bodies would share salt and nonces.
        """
        self._check_process()
        # cryptography asks for room for the input, one more chunk and the prefix.
        tags = (len(data) // CHUNK_PLAINTEXT_BYTES + 2) * CHUNK_TAG_BYTES
        out = self._buffer.of(len(data) + tags + CHUNK_PLAINTEXT_BYTES + BODY_PREFIX_BYTES)
        return memoryview(out)[: self._inner.update_into(data, out)]

    def finalize(self) -> bytes:
        """Return the end of the body; the encryptor cannot be used afterwards. Raises as :meth:`update`."""
        self._check_process()
        return self._inner.finalize()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("an encryptor cannot be used in a forked process: its salt would repeat")


class BodyDecryptor:
    """Decrypts one body as a stream, from its prefix on. Only authenticated plaintext comes out.

    A truncation shows at :meth:`finalize` at the latest; who must not act on a prefix calls :meth:`BodyKey.check_end`
    first.
    """

    def __init__(self, *, data_key: bytes, context: bytes) -> None:
        self._inner = Cobblestone256Decryptor(data_key, context)
        self._buffer = _ReusedBuffer()

    def update(self, data: bytes | bytearray | memoryview) -> memoryview:
        """Decrypt *data*; the view returned is valid until the next call.

        Raises:
            ChunkTampered: a chunk, or the prefix, fails authentication.
        """
        out = self._buffer.of(len(data) + 2 * CHUNK_CIPHERTEXT_BYTES)
        try:
            return memoryview(out)[: self._inner.update_into(data, out)]
        except InvalidTag:
            raise ChunkTampered("the body fails authentication") from None

    def finalize(self) -> bytes:
        """Return the plaintext of the last chunk.

        Raises:
            Truncated: the body lacks its last, short chunk, or that chunk was changed: a stream cannot tell.
        """
        try:
            return self._inner.finalize()
        except InvalidTag:
            raise Truncated("the body lacks its last, short chunk, or that chunk was changed") from None


def encrypt(plaintext: bytes, *, data_key: bytes, context: bytes) -> bytes:
    """Return the whole body of *plaintext*, for small records held in memory."""
    encryptor = BodyEncryptor(data_key=data_key, context=context)
    return bytes(encryptor.update(plaintext)) + encryptor.finalize()


def decrypt(body: bytes, *, data_key: bytes, context: bytes) -> bytes:
    """Return the plaintext of a whole *body* held in memory.

    Raises:
        Truncated, CommitmentMismatch, ChunkTampered: the body is not authentic.
    """
    key = BodyKey.open(data_key=data_key, context=context, prefix=body[:BODY_PREFIX_BYTES], ciphertext_length=len(body))
    out = bytearray(key.geometry.plaintext_length)
    key.decrypt_into(memoryview(body)[BODY_PREFIX_BYTES:], first_chunk=0, out=memoryview(out))
    return bytes(out)


def chunk_runs(geometry: BodyGeometry, *, start: int, end: int, run_chunks: int) -> Iterator[tuple[int, int]]:
    """Yield (first chunk, last chunk) runs of at most *run_chunks* chunks that cover plaintext ``[start, end)``."""
    if start >= end:
        return
    first = start // CHUNK_PLAINTEXT_BYTES
    last = min((end - 1) // CHUNK_PLAINTEXT_BYTES, geometry.chunk_count - 1)
    for run in range(first, last + 1, run_chunks):
        yield run, min(run + run_chunks - 1, last)
