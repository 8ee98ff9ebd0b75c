"""Certificate requests of roles: a key, proof that its holder asks, and which attestation result it asks with.

Source: RFC 2986 (PKCS #10); RFC 2985, section 5.4.1 (challengePassword carries the id of the attestation result).

Decides that a request names nobody: whatever a peer says of its own name is no reason to believe it, so a request with
a subject or with extensions is refused instead of corrected.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID

from redoubt.errors import RequestRefused
from redoubt.limits import MAX_CSR_BYTES

#: What an odd request makes its reader raise.
_ODD = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def make_request(key: ec.EllipticCurvePrivateKey, *, result: str) -> bytes:
    """Return a request (DER) for *key*, good together with the attestation result with this id."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, result.encode())
        .sign(key, hashes.SHA384())
        .public_bytes(Encoding.DER)
    )


def verify_request(request: bytes, *, result: str) -> ec.EllipticCurvePublicKey:
    """Return the key of *request*, whose holder signed it for the attestation result with this id.

    Raises:
        RequestRefused: it is no request, names somebody, is another result's, or its signature is not its key's.
    """
    if len(request) > MAX_CSR_BYTES:
        raise RequestRefused(f"a request has at most {MAX_CSR_BYTES} bytes")
    try:
        found = x509.load_der_x509_csr(request)
        key, extensions, attributes = found.public_key(), list(found.extensions), list(found.attributes)
        signed = found.is_signature_valid
    except _ODD:
        raise RequestRefused("what was sent is no PKCS #10 request") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise RequestRefused("the key is not on the curve P-384")
    if not signed:
        raise RequestRefused("the request is not signed by its own key")
    if list(found.subject) or extensions:
        raise RequestRefused("the request names somebody: names follow from what was attested")
    if [(it.oid, it.value) for it in attributes] != [(AttributeOID.CHALLENGE_PASSWORD, result.encode())]:
        raise RequestRefused("the request was made for another attestation result")
    return key
