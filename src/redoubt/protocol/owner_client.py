"""An owner's client of a broker: each request signed with a token of its own, over TLS 1.3 against the pinned CA.

The CA decides who the broker is. The broker's id, which every token names, is learned from ``/redoubt/v1/broker``; a
pinned one tells apart brokers under the same CA, and is compared before anything else is sent. The id proves nothing by
itself: it is public.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redoubt.errors import BrokerMessage, BrokerUntrusted
from redoubt.evidence.claims import digest
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.keys.register import CommitHead
from redoubt.limits import MAX_AUDIT_PAGE, MAX_BROKER_ANSWER_BYTES, MAX_KEY_API_BYTES, MAX_REFUSAL_BYTES
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.protocol.https import BrokerConnection
from redoubt.protocol.key_api import RegisteredHead, encode_head
from redoubt.protocol.messages import read_object
from redoubt.protocol.owner_token import OwnerRequest, sign_owner_token
from redoubt.trust.audit_chain import AuditEntry, parse_line
from redoubt.trust.audit_head import AuditHead, verify_head
from redoubt.trust.refusal import Refusal
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest

_API: Final = "/redoubt/v1"


class OwnerClient:
    """Asks one broker as one owner. Safe for several threads."""

    def __init__(
        self, connection: BrokerConnection, *, key: Ed25519PrivateKey | None, broker_id: str | None = None
    ) -> None:
        """Speak as the owner of *key*; None signs nothing, for what the broker does for anybody.

        *broker_id* is the only broker that is spoken to.
        """
        self._connection = connection
        self._key = key
        self._broker_id = broker_id
        self._checked = False

    def facts(self) -> BrokerFacts:
        """Return what the broker says of itself now.

        Raises:
            BrokerUntrusted: it is another one than the pinned one, or than it was before.
        """
        facts = BrokerFacts.parse(self._connection.call("GET", f"{_API}/broker", repeatable=True).body)
        if self._broker_id not in (None, facts.id):
            raise BrokerUntrusted(f"the broker's id is {facts.id}; {self._broker_id} is expected")
        self._broker_id, self._checked = facts.id, True
        return facts

    def call(self, method: str, path: str, body: bytes = b"", *, query: str = "", repeatable: bool) -> bytes:
        """Return the body of the answer to a signed request; *path* is below ``/redoubt/v1``.

        Raises:
            RedoubtError: of the class that the broker names.
            BrokerUntrusted, BrokerUnreachable, BrokerMessage: as :meth:`BrokerConnection.call`.
        """
        if not self._checked:
            self.facts()
        request = OwnerRequest(broker=str(self._broker_id), method=method, path=_API + path, body=body)
        key = self._key

        def sign(owner: Ed25519PrivateKey) -> str:
            return sign_owner_token(owner, request, now=datetime.now(UTC), token_id=uuid4())

        return self._connection.call(
            method,
            request.path + query,
            body=body,
            authorize=None if key is None else lambda: sign(key),
            repeatable=repeatable,
        ).body

    # --- manifests ----------------------------------------------------------------------------------------------------
    def set_manifest(self, envelope: Envelope) -> None:
        """Put a signed manifest in force. The first one needs a bootstrap owner's key.

        Raises:
            ManifestError: the broker does not accept it.
            BrokerMessage: the broker says that it set another one.
        """
        answer = self.call("PUT", "/manifest", envelope.encode(), repeatable=False)
        members = frozenset({"version", "digest"})
        found = read_object(answer, what="the answer", limit=MAX_KEY_API_BYTES, members=members)
        if found["digest"] != digest(envelope.payload):
            raise BrokerMessage("the broker says that it set another manifest than was sent")

    def manifests(self) -> Sequence[SignedManifest]:
        """Return every manifest that was set, oldest first, each verified; raises ManifestError."""
        answer = self.call("GET", "/manifest", repeatable=True)
        what = "the broker's manifests"
        found = read_object(answer, what=what, limit=MAX_BROKER_ANSWER_BYTES, members=frozenset({"envelopes"}))
        envelopes = found["envelopes"]
        if not isinstance(envelopes, list) or not all(isinstance(it, str) for it in envelopes):
            raise BrokerMessage(f"{what} are no list of envelopes")
        verified: list[SignedManifest] = []
        for text in envelopes:
            previous = verified[-1] if verified else None
            verified.append(verify_manifest(Envelope.parse(str(text).encode()), previous=previous))
        return verified

    # --- the register -------------------------------------------------------------------------------------------------
    def register(self, dataset_id: UUID, head: CommitHead) -> None:
        """Register *head* of a dataset of this owner's, whatever is registered; raises OwnerForbidden."""
        body = encode_head(RegisteredHead(number=head.number, digest=head.digest))
        self.call("PUT", f"/register/{dataset_id}", body, repeatable=True)

    # --- the log and refusals -----------------------------------------------------------------------------------------
    def audit_head(self) -> tuple[AuditHead, bytes]:
        """Return the head of the audit log as of now, and the signed text of it; raises TokenError."""
        facts = self.facts()
        signed = facts.audit_head.encode()
        keys = KeySet((IssuerKey(facts.public_key, kid=facts.id),))
        return verify_head(signed, keys=keys, now=datetime.now(UTC)), signed

    def audit_rows(self, *, start: int, end: int) -> Iterator[AuditEntry]:
        """Yield the rows of the audit log from *start* to *end*, fewer if there are none; raises AuditBroken.

        Their chain is not verified here.
        """
        while start <= end:
            query = "?" + urlencode({"start": start, "limit": min(MAX_AUDIT_PAGE, end - start + 1)})
            lines = self.call("GET", "/audit", query=query, repeatable=True).splitlines(keepends=True)
            if not lines:
                return
            yield from map(parse_line, lines)
            start += len(lines)

    def refusal(self, refusal_id: UUID) -> Refusal:
        """Return the record of a refusal; raises RefusalMissing, or RefusalMalformed."""
        record = self.call("GET", f"/refusals/{refusal_id}", repeatable=True)
        if len(record) > MAX_REFUSAL_BYTES:
            raise BrokerMessage(f"the record of the refusal exceeds {MAX_REFUSAL_BYTES} bytes")
        return Refusal.parse(record)
