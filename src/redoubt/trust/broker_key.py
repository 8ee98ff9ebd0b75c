"""What a broker signs with its key: compact JWS, ES384 (RFC 7515, RFC 7518), each kind with a type of its own.

The type keeps one signed thing from passing for another: a result of an attestation is no head of an audit log.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from redoubt.errors import UsageError
from redoubt.evidence.attestation_key import canonical

ALGORITHM: Final = "ES384"


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """Return the ``kid`` of a broker's key: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(canonical(key)).hexdigest()


def sign_compact(payload: bytes, *, key: ec.EllipticCurvePrivateKey, kind: str) -> bytes:
    """Return the compact JWS of *payload* with ``typ`` *kind*; raises UsageError if the key is not on P-384."""
    from joserfc import jws
    from joserfc.jwk import ECKey

    if not isinstance(key.curve, ec.SECP384R1):
        raise UsageError("brokers sign with ES384, which needs a key on P-384")
    header = {"alg": ALGORITHM, "typ": kind, "kid": key_id(key.public_key())}
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return jws.serialize_compact(header, payload, ECKey.import_key(pem), [ALGORITHM]).encode()
