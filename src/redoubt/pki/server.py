"""The broker's TLS identity: a CA of its own, which owners and agents pin, and a server certificate under it.

Source: RFC 5280. P-256 keys; a CA may only sign end entities unless it is told otherwise, and a server certificate
names the hosts it is for. Keys are written as PKCS #8 in 0600 files by whoever calls this; here is no file.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from redoubt.pki.build import (
    CLOCK_SKEW,
    Certified,
    certificate_builder,
    common_name,
    key_usage,
    load_identity,
    private_pem,
)

_CA_LIFE: Final = timedelta(days=3650)
#: What public CAs may give at most; nothing needs more where a command renews.
SERVER_LIFE: Final = timedelta(days=397)


def make_ca(name: str, *, now: datetime, intermediates: int = 0) -> Certified:
    """Return a new CA; under it may be so many *intermediates* between it and an end entity."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = common_name(f"{name} CA")
    certificate = (
        certificate_builder(subject, subject, key.public_key(), not_before=now - CLOCK_SKEW, not_after=now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=intermediates), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certified(certificate.public_bytes(Encoding.PEM), private_pem(key))


def make_server_certificate(ca: Certified, *, name: str, hosts: Sequence[str], now: datetime) -> Certified:
    """Return a certificate for a server at these *hosts* (names or addresses), issued by *ca*."""
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = load_pem_private_key(ca.key, password=None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        certificate_builder(
            common_name(name),
            issuer.subject,
            key.public_key(),
            not_before=now - CLOCK_SKEW,
            not_after=now + SERVER_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(it) for it in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Certified(certificate.public_bytes(Encoding.PEM), private_pem(key))


def server_context(identity: Certified) -> ssl.SSLContext:
    """Return a TLS context that presents *identity*, TLS 1.3 alone; the key passes through memory, not a disk.

    Raises:
        ssl.SSLError, OSError: certificate and key are not a pair.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    load_identity(context, identity)
    return context


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
