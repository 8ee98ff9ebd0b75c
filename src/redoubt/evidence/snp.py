"""AMD SEV-SNP: the report's signature, its endorsement key, and that both speak of one chip and one TCB.

Sources as in :mod:`redoubt.evidence.snp_report` and :mod:`redoubt.evidence.snp_chain`. A guest with the debug policy,
any VMPL and any TCB become claims, for the manifest to judge. AMD publishes no TCB statuses, so there is none here.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from redoubt.errors import EvidenceChain, EvidenceMalformed, EvidenceSignature
from redoubt.evidence.claims import JSON, Expected, Tee, Verified, check_report_data, digest, refuse_nonce, unix_time
from redoubt.evidence.snp_chain import EndorsementKey, Pins, amd_pins, verify_chain
from redoubt.evidence.snp_report import TCB_LAYOUT, SnpReport, parse_report

_CHIP_ID_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class SnpCollateral:
    """What AMD issued for a chip: certificates (DER or PEM, in any order) and, if known, the root's revocation list."""

    certificates: tuple[bytes, ...]
    revocation_list: bytes | None = None


def verify(
    evidence: bytes, *, collateral: SnpCollateral, expected: Expected, now: datetime, pins: Pins | None = None
) -> Verified:
    """Return the claims of an SNP report; *pins* replace AMD's in tests. Raises EvidenceError."""
    unix_time(now)
    report = parse_report(evidence)
    endorsement = verify_chain(
        collateral.certificates, revocation_list=collateral.revocation_list, now=now, pins=pins or amd_pins()
    )
    _check_signature(report, endorsement.key)
    _check_same_chip(report, endorsement)
    tcb = _check_tcb(report, endorsement)
    refuse_nonce(expected)
    check_report_data(report.fields["report_data"], expected=expected)
    return Verified(
        tee=Tee.SNP,
        claims=_claims(report, endorsement, tcb),
        report_data=report.fields["report_data"],
        tcb_status=None,
        advisories=(),
        evidence_digest=digest(report.signed),
        valid_until=endorsement.valid_until,
    )


def _check_signature(report: SnpReport, key: ec.EllipticCurvePublicKey) -> None:
    try:
        key.verify(encode_dss_signature(report.r, report.s), report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise EvidenceSignature("the report is not signed by the endorsement key that was presented") from None


def _check_same_chip(report: SnpReport, endorsement: EndorsementKey) -> None:
    if report.signer is not endorsement.signer:
        raise EvidenceChain(f"the report names a {report.signer.name} but a {endorsement.signer.name} was presented")
    if report.product is not None and report.product is not endorsement.product:
        raise EvidenceChain(f"the report is of a {report.product}, the certificate of a {endorsement.product}")
    chip_id = report.fields["chip_id"]
    if endorsement.hardware_id is not None and not hmac.compare_digest(
        chip_id, endorsement.hardware_id.ljust(_CHIP_ID_BYTES, b"\0")
    ):
        raise EvidenceChain("the endorsement key is of another chip than the report")


def _check_tcb(report: SnpReport, endorsement: EndorsementKey) -> dict[str, int]:
    """Return the reported TCB by component, which must be the one that the endorsement key was derived for."""
    layout = TCB_LAYOUT[endorsement.product]
    for name in ("reported_tcb", "current_tcb", "committed_tcb", "launch_tcb"):
        if any(byte for at, byte in enumerate(report.fields[name]) if at not in layout.values()):
            raise EvidenceMalformed(f"{name} has bytes that a {endorsement.product} reserves")
    reported = {name: report.fields["reported_tcb"][at] for name, at in layout.items()}
    if reported != endorsement.tcb:
        raise EvidenceChain("the endorsement key is of another TCB version than the report")
    return reported


def _claims(report: SnpReport, endorsement: EndorsementKey, tcb: dict[str, int]) -> dict[str, JSON]:
    claims: dict[str, JSON] = {f"snp.{name}": value.hex() for name, value in report.fields.items()}
    claims |= {f"snp.{name}": value for name, value in report.policy_bits.items()}
    claims |= {f"snp.tcb.{name}": value for name, value in tcb.items()}
    major, minor = report.policy_abi
    return claims | {
        "snp.version": report.version,
        "snp.guest_svn": report.guest_svn,
        "snp.vmpl": report.vmpl,
        "snp.policy": f"{report.policy:#x}",
        "snp.policy_abi": f"{major}.{minor}",
        "snp.platform_info": f"{report.platform_info:#x}",
        "snp.author_key": report.author_key,
        "snp.product": endorsement.product.value,
        "snp.product_name": endorsement.product_name,
        "snp.signer": endorsement.signer.name.lower(),
        "snp.csp_id": endorsement.csp_id,
        "snp.chain_presented": endorsement.presented,
    }
