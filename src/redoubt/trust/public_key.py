"""Ed25519 public keys in text: ``ed25519:`` and 43 signs of base64url without padding.

Source: RFC 8032, 5.1. Decides that a text is such a key in its one spelling, and none that anybody can sign for.
"""

from __future__ import annotations

import base64
from typing import Final

from redoubt.errors import ManifestField
from redoubt.evidence.strict_json import from_base64url
from redoubt.trust.fields import text

#: Ed25519 points whose order divides 8, in all encodings, without the sign bit. RFC 8032 leaves them to the verifier.
SMALL_ORDER: Final = frozenset(
    map(
        bytes.fromhex,
        (
            "00" * 32,
            "01" + "00" * 31,
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "ec" + "ff" * 30 + "7f",
            "ed" + "ff" * 30 + "7f",
            "ee" + "ff" * 30 + "7f",
        ),
    )
)


def parse_public_key(value: object) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in text: ``ed25519:`` and base64url; raises ManifestField."""
    given = text(value)
    if not given.startswith("ed25519:") or "=" in given:
        raise ManifestField("is no public key: ed25519: and 43 signs of base64url")
    raw = from_base64url(given.removeprefix("ed25519:"), what="it", refusal=ManifestField)
    if len(raw) != 32:
        raise ManifestField("is no Ed25519 public key: it is not 32 bytes long")
    if raw[:31] + bytes([raw[31] & 0x7F]) in SMALL_ORDER:
        raise ManifestField("is a point of small order, for which anybody can sign")
    return raw


def public_key_text(raw: bytes) -> str:
    """Return an Ed25519 public key as manifests spell it."""
    return "ed25519:" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
