"""AES-CBC with an HMAC beside it, as BigDL PPML wrote its files: everything is checked before anything is decrypted.

Decides that a body is whole blocks, that its HMAC-SHA-256 is right (compared in constant time), that it ends in PKCS #5
padding, and that the bytes which are decrypted afterwards are the ones that were checked: each segment is hashed in
the first pass and compared in the second, since a file on a foreign storage can change in between.

Two coverages of the MAC exist. The documented one is the whole ciphertext. The writer's own streams left out of it as
many bytes at the end as the padding has, so that up to sixteen bytes there were never authenticated
(:attr:`Coverage.SHORT`). The IV is under no MAC in either, so that the first sixteen bytes of plaintext can be changed
by whoever changes the header. Nothing here encrypts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from redoubt.errors import LegacyAmbiguous, LegacyFormatUnknown, LegacyKeyWrong, LegacyTampered, LegacyTruncated
from redoubt.limits import LEGACY_SEGMENT_BYTES, MAX_LEGACY_FILE_BYTES

BLOCK: Final = 16


class ByteSource(Protocol):
    """An open file whose reads do not depend on a cursor; :class:`redoubt.sealed.storage.RandomAccess` is one."""

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""

    def read_into(self, offset: int, out: memoryview) -> int:
        """Fill *out* from *offset*; return bytes read, fewer only at the end."""


class Coverage(StrEnum):
    """What of a file's ciphertext a MAC vouches for."""

    WHOLE = "whole"
    #: All but the last bytes, as many as the padding has.
    SHORT = "short"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CbcBody:
    """Where the ciphertext of a file lies, and its IV."""

    start: int
    length: int
    iv: bytes

    def __post_init__(self) -> None:
        if self.length <= 0 or self.length % BLOCK:
            raise LegacyTruncated(
                f"the ciphertext has {max(self.length, 0)} bytes, which are no whole blocks of {BLOCK}"
            )
        if self.length > MAX_LEGACY_FILE_BYTES:
            raise LegacyFormatUnknown(f"the ciphertext is longer than {MAX_LEGACY_FILE_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class CheckedBody:
    """A body whose MAC, if it has one, and whose padding are right. Prints without its key."""

    coverage: Coverage
    plaintext_length: int
    aes_bits: int
    _source: ByteSource = field(repr=False)
    _body: CbcBody = field(repr=False)
    _key: bytes = field(repr=False)
    _digests: Sequence[bytes] = field(repr=False)

    def blocks(self) -> Iterator[bytes]:
        """Yield the plaintext in order.

        Raises:
            LegacyTampered: the file changed since it was checked; nothing of the changed segment is yielded.
        """
        decryptor = Cipher(AES(self._key), CBC(self._body.iv)).decryptor()
        left = self.plaintext_length
        for segment, digest in zip(_segments(self._source, self._body), self._digests, strict=True):
            if not hmac.compare_digest(hashlib.sha256(segment).digest(), digest):
                raise LegacyTampered("the file changed while it was read")
            plain = decryptor.update(segment)[:left]
            left -= len(plain)
            if plain:
                yield plain


def check_mac(source: ByteSource, body: CbcBody, *, keys: Sequence[bytes], mac_key: bytes, mac: bytes) -> CheckedBody:
    """Check *body* under *mac_key*, and return it readable under the one of *keys* that its padding fits.

    Raises:
        LegacyTampered: the MAC is another one.
        LegacyFormatUnknown: it is right, but the body does not end in padding.
        LegacyAmbiguous: it is right, and the padding fits several keys.
        LegacyTruncated: the source ends early.
    """
    running = hmac.new(mac_key, digestmod=hashlib.sha256)
    digests, last = _pass_over(source, body, running)
    whole = _matches(running, last, mac)
    found = []
    for key in keys:
        padding = _padding(source, body, key)
        short = padding is not None and _matches(running, last[: BLOCK - padding], mac)
        if padding is not None and (whole or short):
            found.append((key, padding, Coverage.WHOLE if whole else Coverage.SHORT))
    if not found:
        if whole:
            raise LegacyFormatUnknown("the MAC is right, but what it covers does not end in PKCS #5 padding")
        raise LegacyTampered("the MAC does not verify")
    if len(found) > 1:
        raise LegacyAmbiguous("the padding fits AES-128 and AES-256")
    key, padding, coverage = found[0]
    return CheckedBody(coverage, body.length - padding, 8 * len(key), source, body, key, digests)


def without_mac(source: ByteSource, body: CbcBody, *, key: bytes) -> CheckedBody:
    """Return *body*, which has no MAC, if it ends in padding under *key*.

    Raises:
        LegacyKeyWrong: it does not: another key, or the file was cut short or changed.
        LegacyTruncated: the source ends early.
    """
    padding = _padding(source, body, key)
    if padding is None:
        raise LegacyKeyWrong("the padding does not fit: the key is another one, or the file was cut short or changed")
    digests, _ = _pass_over(source, body, None)
    return CheckedBody(Coverage.NONE, body.length - padding, 8 * len(key), source, body, key, digests)


def read_exactly(source: ByteSource, offset: int, count: int) -> bytes:
    """Return *count* bytes of *source*; raises LegacyTruncated if it ends before."""
    out = bytearray(count)
    if source.read_into(offset, memoryview(out)) != count:
        raise LegacyTruncated(f"the file ends before byte {offset + count}")
    return bytes(out)


def _segments(source: ByteSource, body: CbcBody) -> Iterator[bytes]:
    for offset in range(0, body.length, LEGACY_SEGMENT_BYTES):
        yield read_exactly(source, body.start + offset, min(LEGACY_SEGMENT_BYTES, body.length - offset))


def _pass_over(source: ByteSource, body: CbcBody, running: hmac.HMAC | None) -> tuple[list[bytes], bytes]:
    """Feed *running* all but the last block; return a digest a segment, and the last block."""
    digests, read, last = [], 0, b""
    for segment in _segments(source, body):
        digests.append(hashlib.sha256(segment).digest())
        read += len(segment)
        if read == body.length:
            segment, last = segment[:-BLOCK], segment[-BLOCK:]
        if running is not None:
            running.update(segment)
    return digests, last


def _matches(running: hmac.HMAC, rest: bytes, mac: bytes) -> bool:
    ended = running.copy()
    ended.update(rest)
    return hmac.compare_digest(ended.digest(), mac)


def _padding(source: ByteSource, body: CbcBody, key: bytes) -> int | None:
    """Return how many bytes of padding *body* ends with under *key*; None if it is none."""
    before = body.iv
    if body.length > BLOCK:
        before = read_exactly(source, body.start + body.length - 2 * BLOCK, BLOCK)
    last = read_exactly(source, body.start + body.length - BLOCK, BLOCK)
    plain = Cipher(AES(key), CBC(before)).decryptor().update(last)
    count = plain[-1]
    return count if 1 <= count <= BLOCK and plain.endswith(bytes([count]) * count) else None
