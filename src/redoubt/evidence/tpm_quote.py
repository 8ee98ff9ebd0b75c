"""A signed TPM quote with its register values: the part that plain TPMs and Azure's virtual TPMs share.

Source: TCG TPM 2.0 Library Part 1, 32.6 (quotes) and Part 3, 18.4 (TPM2_Quote).

Decides that the quote is signed by the given attestation key, that it carries the verifier's nonce in ``extraData``,
that the register values hash to the quoted digest over the quoted selection, and that every register that the verifier
needs is in that selection. Values of registers outside the selection prove nothing and become no claim.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from redoubt.errors import EvidenceMalformed, PcrMissing
from redoubt.evidence.attestation_key import AttestationKey, canonical, check_signature
from redoubt.evidence.claims import JSON, Expected, check_nonce, check_report_data
from redoubt.evidence.tpm_structures import Attest, Signature, parse_attest
from redoubt.limits import MAX_PCR_INDEX, REPORT_DATA_BYTES


@dataclass(frozen=True, slots=True)
class TpmQuote:
    """What an attester sends: the signed bytes, the signature, and the values of registers 0, 1, 2 … of one bank."""

    message: bytes
    signature: Signature
    pcrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """A quote whose signature, freshness and registers were checked."""

    attest: Attest
    claims: dict[str, JSON]
    message_digest: bytes


def verify_quote(
    quote: TpmQuote, *, key: AttestationKey, expected: Expected, required_pcrs: AbstractSet[int]
) -> VerifiedQuote:
    """Return what *quote* proves about the machine that holds *key*.

    Raises:
        EvidenceSignature: it is not signed by *key*.
        EvidenceNonce, EvidenceUnbound: its extraData is not what the verifier chose.
        PcrMissing: a required register is not in the selection, or the values are not the quoted ones.
        EvidenceMalformed: it is not a quote over one PCR bank.
    """
    check_signature(key, quote.signature, quote.message)
    attest = parse_attest(quote.message)
    check_nonce(attest.extra_data, expected=expected)
    # Attesters quote a digest as it is, without the zeros that fill report_data up to 64 bytes elsewhere.
    check_report_data(attest.extra_data.ljust(REPORT_DATA_BYTES, b"\0"), expected=expected)
    values = _quoted_values(attest, quote, required_pcrs)
    claims: dict[str, JSON] = {
        "tpm.ak_sha256": hashlib.sha256(canonical(key)).hexdigest(),
        "tpm.extra_data": attest.extra_data.hex(),
        "tpm.qualified_signer": attest.qualified_signer.hex(),
        "tpm.clock": attest.clock,
        "tpm.reset_count": attest.reset_count,
        "tpm.restart_count": attest.restart_count,
        "tpm.safe": attest.safe,
        "tpm.firmware_version": f"{attest.firmware_version:016x}",
        **values,
    }
    return VerifiedQuote(attest, claims, hashlib.sha256(quote.message).digest())


def _quoted_values(attest: Attest, quote: TpmQuote, required: AbstractSet[int]) -> dict[str, JSON]:
    used = [it for it in attest.selections if it.registers]
    if len(used) != 1:
        # The values come without the name of their bank; with two banks a value could be taken for the other's.
        raise EvidenceMalformed(f"the TPM quote covers {len(used)} PCR banks; exactly one is accepted")
    (selection,) = used
    if missing := sorted(required - set(selection.registers)):
        raise PcrMissing(f"the TPM quote does not cover PCR {', '.join(map(str, missing))}")
    if len(quote.pcrs) > MAX_PCR_INDEX + 1 or any(len(value) != selection.bank.size for value in quote.pcrs):
        raise EvidenceMalformed(f"the PCR values are not those of one {selection.bank.label} bank")
    if selection.registers[-1] >= len(quote.pcrs):
        raise EvidenceMalformed(f"the value of PCR {selection.registers[-1]}, which the quote covers, is missing")
    quoted = hashlib.new(quote.signature.hash.label)
    for register in selection.registers:
        quoted.update(quote.pcrs[register])
    if not hmac.compare_digest(quoted.digest(), attest.pcr_digest):
        raise PcrMissing("the PCR values do not hash to the digest that was quoted")
    return {
        f"tpm.pcr.{selection.bank.label}.{register}": quote.pcrs[register].hex() for register in selection.registers
    }
