"""The JSON in which Azure guests send their evidence: an HCL report, a TPM quote, and what proves the hardware report.

Source: guest-components of Confidential Containers, ``az-snp-vtpm`` and ``az-tdx-vtpm``. Version 0 has no version field
and spells bytes as lists of numbers (``quote``, ``report``, ``vcek`` in PEM; for TDX ``tpm_quote``, ``hcl_report``,
``td_quote``). Versions 1 and 2 spell the quote in hex, the rest in base64url.

Decides only what the bytes are; :mod:`redoubt.evidence.azure` decides whether they are true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from redoubt.errors import EvidenceMalformed
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.strict_json import (
    check_names,
    from_base64url,
    from_hex,
    from_numbers,
    parse_object,
    take_list,
    take_object,
    take_text,
)
from redoubt.evidence.tpm_quote import TpmQuote
from redoubt.evidence.tpm_structures import HashAlgorithm, Signature, SignatureScheme
from redoubt.limits import MAX_EVIDENCE_JSON_BYTES

_WHAT: Final = "the Azure evidence"
_VERSIONS: Final = (1, 2)
#: Tee → the field that proves the hardware report.
_PROOF: Final[Mapping[Tee, str]] = {Tee.AZ_SNP_VTPM: "vcek", Tee.AZ_TDX_VTPM: "td_quote"}

_Decoder = Callable[..., bytes]


@dataclass(frozen=True, slots=True)
class AzureEvidence:
    """The parts of the evidence. ``proof`` is the VCEK (DER or PEM), or the TD quote."""

    hcl_report: bytes
    quote: TpmQuote
    proof: bytes


def parse_azure(evidence: bytes, *, tee: Tee) -> AzureEvidence:
    """Return the parts of *evidence* of this *tee*; raises EvidenceMalformed."""
    body = parse_object(evidence, what=_WHAT, limit=MAX_EVIDENCE_JSON_BYTES)
    proof = _PROOF[tee]
    if "version" not in body:
        quote, report = ("quote", "report") if tee is Tee.AZ_SNP_VTPM else ("tpm_quote", "hcl_report")
        check_names(body, (quote, report, proof), what=_WHAT)
        return AzureEvidence(
            from_numbers(body[report], what="the HCL report"),
            _quote(take_object(body, quote, what=_WHAT), from_numbers),
            take_text(body, proof, what=_WHAT).encode("utf-8", errors="replace")
            if tee is Tee.AZ_SNP_VTPM
            else from_numbers(body[proof], what="the TD quote"),
        )
    check_names(body, ("version", "tpm_quote", "hcl_report", proof), what=_WHAT)
    if isinstance(body["version"], bool) or body["version"] not in _VERSIONS:
        raise EvidenceMalformed(f"{_WHAT} is of an unknown version")
    return AzureEvidence(
        from_base64url(body["hcl_report"], what="the HCL report"),
        _quote(take_object(body, "tpm_quote", what=_WHAT), from_hex),
        from_base64url(body[proof], what=f"the field {proof!r}"),
    )


def raw_quote(*, message: bytes, signature: bytes, pcrs: tuple[bytes, ...]) -> TpmQuote:
    """Return the quote of an Azure virtual TPM, whose signatures come bare: always RSASSA with SHA-256."""
    return TpmQuote(message, Signature(SignatureScheme.RSASSA, HashAlgorithm.SHA256, value=signature), pcrs)


def _quote(quote: Mapping[str, JSON], decode: _Decoder) -> TpmQuote:
    check_names(quote, ("message", "pcrs", "signature"), what="the TPM quote")
    register = partial(decode, what="a PCR value")
    return raw_quote(
        message=decode(quote["message"], what="the TPM quote"),
        signature=decode(quote["signature"], what="the TPM signature"),
        pcrs=tuple(register(it) for it in take_list(quote, "pcrs", what="the TPM quote")),
    )
