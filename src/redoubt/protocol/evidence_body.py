"""``primary_evidence`` of each TEE, to and from what the verifiers of :mod:`redoubt.evidence` take.

Source: guest-components of Confidential Containers, one structure a TEE. ``simulated`` is Redoubt's own:
``{"eat": "<compact JWT>"}``; only a development broker has a verifier for it.

Decides nothing about truth: bodies come from strangers, and the verifiers judge the bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from redoubt.errors import BrokerMessage
from redoubt.evidence.claims import JSON, Tee, Verified
from redoubt.evidence.collect.attester import Collected
from redoubt.evidence.strict_json import from_base64, parse_object
from redoubt.limits import MAX_EVENT_LOG_BYTES, MAX_EVIDENCE_JSON_BYTES, MAX_QUOTE_BYTES, MAX_TOKEN_BYTES
from redoubt.protocol.messages import broker_messages, check_members, text_member, write_object
from redoubt.protocol.snp_body import decode_chain, decode_report, encode_chain, encode_report, parse_table


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBody:
    """Evidence as its verifier takes it."""

    tee: Tee
    evidence: bytes
    #: SNP: what the host gave of AMD's chain.
    certificates: tuple[bytes, ...] = ()
    #: TDX: the CCEL table.
    event_log: bytes | None = None


#: (evidence, the report data that it must be over, the time) → what it proves; raises EvidenceError or TokenError.
Verifier = Callable[[EvidenceBody, bytes, datetime], Verified]


def encode_body(collected: Collected, *, event_log: bytes | None = None) -> JSON:
    """Return *collected* evidence as ``primary_evidence``; *event_log* is the CCEL table of a TD.

    Raises:
        BrokerMessage: it is no evidence of its TEE.
    """
    tee, evidence = collected.tee, collected.evidence
    with broker_messages():
        if tee is Tee.SGX:
            return {"quote": _base64(evidence)}
        if tee is Tee.TDX:
            return {"cc_eventlog": None if event_log is None else _base64(event_log), "quote": _base64(evidence)}
        if tee is Tee.SNP:
            table = {} if collected.auxiliary is None else parse_table(collected.auxiliary)
            return {"attestation_report": encode_report(evidence), "cert_chain": encode_chain(table) if table else None}
        if tee is Tee.SIMULATED:
            return {"eat": evidence.decode("ascii", errors="replace")}
        return parse_object(evidence, what="the evidence", limit=MAX_EVIDENCE_JSON_BYTES)


def decode_body(tee: Tee, body: JSON) -> EvidenceBody:
    """Return the evidence that *body* holds; raises BrokerMessage."""
    what = f"the {tee} evidence"
    if not isinstance(body, Mapping):
        raise BrokerMessage(f"{what} is no object")
    with broker_messages():
        if tee is Tee.SGX:
            check_members(body, what=what, members=frozenset({"quote"}))
            return EvidenceBody(tee=tee, evidence=_bytes(body, "quote", limit=MAX_QUOTE_BYTES))
        if tee is Tee.TDX:
            check_members(body, what=what, members=frozenset({"quote"}), optional=frozenset({"cc_eventlog"}))
            log = body.get("cc_eventlog")
            return EvidenceBody(
                tee=tee,
                evidence=_bytes(body, "quote", limit=MAX_QUOTE_BYTES),
                event_log=None if log is None else _bytes(body, "cc_eventlog", limit=MAX_EVENT_LOG_BYTES),
            )
        if tee is Tee.SNP:
            check_members(
                body, what=what, members=frozenset({"attestation_report"}), optional=frozenset({"cert_chain"})
            )
            report = decode_report(body["attestation_report"])
            return EvidenceBody(tee=tee, evidence=report, certificates=decode_chain(body))
        if tee is Tee.SIMULATED:
            check_members(body, what=what, members=frozenset({"eat"}))
            eat = text_member(body, "eat", what=what)
            if len(eat) > MAX_TOKEN_BYTES or not eat.isascii():
                raise BrokerMessage(f"{what} is no compact token")
            return EvidenceBody(tee=tee, evidence=eat.encode())
    # vTPM and TPM: their verifiers read exactly this object, in the spellings that their clients have had.
    return EvidenceBody(tee=tee, evidence=write_object(body))


def _bytes(body: Mapping[str, JSON], name: str, *, limit: int) -> bytes:
    data = from_base64(body.get(name), what=name, refusal=BrokerMessage)
    if not 0 < len(data) <= limit:
        raise BrokerMessage(f"{name} has {len(data)} bytes; 1 to {limit} are allowed")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
