"""The broker as calls: which path does what. Pure HTTP things are :mod:`redoubt.broker.web`'s.

:func:`make_routes` is the table. Each handler is synchronous, runs in a worker thread, and either returns a
:class:`redoubt.broker.routes.Reply` or raises an error of Redoubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from redoubt import __version__
from redoubt.broker.attestation import Attestation
from redoubt.broker.attested import Attested, Keys
from redoubt.broker.core import Core, Event
from redoubt.broker.members import Members
from redoubt.broker.metrics import Metrics
from redoubt.broker.owner_keys import OwnerKeys
from redoubt.broker.owners import Owner, Owners, check_resource, find_owned
from redoubt.broker.receipts import Receipts
from redoubt.broker.routes import Call, Reply
from redoubt.broker.verifiers import Verifier
from redoubt.errors import (
    AttesterUnauthenticated,
    BodyTooLarge,
    BrokerMessage,
    NotFound,
    OwnerForbidden,
    OwnerUnauthenticated,
    ReceiptMissing,
    RefusalMissing,
    SessionUnknown,
    TeeMissing,
)
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.collect.attester import Attester
from redoubt.limits import CHALLENGE_SECONDS, LARGEST_INTEGER, MAX_AUDIT_PAGE, MAX_RESOURCE_BYTES
from redoubt.protocol import rcar
from redoubt.protocol.broker_evidence import EvidenceAnswer, EvidenceRequest, broker_report_data
from redoubt.protocol.broker_facts import BrokerFacts, ManifestFacts
from redoubt.protocol.evidence_body import encode_body
from redoubt.protocol.key_api import (
    AdvanceRequest,
    AnnounceRequest,
    encode_announced,
    encode_head,
    parse_data_key,
    parse_head,
    parse_unwrap,
)
from redoubt.protocol.membership import CertificateRequest
from redoubt.protocol.messages import write_object
from redoubt.protocol.owner_token import OwnerRequest
from redoubt.trust.audit_chain import START, ChainEnd, export_line
from redoubt.trust.audit_head import sign_head
from redoubt.trust.program import is_digest
from redoubt.trust.signing import Envelope

AUDIT_TYPE: Final = "application/jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that a broker answers."""

    core: Core
    verifiers: Mapping[Tee, Verifier]
    metrics: Metrics
    #: The TEE that the broker itself runs in, if it does.
    attester: Attester | None = None

    # --- RCAR ---------------------------------------------------------------------------------------------------------
    def auth(self, call: Call) -> Reply:
        """Give out a challenge."""
        session, challenge = self._attestation.challenge(rcar.AuthRequest.parse(call.body))
        return Reply(body=challenge.encode(), headers={"Set-Cookie": _cookie(session)})

    def attest(self, call: Call) -> Reply:
        """Appraise an attestation."""
        session = _session(call)
        response = self._attestation.attest(session, rcar.AttestRequest.parse(call.body))
        return Reply(body=response.encode(), headers={"Set-Cookie": _cookie(session)})

    def resource(self, call: Call) -> Reply:
        """Give a resource to an attested program: by its session's cookie, or by its result."""
        if call.bearer is None and call.session is None:
            raise AttesterUnauthenticated("neither a result nor a session's cookie was sent")
        token = (
            call.bearer.encode()
            if call.bearer is not None
            else self.core.store.sessions.token(_session(call), now=self.core.clock())
        )
        return Reply(body=self._keys.resource(self._keys.authenticate(token), _resource_path(call)))

    def set_resource(self, call: Call) -> Reply:
        """Store a resource of a dataset's owner."""
        owner, path = self._owner(call), _resource_path(call)
        with self.core.audited(Event.RESOURCE_SET, {**owner.facts, "resource": path}):
            check_resource(owner, path)
            if len(call.body) > MAX_RESOURCE_BYTES:
                raise BodyTooLarge(f"a resource has at most {MAX_RESOURCE_BYTES} bytes")
            self.core.store.resources.put(path, call.body)
        return Reply(body=b"{}")

    def register(self, call: Call) -> Reply:
        """Register a head by the word of the dataset's owner."""
        owner, dataset_id, head = self._owner(call), _uuid(call, "dataset"), parse_head(call.body)
        if head is None:
            raise BrokerMessage("the request to register a head names no head")
        facts = {**owner.facts, "dataset": str(dataset_id), "head": head.to_json()}
        with self.core.audited(Event.REGISTER, facts):
            if find_owned(owner, dataset_id, self.core.store.created) is None:
                raise OwnerForbidden(f"you are no owner of the dataset {dataset_id}, or the manifest does not know it")
            self.core.store.register.put(dataset_id, head)
        return Reply(status=204)

    # --- attested programs --------------------------------------------------------------------------------------------
    def unwrap(self, call: Call) -> Reply:
        """Give data keys."""
        attested = self._attested(call)
        return Reply(body=self._keys.unwrap(attested, parse_unwrap(call.body)))

    def data_key(self, call: Call) -> Reply:
        """Make a data key."""
        attested = self._attested(call)
        return Reply(body=self._keys.data_key(attested, parse_data_key(call.body)))

    def head(self, call: Call) -> Reply:
        """Tell the registered head of a dataset."""
        return Reply(body=encode_head(self._keys.head(self._attested(call), _uuid(call, "dataset"))))

    def advance(self, call: Call) -> Reply:
        """Move the registered head of a dataset."""
        self._keys.advance(self._attested(call), _uuid(call, "dataset"), AdvanceRequest.parse(call.body))
        return Reply(status=204)

    def announced(self, call: Call) -> Reply:
        """Tell the announced commits of a dataset."""
        return Reply(body=encode_announced(self._keys.announced(self._attested(call), _uuid(call, "dataset"))))

    def announce(self, call: Call) -> Reply:
        """Note a commit that is about to be made."""
        self._keys.announce(self._attested(call), _uuid(call, "dataset"), AnnounceRequest.parse(call.body))
        return Reply(status=204)

    def issue_receipt(self, call: Call) -> Reply:
        """Give the receipt of the job that asks."""
        return Reply(body=Receipts(core=self.core).issue(self._attested(call), call.body))

    def certificate(self, call: Call) -> Reply:
        """Certify a role."""
        attested = self._attested(call)
        return Reply(body=Members(core=self.core).certify(attested, CertificateRequest.parse(call.body)))

    # --- owners -------------------------------------------------------------------------------------------------------
    def list_keys(self, call: Call) -> Reply:
        """List primary keys."""
        return Reply(body=self._owner_keys.list(self._owner(call)))

    def create_key(self, call: Call) -> Reply:
        """Create a primary key."""
        return Reply(body=self._owner_keys.create(self._owner(call), call.body))

    def key_call(self, name: str) -> Callable[[Call], Reply]:
        """Return the handler of one call of the provider's contract."""
        return lambda call: Reply(body=self._owner_keys.calls[name](self._owner(call), call.body))

    def manifests(self, call: Call) -> Reply:
        """Give every signed manifest, oldest first, to an owner."""
        self._owner(call)
        envelopes: list[JSON] = [it.decode() for it in self.core.store.manifests.envelopes()]
        return Reply(body=write_object({"envelopes": envelopes}))

    def set_manifest(self, call: Call) -> Reply:
        """Put a signed manifest in force. The first one needs a bootstrap owner's token too."""
        facts: dict[str, JSON] = {}
        first = not self.core.policy.all()
        if first or call.bearer is not None:
            facts |= self._owner(call).facts
        with self.core.audited(Event.MANIFEST, facts):
            verified = self.core.policy.add(Envelope.parse(call.body))
            facts |= {"manifest": verified.digest, "version": verified.manifest.version}
        self.metrics.manifest(verified.manifest.version)
        return Reply(body=write_object({"version": verified.manifest.version, "digest": verified.digest}))

    def audit(self, call: Call) -> Reply:
        """Export rows of the audit log, one a line."""
        owner = self._owner(call)
        start, limit = (
            _number(call, "start", 1, LARGEST_INTEGER),
            _number(call, "limit", MAX_AUDIT_PAGE, MAX_AUDIT_PAGE),
        )
        with self.core.audited(Event.AUDIT_READ, {**owner.facts, "start": start, "limit": limit}):
            rows = self.core.store.audit.entries(start=start, limit=limit)
        return Reply(body=b"".join(map(export_line, rows)), media_type=AUDIT_TYPE)

    def refusal(self, call: Call) -> Reply:
        """Give the record of a refusal."""
        owner = self._owner(call)
        refusal_id = _uuid(call, "id", missing=RefusalMissing)
        with self.core.audited(Event.REFUSAL_READ, {**owner.facts, "refusal": str(refusal_id)}):
            record = self.core.store.refusals.get(refusal_id)
        return Reply(body=record)

    def receipt(self, call: Call) -> Reply:
        """Give the receipt of a job to an owner."""
        owner, job = self._owner(call), call.parameters["job"]
        with self.core.audited(Event.RECEIPT_READ, {**owner.facts, "job": job}):
            if not is_digest(job):
                raise ReceiptMissing("a job is named by the digest of its attested key: sha256:…")
            return Reply(body=Receipts(core=self.core).read(job))

    # --- everybody ----------------------------------------------------------------------------------------------------
    def broker(self, call: Call) -> Reply:
        """Tell public facts."""
        history, now = self.core.policy.all(), self.core.clock()
        newest = self.core.store.audit.head()
        end = START if newest is None else ChainEnd.of(newest)
        facts = BrokerFacts(
            id=self.core.id,
            name=self.core.settings.name,
            software=__version__,
            simulated=self.core.settings.development,
            public_key=self.core.store.signing_key.public_key(),
            manifest=ManifestFacts.of(history[-1]) if history else None,
            audit_head=sign_head(end, key=self.core.store.signing_key, at=now).decode(),
            tees=tuple(sorted(it.value for it in self.verifiers)),
            attested=self.attester is not None,
        )
        return Reply(body=facts.encode())

    def evidence(self, call: Call) -> Reply:
        """Give evidence of the broker itself, over the caller's nonce and the broker's key."""
        request = EvidenceRequest.parse(call.body)
        if self.attester is None:
            raise TeeMissing("this broker does not run in a TEE")
        collected = self.attester.collect(broker_report_data(broker_id=self.core.id, nonce=request.nonce))
        return Reply(body=EvidenceAnswer(collected.tee, encode_body(collected)).encode())

    def key_set(self, call: Call) -> Reply:
        """Tell the broker's public keys."""
        facts = BrokerFacts.key_set(self.core.store.signing_key.public_key())
        return Reply(body=write_object(facts), media_type="application/jwk-set+json")

    def health(self, call: Call) -> Reply:
        """Say that the process answers."""
        return Reply(body=b'{"status":"ok"}')

    def ready(self, call: Call) -> Reply:
        """Say that the store answers and its manifests are whole; raises what they raise."""
        self.core.store.check()
        self.core.policy.all()
        return Reply(body=b'{"status":"ready"}')

    def prometheus(self, call: Call) -> Reply:
        """Give the metrics."""
        return Reply(body=self.metrics.text(), media_type="text/plain; version=1.0.0; charset=utf-8")

    # --- inside -------------------------------------------------------------------------------------------------------
    @property
    def _attestation(self) -> Attestation:
        return Attestation(core=self.core, verifiers=self.verifiers)

    @property
    def _keys(self) -> Keys:
        return Keys(core=self.core)

    @property
    def _owner_keys(self) -> OwnerKeys:
        return OwnerKeys(core=self.core)

    def _attested(self, call: Call) -> Attested:
        if call.bearer is None:
            raise AttesterUnauthenticated("no attestation result was sent as a bearer token")
        return self._keys.authenticate(call.bearer.encode())

    def _owner(self, call: Call) -> Owner:
        if call.bearer is None:
            raise OwnerUnauthenticated("no owner's token was sent as a bearer token")
        request = OwnerRequest(broker=self.core.id, method=call.method, path=call.path, body=call.body)
        return Owners(core=self.core).authenticate(call.bearer, request)


def _cookie(session: UUID) -> str:
    life = int(timedelta(seconds=CHALLENGE_SECONDS).total_seconds())
    return f"{rcar.SESSION_COOKIE}={session.hex}; Max-Age={life}; Path={rcar.PATH}; HttpOnly; Secure; SameSite=Strict"


def _session(call: Call) -> UUID:
    try:
        return UUID(hex=call.session or "")
    except ValueError:
        raise SessionUnknown("the session's cookie is missing, or none that was given out") from None


def _resource_path(call: Call) -> str:
    return "/".join(call.parameters[it] for it in ("repository", "type", "tag"))


def _uuid(call: Call, name: str, *, missing: type[NotFound | RefusalMissing] = NotFound) -> UUID:
    try:
        return UUID(call.parameters[name])
    except ValueError:
        raise missing(f"{name!r} in the path is no UUID") from None


def _number(call: Call, name: str, default: int, most: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise BrokerMessage(f"{name!r} in the query is no number from 1 to {most}")
    return int(text)
