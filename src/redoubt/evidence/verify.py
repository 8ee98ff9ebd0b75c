"""Which verifier judges which kind of evidence: the one table for the adapter and for tests of all of them.

Everything arrives as bytes, and each kind takes what belongs to it. What evidence is expected to carry (nonce, report
data, attestation key) is never ignored: a kind that cannot carry it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from redoubt.errors import EvidenceUnprovable, UsageError
from redoubt.evidence import azure, ccel, dcap, ear_results, ita, maa, snp, tpm
from redoubt.evidence.azure_encoding import AzureEvidence, parse_azure, raw_quote
from redoubt.evidence.claims import JSON, Expected, Tee, Verified, check_report_data, digest, refuse_nonce, unix_time
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.hcl import parse_hcl_report
from redoubt.evidence.key_set import KeySet, load_keys
from redoubt.evidence.kinds import Kind
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.snp import SnpCollateral
from redoubt.evidence.td_signature import check_td_signature
from redoubt.evidence.tokens import Issuer
from redoubt.evidence.tpm import EnrolledKeys

_HCL_MAGIC: Final = b"HCLA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One piece of evidence with all that was handed over for it."""

    kind: Kind
    evidence: bytes
    now: datetime
    #: Intel's collateral, or AMD's revocation list.
    collateral: bytes | None = None
    certificates: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()
    nonce: bytes | None = None
    report_data: bytes | None = None
    attestation_key: bytes | None = None
    quotes: tuple[bytes, ...] = ()

    @property
    def expected(self) -> Expected:
        """What the evidence must carry."""
        return Expected(report_data=self.report_data, nonce=self.nonce)


def verify_request(request: Request) -> Verified:
    """Return what the evidence proves. Raises EvidenceError, TokenError, or UsageError for a key that cannot matter."""
    unix_time(request.now)
    if request.attestation_key is not None and request.kind not in _WITH_ATTESTATION_KEY:
        raise UsageError(f"{request.kind} evidence has no attestation key that could be enrolled")
    return _VERIFIERS[request.kind](request)


def _quote(request: Request) -> Verified:
    return dcap.verify(
        request.evidence,
        tee=Tee(request.kind),
        collateral=_intel(request),
        expected=request.expected,
        now=request.now,
    )


def _intel(request: Request) -> DcapCollateral | None:
    return None if request.collateral is None else DcapCollateral.parse(request.collateral)


def _amd(request: Request) -> SnpCollateral:
    return SnpCollateral(request.certificates, request.collateral)


def _snp(request: Request) -> Verified:
    return snp.verify(request.evidence, collateral=_amd(request), expected=request.expected, now=request.now)


def _az_snp(request: Request) -> Verified:
    _check_enrolled(request, Tee.AZ_SNP_VTPM)
    if not request.evidence.startswith(_HCL_MAGIC):
        return azure.verify_snp(request.evidence, collateral=_amd(request), expected=request.expected, now=request.now)
    if len(request.quotes) != 2 or not request.certificates:
        raise EvidenceUnprovable("an HCL report of SNP needs the TPM quote's message and signature, and the VCEK")
    message, signature = request.quotes
    vcek, *others = request.certificates
    parts = AzureEvidence(request.evidence, raw_quote(message=message, signature=signature, pcrs=()), vcek)
    return azure.verify_snp_parts(
        parts,
        collateral=SnpCollateral(tuple(others), request.collateral),
        expected=request.expected,
        now=request.now,
    )


def _az_tdx(request: Request) -> Verified:
    _check_enrolled(request, Tee.AZ_TDX_VTPM)
    if not request.evidence.startswith(_HCL_MAGIC):
        return azure.verify_tdx(
            request.evidence, collateral=_intel(request), expected=request.expected, now=request.now
        )
    return azure.verify_tdx_report(
        request.evidence,
        td_quote=_one_quote(request),
        collateral=_intel(request),
        expected=request.expected,
        now=request.now,
    )


def _check_enrolled(request: Request, tee: Tee) -> None:
    """Compare the key in the HCL report with the one that was enrolled, if any was."""
    if request.attestation_key is None:
        return
    raw = request.evidence.startswith(_HCL_MAGIC)
    hcl_report = request.evidence if raw else parse_azure(request.evidence, tee=tee).hcl_report
    EnrolledKeys.load(request.attestation_key).find(parse_hcl_report(hcl_report).key)


def _one_quote(request: Request) -> bytes:
    if len(request.quotes) != 1:
        raise EvidenceUnprovable(f"{request.kind} evidence needs the TD quote that it belongs to")
    return request.quotes[0]


def _tpm(request: Request) -> Verified:
    if request.attestation_key is None:
        raise EvidenceUnprovable("a TPM quote proves nothing without the attestation key that its owner enrolled")
    enrolled = EnrolledKeys.load(request.attestation_key)
    return tpm.verify(request.evidence, enrolled=enrolled, expected=request.expected, now=request.now)


def _ccel(request: Request) -> Verified:
    """A log is proved by the quote: fully with collateral, else by its signatures alone, which a claim then says."""
    td_quote = _one_quote(request)
    quote = parse_quote(td_quote)
    fields = dcap.raw_fields(quote)
    if request.collateral is not None:
        verified = dcap.verify(
            td_quote, tee=Tee.TDX, collateral=_intel(request), expected=request.expected, now=request.now
        )
    else:
        check_td_signature(quote, now=request.now)
        refuse_nonce(request.expected)
        check_report_data(fields["report_data"], expected=request.expected)
        verified = Verified(
            tee=Tee.TDX,
            claims={},
            report_data=fields["report_data"],
            tcb_status=None,
            advisories=(),
            evidence_digest=digest(quote.signed),
            valid_until=None,
        )
    found = ccel.check_log(request.evidence, quoted={index: fields[f"rtmr{index}"] for index in range(ccel.RTMRS)})
    proved: dict[str, JSON] = {"ccel.tcb_proved": request.collateral is not None}
    return replace(
        verified,
        claims={**verified.claims, **ccel.claims(found), **proved},
        evidence_digest=digest(quote.signed + found.canonical),
    )


def _issuers(request: Request) -> tuple[Issuer, ...]:
    """The keys belong to whoever issued the token: the caller vouches for that by naming them."""
    loaded = [load_keys(each) for each in request.keys]
    return (Issuer(KeySet(tuple(key for each in loaded for key in each.keys)), name=None),)


def _maa(request: Request) -> Verified:
    return maa.verify(request.evidence, issuers=_issuers(request), expected=request.expected, now=request.now)


def _ita(request: Request) -> Verified:
    return ita.verify(request.evidence, issuers=_issuers(request), expected=request.expected, now=request.now)


def _ear(request: Request) -> Verified:
    return ear_results.verify(request.evidence, issuers=_issuers(request), expected=request.expected, now=request.now)


_VERIFIERS: Final[Mapping[Kind, Callable[[Request], Verified]]] = MappingProxyType(
    {
        Kind.SGX: _quote,
        Kind.TDX: _quote,
        Kind.SNP: _snp,
        Kind.AZ_SNP_VTPM: _az_snp,
        Kind.AZ_TDX_VTPM: _az_tdx,
        Kind.TPM: _tpm,
        Kind.MAA: _maa,
        Kind.ITA: _ita,
        Kind.EAR: _ear,
        Kind.CCEL: _ccel,
    }
)
_WITH_ATTESTATION_KEY: Final = frozenset({Kind.TPM, Kind.AZ_SNP_VTPM, Kind.AZ_TDX_VTPM})
