"""Receipts: an in-toto statement by a broker, around one by an attested agent.

Sources: in-toto Statement v1 (``_type``, ``subject``, ``predicateType``, ``predicate``), DSSE 1.0.2 with the payload
type ``application/vnd.in-toto+json``. Our own are the predicates (``docs/receipts.md``, ADR 0017; hardening H23).

The agent signs what it *reports* with its attested key. The broker puts that envelope, signature included, beside what
it *proves* from its audit log and its own time, and signs both: that is its countersignature. Receipts of a development
broker have a type and an issuer of their own, so none passes for one of hardware (hardening H25).

Decides nothing about whether the parts agree: that is :mod:`redoubt.trust.receipt_verify`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import ReceiptMalformed, ReceiptSigner, ReceiptTooLarge, ReceiptType
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import parse_object
from redoubt.keys.register import CommitHead
from redoubt.limits import MAX_RECEIPT_BYTES, MAX_REPORTED_BYTES
from redoubt.trust.broker_key import key_id
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.receipt_fields import Members
from redoubt.trust.receipt_proved import Proved
from redoubt.trust.receipt_values import Reported
from redoubt.trust.signer_key import parse_signer, signer_jwk, thumbprint

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
RECEIPT: Final = "urn:redoubt:receipt:v1"
SIMULATED_RECEIPT: Final = "urn:redoubt:simulated-receipt:v1"
REPORTED: Final = "urn:redoubt:reported:v1"
_STATEMENT: Final = "_type subject predicateType predicate"
_WHAT: Final = "the receipt"
_REPORTED: Final = "the reported part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt that was parsed: nothing in it is verified."""

    envelope: SignedStatement
    simulated: bool
    subject: JSON
    proved: Proved
    #: The agent's envelope, as the broker signed it.
    report: SignedStatement
    reported: Reported

    @classmethod
    def parse(cls, text: bytes) -> Receipt:
        """Return the receipt that *text* is.

        Raises:
            ReceiptMalformed, ReceiptUnsigned: it is none, or lacks a signature.
            ReceiptType: it is another signed thing.
        """
        envelope = SignedStatement.parse(text, what=_WHAT, limit=MAX_RECEIPT_BYTES)
        kind, subject, predicate = _statement(envelope, {RECEIPT, SIMULATED_RECEIPT}, what=_WHAT)
        found = Members(predicate, "proved reported", what="the receipt's predicate")
        proved = Proved.of(found.raw("proved"))
        report = SignedStatement.of(found.raw("reported"), what=_REPORTED)
        return cls(
            envelope=envelope,
            simulated=kind == SIMULATED_RECEIPT,
            subject=subject,
            proved=proved,
            report=report,
            reported=_reported(report),
        )


def sign_reported(reported: Reported, *, key: ec.EllipticCurvePrivateKey) -> SignedStatement:
    """Return what an agent reports, signed with the *key* that it attested for signatures."""
    outputs = {str(it.dataset): it.head for it in reported.outputs if it.head is not None}
    payload = _payload(REPORTED, subjects(outputs, program=reported.program), reported.to_json())
    kid = thumbprint(signer_jwk(key.public_key()))
    return SignedStatement.sign(payload, payload_type=PAYLOAD_TYPE, key=key, key_id=kid)


def check_reported(report: SignedStatement, *, signer: JSON) -> Reported:
    """Return what *report* says if the attested key *signer* (a JWK) signed it.

    Raises:
        ReceiptSigner: it did not, or none was attested.
        ReceiptMalformed, ReceiptType: it is no reported part.
    """
    if signer is None:
        raise ReceiptSigner("the agent attested no key for signatures")
    key = parse_signer(signer)
    if report.key_id != thumbprint(signer_jwk(key)):
        raise ReceiptSigner("the reported part names another key than the one that was attested for signatures")
    report.check(key, refusal=ReceiptSigner, what=_REPORTED)
    return _reported(report)


def parse_report(text: bytes) -> SignedStatement:
    """Return the envelope of a reported part that *text* is; raises ReceiptMalformed or ReceiptUnsigned."""
    return SignedStatement.parse(text, what=_REPORTED, limit=MAX_REPORTED_BYTES)


def sign_receipt(proved: Proved, report: SignedStatement, *, key: ec.EllipticCurvePrivateKey, simulated: bool) -> bytes:
    """Return the receipt that a broker signs with its *key*, around the agent's *report*; raises ReceiptTooLarge."""
    kind = SIMULATED_RECEIPT if simulated else RECEIPT
    predicate: dict[str, JSON] = {"proved": proved.to_json(), "reported": report.to_json()}
    payload = _payload(kind, subject_of(proved, program=_reported(report).program), predicate)
    envelope = SignedStatement.sign(
        payload, payload_type=PAYLOAD_TYPE, key=key, key_id=key_id(key.public_key())
    ).to_json()
    text = rfc8785.dumps(envelope)
    if len(text) > MAX_RECEIPT_BYTES:
        raise ReceiptTooLarge(f"a receipt has at most {MAX_RECEIPT_BYTES} bytes")
    return text


def subject_of(proved: Proved, *, program: str) -> JSON:
    """Return the subject of a receipt: the last commit of each dataset that was written, else the *program*."""
    return subjects({str(it.dataset): it.head for it in proved.commits}, program=program)


def subjects(outputs: dict[str, CommitHead], *, program: str) -> JSON:
    """Return in-toto's subject for these datasets at these commits; a job that wrote none is a run of its program."""
    named = {f"dataset:{name}": head.digest for name, head in outputs.items()} or {"program": program}
    return [{"digest": {"sha256": it.removeprefix("sha256:")}, "name": name} for name, it in sorted(named.items())]


def _payload(kind: str, subject: JSON, predicate: JSON) -> bytes:
    return rfc8785.dumps({"_type": STATEMENT, "predicate": predicate, "predicateType": kind, "subject": subject})


def _reported(report: SignedStatement) -> Reported:
    _, _, predicate = _statement(report, {REPORTED}, what=_REPORTED)
    return Reported.of(predicate)


def _statement(envelope: SignedStatement, kinds: set[str], *, what: str) -> tuple[str, JSON, JSON]:
    """Return type, subject and predicate of the statement in *envelope*; raises ReceiptType or ReceiptMalformed."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ReceiptType(f"the payload type of {what} is not {PAYLOAD_TYPE}")
    body = parse_object(envelope.payload, what=what, limit=MAX_RECEIPT_BYTES, refusal=ReceiptMalformed)
    found = Members(body, _STATEMENT, what=f"the statement of {what}")
    kind = found.raw("predicateType")
    if found.raw("_type") != STATEMENT or not isinstance(kind, str) or kind not in kinds:
        raise ReceiptType(f"{what} holds another statement than {' or '.join(sorted(kinds))}")
    return kind, found.raw("subject"), found.raw("predicate")
