"""An internal CA for servers, and its rotation: whoever trusts the old CA or the new one reaches every server.

Source: RFC 5280 (cross-certificates: section 3.2, and path lengths: section 4.2.1.9).

Decides:

1. At a rotation the old CA certifies the new one, until the overlap ends; then its key is gone. Servers that get a new
   certificate show the cross-certificate too, so clients with the old bundle accept them; the new bundle holds both
   CAs, so clients with it accept servers that still show an old certificate.
2. The next rotation waits for the end of the overlap: no chain is longer than server, new CA, old CA.
3. A CA that may be in foreign hands is cut off instead: nothing certifies its successor, and the bundle drops it.
4. No certificate outlives its CA.

One PEM file is the whole state: the CA's key, its certificate, and during an overlap the cross-certificate and the old
CA. So it is replaced in one step, and everything else follows from it. Here is no file and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from redoubt.errors import AuthorityInvalid, CertificatesIncomplete, RotationRefused
from redoubt.pki.build import CLOCK_SKEW, Certified, certificate_builder, key_usage, private_pem
from redoubt.pki.server import SERVER_LIFE, make_ca, make_server_certificate

_OWN: Final = "the CA's own certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What joins a CA to the one before it."""

    #: The CA before, which is still trusted.
    former: x509.Certificate
    #: The new CA's name and key, certified by the CA before.
    cross: x509.Certificate

    @property
    def ends(self) -> datetime:
        """When clients that trust only the CA before are cut off."""
        return self.cross.not_valid_after_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalAuthority:
    """A CA for servers, with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    overlap: Overlap | None = None

    @classmethod
    def new(cls, name: str, *, now: datetime) -> InternalAuthority:
        """Return a new CA, trusted by nobody yet."""
        made = make_ca(name, now=now, intermediates=1)
        return cls(certificate=x509.load_pem_x509_certificate(made.certificate), key=_key(made.key))

    @classmethod
    def from_pem(cls, text: bytes) -> InternalAuthority:
        """Return the CA that :meth:`to_pem` gave.

        Raises:
            AuthorityInvalid: it is no such text, or its parts do not belong together.
        """
        try:
            key = _key(text)
            certificate, *others = x509.load_pem_x509_certificates(text)
            pair = certificate.public_key() == key.public_key()
        except Exception:  # noqa: BLE001 - cryptography documents no closed list of what odd certificates raise
            raise AuthorityInvalid("the file is not a CA's key followed by its certificates") from None
        if not pair:
            raise AuthorityInvalid("the CA's key is not the one that its certificate speaks of")
        _check_issued(certificate, by=certificate, what=_OWN)
        if not others:
            return cls(certificate=certificate, key=key)
        if len(others) != 2:
            raise AuthorityInvalid("an overlap has two certificates: the cross-certificate, and the CA before")
        cross, former = others
        _check_issued(former, by=former, what="the CA before")
        _check_issued(cross, by=former, what="the cross-certificate")
        if cross.subject != certificate.subject or cross.public_key() != key.public_key():
            raise AuthorityInvalid("the cross-certificate is another CA's")
        return cls(certificate=certificate, key=key, overlap=Overlap(former=former, cross=cross))

    def to_pem(self) -> bytes:
        """Return everything that the CA is, its key in clear."""
        parts = [self.certificate, *((self.overlap.cross, self.overlap.former) if self.overlap else ())]
        return private_pem(self.key) + pem(parts)

    def bundle(self) -> bytes:
        """Return the CAs (PEM) that clients trust."""
        return pem([self.certificate, *((self.overlap.former,) if self.overlap else ())])

    def at(self, now: datetime) -> InternalAuthority:
        """Return this CA as it is *now*: without its overlap, once that has ended."""
        if self.overlap is None or now < self.overlap.ends:
            return self
        return InternalAuthority(certificate=self.certificate, key=self.key)

    def issue(self, *, name: str, hosts: Sequence[str], now: datetime) -> ServerIdentity:
        """Return a new key with a certificate for a server at these *hosts*.

        Raises:
            RotationRefused: the certificate would outlive this CA.
        """
        if now + SERVER_LIFE > self.certificate.not_valid_after_utc:
            ends = f"{self.certificate.not_valid_after_utc:%Y-%m-%d}"
            raise RotationRefused(
                f"the CA ends on {ends}, before a new certificate would", hint="Replace the CA: pass --ca."
            )
        ca = Certified(self.certificate.public_bytes(Encoding.PEM), private_pem(self.key))
        made = make_server_certificate(ca, name=name, hosts=hosts, now=now)
        leaf = x509.load_pem_x509_certificate(made.certificate)
        return ServerIdentity(key=_key(made.key), chain=(leaf, *((self.overlap.cross,) if self.overlap else ())))

    def successor(self, name: str, *, overlap: timedelta, now: datetime) -> InternalAuthority:
        """Return a new CA that this one certifies for *overlap*.

        Raises:
            RotationRefused: an overlap is running, so a third CA would cut off who trusts the first.
        """
        if self.at(now).overlap is not None:
            assert self.overlap is not None
            raise RotationRefused(
                f"the CA was replaced already, and both are trusted until {self.overlap.ends:%Y-%m-%d %H:%M} UTC",
                hint="Leave out --ca to renew the server's certificate. If a key is in foreign hands: --compromised.",
            )
        if self.certificate.not_valid_after_utc <= now:
            raise RotationRefused("the CA has expired, so it cannot certify another")
        made = InternalAuthority.new(name, now=now)
        cross = (
            certificate_builder(
                made.certificate.subject,
                self.certificate.subject,
                made.key.public_key(),
                not_before=now - CLOCK_SKEW,
                not_after=min(now + overlap, self.certificate.not_valid_after_utc),
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        joined = Overlap(former=self.certificate, cross=cross)
        return InternalAuthority(certificate=made.certificate, key=made.key, overlap=joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """A server's key, with the certificates that it shows: its own first."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def from_pem(cls, text: bytes) -> ServerIdentity:
        """Return the identity that :meth:`to_pem` gave; raises CertificatesIncomplete."""
        try:
            found = cls(key=_key(text), chain=tuple(x509.load_pem_x509_certificates(text)))
            pair = found.chain[0].public_key() == found.key.public_key()
            complete = all((found.name, found.hosts, found.chain[0].not_valid_after_utc))
        except Exception:  # noqa: BLE001 - as above
            raise CertificatesIncomplete("the server's file is not a key followed by its certificates") from None
        if not pair or not complete:
            raise CertificatesIncomplete("the server's key is not the one that its certificate speaks of")
        return found

    def to_pem(self) -> bytes:
        """Return the key in clear, and the certificates after it."""
        return private_pem(self.key) + pem(self.chain)

    @property
    def name(self) -> str:
        """What the certificate calls the server."""
        return str(self.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses that the certificate is for."""
        names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(str(it.value) for it in names)


def pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return *certificates*, one after the other."""
    return b"".join(it.public_bytes(Encoding.PEM) for it in certificates)


def _key(text: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(text, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not a key on a curve")
    return key


def _check_issued(certificate: x509.Certificate, *, by: x509.Certificate, what: str) -> None:
    try:
        certificate.verify_directly_issued_by(by)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except Exception:  # noqa: BLE001 - as above
        raise AuthorityInvalid(f"{what} is not a CA's that was issued as it says") from None
    if not constraints.ca:
        raise AuthorityInvalid(f"{what} is not a CA's")
