"""Certificates of roles: what makes an attested program a member of a trust domain.

The rules, in the order in which they are applied:

1. The caller holds an attestation result (:meth:`redoubt.broker.attested.Keys.authenticate`).
2. The manifest in force lets the attested program take the role, on a TEE that its evidence satisfied.
3. Its request is for a key that signed the request *for this result*, and names nobody (:mod:`redoubt.pki.request`).
4. A request is good once.

The name follows from what was attested: domain and role from the manifest, the id from the attested key. The answer is
encrypted to that key, since it holds the secret that the members of the domain share.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

import rfc8785
from cryptography.hazmat.primitives.serialization import Encoding

from redoubt.broker.attested import Attested
from redoubt.broker.core import Core, Event
from redoubt.broker.derive import derived_key
from redoubt.broker.release import release_role
from redoubt.errors import RoleRefused
from redoubt.evidence.claims import JSON
from redoubt.pki.authority import domain_authority, domain_secret, trust_bundle
from redoubt.pki.request import verify_request
from redoubt.pki.spiffe import SpiffeId
from redoubt.protocol.jwe import encrypt
from redoubt.protocol.membership import CertificateRequest, Membership
from redoubt.trust.refusal import Refusal

_LABEL: Final = b"redoubt/trust-domains/v1"
_ID_DIGITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The CA of a broker's trust domains."""

    core: Core

    def certify(self, attested: Attested, request: CertificateRequest) -> bytes:
        """Return certificate, trusted CAs and the domain's secret, encrypted to the attested key.

        Raises:
            RoleRefused: the manifest does not let the program take the role; with the refusal's id.
            RequestRefused: the request is not one for this result, or its key did not sign it.
            NonceReplayed: the request was answered before.
        """
        core, result, now = self.core, attested.result, self.core.clock()
        facts: dict[str, JSON] = attested.facts | {
            "domain": request.domain,
            "role": request.role,
            "manifest": attested.policy.digest,
        }
        facts["program"] = self._may_be(attested, request)
        with core.audited(Event.CERTIFICATE, facts):
            key = verify_request(request.request, result=result.token_id)
            once = UUID(bytes=sha256(request.request).digest()[:16])
            core.store.sessions.use_once(once, expires=result.valid_until)
            name = SpiffeId(domain=request.domain, role=request.role, id=_id_of(attested))
            seed = derived_key(core.store.signing_key, label=_LABEL)
            authority = domain_authority(seed, domain=name.domain, now=now)
            certificate = authority.issue(name, key, now=now, seconds=core.settings.certificate_seconds)
            facts |= {"name": str(name), "serial": f"{certificate.serial_number:x}"}
        membership = Membership(
            name=name,
            certificate=certificate.public_bytes(Encoding.PEM),
            bundle=trust_bundle(seed, domain=name.domain, now=now),
            secret=domain_secret(seed, domain=name.domain),
        )
        return encrypt(membership.encode(), attested.recipient)

    def _may_be(self, attested: Attested, request: CertificateRequest) -> str:
        """Return the name of the program that may take the role; raises RoleRefused, with the refusal's id."""
        core, result, domain, role = self.core, attested.result, request.domain, request.role
        try:
            return release_role(result, policy=attested.policy, domain=domain, role=role)
        except RoleRefused as error:
            record = Refusal.no_role(
                result, domain=domain, role=role, policy=attested.policy, now=core.clock(), refusal_id=uuid4()
            )
            core.keep_refusal(Event.CERTIFICATE, error, record)
            raise RoleRefused(error.what, refusal=record.id) from None


def _id_of(attested: Attested) -> str:
    """Return the id of the attested key: one process has one, over all its renewals."""
    return sha256(rfc8785.dumps(dict(attested.result.key))).hexdigest()[:_ID_DIGITS]
