"""Azure's combined evidence: every link from the vendor's root to the verifier's nonce, broken one at a time."""

from __future__ import annotations

import contextlib
import functools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence import pki_dcap, pki_snp
from tests.evidence.machines import FakeTpm, b64url, flips, hcl_report, rsa_key, runtime_data, td_report
from tests.evidence.vectors import trustee

from redoubt.errors import (
    EvidenceChain,
    EvidenceDebug,
    EvidenceError,
    EvidenceExpired,
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceNotYetValid,
    EvidenceSignature,
    EvidenceTcb,
    EvidenceUnbound,
    PcrMissing,
)
from redoubt.evidence import azure, td_signature
from redoubt.evidence.azure_encoding import AzureEvidence, parse_azure, raw_quote
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.snp import SnpCollateral
from redoubt.evidence.snp_report import Product

NONCE = b"the verifier's nonce"
TPM = FakeTpm(rsa_key())
RUNTIME = runtime_data(rsa_key())
NOW = pki_snp.NOW
SNP_VECTORS = ("v0", "v1", "v2", "genoa")
PUBLIC_NONCES = {
    "v0": b"challenge",
    "v1": b"challenge",
    "v2": bytes.fromhex(
        "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"
    ),
    "genoa": bytes.fromhex(
        "0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f"
    ),
}
PUBLIC_TIME = datetime(2026, 6, 1, tzinfo=UTC)


@functools.cache
def amd() -> pki_snp.Amd:
    return pki_snp.Amd(Product.MILAN)


@functools.cache
def intel() -> pki_dcap.Intel:
    return pki_dcap.Intel()


def quote_json(tpm: FakeTpm = TPM, nonce: bytes = NONCE, **changes: Any) -> dict[str, Any]:
    message = tpm.attest(nonce, **changes)
    return {
        "message": message.hex(),
        "signature": tpm.raw_signature(message).hex(),
        "pcrs": [it.hex() for it in tpm.pcrs()],
    }


def snp_evidence(runtime: bytes = RUNTIME, quote: dict[str, Any] | None = None, **report: Any) -> bytes:
    hcl = hcl_report(lambda data: amd().report(report_data=data, **report), runtime, kind=2)
    body = {"version": 1, "hcl_report": b64url(hcl), "vcek": b64url(amd().endorsement())}
    return json.dumps({**body, "tpm_quote": quote or quote_json()}).encode()


def check_snp(evidence: bytes, **changes: Any) -> Verified:
    expected = Expected(**{"nonce": NONCE, **changes})
    more = SnpCollateral((amd().ask, amd().ark))
    return azure.verify_snp(evidence, collateral=more, expected=expected, now=NOW, pins=amd().pins)


def tdx_evidence(quote: dict[str, Any] | None = None, *, bound_to: bytes = RUNTIME, **td: Any) -> bytes:
    import hashlib

    hcl = hcl_report(td_report, RUNTIME, kind=4)
    td_quote = intel().tdx_quote(report_data=hashlib.sha256(bound_to).digest(), **td)
    body = {"version": 1, "hcl_report": b64url(hcl), "td_quote": b64url(td_quote)}
    return json.dumps({**body, "tpm_quote": quote or quote_json()}).encode()


def check_tdx(
    evidence: bytes, *, collateral: bytes | None = b"", now: datetime = pki_dcap.NOW, **changes: Any
) -> Verified:
    given_collateral = intel().collateral(tdx=True) if collateral == b"" else collateral
    return azure.verify_tdx(
        evidence,
        collateral=None if given_collateral is None else DcapCollateral.parse(given_collateral),
        expected=Expected(**{"nonce": NONCE, **changes}),
        now=now,
        root=intel().root_der,
    )


# --- SEV-SNP ----------------------------------------------------------------------------------------------------------
def test_snp_evidence_is_believed() -> None:
    verified = check_snp(snp_evidence())
    assert verified.tee is Tee.AZ_SNP_VTPM
    assert verified.report_data == NONCE
    assert verified.claims["snp.measurement"] == "5a" * 48
    assert verified.claims["hcl.secure_boot"] is True
    assert verified.claims["tpm.pcr.sha256.7"] == TPM.pcrs()[7].hex()
    assert verified.valid_until is not None


@pytest.mark.parametrize("name", SNP_VECTORS)
def test_public_snp_evidence(name: str) -> None:
    evidence = trustee(f"az-snp-vtpm-evidence-{name}.json")
    expected = Expected(nonce=PUBLIC_NONCES[name])
    verified = azure.verify_snp(evidence, expected=expected, now=PUBLIC_TIME)
    assert verified.claims["snp.debug"] is False
    with pytest.raises(EvidenceExpired):
        azure.verify_snp(evidence, expected=expected, now=PUBLIC_TIME + timedelta(days=8 * 365))
    with pytest.raises(EvidenceNotYetValid):
        azure.verify_snp(evidence, expected=expected, now=PUBLIC_TIME - timedelta(days=8 * 365))
    if len(expected.nonce or b"") == 48:
        padded = Expected(report_data=PUBLIC_NONCES[name].ljust(64, b"\0"))
        assert azure.verify_snp(evidence, expected=padded, now=PUBLIC_TIME) == verified


@pytest.mark.parametrize("name", SNP_VECTORS)
def test_every_flipped_bit_of_public_snp_evidence_is_refused(name: str) -> None:
    parts = parse_azure(trustee(f"az-snp-vtpm-evidence-{name}.json"), tee=Tee.AZ_SNP_VTPM)
    azure.verify_snp_parts(parts, expected=Expected(), now=PUBLIC_TIME)
    report_and_signature = range(32, 32 + 0x2A0 + 144)
    runtime = range(1236, int.from_bytes(parts.hcl_report[8:12], "little"))
    for changed in flips(parts.hcl_report, spans=[range(32), report_and_signature, range(1216, 1236), runtime]):
        refuse(AzureEvidence(changed, parts.quote, parts.proof))
    for changed in flips(parts.quote.message, count=100):
        quote = raw_quote(message=changed, signature=parts.quote.signature.value, pcrs=parts.quote.pcrs)
        refuse(AzureEvidence(parts.hcl_report, quote, parts.proof))
    for changed in flips(parts.quote.signature.value, count=100):
        quote = raw_quote(message=parts.quote.message, signature=changed, pcrs=parts.quote.pcrs)
        refuse(AzureEvidence(parts.hcl_report, quote, parts.proof))


def refuse(parts: AzureEvidence) -> None:
    with pytest.raises(EvidenceError):
        azure.verify_snp_parts(parts, expected=Expected(), now=PUBLIC_TIME)


def test_the_public_pair_with_a_wrong_attestation_key_is_refused() -> None:
    quote = raw_quote(message=trustee("az-snp-tpm-quote.msg"), signature=trustee("az-snp-tpm-quote.sig"), pcrs=())
    parts = AzureEvidence(trustee("az-snp-hcl-report.bin"), quote, trustee("az-snp-vcek.pem"))
    with pytest.raises(EvidenceSignature):
        azure.verify_snp_parts(parts, expected=Expected(), now=PUBLIC_TIME)


# --- attacks on the links ---------------------------------------------------------------------------------------------
def test_replayed_quote_is_refused() -> None:
    for check, evidence in ((check_snp, snp_evidence()), (check_tdx, tdx_evidence())):
        with pytest.raises(EvidenceNonce):
            check(evidence, nonce=b"another nonce")
        with pytest.raises(EvidenceUnbound):
            check(evidence, nonce=None, report_data=bytes(48))


def test_report_data_of_the_hardware_report_does_not_make_it_fresh() -> None:
    """The HCL's own hash stands there since boot: expecting it must not be enough."""
    with pytest.raises(EvidenceUnbound):
        check_snp(
            snp_evidence(),
            nonce=None,
            report_data=bytes.fromhex(str(check_snp(snp_evidence()).claims["snp.report_data"])),
        )


def test_relayed_quote_of_another_tpm_is_refused() -> None:
    stranger = FakeTpm(rsa_key(number=1))
    for check, evidence in (
        (check_snp, snp_evidence(quote=quote_json(stranger))),
        (check_tdx, tdx_evidence(quote=quote_json(stranger))),
    ):
        with pytest.raises(EvidenceSignature):
            check(evidence)


def test_attackers_key_in_the_runtime_data_is_refused() -> None:
    evidence = json.loads(snp_evidence())
    theirs = runtime_data(rsa_key(number=1))
    genuine = hcl_report(lambda data: amd().report(report_data=data), RUNTIME, kind=2)
    evidence["hcl_report"] = b64url(genuine.replace(RUNTIME, theirs))
    evidence["tpm_quote"] = quote_json(FakeTpm(rsa_key(number=1)))
    with pytest.raises(EvidenceUnbound):
        check_snp(json.dumps(evidence).encode())


def test_hardware_report_of_nobodys_chip_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(EvidenceSignature):
        check_snp(snp_evidence(key=ec.generate_private_key(ec.SECP384R1())))


@pytest.mark.parametrize("chosen", [(8, 9), tuple(range(7))])
def test_quote_without_the_boot_registers_is_refused(chosen: tuple[int, ...]) -> None:
    quote = quote_json(selections=(("sha256", chosen),))
    for check, evidence in ((check_snp, snp_evidence(quote=quote)), (check_tdx, tdx_evidence(quote=quote))):
        with pytest.raises(PcrMissing):
            check(evidence)


def test_report_of_the_other_vendor_is_refused() -> None:
    with pytest.raises(EvidenceMalformed):
        check_snp(tdx_evidence())
    body = json.loads(tdx_evidence())
    body["vcek"] = body.pop("td_quote")
    with pytest.raises(EvidenceMalformed):
        check_snp(json.dumps(body).encode())


# --- TDX --------------------------------------------------------------------------------------------------------------
def test_tdx_evidence_with_collateral_has_a_tcb_status() -> None:
    verified = check_tdx(tdx_evidence())
    assert (verified.tee, verified.tcb_status) == (Tee.AZ_TDX_VTPM, "UpToDate")
    assert verified.claims["tdx.tcb_proved"] is True


@pytest.fixture
def _test_enclave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the quoting enclave of the test PKI for Intel's."""
    monkeypatch.setattr(td_signature, "_QE_SIGNER", pki_dcap._MRSIGNER_QE)
    monkeypatch.setattr(td_signature, "_QE_PRODUCT", 1)


@pytest.mark.usefixtures("_test_enclave")
def test_tdx_evidence_without_collateral_proves_no_tcb() -> None:
    verified = check_tdx(tdx_evidence(), collateral=None)
    assert verified.tcb_status is None
    assert verified.claims["tdx.tcb_proved"] is False
    assert verified.valid_until is not None
    with pytest.raises(EvidenceExpired):
        check_tdx(tdx_evidence(), collateral=None, now=verified.valid_until)
    check_tdx(tdx_evidence(), collateral=None, now=verified.valid_until - timedelta(seconds=1))
    with pytest.raises(EvidenceNotYetValid):
        check_tdx(tdx_evidence(), collateral=None, now=pki_dcap.NOW - timedelta(days=200))


@pytest.mark.usefixtures("_test_enclave")
def test_old_azure_td_without_sept_ve_disable_proves_no_tcb_though_there_is_collateral() -> None:
    verified = check_tdx(tdx_evidence(attributes=bytes(8)))
    assert (verified.tcb_status, verified.claims["tdx.tcb_proved"]) == (None, False)


@pytest.mark.usefixtures("_test_enclave")
def test_a_tcb_that_no_level_matches_is_refused_and_never_left_unproved() -> None:
    with pytest.raises(EvidenceTcb):
        check_tdx(tdx_evidence(), collateral=intel().collateral(tdx=True, level=99))


@pytest.mark.usefixtures("_test_enclave")
@pytest.mark.parametrize("collateral", [None, b""], ids=["bare", "collateral"])
def test_debug_td_is_refused(collateral: bytes | None) -> None:
    with pytest.raises(EvidenceDebug):
        check_tdx(tdx_evidence(attributes=b"\1" + bytes(7)), collateral=collateral)


def test_quote_by_another_enclave_than_intels_is_refused() -> None:
    with pytest.raises(EvidenceChain, match="quoting enclave"):
        check_tdx(tdx_evidence(), collateral=None)


@pytest.mark.usefixtures("_test_enclave")
def test_td_quote_under_another_root_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        azure.verify_tdx(tdx_evidence(), collateral=None, expected=Expected(nonce=NONCE), now=pki_dcap.NOW)


@pytest.mark.usefixtures("_test_enclave")
@pytest.mark.parametrize("collateral", [None, b""], ids=["bare", "collateral"])
def test_td_quote_of_another_vm_is_refused(collateral: bytes | None) -> None:
    with pytest.raises(EvidenceUnbound):
        check_tdx(tdx_evidence(bound_to=b"another VM's runtime data"), collateral=collateral)


@pytest.mark.parametrize("name", ["v0", "v1"])
def test_public_tdx_evidence(name: str) -> None:
    evidence = trustee(f"az-tdx-vtpm-evidence-{name}.json")
    collateral = DcapCollateral.parse(trustee("tdx-v4-a2c43c69.collateral.json"))
    at = datetime.fromtimestamp(1782599235, UTC)
    found = [
        azure.verify_tdx(evidence, collateral=it, expected=Expected(nonce=b"challenge"), now=at)
        for it in (None, collateral)
    ]
    assert found[0] == found[1]
    assert found[0].tcb_status is None
    with pytest.raises(EvidenceExpired):
        azure.verify_tdx(evidence, collateral=collateral, expected=Expected(), now=at + timedelta(days=400))
    with pytest.raises(EvidenceExpired):
        azure.verify_tdx(evidence, collateral=None, expected=Expected(), now=at + timedelta(days=5 * 365))


@pytest.mark.parametrize("with_collateral", [False, True])
def test_every_flipped_bit_of_a_public_td_quote_is_refused(with_collateral: bool) -> None:
    td_quote, report = trustee("az-tdx-td-quote.bin"), trustee("az-tdx-hcl-report.bin")
    collateral = DcapCollateral.parse(trustee("tdx-v4-a2c43c69.collateral.json")) if with_collateral else None
    at = datetime.fromtimestamp(1782599235, UTC)

    def verify(quote: bytes, hcl: bytes = report) -> Verified:
        return azure.verify_tdx_report(hcl, td_quote=quote, collateral=collateral, expected=Expected(), now=at)

    verify(td_quote)
    signed, signatures_and_reports = range(632), range(636, 636 + 128 + 6 + 384 + 64 + 34)
    for changed in flips(td_quote, spans=[signed, signatures_and_reports]):
        with pytest.raises(EvidenceError):
            verify(changed)
    for changed in flips(report, spans=[range(32), range(32 + 0x80, 32 + 0xC0), range(1216, 2437)]):
        with pytest.raises(EvidenceError):
            verify(td_quote, changed)


def test_damage_anywhere_in_a_td_quote_raises_only_documented_errors() -> None:
    """The PCK chain is PEM: some of its bytes mean nothing, so damage there may be no damage."""
    td_quote, report = trustee("az-tdx-td-quote.bin"), trustee("az-tdx-hcl-report.bin")
    for changed in flips(td_quote, spans=[range(1252, len(td_quote))], count=400):
        with contextlib.suppress(EvidenceError):
            azure.verify_tdx_report(report, td_quote=changed, collateral=None, expected=Expected(), now=PUBLIC_TIME)
    for length in range(0, len(td_quote) - 80, 97):
        with pytest.raises(EvidenceError):
            azure.verify_tdx_report(
                report, td_quote=td_quote[:length], collateral=None, expected=Expected(), now=PUBLIC_TIME
            )


def test_a_report_without_a_tpm_quote_is_never_fresh() -> None:
    for expected in (Expected(nonce=b"x"), Expected(report_data=b"x")):
        with pytest.raises(EvidenceUnbound):
            azure.verify_tdx_report(b"", td_quote=b"", collateral=None, expected=expected, now=NOW)


# --- encodings and garbage --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"version": True},
        {"version": "1"},
        {"hcl_report": "a+b/"},
        {"hcl_report": 7},
        {"vcek": None},
        {"tpm_quote": []},
        {"tpm_quote": {"message": "0", "signature": "", "pcrs": []}},
        {"tpm_quote": {"message": "", "signature": "", "pcrs": {}}},
        {"extra": 1},
    ],
)
def test_odd_encodings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceMalformed):
        parse_azure(json.dumps(json.loads(snp_evidence()) | changes).encode(), tee=Tee.AZ_SNP_VTPM)


@pytest.mark.parametrize("number", [256, -1, True, 1.0, "1", None])
def test_lists_of_what_are_no_bytes_are_refused(number: object) -> None:
    quote = {"message": [number], "signature": [], "pcrs": []}
    with pytest.raises(EvidenceMalformed):
        parse_azure(json.dumps({"quote": quote, "report": [], "vcek": ""}).encode(), tee=Tee.AZ_SNP_VTPM)


@given(st.sampled_from([Tee.AZ_SNP_VTPM, Tee.AZ_TDX_VTPM]), st.binary(max_size=200))
def test_garbage_raises_only_documented_errors(tee: Tee, data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_azure(data, tee=tee)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_proof_raises_only_documented_errors(hardware: bytes, proof: bytes) -> None:
    snp_parts = AzureEvidence(
        hcl_report(lambda data: hardware[:80].ljust(80, b"\0") + data, RUNTIME, kind=2),
        raw_quote(message=b"", signature=b"", pcrs=()),
        proof,
    )
    with pytest.raises(EvidenceError):
        azure.verify_snp_parts(snp_parts, expected=Expected(), now=NOW)
    with pytest.raises(EvidenceError):
        azure.verify_tdx_report(
            hcl_report(td_report, RUNTIME, kind=4), td_quote=proof, collateral=None, expected=Expected(), now=NOW
        )
