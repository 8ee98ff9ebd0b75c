"""The internal CA of a trust domain: a P-384 key for each epoch, made of one seed, and certificates of roles.

Sources: RFC 5280; FIPS 186-5, appendix A.2.1 (a private key from extra random bits); RFC 5869 (HKDF); RFC 6979.

Decides:

1. A CA lives for two epochs and signs in the first: whoever trusts the CAs of the epoch before, of this one and of the
   next one needs no new bundle to accept any certificate that is valid while the bundle's first epoch lasts.
2. A CA may sign end entities only (path length 0), and names of its trust domain only (name constraint).
3. Key and certificate follow from seed, domain and epoch alone, so every broker with the seed is the same CA and none
   of them stores anything.
4. A role's certificate says one SPIFFE name and nothing else: no host, no subject. It is for both ends of TLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from redoubt.crypto.encoding import encode_fields
from redoubt.limits import DOMAIN_CA_EPOCH_SECONDS, ROLE_CERTIFICATE_SECONDS
from redoubt.pki.build import CLOCK_SKEW, certificate_builder, common_name, key_usage
from redoubt.pki.spiffe import SpiffeId

_KEY_LABEL: Final = b"redoubt/domain-ca-key/v1"
_SERIAL_LABEL: Final = b"redoubt/domain-ca-serial/v1"
_SECRET_LABEL: Final = b"redoubt/domain-secret/v1"
_SECRET_BYTES: Final = 32
_CURVE: Final = ec.SECP384R1()
#: 64 bits more than the order of the curve has, so that the remainder is uniform.
_SCALAR_BYTES: Final = 56
_SERIAL_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainAuthority:
    """The CA of one trust domain in one epoch."""

    domain: str
    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    def issue(
        self,
        name: SpiffeId,
        key: ec.EllipticCurvePublicKey,
        *,
        now: datetime,
        seconds: int = ROLE_CERTIFICATE_SECONDS,
    ) -> x509.Certificate:
        """Return a certificate that says *name* of the holder of *key*, valid for so many *seconds*.

        The caller has verified that the holder may have the name, and has the key.
        """
        assert name.domain == self.domain, "an authority names its own domain's roles"
        return (
            certificate_builder(
                x509.Name([]),
                self.certificate.subject,
                key,
                not_before=now - CLOCK_SKEW,
                not_after=now + timedelta(seconds=min(seconds, ROLE_CERTIFICATE_SECONDS)),
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            # Critical, since the subject is empty (RFC 5280, section 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(name))]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA384())
        )


def domain_authority(seed: bytes, *, domain: str, now: datetime) -> DomainAuthority:
    """Return the CA of *domain* that signs *now*."""
    return _authority(seed, domain, _epoch(now))


def trust_bundle(seed: bytes, *, domain: str, now: datetime) -> bytes:
    """Return the CAs (PEM) that members of *domain* trust *now*: of the epoch before, of this one, of the next."""
    epoch = _epoch(now)
    found = (_authority(seed, domain, it) for it in (epoch - 1, epoch, epoch + 1))
    return b"".join(it.certificate.public_bytes(Encoding.PEM) for it in found)


def domain_secret(seed: bytes, *, domain: str) -> str:
    """Return the secret that all members of *domain* share, as Spark wants one: hexadecimal."""
    return HKDF(hashes.SHA384(), _SECRET_BYTES, None, encode_fields(_SECRET_LABEL, domain.encode())).derive(seed).hex()


def _epoch(now: datetime) -> int:
    return int(now.timestamp()) // DOMAIN_CA_EPOCH_SECONDS


def _authority(seed: bytes, domain: str, epoch: int) -> DomainAuthority:
    key = ec.derive_private_key(1 + _number(seed, _KEY_LABEL, domain, epoch, _SCALAR_BYTES) % (_ORDER - 1), _CURVE)
    serial = 1 + _number(seed, _SERIAL_LABEL, domain, epoch, _SERIAL_BYTES)
    begins = datetime.fromtimestamp(epoch * DOMAIN_CA_EPOCH_SECONDS, UTC)
    name = common_name(f"redoubt trust domain {domain} {epoch}")
    certificate = (
        certificate_builder(
            name,
            name,
            key.public_key(),
            not_before=begins - CLOCK_SKEW,
            not_after=begins + timedelta(seconds=2 * DOMAIN_CA_EPOCH_SECONDS),
            serial=serial,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.NameConstraints([x509.UniformResourceIdentifier(domain)], excluded_subtrees=None), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384(), ecdsa_deterministic=True)
    )
    return DomainAuthority(domain=domain, certificate=certificate, _key=key)


def _number(seed: bytes, label: bytes, domain: str, epoch: int, size: int) -> int:
    info = encode_fields(label, domain.encode(), str(epoch).encode())
    return int.from_bytes(HKDF(hashes.SHA384(), size, None, info).derive(seed))


_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
