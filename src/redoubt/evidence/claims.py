"""What goes into every verifier and what comes out of it: the seam between evidence and appraisal.

``Verified.claims`` is flat: dotted names that start with the format's prefix (``sgx.mrenclave``, ``snp.measurement``,
``tpm.pcr.sha256.7``), byte strings as lower-case hex. Nothing unauthenticated becomes a claim. ``docs/evidence.md``
lists the names.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from redoubt.crypto.strict_json import JSON as JSON
from redoubt.errors import EvidenceNonce, EvidenceUnbound, UsageError
from redoubt.limits import MAX_NONCE_BYTES, REPORT_DATA_BYTES


class Tee(StrEnum):
    """The kinds of evidence that an attester sends: one verifier each."""

    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    AZ_SNP_VTPM = "az-snp-vtpm"
    AZ_TDX_VTPM = "az-tdx-vtpm"
    TPM = "tpm"
    SIMULATED = "simulated"


class ResultKind(StrEnum):
    """Attestation results that somebody else's verifier signed."""

    MAA = "maa"
    ITA = "ita"
    EAR = "ear"
    EHSM = "ehsm"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the verifier chose and the evidence must carry. ``None``: the caller compares it itself (adapter only)."""

    report_data: bytes | None = None
    nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """Claims that were proved."""

    tee: Tee | ResultKind
    claims: Mapping[str, JSON]
    #: What the evidence binds: 64 bytes for SGX, TDX and SNP, the quote's extraData for TPMs, empty for tokens.
    report_data: bytes
    #: Intel's status of the platform's TCB; None where the format has no such word.
    tcb_status: str | None
    advisories: tuple[str, ...]
    #: ``sha256:…`` over the canonical signed bytes, never over padding.
    evidence_digest: str
    #: The first moment at which the same evidence and collateral no longer verify, where the format has one.
    valid_until: datetime | None


def unix_time(now: datetime) -> int:
    """Return the verifier's time in seconds. Raises UsageError for a time without zone, or before 1970."""
    seconds = -1.0 if now.tzinfo is None else now.timestamp()
    if seconds < 0:
        raise UsageError("the verifier's time must name its time zone and lie after 1970")
    return int(seconds)


def digest(signed: bytes) -> str:
    """Return the evidence digest of the canonical *signed* bytes."""
    return "sha256:" + sha256(signed).hexdigest()


def check_report_data(actual: bytes, *, expected: Expected) -> None:
    """Compare the 64 bytes of report data with what is expected; shorter expectations are padded with zeros.

    A SHA-384 digest fills 48 bytes: the other sixteen must then be zero, or two parties could disagree about them.
    Raises EvidenceUnbound.
    """
    if expected.report_data is None:
        return
    if not 0 < len(expected.report_data) <= REPORT_DATA_BYTES:
        raise EvidenceUnbound(f"report data is expected to be 1 to {REPORT_DATA_BYTES} bytes")
    wanted = expected.report_data.ljust(REPORT_DATA_BYTES, b"\0")
    if not hmac.compare_digest(actual, wanted):
        raise EvidenceUnbound("the report data is not the expected one")


def refuse_nonce(expected: Expected) -> None:
    """Refuse an expected nonce: for evidence that has no place for one but its report data. Raises EvidenceNonce."""
    if expected.nonce is not None:
        raise EvidenceNonce("this kind of evidence carries no nonce of its own: expect it within the report data")


def check_nonce(actual: bytes, *, expected: Expected) -> None:
    """Compare a quoted nonce (never padded) with the verifier's. Raises EvidenceNonce."""
    if expected.nonce is None:
        return
    if not 0 < len(expected.nonce) <= MAX_NONCE_BYTES:
        raise EvidenceNonce(f"a nonce is expected to be 1 to {MAX_NONCE_BYTES} bytes")
    if not hmac.compare_digest(actual, expected.nonce):
        raise EvidenceNonce("the nonce is not the one that the verifier chose")
