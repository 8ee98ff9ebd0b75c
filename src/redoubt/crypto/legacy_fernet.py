"""Fernet files of the eHSM command-line client, read only.

A file is one Fernet token (github.com/fernet/spec: ``0x80 | uint64 seconds | IV | AES-128-CBC | HMAC-SHA-256``, all of
it under the MAC) in base64url; the key is the data key in base64. The format is decrypted as a whole, so that its size
is bounded. ``cryptography`` does the work; here the spelling is checked, which base64 leaves loose.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from redoubt.crypto.legacy_cbc import ByteSource, read_exactly
from redoubt.crypto.strict_json import from_base64url
from redoubt.errors import LegacyFormatUnknown, LegacyKeyInvalid, LegacyTampered, LegacyTruncated
from redoubt.limits import MAX_LEGACY_FERNET_BYTES

_FIXED: Final = 1 + 8 + 16 + 32
#: Version, and the first bytes of a time in this century, in base64url.
START: Final = b"gAAAA"


def open_fernet(source: ByteSource, key_text: str) -> bytes:
    """Return the plaintext of *source* under the key that *key_text* spells in base64.

    Raises:
        LegacyKeyInvalid: the key is not base64 of 32 bytes.
        LegacyFormatUnknown: it is no Fernet token, or too large.
        LegacyTruncated: it is the beginning of one.
        LegacyTampered: the MAC is another one.
    """
    fernet = Fernet(_key(key_text))
    if source.size > MAX_LEGACY_FERNET_BYTES:
        raise LegacyFormatUnknown(f"a Fernet file longer than {MAX_LEGACY_FERNET_BYTES} bytes is not read")
    text = read_exactly(source, 0, source.size).removesuffix(b"\n").decode("latin-1")
    if not text.encode("latin-1").startswith(START):
        raise LegacyFormatUnknown("the file does not begin as a Fernet token does")
    if len(text) % 4:
        raise LegacyTruncated("the token's base64 is not whole")
    token = from_base64url(text, what="the token", refusal=LegacyFormatUnknown)
    if len(token) <= _FIXED or (len(token) - _FIXED) % 16:
        raise LegacyTruncated(f"a token of {len(token)} bytes has no whole blocks")
    try:
        return fernet.decrypt(base64.urlsafe_b64encode(token))
    except InvalidToken:
        raise LegacyTampered("the token's MAC does not verify") from None


def _key(text: str) -> bytes:
    key = from_base64url(text.translate(str.maketrans("+/", "-_")), what="the data key", refusal=LegacyKeyInvalid)
    if len(key) != 32:
        raise LegacyKeyInvalid(f"the data key of a Fernet file has 32 bytes, not {len(key)}")
    return base64.urlsafe_b64encode(key)
