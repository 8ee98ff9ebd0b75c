"""SGX and TDX quotes of our own Intel: attacks, statuses that no public vector has, and hostile bytes."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.pki_dcap import NOW, Intel

from redoubt.errors import (
    EvidenceChain,
    EvidenceCollateral,
    EvidenceDebug,
    EvidenceError,
    EvidenceExpired,
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceNotYetValid,
    EvidenceRevoked,
    EvidenceSignature,
    EvidenceTcb,
    EvidenceUnbound,
    EvidenceUnprovable,
    UsageError,
)
from redoubt.evidence import dcap
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.dcap_refusals import refusal
from redoubt.evidence.quote import parse_quote
from redoubt.limits import MAX_COLLATERAL_BYTES, MAX_QUOTE_BYTES

BINDING = bytes(range(48))


@cache
def intel() -> Intel:
    return Intel()


def check(
    quote: bytes,
    collateral: bytes | None = None,
    *,
    tee: Tee = Tee.SGX,
    expected: Expected | None = None,
    by: Intel | None = None,
    now_shift: timedelta = timedelta(0),
) -> Verified:
    by = by or intel()
    collateral = by.collateral(tdx=tee is Tee.TDX) if collateral is None else collateral
    return dcap.verify(
        quote,
        tee=tee,
        collateral=DcapCollateral.parse(collateral),
        expected=expected or Expected(),
        now=NOW + now_shift,
        root=by.root_der,
    )


def test_claims_of_an_enclave() -> None:
    verified = check(intel().sgx_quote(report_data=BINDING), expected=Expected(report_data=BINDING))
    assert verified.tee is Tee.SGX
    assert verified.claims["sgx.mrenclave"] == "11" * 32
    assert verified.claims["sgx.mrsigner"] == "22" * 32
    assert (verified.claims["sgx.isvprodid"], verified.claims["sgx.isvsvn"]) == (7, 3)
    assert verified.claims["sgx.debug"] is False
    assert verified.claims["sgx.fmspc"] == "00906ea10000"
    assert verified.report_data == BINDING.ljust(64, b"\0")
    assert verified.tcb_status == "UpToDate"
    assert verified.evidence_digest.startswith("sha256:")


def test_claims_of_a_td() -> None:
    verified = check(intel().tdx_quote(report_data=BINDING), tee=Tee.TDX, expected=Expected(report_data=BINDING))
    assert verified.claims["tdx.mrtd"] == "33" * 48
    assert verified.claims["tdx.rtmr3"] == "00" * 48


@pytest.mark.parametrize(
    "status",
    [
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    ],
)
@pytest.mark.parametrize("tdx", [False, True])
def test_statuses_are_claims(status: str, tdx: bool) -> None:
    collateral = intel().collateral(tdx=tdx, status=status, advisories=("INTEL-SA-00001",))
    quote = intel().tdx_quote() if tdx else intel().sgx_quote()
    verified = check(quote, collateral, tee=Tee.TDX if tdx else Tee.SGX)
    assert (verified.tcb_status, verified.advisories) == (status, ("INTEL-SA-00001",))


def test_revoked_tcb_is_refused() -> None:
    with pytest.raises(EvidenceRevoked):
        check(intel().sgx_quote(), intel().collateral(status="Revoked"))


def test_status_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvidenceCollateral):
        check(intel().sgx_quote(), intel().collateral(status="Splendid"))
    monkeypatch.setattr(dcap, "STATUSES", frozenset())
    with pytest.raises(EvidenceTcb):
        check(intel().sgx_quote())


def test_revoked_pck_is_refused() -> None:
    with pytest.raises(EvidenceRevoked):
        check(intel().sgx_quote(), intel().collateral(revoked=(intel().pck.serial_number,)))


def test_revoked_pck_authority_is_refused() -> None:
    with pytest.raises(EvidenceRevoked):
        check(intel().sgx_quote(), intel().collateral(revoked_by_root=(intel().ca.serial_number,)))


def test_debug_enclave_is_refused() -> None:
    with pytest.raises(EvidenceDebug):
        check(intel().sgx_quote(attributes=7))


def test_debug_td_is_refused() -> None:
    with pytest.raises(EvidenceDebug):
        check(intel().tdx_quote(attributes=b"\x01\0\0\x10\0\0\0\0"), tee=Tee.TDX)


def test_td_without_sept_ve_disable_is_refused() -> None:
    with pytest.raises(EvidenceTcb):
        check(intel().tdx_quote(attributes=bytes(8)), tee=Tee.TDX)


def test_old_tcb_below_every_level_is_refused() -> None:
    with pytest.raises(EvidenceTcb):
        check(intel().sgx_quote(), intel().collateral(level=6))


def test_collateral_of_another_platform_is_refused() -> None:
    with pytest.raises(EvidenceCollateral):
        check(intel().sgx_quote(), intel().collateral(fmspc=bytes(6)))


def test_collateral_of_the_other_tee_is_refused() -> None:
    with pytest.raises(EvidenceCollateral):
        check(intel().sgx_quote(), intel().collateral(tdx=True))


def test_another_root_is_refused() -> None:
    with pytest.raises(EvidenceChain):
        check(intel().sgx_quote(), by=Intel())


def test_our_root_is_not_intels() -> None:
    """Without the test root, the same quote and collateral lead nowhere."""
    collateral = DcapCollateral.parse(intel().collateral())
    with pytest.raises(EvidenceCollateral):
        dcap.verify(intel().sgx_quote(), tee=Tee.SGX, collateral=collateral, expected=Expected(), now=NOW)


def test_expired_collateral_is_refused() -> None:
    until = check(intel().sgx_quote()).valid_until
    assert until == NOW + timedelta(days=20, seconds=1)
    with pytest.raises(EvidenceExpired):
        check(intel().sgx_quote(), now_shift=timedelta(days=21))


def test_collateral_of_the_future_is_refused() -> None:
    with pytest.raises(EvidenceNotYetValid):
        check(intel().sgx_quote(), now_shift=timedelta(days=-4))


@pytest.mark.parametrize(("days", "error"), [((-100, -1), EvidenceExpired), ((1, 100), EvidenceNotYetValid)])
def test_pck_outside_its_validity_is_refused(days: tuple[int, int], error: type[EvidenceError]) -> None:
    other = Intel(pck_days=days)
    with pytest.raises(error):
        check(other.sgx_quote(), by=other)


def test_relayed_quote_of_another_session_is_refused() -> None:
    with pytest.raises(EvidenceUnbound):
        check(intel().sgx_quote(report_data=b"\1" * 48), expected=Expected(report_data=BINDING))


def test_report_data_beyond_a_digest_must_be_zero() -> None:
    with pytest.raises(EvidenceUnbound):
        check(intel().sgx_quote(report_data=BINDING + b"\1"), expected=Expected(report_data=BINDING))


@pytest.mark.parametrize("wanted", [b"", bytes(65)])
def test_impossible_expectation_is_refused(wanted: bytes) -> None:
    with pytest.raises(EvidenceUnbound):
        check(intel().sgx_quote(), expected=Expected(report_data=wanted))


def test_expected_nonce_is_never_passed_over() -> None:
    with pytest.raises(EvidenceNonce):
        check(intel().sgx_quote(), expected=Expected(nonce=b"\0"))


def test_quote_of_the_other_tee_is_refused() -> None:
    with pytest.raises(EvidenceMalformed):
        check(intel().tdx_quote(), tee=Tee.SGX)


def test_quote_without_pck_chain_cannot_be_proved() -> None:
    with pytest.raises(EvidenceUnprovable):
        check(intel().sgx_quote(certification=3))


def test_quote_without_collateral_cannot_be_proved() -> None:
    with pytest.raises(EvidenceCollateral):
        dcap.verify(intel().sgx_quote(), tee=Tee.SGX, collateral=None, expected=Expected(), now=NOW)


def test_time_without_zone_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        dcap.verify(
            intel().sgx_quote(),
            tee=Tee.SGX,
            collateral=DcapCollateral.parse(intel().collateral()),
            expected=Expected(),
            now=NOW.replace(tzinfo=None),
        )


def test_another_enclaves_body_under_a_signature_is_refused() -> None:
    quote = bytearray(intel().sgx_quote())
    quote[48 + 64] ^= 1
    with pytest.raises(EvidenceSignature):
        check(bytes(quote))


def test_digest_covers_signed_bytes_only() -> None:
    quote = intel().sgx_quote()
    other = quote[:432] + intel().sgx_quote()[432:]
    assert quote != other
    assert check(quote).evidence_digest == check(other + b"anything").evidence_digest


def test_sizes_are_limited() -> None:
    with pytest.raises(EvidenceMalformed):
        parse_quote(bytes(MAX_QUOTE_BYTES + 1))
    with pytest.raises(EvidenceCollateral):
        DcapCollateral.parse(b" " * (MAX_COLLATERAL_BYTES + 1))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", b'{"tcb_info": 1}'])
def test_collateral_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(EvidenceCollateral):
        DcapCollateral.parse(text)


def test_unknown_words_of_dcap_qvl_are_a_refusal() -> None:
    error = refusal("something new", chains=(), crls=(), now=0)
    assert isinstance(error, EvidenceMalformed)


@given(st.binary(max_size=2000))
def test_any_bytes_raise_only_documented_errors(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        check(data)


@given(st.data())
def test_mutated_quotes_raise_only_documented_errors(data: st.DataObject) -> None:
    tdx = data.draw(st.booleans())
    quote = bytearray(_sample(tdx))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(quote) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        quote[at : at + data.draw(st.integers(0, 8))] = piece
    with contextlib.suppress(EvidenceError):
        check(bytes(quote), _collateral(tdx), tee=Tee.TDX if tdx else Tee.SGX)


@given(st.data())
def test_mutated_collateral_raises_only_documented_errors(data: st.DataObject) -> None:
    parts = json.loads(_collateral(False))
    name = data.draw(st.sampled_from(sorted(parts)))
    text = parts[name]
    at = data.draw(st.integers(0, len(text) - 1))
    parts[name] = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    with contextlib.suppress(EvidenceError):
        check(_sample(False), json.dumps(parts).encode())


@cache
def _sample(tdx: bool) -> bytes:
    return intel().tdx_quote() if tdx else intel().sgx_quote()


@cache
def _collateral(tdx: bool) -> bytes:
    return intel().collateral(tdx=tdx)
