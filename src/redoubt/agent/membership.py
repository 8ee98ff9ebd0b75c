"""A role's membership in its trust domain: asked of the broker, verified, given to the program, renewed.

Decides that a certificate is used only if it is for the key that was made here, says the role that was asked for, and
was issued by a CA of the bundle that came with it. The broker, being the pinned one, is believed about those CAs.

The program finds in its folder of secrets, each 0600 and replaced as a whole:

- ``identity.pem``: the private key and the certificate; ``bundle.pem``: the CAs that it trusts;
- ``membership.json``: trust domain, role and name; ``domain-secret``: the secret that all members share.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.agent.attest import AttestedAgent
from redoubt.errors import AttesterUnauthenticated, NonceReplayed, PeerRefused, RedoubtError, UsageError
from redoubt.keys.private import replace_private_file
from redoubt.pki.build import private_pem
from redoubt.pki.peer import public_key_of, valid_until, verify_peer
from redoubt.pki.request import make_request
from redoubt.pki.spiffe import LABEL
from redoubt.protocol.jwe import decrypt
from redoubt.protocol.membership import CERTIFICATES_PATH, CertificateRequest, Membership

IDENTITY_FILE: Final = "identity.pem"
BUNDLE_FILE: Final = "bundle.pem"
MEMBERSHIP_FILE: Final = "membership.json"
SECRET_FILE: Final = "domain-secret"  # noqa: S105 - a name
#: A certificate is renewed when this part of its life is over, so that there is time for a broker to come back.
_RENEW_AFTER: Final = 0.6
_LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a program shall be in which trust domain."""

    domain: str
    role: str

    @classmethod
    def parse(cls, text: str) -> Role:
        """Return the role that ``DOMAIN/ROLE`` is; raises UsageError."""
        domain, _, role = text.partition("/")
        if not LABEL.fullmatch(domain) or not LABEL.fullmatch(role):
            raise UsageError(f"{text[:130]!r} is not DOMAIN/ROLE")
        return cls(domain=domain, role=role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A verified membership with its key."""

    membership: Membership
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    at: datetime

    @property
    def due(self) -> datetime:
        """When it is to be renewed."""
        return self.at + _RENEW_AFTER * (valid_until(self.membership.certificate) - self.at)

    def write(self, folder: Path) -> None:
        """Put everything in *folder*, or replace what is there."""
        name = self.membership.name
        facts = {"domain": name.domain, "role": name.role, "name": str(name)}
        replace_private_file(folder / BUNDLE_FILE, self.membership.bundle)
        replace_private_file(folder / SECRET_FILE, self.membership.secret.encode())
        replace_private_file(folder / MEMBERSHIP_FILE, json.dumps(facts).encode())
        # Last, since whoever sees that it changed reads the others again.
        replace_private_file(folder / IDENTITY_FILE, private_pem(self.key) + self.membership.certificate)


def join(agent: AttestedAgent, role: Role, *, now: datetime) -> Member:
    """Return the membership that the broker gives for *role*.

    Raises:
        RoleRefused: the manifest does not let this program take it.
        PeerRefused: the broker certified something else.
        BrokerError: it refuses, or does not answer.
    """
    attested = agent.current()
    for last in (False, True):
        key = ec.generate_private_key(ec.SECP384R1())
        request = make_request(key, result=attested.result.token_id)
        body = CertificateRequest(domain=role.domain, role=role.role, request=request).encode()
        headers = {"Authorization": f"Bearer {attested.token}"}
        try:
            answer = agent.brokers.call("POST", CERTIFICATES_PATH, body=body, headers=headers, repeatable=True)
            break
        except AttesterUnauthenticated:
            if last:
                raise
            attested = agent.renew(attested)
        except NonceReplayed:  # the answer was lost: another key, another request
            if last:
                raise
    membership = Membership.parse(decrypt(answer.body, attested.key))
    name = verify_peer(
        membership.certificate, bundle=membership.bundle, domain=role.domain, roles=frozenset({role.role}), now=now
    )
    if name != membership.name or public_key_of(membership.certificate) != key.public_key():
        raise PeerRefused("the broker certified another name or key than this role's")
    return Member(membership=membership, key=key, at=now)


class MembershipKeeper:
    """Joins, and joins again in the background long before the certificate ends."""

    def __init__(
        self,
        agent: AttestedAgent,
        role: Role,
        folder: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Join now; raises as :func:`join`."""
        self._agent = agent
        self._role = role
        self._folder = folder
        self._say = say
        self._clock = clock
        self._closed = threading.Event()
        self.member = join(agent, role, now=clock())
        self.member.write(folder)
        self._thread = threading.Thread(target=self._keep, name="redoubt-membership", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the renewal."""
        self._closed.set()
        self._thread.join(_LOOK_SECONDS)

    def _keep(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            if self._clock() < self.member.due:
                continue
            try:
                self.member = join(self._agent, self._role, now=self._clock())
                self.member.write(self._folder)
            except RedoubtError as error:
                self._say(f"the membership was not renewed: {error}")
