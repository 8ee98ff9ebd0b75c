"""Plain TPM 2.0 evidence: a quote by an attestation key that the owner enrolled.

The encoding is the Confidential Containers one for ``tpm``: an object with ``ak_public`` (SubjectPublicKeyInfo, base64)
and ``tpm_quote`` (``message`` TPMS_ATTEST and ``signature`` TPMT_SIGNATURE in base64, ``pcrs`` in hex).

Decides that the key in the evidence is one of the enrolled ones and that its quote is authentic and fresh. What the
evidence itself says of its key proves nothing: a key that nobody enrolled is refused whatever it signed. What a TPM
cannot prove (that the machine around it keeps memory secret) is not claimed.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from redoubt.errors import EvidenceUnprovable
from redoubt.evidence.attestation_key import AttestationKey, canonical, load_key
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.strict_json import check_names, from_base64, from_hex, parse_object, take_list, take_object
from redoubt.evidence.tpm_quote import TpmQuote, verify_quote
from redoubt.evidence.tpm_structures import parse_signature
from redoubt.limits import MAX_EVIDENCE_JSON_BYTES

_WHAT = "the TPM evidence"


@dataclass(frozen=True, slots=True)
class EnrolledKeys:
    """The attestation keys that an owner enrolled, and the registers that every quote must cover."""

    keys: tuple[AttestationKey, ...]
    required_pcrs: AbstractSet[int] = frozenset()

    @classmethod
    def load(cls, *files: bytes, required_pcrs: AbstractSet[int] = frozenset()) -> EnrolledKeys:
        """Return the keys in *files* (PEM, DER or base64 of DER); raises EvidenceMalformed."""
        return cls(tuple(load_key(file) for file in files), required_pcrs)

    def find(self, wanted: AttestationKey) -> AttestationKey:
        """Return the enrolled key that equals *wanted*; raises EvidenceUnprovable."""
        for key in self.keys:
            if canonical(key) == canonical(wanted):
                return key
        raise EvidenceUnprovable("the TPM's attestation key is not enrolled")


@dataclass(frozen=True, slots=True)
class TpmEvidence:
    """The parsed evidence; nothing in it is authentic yet."""

    key: AttestationKey
    quote: TpmQuote


def parse_evidence(evidence: bytes) -> TpmEvidence:
    """Return what *evidence* says; raises EvidenceMalformed."""
    body = parse_object(evidence, what=_WHAT, limit=MAX_EVIDENCE_JSON_BYTES)
    check_names(body, ("ak_public", "tpm_quote"), what=_WHAT)
    quote = take_object(body, "tpm_quote", what=_WHAT)
    check_names(quote, ("message", "signature", "pcrs"), what="the TPM quote")
    return TpmEvidence(
        load_key(from_base64(body["ak_public"], what="the attestation key")),
        TpmQuote(
            from_base64(quote["message"], what="the TPM quote"),
            parse_signature(from_base64(quote["signature"], what="the TPM signature")),
            tuple(from_hex(it, what="a PCR value") for it in take_list(quote, "pcrs", what="the TPM quote")),
        ),
    )


def verify(evidence: bytes, *, enrolled: EnrolledKeys, expected: Expected, now: datetime) -> Verified:
    """Return the claims of *evidence*. TPM quotes do not expire: only a nonce makes one fresh, so *now* is not used.

    Raises:
        EvidenceError: it is malformed, not by an enrolled key, not fresh, or does not cover a required register.
    """
    del now
    parsed = parse_evidence(evidence)
    key = enrolled.find(parsed.key)
    quote = verify_quote(parsed.quote, key=key, expected=expected, required_pcrs=enrolled.required_pcrs)
    return Verified(
        tee=Tee.TPM,
        claims=quote.claims,
        report_data=quote.attest.extra_data,
        tcb_status=None,
        advisories=(),
        evidence_digest=f"sha256:{quote.message_digest.hex()}",
        valid_until=None,
    )
