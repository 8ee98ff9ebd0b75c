"""Azure confidential VMs: hardware that vouches for a virtual TPM, whose quote is fresh.

The chain of proof, from the vendor to the verifier's nonce::

    vendor root → VCEK or PCK → SNP report or TD quote → report_data → HCL runtime data → HCLAkPub → TPM quote → nonce

Decides that every link holds. The hardware report is as old as the VM's boot: freshness comes from the TPM quote alone,
so what the verifier chose (nonce or report data) is looked for there. TD quotes are verified with ``dcap-qvl`` where
collateral is given; without it, or for a TD without SEPT_VE_DISABLE, only their signatures are
(:mod:`redoubt.evidence.td_signature`), the claim ``tdx.tcb_proved`` is false and there is no TCB status.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Final

from redoubt.errors import EvidenceMalformed, EvidenceTcb, EvidenceUnbound
from redoubt.evidence import dcap, snp
from redoubt.evidence.azure_encoding import AzureEvidence, parse_azure
from redoubt.evidence.claims import JSON, Expected, Tee, Verified, check_report_data, digest
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.hcl import HardwareReport, HclReport, parse_hcl_report
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.snp import SnpCollateral
from redoubt.evidence.snp_chain import Pins
from redoubt.evidence.td_signature import INTEL_ROOT_SHA256, check_td_signature
from redoubt.evidence.tpm_quote import verify_quote

#: Azure measures the boot chain and the state of Secure Boot into these; a quote without them says little.
BOOT_PCRS: Final[AbstractSet[int]] = frozenset({0, 1, 2, 3, 4, 5, 6, 7})
_NOTHING_MORE: Final = SnpCollateral(())
#: How dcap-qvl names the one refusal that is expected of a TD behind a paravisor.
_ATTRIBUTE_OFF: Final = "SEPT_VE_DISABLE is not enabled"


def verify_snp(
    evidence: bytes,
    *,
    collateral: SnpCollateral = _NOTHING_MORE,
    expected: Expected,
    now: datetime,
    required_pcrs: AbstractSet[int] = BOOT_PCRS,
    pins: Pins | None = None,
) -> Verified:
    """Return the claims of ``az-snp-vtpm`` evidence.

    *collateral* adds to the VCEK in the evidence: AMD's intermediate and root, a revocation list. *pins* replace AMD's
    in tests.

    Raises:
        EvidenceError: a link of the chain does not hold.
    """
    parsed = parse_azure(evidence, tee=Tee.AZ_SNP_VTPM)
    return verify_snp_parts(
        parsed, collateral=collateral, expected=expected, now=now, required_pcrs=required_pcrs, pins=pins
    )


def verify_snp_parts(
    parsed: AzureEvidence,
    *,
    collateral: SnpCollateral = _NOTHING_MORE,
    expected: Expected,
    now: datetime,
    required_pcrs: AbstractSet[int] = BOOT_PCRS,
    pins: Pins | None = None,
) -> Verified:
    """Return what :func:`verify_snp` does, of evidence that came in parts; raises EvidenceError."""
    report = _report(parsed.hcl_report, HardwareReport.SNP)
    certificates = replace(collateral, certificates=(parsed.proof, *collateral.certificates))
    bound = Expected(report_data=report.report_data)
    hardware = snp.verify(report.hardware_report, collateral=certificates, expected=bound, now=now, pins=pins)
    return _bind(Tee.AZ_SNP_VTPM, parsed, report, hardware, expected=expected, required_pcrs=required_pcrs)


def verify_tdx(
    evidence: bytes,
    *,
    collateral: DcapCollateral | None,
    expected: Expected,
    now: datetime,
    required_pcrs: AbstractSet[int] = BOOT_PCRS,
    root: bytes | None = None,
) -> Verified:
    """Return the claims of ``az-tdx-vtpm`` evidence; *root* (DER) replaces Intel's root in tests.

    Raises:
        EvidenceError: a link of the chain does not hold.
    """
    parsed = parse_azure(evidence, tee=Tee.AZ_TDX_VTPM)
    report = _report(parsed.hcl_report, HardwareReport.TDX)
    hardware = _verify_td_quote(parsed.proof, report, collateral=collateral, now=now, root=root)
    return _bind(Tee.AZ_TDX_VTPM, parsed, report, hardware, expected=expected, required_pcrs=required_pcrs)


def verify_tdx_report(
    hcl_report: bytes,
    *,
    td_quote: bytes,
    collateral: DcapCollateral | None,
    expected: Expected,
    now: datetime,
    root: bytes | None = None,
) -> Verified:
    """Return the claims of an HCL report and its TD quote alone, which nothing makes fresh (adapter only).

    Raises:
        EvidenceUnbound: something fresh is expected.
        EvidenceError: a link of the chain does not hold.
    """
    if expected.nonce is not None or expected.report_data is not None:
        raise EvidenceUnbound("an HCL report carries nothing that the verifier chose; send it with a TPM quote")
    report = _report(hcl_report, HardwareReport.TDX)
    hardware = _verify_td_quote(td_quote, report, collateral=collateral, now=now, root=root)
    return replace(
        hardware,
        tee=Tee.AZ_TDX_VTPM,
        claims={**hardware.claims, **_hcl_claims(report)},
        evidence_digest=_digest(hardware, report),
    )


def _report(data: bytes, kind: HardwareReport) -> HclReport:
    report = parse_hcl_report(data)
    if report.kind is not kind:
        raise EvidenceMalformed(f"the HCL report's hardware report is of {report.kind.name}, not of {kind.name}")
    return report


def _bind(
    tee: Tee,
    parsed: AzureEvidence,
    report: HclReport,
    hardware: Verified,
    *,
    expected: Expected,
    required_pcrs: AbstractSet[int],
) -> Verified:
    quote = verify_quote(parsed.quote, key=report.key, expected=expected, required_pcrs=required_pcrs)
    return replace(
        hardware,
        tee=tee,
        claims={**hardware.claims, **_hcl_claims(report), **quote.claims},
        report_data=quote.attest.extra_data,
        evidence_digest=_digest(hardware, report, quote.message_digest),
    )


def _digest(hardware: Verified, report: HclReport, *others: bytes) -> str:
    # Digests have one length, so their concatenation has one reading.
    return digest(b"".join((hardware.evidence_digest.encode(), hashlib.sha256(report.runtime_data).digest(), *others)))


def _verify_td_quote(
    td_quote: bytes, report: HclReport, *, collateral: DcapCollateral | None, now: datetime, root: bytes | None
) -> Verified:
    bound = Expected(report_data=report.report_data)
    if collateral is not None:
        try:
            proved = dcap.verify(td_quote, tee=Tee.TDX, collateral=collateral, expected=bound, now=now, root=root)
            return replace(proved, claims={**proved.claims, "tdx.tcb_proved": True})
        except EvidenceTcb as error:
            # dcap-qvl looks at this attribute after signatures, expiry and revocation, so those were checked.
            if _ATTRIBUTE_OFF not in error.what:
                raise
    quote = parse_quote(td_quote)
    pinned = INTEL_ROOT_SHA256 if root is None else hashlib.sha256(root).digest()
    ends = check_td_signature(quote, now=now, root_sha256=pinned)
    fields = dcap.raw_fields(quote)
    check_report_data(fields["report_data"], expected=bound)
    claims: dict[str, JSON] = {f"tdx.{name}": value.hex() for name, value in fields.items()}
    return Verified(
        tee=Tee.TDX,
        claims=claims | {"tdx.debug": False, "tdx.quote_version": quote.version, "tdx.tcb_proved": False},
        report_data=fields["report_data"],
        tcb_status=None,
        advisories=(),
        evidence_digest=digest(quote.signed),
        valid_until=ends,
    )


def _hcl_claims(report: HclReport) -> dict[str, JSON]:
    """Return what the runtime data says of the VM, under ``hcl.``; only plain values, whose meaning is their name."""
    configuration = report.runtime_claims.get("vm-configuration")
    members = configuration if isinstance(configuration, Mapping) else {}
    claims: dict[str, JSON] = {
        f"hcl.{name.replace('-', '_')}": value for name, value in members.items() if isinstance(value, bool | int | str)
    }
    user_data = report.runtime_claims.get("user-data")
    return claims | {"hcl.user_data": user_data.lower() if isinstance(user_data, str) else None}
