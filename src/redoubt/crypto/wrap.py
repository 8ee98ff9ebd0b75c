"""AES-256-GCM key wrap with associated data, and subkeys of a data key.

A wrapped key is ``nonce(12) || ciphertext(32) || tag(16)``. The associated data is the canonical encoding of whatever
the key is bound to; a wrap made for B never opens as A. Data keys are used only through HKDF-Expand: C2SP does so for
bodies, :func:`subkey` for everything else, with labels that cannot collide with C2SP's.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from redoubt.crypto.encoding import encode_fields
from redoubt.errors import WrapRefused
from redoubt.limits import DATA_KEY_BYTES, GCM_NONCE_BYTES

WRAPPED_BYTES = GCM_NONCE_BYTES + DATA_KEY_BYTES + 16


def wrap_key(key: bytes, *, wrapping_key: bytes, associated_data: bytes) -> bytes:
    """Return *key* (32 bytes) encrypted under *wrapping_key* (32 bytes) and bound to *associated_data*."""
    if len(key) != DATA_KEY_BYTES or len(wrapping_key) != DATA_KEY_BYTES:
        raise ValueError("keys have 32 bytes")
    nonce = os.urandom(GCM_NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, key, associated_data)


def unwrap_key(wrapped: bytes, *, wrapping_key: bytes, associated_data: bytes) -> bytes:
    """Return the key in *wrapped*.

    Raises:
        WrapRefused: wrong wrapping key, other associated data, or changed bytes.
    """
    if len(wrapped) != WRAPPED_BYTES:
        raise WrapRefused(f"a wrapped key has {WRAPPED_BYTES} bytes, not {len(wrapped)}")
    try:
        return AESGCM(wrapping_key).decrypt(wrapped[:GCM_NONCE_BYTES], wrapped[GCM_NONCE_BYTES:], associated_data)
    except InvalidTag:
        raise WrapRefused("the wrapped key does not open in this context") from None


def subkey(data_key: bytes, *, label: str, fields: tuple[bytes, ...] = ()) -> bytes:
    """Return a 32-byte key for one named use of *data_key*, separated by *label* and *fields*."""
    info = encode_fields(b"redoubt/subkey/v1", label.encode(), *fields)
    return HKDFExpand(SHA512(), DATA_KEY_BYTES, info).derive(data_key)
