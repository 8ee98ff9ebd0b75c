"""Dangerous primitives, for the generator of test vectors only: a salt that repeats breaks the format."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redoubt.crypto.chunked import derive
from redoubt.limits import CHUNK_PLAINTEXT_BYTES, GCM_NONCE_BYTES


def encrypt_with_salt(plaintext: bytes, *, data_key: bytes, context: bytes, salt: bytes) -> bytes:
    """Return the body of *plaintext* under a salt of the caller's choice (24 bytes)."""
    key, nonce, commitment = derive(data_key=data_key, salt=salt, context=context)
    aead, base = AESGCM(key), int.from_bytes(nonce, "big")
    chunks = [
        aead.encrypt(
            (base ^ number).to_bytes(GCM_NONCE_BYTES, "big"),
            plaintext[number * CHUNK_PLAINTEXT_BYTES : (number + 1) * CHUNK_PLAINTEXT_BYTES],
            None,
        )
        for number in range(len(plaintext) // CHUNK_PLAINTEXT_BYTES + 1)
    ]
    return b"".join([salt, commitment, *chunks])
