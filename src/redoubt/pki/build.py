"""What every certificate of Redoubt has in common, and how ``ssl`` is given a key without a file.

Source: RFC 5280. Validity begins a little before now, since clocks differ; serial numbers are random unless a caller
gives one.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate (or a chain, its own first) with its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def common_name(text: str) -> x509.Name:
    """Return a name of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    not_before: datetime,
    not_after: datetime,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    """Return a builder with everything that each certificate must have."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the usage of a CA's key, or of an end entity's: neither may do the other's."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return *key* as PKCS #8 in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_identity(context: ssl.SSLContext, identity: Certified) -> None:
    """Make *context* present *identity*: the key passes through an anonymous memory file, never through a disk.

    Raises:
        ssl.SSLError, OSError: certificate and key are not a pair.
    """
    descriptor = os.memfd_create("redoubt-identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, identity.certificate + b"\n" + identity.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
