"""Keys that every broker on one store makes of their signing key, each for one purpose; none of them is stored.

Source: RFC 5869 (HKDF with SHA-256). A label names purpose and version.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_BYTES: Final = 32


def derived_key(signing_key: ec.EllipticCurvePrivateKey, *, label: bytes) -> bytes:
    """Return the key of this purpose."""
    secret = signing_key.private_numbers().private_value.to_bytes((signing_key.key_size + 7) // 8)
    return HKDF(hashes.SHA256(), _BYTES, None, label).derive(secret)
