"""Evidence of the broker itself, where it runs in a TEE: ``POST /redoubt/v1/evidence``.

Report data is SHA-384 over the canonical form (RFC 8785) of ``{"nonce", "redoubt-broker"}``, followed by sixteen zeros:
the caller's nonce makes it fresh, and the broker's id binds it to the key that signs results and audit heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import rfc8785

from redoubt.errors import BrokerMessage, BrokerUntrusted, EvidenceError, TokenError
from redoubt.evidence.claims import JSON, Tee, Verified
from redoubt.limits import MAX_RCAR_BYTES, RCAR_NONCE_BYTES, REPORT_DATA_BYTES
from redoubt.protocol.evidence_body import EvidenceBody, Verifier, decode_body
from redoubt.protocol.messages import bytes_member, read_object, text_member, write_object
from redoubt.protocol.rcar import nonce_text

PATH: Final = "/redoubt/v1/evidence"


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """The caller's nonce."""

    nonce: bytes

    def encode(self) -> bytes:
        """Return the request body."""
        return write_object({"nonce": nonce_text(self.nonce)})

    @classmethod
    def parse(cls, body: bytes) -> EvidenceRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        what = "the request for evidence"
        nonce = bytes_member(
            read_object(body, what=what, limit=MAX_RCAR_BYTES, members=frozenset({"nonce"})), "nonce", what=what
        )
        if len(nonce) != RCAR_NONCE_BYTES:
            raise BrokerMessage(f"{what} has no nonce of {RCAR_NONCE_BYTES} bytes")
        return cls(nonce)


@dataclass(frozen=True, slots=True)
class EvidenceAnswer:
    """Evidence in the form of RCAR's ``primary_evidence``; nothing in it is verified yet."""

    tee: Tee
    evidence: JSON

    def encode(self) -> bytes:
        """Return the answer's body."""
        return write_object({"tee": self.tee.value, "primary_evidence": self.evidence})

    @classmethod
    def parse(cls, body: bytes) -> EvidenceAnswer:
        """Return the answer that *body* is; raises BrokerMessage."""
        what = "the broker's evidence"
        found = read_object(body, what=what, limit=MAX_RCAR_BYTES, members=frozenset({"tee", "primary_evidence"}))
        try:
            tee = Tee(text_member(found, "tee", what=what))
        except ValueError:
            raise BrokerMessage(f"{what} is of an unknown TEE") from None
        return cls(tee, found["primary_evidence"])


def broker_report_data(*, broker_id: str, nonce: bytes) -> bytes:
    """Return the 64 bytes that a broker's own evidence is over."""
    bound: dict[str, JSON] = {"nonce": nonce_text(nonce), "redoubt-broker": broker_id}
    return hashlib.sha384(rfc8785.dumps(bound)).digest().ljust(REPORT_DATA_BYTES, b"\0")


def verify_broker(
    answer: EvidenceAnswer,
    *,
    broker_id: str,
    nonce: bytes,
    expected: Mapping[str, str],
    verifiers: Mapping[Tee, Verifier],
    now: datetime,
) -> Verified:
    """Return what the evidence in *answer* proves of the broker with this id, fresh by *nonce*.

    *expected* are claims, by name, that must have exactly these values as text.

    Raises:
        BrokerUntrusted: it proves nothing, or something else than is expected.
    """
    verifier = verifiers.get(answer.tee)
    if verifier is None:
        raise BrokerUntrusted(f"the broker's evidence is of the kind {answer.tee}, which is not verified here")
    body: EvidenceBody = decode_body(answer.tee, answer.evidence)
    try:
        verified = verifier(body, broker_report_data(broker_id=broker_id, nonce=nonce), now)
    except (EvidenceError, TokenError) as error:
        raise BrokerUntrusted(f"the broker's own evidence was refused: {error.what}") from None
    for name, wanted in expected.items():
        if name not in verified.claims or _text(verified.claims[name]) != wanted:
            raise BrokerUntrusted(f"the broker's {name} is not {wanted[:200]!r}")
    return verified


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else write_object({"v": value})[5:-1].decode()
