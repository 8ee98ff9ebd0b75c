"""The certificate of one job's key endpoint: self-signed, for loopback, pinned by its exact bytes.

The private key exists in memory; only the certificate is stored.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.pki.build import CLOCK_SKEW, Certified, certificate_builder, common_name, load_identity, private_pem

_LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class JobCertificate:
    """A certificate (PEM) and its private key, which only :meth:`load_into` uses."""

    pem: bytes
    _key: ec.EllipticCurvePrivateKey

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make *context* present this certificate."""
        load_identity(context, Certified(self.pem, private_pem(self._key)))


def job_certificate() -> JobCertificate:
    """Make a P-256 certificate for 127.0.0.1, valid from now for 30 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = common_name("redoubt key endpoint")
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        certificate_builder(name, name, key.public_key(), not_before=now - CLOCK_SKEW, not_after=now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return JobCertificate(certificate.public_bytes(serialization.Encoding.PEM), key)
