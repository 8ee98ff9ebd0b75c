"""SGX (version 3) and TDX (versions 4 and 5) quotes, verified by ``dcap-qvl`` against Intel's root, which it carries.

``dcap-qvl`` checks signatures, the QE's identity, revocation and expiry, and always refuses debug enclaves, debug TDs
and TDs without SEPT_VE_DISABLE. Which TCB statuses are good enough is left to the manifest: every status but Revoked
becomes a claim. What follows a quote is cut off before anything is verified, and the digest covers the signed bytes
alone: signatures, the copy of the root in the quote's chain and the white space in its PEM can be changed without
effect. ``dcap-qvl`` does not look at the thisUpdate of revocation lists; ``collateral_issued`` shows the newest date.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from redoubt.errors import (
    EvidenceCollateral,
    EvidenceMalformed,
    EvidenceTcb,
)
from redoubt.evidence.claims import JSON, Expected, Tee, Verified, check_report_data, digest, refuse_nonce, unix_time
from redoubt.evidence.dcap_proof import prove
from redoubt.evidence.quote import Body, Quote, parse_quote
from redoubt.limits import MAX_COLLATERAL_BYTES, MAX_PARSED_COLLATERALS

if TYPE_CHECKING:
    from dcap_qvl import QuoteCollateralV3

#: Every status but Revoked that Intel's rules can give (Intel PCS API v4); others are refused.
STATUSES: Final = frozenset(
    {
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
        "TDRelaunchAdvised",
        "TDRelaunchAdvisedConfigurationNeeded",
    }
)
#: name → (offset, length) in the report body; sgx_report_body_t.
_SGX_FIELDS: Final = {
    "cpusvn": (0, 16),
    "isvextprodid": (32, 16),
    "attributes": (48, 16),
    "mrenclave": (64, 32),
    "mrsigner": (128, 32),
    "configid": (192, 64),
    "isvfamilyid": (304, 16),
    "report_data": (320, 64),
}
_SGX_NUMBERS: Final = {"miscselect": (16, 4), "isvprodid": (256, 2), "isvsvn": (258, 2), "configsvn": (260, 2)}
#: TD Quote Body of versions 4 and 5 (TD10), followed by two more fields in TD15.
_TD10_FIELDS: Final = {
    "tee_tcb_svn": (0, 16),
    "mrseam": (16, 48),
    "mrsignerseam": (64, 48),
    "seam_attributes": (112, 8),
    "td_attributes": (120, 8),
    "xfam": (128, 8),
    "mrtd": (136, 48),
    "mrconfigid": (184, 48),
    "mrowner": (232, 48),
    "mrownerconfig": (280, 48),
    "rtmr0": (328, 48),
    "rtmr1": (376, 48),
    "rtmr2": (424, 48),
    "rtmr3": (472, 48),
    "report_data": (520, 64),
}
_TD15_FIELDS: Final = {**_TD10_FIELDS, "tee_tcb_svn2": (584, 16), "mrservicetd": (600, 48)}
_FIELDS: Final[Mapping[Body, Mapping[str, tuple[int, int]]]] = {
    Body.SGX: _SGX_FIELDS,
    Body.TD10: _TD10_FIELDS,
    Body.TD15: _TD15_FIELDS,
}
_REPORT_DATA: Final = {kind: fields["report_data"][0] for kind, fields in _FIELDS.items()}


@dataclass(frozen=True, slots=True)
class DcapCollateral:
    """Intel's collateral for one platform: TCB info, QE identity and revocation lists, with their issuers' chains."""

    parsed: QuoteCollateralV3
    #: The first second at which a revocation list has ended; the other parts end with their last second.
    lists_until: int

    @classmethod
    def parse(cls, data: bytes) -> DcapCollateral:
        """Return the collateral in *data*, JSON as ``dcap-qvl`` writes it. Raises EvidenceCollateral."""
        if len(data) > MAX_COLLATERAL_BYTES:
            raise EvidenceCollateral(f"the collateral is larger than {MAX_COLLATERAL_BYTES} bytes")
        return cls(*_parse_collateral(data))


# One collateral serves every quote of a platform for days. What is kept depends on its bytes alone, never on a clock.
@functools.lru_cache(MAX_PARSED_COLLATERALS)
def _parse_collateral(data: bytes) -> tuple[QuoteCollateralV3, int]:
    from cryptography import x509
    from dcap_qvl import QuoteCollateralV3

    try:
        parsed = QuoteCollateralV3.from_json(data.decode())
    except ValueError as error:
        raise EvidenceCollateral("the collateral is not JSON of the nine parts that a quote needs") from error
    try:
        lists = [x509.load_der_x509_crl(bytes(crl)) for crl in (parsed.root_ca_crl, parsed.pck_crl)]
        ends = [crl.next_update_utc for crl in lists]
    except (ValueError, x509.InvalidVersion) as error:
        raise EvidenceCollateral("a revocation list of the collateral does not parse") from error
    return parsed, min(int(end.timestamp()) if end is not None else 0 for end in ends)


def verify(
    evidence: bytes,
    *,
    tee: Tee,
    collateral: DcapCollateral | None,
    expected: Expected,
    now: datetime,
    root: bytes | None = None,
) -> Verified:
    """Return the claims of a quote; *root* (DER) replaces Intel's root in tests. Raises EvidenceError."""
    seconds = unix_time(now)
    quote = parse_quote(evidence)
    if (quote.body_kind is Body.SGX) != (tee is Tee.SGX):
        raise EvidenceMalformed(f"the quote is not of the TEE {tee}")
    if collateral is None:
        raise EvidenceCollateral("a quote cannot be verified without its platform's collateral")
    proved = prove(quote, collateral.parsed, now=seconds, root=root, report_data_at=_REPORT_DATA[quote.body_kind])
    raw = raw_fields(quote)
    refuse_nonce(expected)
    check_report_data(raw["report_data"], expected=expected)
    status, advisories = proved["tcb"]["status"], tuple(proved["tcb"]["advisory_ids"])
    if status not in STATUSES:
        raise EvidenceTcb(f"unknown TCB status {status!r}")
    # dcap-qvl refuses what is past its last second.
    last = min(proved["earliest_expiration_date"], proved["qe_iden_earliest_expiration_date"])
    return Verified(
        tee=tee,
        claims=_claims(tee, quote, raw, proved),
        report_data=raw["report_data"],
        tcb_status=status,
        advisories=advisories,
        evidence_digest=digest(quote.signed),
        valid_until=datetime.fromtimestamp(min(last + 1, collateral.lists_until), UTC),
    )


def raw_fields(quote: Quote) -> dict[str, bytes]:
    """Return the byte fields of the report in *quote*, proved or not, by the names that they have in claims."""
    return {name: quote.body[at : at + size] for name, (at, size) in _FIELDS[quote.body_kind].items()}


def _claims(tee: Tee, quote: Quote, raw: Mapping[str, bytes], proved: Any) -> dict[str, JSON]:
    tcb, platform = proved["tcb"], proved["platform"]
    pck = platform["pck"]
    piid = pck["platform_instance_id"]
    claims: dict[str, JSON] = {name: value.hex() for name, value in raw.items()}
    if quote.body_kind is Body.SGX:
        for name, (at, size) in _SGX_NUMBERS.items():
            claims[name] = int.from_bytes(quote.body[at : at + size], "little")
    claims["quote_version"] = quote.version
    claims["debug"] = False  # dcap-qvl refuses the others
    claims["fmspc"] = bytes(pck["fmspc"]).hex()
    claims["ppid"] = bytes(pck["ppid"]).hex()
    claims["piid"] = None if piid is None else bytes(piid).hex()
    claims["tcb_date"] = platform["tcb_level"]["tcbDate"]
    claims["tcb_evaluation"] = tcb["eval_data_number"]
    claims["tcb_status"] = tcb["status"]
    claims["qe_tcb_status"] = proved["qe"]["tcb_level"]["tcbStatus"]
    claims["collateral_issued"] = max(proved["latest_issue_date"], proved["qe_iden_latest_issue_date"])
    claims["smt"] = pck["smt_enabled"]
    claims["dynamic_platform"] = pck["dynamic_platform"]
    prefix = tee.value + "."
    return {prefix + name: value for name, value in claims.items()}
