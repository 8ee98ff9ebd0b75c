"""Messages of ``POST /redoubt/v1/certificates``: a role asks for its certificate, and gets its membership.

The answer stands in a JWE to the attested key.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final

from redoubt.errors import BrokerMessage, SpiffeInvalid
from redoubt.limits import MAX_MEMBERSHIP_BYTES
from redoubt.pki.spiffe import LABEL, SpiffeId
from redoubt.protocol.key_api import PATH
from redoubt.protocol.messages import bytes_member, read_object, text_member, write_object

CERTIFICATES_PATH: Final = f"{PATH}/certificates"
_ASKS: Final = "the request for a certificate"
_ANSWERS: Final = "the membership"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """Which role in which trust domain, and a PKCS #10 request (DER) made for the attestation result."""

    domain: str
    role: str
    request: bytes

    def encode(self) -> bytes:
        """Return the request body."""
        request = base64.b64encode(self.request).decode()
        return write_object({"domain": self.domain, "role": self.role, "request": request})

    @classmethod
    def parse(cls, body: bytes) -> CertificateRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        members = frozenset({"domain", "role", "request"})
        found = read_object(body, what=_ASKS, limit=MAX_MEMBERSHIP_BYTES, members=members)
        domain, role = (text_member(found, it, what=_ASKS) for it in ("domain", "role"))
        if not LABEL.fullmatch(domain) or not LABEL.fullmatch(role):
            raise BrokerMessage(f"{_ASKS} names no trust domain or role")
        return cls(domain=domain, role=role, request=bytes_member(found, "request", what=_ASKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a member of a trust domain has: a certificate, the CAs that it trusts, the secret that all members share."""

    name: SpiffeId
    #: PEM.
    certificate: bytes
    bundle: bytes
    secret: str = field(repr=False)

    def encode(self) -> bytes:
        """Return what is encrypted."""
        return write_object(
            {
                "name": str(self.name),
                "certificate": self.certificate.decode(),
                "bundle": self.bundle.decode(),
                "secret": self.secret,
            }
        )

    @classmethod
    def parse(cls, body: bytes) -> Membership:
        """Return the membership that *body* is, which its reader has yet to verify; raises BrokerMessage."""
        members = frozenset({"name", "certificate", "bundle", "secret"})
        found = read_object(body, what=_ANSWERS, limit=MAX_MEMBERSHIP_BYTES, members=members)
        try:
            name = SpiffeId.parse(text_member(found, "name", what=_ANSWERS))
        except SpiffeInvalid as error:
            raise BrokerMessage(f"{_ANSWERS}: {error.what}") from None
        certificate, bundle = (text_member(found, it, what=_ANSWERS).encode() for it in ("certificate", "bundle"))
        return cls(
            name=name, certificate=certificate, bundle=bundle, secret=text_member(found, "secret", what=_ANSWERS)
        )
