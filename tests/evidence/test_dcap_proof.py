"""What is remembered of an enclave never decides: the same enclave's next quote is verified as if it were the first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache

import pytest
from tests.evidence.pki_dcap import NOW, Intel, sign
from tests.evidence.vectors import Entry, parameters

from redoubt.errors import EvidenceExpired, EvidenceNotYetValid, EvidenceRevoked, EvidenceSignature, EvidenceUnbound
from redoubt.evidence import dcap, dcap_proof
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.dcap_proof import REMEMBERED
from redoubt.evidence.kinds import Kind
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.verify import verify_request
from redoubt.limits import MAX_REMEMBERED_QUOTES

FIRST, SECOND = b"\1" * 64, b"\2" * 64


@cache
def intel() -> Intel:
    return Intel()


@cache
def parsed(*, tdx: bool = False) -> DcapCollateral:
    return DcapCollateral.parse(intel().collateral(tdx=tdx))


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    REMEMBERED.clear()
    yield
    REMEMBERED.clear()


def again(quote: bytes, report_data: bytes) -> bytes:
    """Return what the same quoting enclave makes of the same enclave for another session."""
    signed = bytearray(parse_quote(quote).signed)
    signed[-64:] = report_data
    rest = quote[len(signed) :]
    return bytes(signed) + rest[:4] + sign(intel().ak, bytes(signed)) + rest[68:]


def check(
    quote: bytes,
    collateral: DcapCollateral | None = None,
    *,
    expected: bytes | None = None,
    later: timedelta = timedelta(0),
    tee: Tee = Tee.SGX,
) -> Verified:
    return dcap.verify(
        quote,
        tee=tee,
        collateral=collateral or parsed(tdx=tee is Tee.TDX),
        expected=Expected(report_data=expected),
        now=NOW + later,
        root=intel().root_der,
    )


@pytest.mark.parametrize("tee", [Tee.SGX, Tee.TDX])
def test_the_next_quote_has_the_same_claims_as_if_nothing_were_remembered(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = intel().sgx_quote(report_data=FIRST) if tee is Tee.SGX else intel().tdx_quote(report_data=FIRST)
    first = check(quote, tee=tee)
    following = again(quote, SECOND)
    REMEMBERED.clear()
    alone = check(following, tee=tee, expected=SECOND)
    REMEMBERED.clear()
    check(quote, tee=tee)
    monkeypatch.setattr(dcap_proof, "_verifier", None)  # the long way would fail now
    assert check(following, tee=tee, expected=SECOND) == alone
    assert alone.report_data == SECOND
    assert alone.evidence_digest != first.evidence_digest


@pytest.mark.parametrize("vector", parameters(Kind.SGX, Kind.TDX, accepted=True))
def test_remembered_and_not_are_alike_for_every_vector(vector: Entry) -> None:
    request = vector.request()
    first = verify_request(request)
    assert verify_request(request) == first


def test_remembered_enclave_with_a_forged_signature_is_refused() -> None:
    quote = intel().sgx_quote(report_data=FIRST)
    check(quote)
    forged = bytearray(again(quote, SECOND))
    forged[len(parse_quote(quote).signed) + 4] ^= 1
    with pytest.raises(EvidenceSignature):
        check(bytes(forged))


def test_remembered_enclave_with_other_report_data_under_the_old_signature_is_refused() -> None:
    quote = bytearray(intel().sgx_quote(report_data=FIRST))
    check(bytes(quote))
    quote[48 + 320 : 48 + 384] = SECOND
    with pytest.raises(EvidenceSignature):
        check(bytes(quote), expected=SECOND)


def test_remembered_enclave_does_not_lend_its_report_data() -> None:
    quote = intel().sgx_quote(report_data=FIRST)
    check(quote, expected=FIRST)
    with pytest.raises(EvidenceUnbound):
        check(again(quote, SECOND), expected=FIRST)


def test_remembered_enclave_is_refused_at_another_time() -> None:
    quote = intel().sgx_quote(report_data=FIRST)
    check(quote)
    with pytest.raises(EvidenceExpired):
        check(again(quote, SECOND), later=timedelta(days=21))
    with pytest.raises(EvidenceNotYetValid):
        check(again(quote, SECOND), later=timedelta(days=-4))


def test_remembered_enclave_whose_pck_was_revoked_since_is_refused() -> None:
    quote = intel().sgx_quote(report_data=FIRST)
    check(quote)
    newer = DcapCollateral.parse(intel().collateral(revoked=(intel().pck.serial_number,)))
    with pytest.raises(EvidenceRevoked):
        check(again(quote, SECOND), newer)


def test_new_collateral_is_asked_for_its_own_words() -> None:
    quote = intel().sgx_quote(report_data=FIRST)
    assert check(quote).tcb_status == "UpToDate"
    newer = DcapCollateral.parse(intel().collateral(status="OutOfDate", advisories=("INTEL-SA-1",)))
    verified = check(again(quote, SECOND), newer)
    assert (verified.tcb_status, verified.advisories) == ("OutOfDate", ("INTEL-SA-1",))
    assert verified.claims["sgx.tcb_status"] == "OutOfDate"


def test_what_is_remembered_is_bounded() -> None:
    for number in range(MAX_REMEMBERED_QUOTES + 5):
        REMEMBERED.put((None, parsed().parsed, number.to_bytes(2, "big")), number)
    assert REMEMBERED.get((None, parsed().parsed, (4).to_bytes(2, "big"))) is None
    assert REMEMBERED.get((None, parsed().parsed, (5).to_bytes(2, "big"))) == 5
