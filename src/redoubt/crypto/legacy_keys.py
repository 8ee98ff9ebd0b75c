"""Data keys of BigDL PPML: the text that they are, how strong they are, and how the simple services wrapped them.

A data key is a *text*; its UTF-8 bytes were cut in two, not what the base64 in it spells. The AES half of most keys
is therefore far weaker than its length says, which :func:`strength` computes. Source: the predecessor's key
management services and ``BigDLEncrypt``, as ``docs/compat.md`` lists them.

Only unwrapping is here. Wrapping by a vault or an eHSM is undone by these services
(:mod:`redoubt.compat.unwrap`); RSA-OAEP with SHA-1 is accepted for this alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.padding import PKCS7

from redoubt.crypto.strict_json import from_base64, parse_object
from redoubt.errors import LegacyKeyInvalid, LegacyKeyWrong
from redoubt.limits import MAX_LEGACY_KEY_BYTES, MAX_LEGACY_META_BYTES

_HALF: Final = 16
_TEXT: Final = re.compile(r"[\x21-\x7e]+")
#: What the simple service made of sixteen digits: the code of each in two digits.
_CODES: Final = re.compile(r"(?:4[89]|5[0-7]){16}")
_BITS_OF_A_DIGIT: Final = 3.3219
#: Below this, a key can be searched for.
WEAK_BITS: Final = 112


@dataclass(frozen=True, slots=True)
class DataKeyText:
    """The text of a data key. Prints without it."""

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _TEXT.fullmatch(self.text) or len(self.text) > MAX_LEGACY_KEY_BYTES:
            raise LegacyKeyInvalid("a data key is one word of visible ASCII")
        if len(self.text) <= _HALF:
            raise LegacyKeyInvalid(f"a data key has more than {_HALF} characters: AES has those after them")

    @property
    def mac_key(self) -> bytes:
        """The first sixteen characters."""
        return self.text[:_HALF].encode()

    def aes_key(self, bits: int) -> bytes:
        """Return the characters after them, as many as *bits* say, filled up with zero bytes."""
        count = bits // 8
        return self.text[_HALF : _HALF + count].encode().ljust(count, b"\0")

    def strength(self, bits: int) -> int:
        """Return how many bits of the AES key of *bits* nobody knows who knows how such texts are made."""
        start, end = _HALF, _HALF + bits // 8
        if _CODES.fullmatch(self.text):
            return int(len(self.text[start:end]) // 2 * _BITS_OF_A_DIGIT)
        decoded = _base64_bytes(self.text)
        if decoded is not None:
            return max(0, min(8 * decoded, 6 * end) - 6 * start)
        return min(8 * len(self.text[start:end]), bits)


def key_line(content: bytes, *, what: str) -> str:
    """Return the key that the *content* of a key file is: its first line, and nothing after it.

    Raises:
        LegacyKeyInvalid: it is too long, empty, or not one line of visible ASCII.
    """
    text = content.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
    if len(content) > MAX_LEGACY_KEY_BYTES or not _TEXT.fullmatch(text):
        raise LegacyKeyInvalid(f"{what} is not one line of visible ASCII")
    return text


def meta_key(content: bytes, *, what: str) -> str:
    """Return the wrapped data key that a folder's ``.meta`` names.

    Raises:
        LegacyKeyInvalid: it is not such a file.
    """
    found = parse_object(content, what=what, limit=MAX_LEGACY_META_BYTES, refusal=LegacyKeyInvalid)
    key = found.get("encryptedDataKey")
    if set(found) != {"encryptedDataKey"} or not isinstance(key, str):
        raise LegacyKeyInvalid(f"{what} does not name one encryptedDataKey")
    return key_line(key.encode("utf-8", errors="replace"), what=f"the key in {what}")


def unwrap_simple(primary: str, wrapped: str) -> DataKeyText:
    """Return the data key that SimpleKeyManagementService hid by adding digits: whoever reads both files has it.

    Raises:
        LegacyKeyInvalid: they are not of that service.
    """
    if not re.fullmatch(r"[0-9]{16}", primary):
        raise LegacyKeyInvalid("a primary key of SimpleKeyManagementService has sixteen digits")
    if not re.fullmatch(r"[0-9]{16,32}", wrapped):
        raise LegacyKeyInvalid("a data key of SimpleKeyManagementService has sixteen digits, or the codes of sixteen")
    digits = ((int(one) - int(other)) % 10 for one, other in zip(wrapped, primary, strict=False))
    return DataKeyText("".join(str(ord("0") + digit) for digit in digits))


def unwrap_plain_text(primary: str, wrapped: str) -> DataKeyText:
    """Return the data key that AES in ECB mode wrapped under the key that *primary* spells in base64.

    Raises:
        LegacyKeyInvalid: one of them is not base64 of a possible length.
        LegacyKeyWrong: it was wrapped under another key.
    """
    key = aes_key(primary)
    ciphertext = from_base64(wrapped, what="the wrapped data key", refusal=LegacyKeyInvalid)
    if not ciphertext or len(ciphertext) % 16:
        raise LegacyKeyInvalid("a data key that AES wrapped has whole blocks of sixteen bytes")
    unpadder = PKCS7(128).unpadder()
    try:
        plain = unpadder.update(_ecb(key, ciphertext)) + unpadder.finalize()
        return DataKeyText(plain.decode("ascii"))
    except (ValueError, LegacyKeyInvalid):
        raise LegacyKeyWrong("the data key does not open under this primary key") from None


def unwrap_rsa(private: rsa.RSAPrivateKey, wrapped: str) -> DataKeyText:
    """Return the data key that RSA-OAEP with SHA-1 wrapped, as Azure's RSA_OAEP does; never used for anything else.

    Raises:
        LegacyKeyInvalid: *wrapped* is not base64.
        LegacyKeyWrong: it was wrapped for another key.
    """
    ciphertext = from_base64(wrapped, what="the wrapped data key", refusal=LegacyKeyInvalid)
    oaep = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)  # noqa: S303 - what the predecessor's vault keys wrapped with
    try:
        return text_of(private.decrypt(ciphertext, oaep))
    except ValueError:
        raise LegacyKeyWrong("the data key does not open under this RSA key") from None


def text_of(key: bytes) -> DataKeyText:
    """Return the text that a data key of raw bytes was used as: its base64."""
    return DataKeyText(base64.b64encode(key).decode())


def aes_key(text: str) -> bytes:
    """Return the AES key that *text* spells in base64.

    Raises:
        LegacyKeyInvalid: it is not base64, or of another length than 16, 24 or 32 bytes.
    """
    key = from_base64(text, what="the key", refusal=LegacyKeyInvalid)
    if len(key) not in (16, 24, 32):
        raise LegacyKeyInvalid(f"an AES key has 16, 24 or 32 bytes, not {len(key)}")
    return key


def _ecb(key: bytes, ciphertext: bytes) -> bytes:
    return Cipher(AES(key), ECB()).decryptor().update(ciphertext)  # noqa: S305 - how the predecessor wrapped it


def _base64_bytes(text: str) -> int | None:
    try:
        return len(base64.b64decode(text, validate=True)) if len(text) % 4 == 0 else None
    except binascii.Error:
        return None
