"""Key stores for Java, as PKCS #12: of CAs alone, and of a key with its chain.

Source: RFC 7292, with the attribute that marks trusted certificates for Java. A store of CAs has nothing secret in it,
so it has no password: a password that stands beside its store protects nothing. Redoubt's own JVMs get private keys as
PEM, in memory; stores with keys are for programs that know nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)

#: A random password needs no stretching; Java and OpenSSL write about this many themselves.
_ROUNDS = 10_000


def trust_store(bundle: bytes) -> bytes:
    """Return the certificates of *bundle* (PEM) as Java reads them."""
    certificates = x509.load_pem_x509_certificates(bundle)
    named = [PKCS12Certificate(it, f"ca-{number}".encode()) for number, it in enumerate(certificates)]
    return serialize_java_truststore(named, NoEncryption())


def key_store(
    key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate], *, alias: str, password: str
) -> bytes:
    """Return *key* with its *chain* (its own first) under *password*: AES-256 and HMAC-SHA-256."""
    protection = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(password.encode())
    )
    return serialize_key_and_certificates(alias.encode(), key, chain[0], chain[1:], protection)
