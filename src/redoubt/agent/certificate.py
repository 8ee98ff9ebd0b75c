"""The certificate of one job's key endpoint: self-signed, for loopback, pinned by its exact bytes.

The private key exists in memory; only the certificate is stored. Python's ``ssl`` loads keys from files alone, so the
key passes through an anonymous memory file (memfd), which never touches a disk.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = datetime.timedelta(days=30)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class JobCertificate:
    """A certificate (PEM) and its private key, which only :meth:`load_into` uses."""

    pem: bytes
    _key: ec.EllipticCurvePrivateKey

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make *context* present this certificate."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.memfd_create("redoubt-endpoint", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, self.pem + key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)


def job_certificate() -> JobCertificate:
    """Make a P-256 certificate for 127.0.0.1, valid from now for 30 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redoubt key endpoint")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return JobCertificate(certificate.public_bytes(serialization.Encoding.PEM), key)
