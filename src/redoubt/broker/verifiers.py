"""The table of verifiers of a production broker: one for each kind of hardware evidence, and no way to add others.

The table is an argument of the service. There is no discovery: what is not in it is refused, so simulated evidence is
verified only by whoever hands over a table that has a verifier for it, which is the package redoubt-dev alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from redoubt.broker.collateral import IntelCollateral
from redoubt.errors import TeeUnsupported
from redoubt.evidence.claims import Tee, Verified
from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import Request, verify_request
from redoubt.protocol.evidence_body import EvidenceBody

#: (evidence, the report data that it must be over, the time) → what it proves; raises EvidenceError or TokenError.
Verifier = Callable[[EvidenceBody, bytes, datetime], Verified]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """What an operator gives for verification, beside what evidence brings along."""

    intel: IntelCollateral | None = None
    #: AMD's intermediates and roots, DER or PEM; pinned keys are built in.
    amd_certificates: tuple[bytes, ...] = ()
    amd_revocations: bytes | None = None
    #: Attestation keys of plain TPMs, enrolled by their owner; without any, TPM evidence is refused.
    tpm_keys: bytes | None = None


def production_verifiers(collateral: Collateral) -> Mapping[Tee, Verifier]:
    """Return the verifiers of hardware evidence, with this *collateral*."""

    def intel(body: EvidenceBody, now: datetime) -> bytes | None:
        return None if collateral.intel is None else collateral.intel.get(body, now=now)

    def request(body: EvidenceBody, report_data: bytes, now: datetime) -> Request:
        return Request(kind=Kind(body.tee.value), evidence=body.evidence, now=now, report_data=report_data)

    def quote(body: EvidenceBody, report_data: bytes, now: datetime) -> Verified:
        if body.event_log is None:
            plain = request(body, report_data, now)
            return verify_request(replace(plain, collateral=intel(body, now)))
        log = Request(
            kind=Kind.CCEL, evidence=body.event_log, quotes=(body.evidence,), now=now, report_data=report_data
        )
        return verify_request(replace(log, collateral=intel(body, now)))

    def snp(body: EvidenceBody, report_data: bytes, now: datetime) -> Verified:
        chain = (*body.certificates, *collateral.amd_certificates)
        return verify_request(
            replace(request(body, report_data, now), certificates=chain, collateral=collateral.amd_revocations)
        )

    def azure_tdx(body: EvidenceBody, report_data: bytes, now: datetime) -> Verified:
        return verify_request(replace(request(body, report_data, now), collateral=intel(body, now)))

    def tpm(body: EvidenceBody, report_data: bytes, now: datetime) -> Verified:
        return verify_request(replace(request(body, report_data, now), attestation_key=collateral.tpm_keys))

    return MappingProxyType(
        {
            Tee.SGX: quote,
            Tee.TDX: quote,
            Tee.SNP: snp,
            Tee.AZ_SNP_VTPM: snp,
            Tee.AZ_TDX_VTPM: azure_tdx,
            Tee.TPM: tpm,
        }
    )


def choose_verifier(verifiers: Mapping[Tee, Verifier], tee: str) -> tuple[Tee, Verifier]:
    """Return the verifier of the TEE that is called so; raises TeeUnsupported."""
    for name, verifier in verifiers.items():
        if name.value == tee:
            return name, verifier
    served = ", ".join(sorted(it.value for it in verifiers))
    raise TeeUnsupported(f"evidence of the kind {tee[:32]!r} is not verified here; {served} are")
