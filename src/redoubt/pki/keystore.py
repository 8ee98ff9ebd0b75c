"""Key stores for Java: PKCS #12 that holds CAs alone.

Source: RFC 7292, with the attribute that marks trusted certificates for Java. There is nothing secret in it, so it has
no password: a password that stands beside its store protects nothing. Private keys are given to JVMs as PEM, in memory.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore


def trust_store(bundle: bytes) -> bytes:
    """Return the certificates of *bundle* (PEM) as Java reads them."""
    certificates = x509.load_pem_x509_certificates(bundle)
    named = [PKCS12Certificate(it, f"ca-{number}".encode()) for number, it in enumerate(certificates)]
    return serialize_java_truststore(named, NoEncryption())
