"""RCAR at the broker: challenges, and attestations that become results or refusals.

A challenge is used up by its first answer, whatever comes of it. The verifier gets the report data that *this* nonce,
key and program statement hash to; so evidence for another nonce, another key or another program is not authentic here,
and nothing that the attester says beside its evidence decides anything.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from redoubt.broker.core import Core, Event
from redoubt.broker.ports import AttestSession
from redoubt.broker.unstated import UNSTATED, appraise_unstated
from redoubt.broker.verifiers import Verifier, choose_verifier
from redoubt.errors import (
    AppraisalError,
    AttestationRefused,
    EvidenceError,
    EvidenceStale,
    FailedClaim,
    NonceReplayed,
    RedoubtError,
    TokenError,
)
from redoubt.evidence.claims import Tee
from redoubt.evidence.claims import digest as sha256_text
from redoubt.limits import CHALLENGE_SECONDS, MAX_EAR_SECONDS, RCAR_NONCE_BYTES
from redoubt.protocol.evidence_body import decode_body
from redoubt.protocol.messages import write_object
from redoubt.protocol.rcar import AttestRequest, AttestResponse, AuthRequest, Challenge
from redoubt.trust.appraisal import ProgramClaim, appraise
from redoubt.trust.ear import issue_ear
from redoubt.trust.policy import Binding
from redoubt.trust.receipt_audit import HOLDER
from redoubt.trust.refusal import Refusal
from redoubt.trust.signer_key import thumbprint

#: Valid when it was appraised, and ended within the same second.
_ENDED: Final = FailedClaim(EvidenceStale.code, "evidence.valid_until", ("a later end",), None, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """The RCAR half of a broker."""

    core: Core
    verifiers: Mapping[Tee, Verifier]

    def challenge(self, request: AuthRequest) -> tuple[UUID, Challenge]:
        """Return a new session with its nonce; raises TeeUnsupported for evidence that is not verified here."""
        tee, _ = choose_verifier(self.verifiers, request.tee)
        session = AttestSession(
            id=uuid4(),
            nonce=os.urandom(RCAR_NONCE_BYTES),
            tee=tee.value,
            expires=self.core.clock() + timedelta(seconds=CHALLENGE_SECONDS),
        )
        self.core.store.sessions.open(session)
        return session.id, Challenge(session.nonce)

    def attest(self, session_id: UUID, request: AttestRequest) -> AttestResponse:
        """Return the result of an attestation.

        Raises:
            SessionUnknown, SessionExpired, NonceReplayed: the session is not one that waits for this answer.
            ManifestMissing: there is no policy to appraise by.
            BrokerMessage: the body is malformed.
            AttestationRefused: the evidence is not authentic, or not what the manifest allows; with the refusal's id.
        """
        core = self.core
        now = core.clock()
        session = core.store.sessions.claim(session_id, now=now)
        if not hmac.compare_digest(session.nonce, request.nonce):
            raise NonceReplayed("the nonce is not the one that this session's challenge gave")
        policy = core.policy.current()
        statement = request.program
        tee, verifier = choose_verifier(self.verifiers, session.tee)
        # Report data, which every verifier compares, covers the statement: so the TEE's own level is its limit.
        claim = (
            UNSTATED
            if statement is None
            else ProgramClaim(digest=statement.digest, arguments=statement.arguments, binding=Binding.MEASUREMENT)
        )
        try:
            verified = verifier(decode_body(tee, request.evidence), request.report_data, now)
        except (EvidenceError, TokenError) as error:
            digest = sha256_text(write_object({"primary_evidence": request.evidence}))
            record = Refusal.unproved(
                error, tee=tee, evidence=digest, program=claim, policy=policy, now=now, refusal_id=uuid4()
            )
            raise self._refused(error, record) from None
        try:
            found = (
                appraise_unstated(verified, policy=policy, now=now)
                if statement is None
                else appraise(verified, claim, policy=policy, now=now)
            )
            token_id = uuid4()
            token = issue_ear(
                found,
                key=core.store.signing_key,
                issuer=core.settings.name,
                attester_key=dict(request.tee_pubkey.jwk),
                nonce=session.nonce,
                now=now,
                token_id=token_id,
                lifetime=timedelta(seconds=MAX_EAR_SECONDS),
                signer=None if statement is None else statement.signer,
            )
        except AppraisalError as error:
            failed = error if error.failures else type(error)(error.what, failures=(_ENDED,))
            record = Refusal.of(failed, verified=verified, program=claim, policy=policy, now=now, refusal_id=uuid4())
            raise self._refused(error, record) from None
        core.granted(
            Event.ATTEST,
            {
                "tee": tee.value,
                "evidence": verified.evidence_digest,
                "program": found.program_digest,
                "binding": found.binding.value,
                "manifest": policy.digest,
                "ear": str(token_id),
                "token": sha256_text(token),
                HOLDER: thumbprint(request.tee_pubkey.jwk),
            },
        )
        core.store.sessions.settle(session_id, token)
        return AttestResponse(token.decode())

    def _refused(self, error: RedoubtError, record: Refusal) -> AttestationRefused:
        self.core.keep_refusal(Event.ATTEST, error, record)
        reason = str(error) if self.core.settings.development else "the reasons are for the data's owners"
        return AttestationRefused(f"refused under the id {record.id}: {reason}", refusal=record.id)
