"""Keys that attested agents sign with, and the name of the job that an attested key belongs to.

Sources: RFC 7517, 7518 (JWK), RFC 7638 (thumbprint). The key that secrets are encrypted to signs nothing: one key, one
purpose. An agent makes a second one, on P-384 for ES384, and states its public half beside its program; report data
covers the statement, so the evidence binds both keys (``docs/protocol.md``).

A job is the attested key that secrets are encrypted to: an agent makes one for one program and keeps it over renewals.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import ReceiptSigner
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64url

_CURVE: Final = "P-384"
_BYTES: Final = 48
_MEMBERS: Final = frozenset({"crv", "kty", "x", "y"})
#: RFC 7638, 3.2: the members that a thumbprint covers, by kind of key.
_REQUIRED: Final[Mapping[JSON, tuple[str, ...]]] = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


def signer_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return the public *key*, on P-384, as it stands in statements and attestation results."""
    numbers = key.public_numbers()
    x, y = (base64.urlsafe_b64encode(it.to_bytes(_BYTES)).decode() for it in (numbers.x, numbers.y))
    return {"crv": _CURVE, "kty": "EC", "x": x, "y": y}


def parse_signer(jwk: JSON) -> ec.EllipticCurvePublicKey:
    """Return the key that *jwk* is, in its one spelling; raises ReceiptSigner."""
    if not isinstance(jwk, Mapping) or set(jwk) != _MEMBERS or (jwk["kty"], jwk["crv"]) != ("EC", _CURVE):
        raise ReceiptSigner(f"the key for signatures is no JWK {{crv, kty, x, y}} on {_CURVE}")
    x, y = (from_base64url(jwk[it], what="the key for signatures", refusal=ReceiptSigner) for it in ("x", "y"))
    try:
        key = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP384R1()).public_key()
    except ValueError:
        raise ReceiptSigner("the key for signatures is no point of its curve") from None
    if signer_jwk(key) != dict(jwk):
        raise ReceiptSigner("the key for signatures is not in its one spelling")
    return key


def thumbprint(jwk: Mapping[str, JSON]) -> str:
    """Return ``sha256:…`` of what RFC 7638 takes of a public key, or of all of it if that knows no such key."""
    members = _REQUIRED.get(jwk.get("kty"), tuple(jwk))
    return "sha256:" + hashlib.sha256(rfc8785.dumps({it: jwk.get(it) for it in members})).hexdigest()
