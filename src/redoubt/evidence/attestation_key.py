"""Public keys of attesters: what counts as one, its one canonical form, and the checks of their signatures.

Decides that a key is RSA of 2048 to 4096 bits with a sane exponent, or ECDSA on P-256, P-384 or P-521. Keys are
compared by their DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), which ``cryptography`` writes in one way only.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from redoubt.errors import EvidenceMalformed, EvidenceSignature
from redoubt.evidence.tpm_structures import HashAlgorithm, Signature, SignatureScheme
from redoubt.limits import MAX_PUBLIC_KEY_BYTES, MAX_RSA_BITS, MIN_RSA_BITS

AttestationKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES: dict[HashAlgorithm, hashes.HashAlgorithm] = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


def load_key(text: bytes) -> AttestationKey:
    """Return the public key that *text* holds: PEM, DER, or DER in base64.

    Raises:
        EvidenceMalformed: it holds none, or one that is too weak or of another kind.
    """
    if len(text) > MAX_PUBLIC_KEY_BYTES:
        raise EvidenceMalformed(f"the attestation key is longer than {MAX_PUBLIC_KEY_BYTES} bytes")
    try:
        if text.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_public_key(text)
        else:
            key = load_der_public_key(text if text.startswith(b"\x30") else base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise EvidenceMalformed("the attestation key is no public key in PEM or DER") from None
    return check_key(key)


def rsa_key(*, modulus: int, exponent: int) -> AttestationKey:
    """Return the RSA key of these numbers; raises EvidenceMalformed."""
    try:
        return check_key(rsa.RSAPublicNumbers(exponent, modulus).public_key())
    except ValueError:
        raise EvidenceMalformed("the attestation key's numbers are no RSA key") from None


def check_key(key: object) -> AttestationKey:
    """Return *key* if an attester may sign with it; raises EvidenceMalformed."""
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise EvidenceMalformed(f"the attestation key is RSA of {key.key_size} bits")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    raise EvidenceMalformed("the attestation key is neither RSA nor on a NIST curve")


def canonical(key: AttestationKey) -> bytes:
    """Return the one DER form in which keys are compared and hashed."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_signature(key: AttestationKey, signature: Signature, message: bytes) -> None:
    """Return if *signature* of *message* is by *key*.

    Raises:
        EvidenceSignature: it is not, or its scheme is not one of the key's kind.
    """
    digest = _HASHES[signature.hash]
    try:
        if isinstance(key, rsa.RSAPublicKey) and signature.scheme is SignatureScheme.RSASSA:
            key.verify(signature.value, message, padding.PKCS1v15(), digest)
        elif isinstance(key, rsa.RSAPublicKey) and signature.scheme is SignatureScheme.RSAPSS:
            # FIPS mode salts with the digest's length, else the TPM fills the block (Part 1, B.7): both are PSS.
            key.verify(signature.value, message, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and signature.scheme is SignatureScheme.ECDSA:
            key.verify(encode_dss_signature(signature.r, signature.s), message, ec.ECDSA(digest))
        else:
            raise EvidenceSignature(f"a {signature.scheme.name} signature cannot be by the attestation key")
    except (InvalidSignature, ValueError):
        raise EvidenceSignature("the quote is not signed by the attestation key") from None
