"""Files of BigDL PPML, read only: gen-A (2.0 to 2.2), gen-B (2.3 to 2.5), and "native" CBC without a MAC.

gen-A, big-endian: ``0x80 | int64 seconds | IV (16) | AES-CBC ciphertext | HMAC-SHA-256 (32)``.

gen-B: a header of 400 bytes, ``int32 n | int32 16 | wrapped data key (n bytes of ASCII) | IV (16) | 0x80 …``, then
ciphertext and MAC as above.

native: ``IV (16) | ciphertext``, under the AES key that a base64 text spells.

The header is under no MAC. Of it everything that has one right value is checked; the wrapped data key has to be
the one that the caller unwrapped; a changed IV cannot be seen (:mod:`redoubt.crypto.legacy_cbc`). Source: the
predecessor's ``BigDLEncrypt`` and ``BigDLAESCBCEncrypt``; ``docs/compat.md`` has the layouts.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final

from redoubt.crypto.legacy_cbc import BLOCK, ByteSource, CbcBody, CheckedBody, check_mac, read_exactly, without_mac
from redoubt.crypto.legacy_keys import DataKeyText, aes_key, key_line
from redoubt.errors import (
    LegacyFormatUnknown,
    LegacyKeyInvalid,
    LegacyKeyWrong,
    LegacyTruncated,
    LegacyUnauthenticated,
)
from redoubt.limits import LEGACY_GEN_A_HEADER_BYTES, LEGACY_GEN_B_HEADER_BYTES, LEGACY_MAC_BYTES

_VERSION: Final = 0x80
_GEN_A: Final = struct.Struct(">Bq16s")
_LENGTHS: Final = struct.Struct(">ii")
#: The year 2000, and 2100: what else stands there is no time at which a file was written.
_TIMES: Final = range(946684800, 4102444800)
_AES_BITS: Final = (128, 256)


@dataclass(frozen=True, slots=True)
class GenA:
    """The header of a gen-A file. *seconds* is when it was written, as it says."""

    seconds: int
    body: CbcBody
    mac: bytes

    @classmethod
    def parse(cls, source: ByteSource) -> GenA:
        """Parse the header of *source*.

        Raises:
            LegacyFormatUnknown: it is another kind of file.
            LegacyTruncated: it ends early.
        """
        version, seconds, iv = _GEN_A.unpack(_header(source, LEGACY_GEN_A_HEADER_BYTES))
        if version != _VERSION or seconds not in _TIMES:
            raise LegacyFormatUnknown("the file does not begin with version and time of gen-A")
        body, mac = _body_and_mac(source, LEGACY_GEN_A_HEADER_BYTES, iv)
        return cls(seconds, body, mac)

    def open(
        self,
        source: ByteSource,
        key: DataKeyText,
        *,
        aes_bits: int | None = None,
        accept_unauthenticated: bool = False,
    ) -> CheckedBody:
        """Check the file under *key*; *aes_bits* says which AES it was written with, None lets the padding tell.

        Raises:
            LegacyTampered, LegacyAmbiguous, LegacyFormatUnknown: as :func:`redoubt.crypto.legacy_cbc.check_mac`.
            LegacyUnauthenticated: the writer published the MAC key as IV, and *accept_unauthenticated* is not given.
        """
        if hmac.compare_digest(self.body.iv, key.mac_key) and not accept_unauthenticated:
            raise LegacyUnauthenticated("the IV in the header is the MAC's key: anybody could have made this MAC")
        keys = [key.aes_key(bits) for bits in ((aes_bits,) if aes_bits else _AES_BITS)]
        return check_mac(source, self.body, keys=keys, mac_key=key.mac_key, mac=self.mac)


@dataclass(frozen=True, slots=True)
class GenB:
    """The header of a gen-B file; *wrapped* is the data key that it names, empty where its writer named none."""

    wrapped: str
    body: CbcBody
    mac: bytes

    @classmethod
    def parse(cls, source: ByteSource) -> GenB:
        """Parse the header of *source*; errors as :meth:`GenA.parse`."""
        header = _header(source, LEGACY_GEN_B_HEADER_BYTES)
        key_length, iv_length = _LENGTHS.unpack_from(header)
        end = _LENGTHS.size + key_length + BLOCK
        if iv_length != BLOCK or key_length < 0 or end > LEGACY_GEN_B_HEADER_BYTES:
            raise LegacyFormatUnknown("the file does not begin with the lengths of gen-B")
        if header[end:].strip(bytes([_VERSION])):
            raise LegacyFormatUnknown("the header's filling was changed")
        name = header[_LENGTHS.size : _LENGTHS.size + key_length]
        try:
            wrapped = key_line(name, what="the wrapped data key") if name else ""
        except LegacyKeyInvalid:
            raise LegacyFormatUnknown("the wrapped data key in the header is no text") from None
        body, mac = _body_and_mac(source, LEGACY_GEN_B_HEADER_BYTES, header[end - BLOCK : end])
        return cls(wrapped, body, mac)

    def open(self, source: ByteSource, key: DataKeyText, *, wrapped: str | None = None) -> CheckedBody:
        """Check the file under *key*, which *wrapped* was before it was unwrapped, where that is known.

        Raises:
            LegacyKeyWrong: the header names another wrapped key.
            LegacyTampered, LegacyFormatUnknown: as :func:`redoubt.crypto.legacy_cbc.check_mac`.
        """
        if wrapped is not None and self.wrapped and not hmac.compare_digest(wrapped.encode(), self.wrapped.encode()):
            raise LegacyKeyWrong("the file was encrypted under another data key than the one that was given")
        return check_mac(source, self.body, keys=[key.aes_key(128)], mac_key=key.mac_key, mac=self.mac)


def open_native(source: ByteSource, key_text: str, *, accept_unauthenticated: bool) -> CheckedBody:
    """Check what can be checked of a native CBC file, which is its padding.

    Raises:
        LegacyUnauthenticated: *accept_unauthenticated* is not given.
        LegacyKeyInvalid: *key_text* is no AES key in base64.
        LegacyKeyWrong, LegacyTruncated: as :func:`redoubt.crypto.legacy_cbc.without_mac`.
    """
    if not accept_unauthenticated:
        raise LegacyUnauthenticated("a native CBC file has no MAC")
    key = aes_key(key_text)
    iv = _header(source, BLOCK)
    return without_mac(source, CbcBody(BLOCK, source.size - BLOCK, iv), key=key)


def _header(source: ByteSource, count: int) -> bytes:
    if source.size < count:
        raise LegacyTruncated(f"the file ends within its header of {count} bytes")
    return read_exactly(source, 0, count)


def _body_and_mac(source: ByteSource, start: int, iv: bytes) -> tuple[CbcBody, bytes]:
    body = CbcBody(start, source.size - start - LEGACY_MAC_BYTES, iv)
    return body, read_exactly(source, start + body.length, LEGACY_MAC_BYTES)
