"""Who a peer is: its SPIFFE name, from a certificate that the CA of an expected trust domain issued.

Sources: RFC 5280, section 6.1, for chains of one certificate under a CA; X.509-SVID, sections 2 to 5.

Decides that a name is taken from nowhere but the one URI of a valid certificate, that the certificate is exactly of the
form that :mod:`redoubt.pki.authority` issues, and that domain and role are among those that were expected.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from redoubt.errors import PeerRefused, SpiffeInvalid
from redoubt.limits import MAX_PEER_CERTIFICATE_BYTES
from redoubt.pki.build import key_usage
from redoubt.pki.spiffe import SpiffeId

_ENDS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def verify_peer(certificate: bytes, *, bundle: bytes, domain: str, roles: AbstractSet[str], now: datetime) -> SpiffeId:
    """Return whom *certificate* (PEM) speaks of: one of the *roles* of *domain*, whose CAs are *bundle* (PEM).

    Whether the peer holds the certificate's key is TLS's to prove.

    Raises:
        PeerRefused: it is another's, of another form, or not valid now.
    """
    if not roles:
        raise PeerRefused("no role is expected, so no peer is one")
    try:
        if len(certificate) > MAX_PEER_CERTIFICATE_BYTES:
            raise ValueError("too large")
        leaf = x509.load_pem_x509_certificate(certificate)
        authorities = x509.load_pem_x509_certificates(bundle)
        extensions = leaf.extensions
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise PeerRefused("what the peer shows is no certificate") from None
    _check_issued(leaf, authorities, now)
    name = _name(extensions)
    if name.domain != domain:
        raise PeerRefused(f"the peer is of the trust domain {name.domain!r}, not of {domain!r}")
    if name.role not in roles:
        raise PeerRefused(f"the peer has the role {name.role!r}; expected: {', '.join(sorted(roles))}")
    return name


def _check_issued(leaf: x509.Certificate, authorities: Iterable[x509.Certificate], now: datetime) -> None:
    for authority in authorities:
        if not _valid(authority, now) or leaf.issuer != authority.subject or not _certifies(authority):
            continue
        try:
            leaf.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        if not _valid(leaf, now):
            raise PeerRefused("the peer's certificate is not valid now")
        return
    raise PeerRefused("the peer's certificate is not one of a CA of the trust domain that is valid now")


def _certifies(authority: x509.Certificate) -> bool:
    """Return whether *authority* is one: another member's certificate in a bundle makes nobody a member."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return constraints.ca and usage.key_cert_sign


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _name(extensions: x509.Extensions) -> SpiffeId:
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        ends = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        raise PeerRefused("the peer's certificate is not of the form of a role's") from None
    known = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
    if any(it.critical and not isinstance(it.value, known) for it in extensions):
        raise PeerRefused("the peer's certificate has a critical extension that a role's has not")
    if constraints.ca or usage != key_usage(signs_certificates=False) or ends != _ENDS:
        raise PeerRefused("the peer's certificate is for something else than a role's TLS")
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise PeerRefused("the peer's certificate does not say exactly one SPIFFE name")
    try:
        return SpiffeId.parse(names[0].value)
    except SpiffeInvalid as error:
        raise PeerRefused(f"the peer's certificate: {error.what}") from None


def valid_until(certificate: bytes) -> datetime:
    """Return when a certificate (PEM) ends; raises PeerRefused if it is none."""
    return _load(certificate).not_valid_after_utc


def public_key_of(certificate: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a certificate (PEM); raises PeerRefused if it is none of a role's."""
    key = _load(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PeerRefused("the certificate's key is not one of a role's")
    return key


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion):
        raise PeerRefused("what was sent is no certificate") from None
