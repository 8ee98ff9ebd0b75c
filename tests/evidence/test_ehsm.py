"""eHSM as an attestation service: quotes of a test PKI, an eHSM on loopback, and answers that are not authentic."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.pki_dcap import NOW, Intel
from tests.keys.peers.ehsm import Ehsm, hmac_of
from tests.keys.peers.tls import Reply, Request, TestAuthority, serve

from redoubt.errors import (
    EvidenceDebug,
    EvidenceError,
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceUnbound,
    ProviderAnswerInvalid,
    RedoubtError,
    TokenMalformed,
    TokenSignature,
    TokenUnbound,
    UsageError,
)
from redoubt.evidence.claims import Expected, ResultKind
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.ehsm import AttestationService, Measurements, check_answer
from redoubt.keys.ehsm_wire import EhsmClient
from redoubt.keys.https import Address, https_client

ENCLAVE = Measurements(mrenclave=b"\x11" * 32, mrsigner=b"\x22" * 32)
OTHER = Measurements(mrenclave=b"\x12" * 32, mrsigner=b"\x22" * 32)
KEY, NONCE = "api-key", bytes(range(32))


@dataclass
class Running:
    ehsm: Ehsm
    service: AttestationService
    change: Callable[[Request, Reply], Reply]


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    ehsm, authority = Ehsm(), TestAuthority(tmp_path_factory.mktemp("ehsm"))
    appid, api_key = ehsm.enroll()
    changes: list[Running] = []
    with serve(lambda request: changes[0].change(request, ehsm(request)), authority.server()) as port:
        client = EhsmClient(
            https_client(Address.parse(f"https://localhost:{port}"), ca_file=authority.file),
            base="",
            appid=appid,
            api_key=lambda: api_key,
        )
        changes.append(Running(ehsm, AttestationService(client), lambda request, reply: reply))
        yield changes[0]


@pytest.fixture
def ehsm(running: Running) -> Running:
    running.change = lambda request, reply: reply
    running.ehsm.judge = lambda quote: True
    return running


# --- VerifyQuote ------------------------------------------------------------------------------------------------------
def test_quote_that_the_service_accepts_becomes_claims(ehsm: Running, intel: Intel) -> None:
    quote = intel.sgx_quote(report_data=b"bound")
    verified = ehsm.service.verify_quote(
        quote, policy=None, measurements=ENCLAVE, expected=Expected(report_data=b"bound")
    )
    assert verified.tee is ResultKind.EHSM
    assert verified.claims["ehsm.mrenclave"] == "11" * 32
    assert verified.tcb_status is None


def test_policy_of_the_service_is_kept_and_compared(ehsm: Running, intel: Intel) -> None:
    quote = intel.sgx_quote()
    policy = ehsm.service.upload_policy(ENCLAVE)
    assert ehsm.service.verify_quote(quote, policy=policy, measurements=ENCLAVE, expected=Expected()).claims
    foreign = ehsm.service.upload_policy(OTHER)
    with pytest.raises(EvidenceError):
        ehsm.service.verify_quote(quote, policy=foreign, measurements=ENCLAVE, expected=Expected())
    with pytest.raises(ProviderAnswerInvalid):
        ehsm.service.verify_quote(quote, policy=uuid4(), measurements=ENCLAVE, expected=Expected())


def test_quote_that_the_service_refuses_is_refused(ehsm: Running, intel: Intel) -> None:
    ehsm.ehsm.judge = lambda quote: False
    with pytest.raises(EvidenceError, match="not genuine"):
        ehsm.service.verify_quote(intel.sgx_quote(), policy=None, measurements=ENCLAVE, expected=Expected())


def test_no_of_the_service_turned_into_yes_is_refused(ehsm: Running, intel: Intel) -> None:
    def flip(request: Request, reply: Reply) -> Reply:
        body = json.loads(reply.content)
        body["result"]["result"] = True
        return Reply.of(body)

    ehsm.ehsm.judge, ehsm.change = lambda quote: False, flip
    with pytest.raises(TokenSignature):
        ehsm.service.verify_quote(intel.sgx_quote(), policy=None, measurements=ENCLAVE, expected=Expected())


def test_replayed_answer_with_a_stale_nonce_is_refused(ehsm: Running, intel: Intel) -> None:
    first: list[Reply] = []

    def replay(request: Request, reply: Reply) -> Reply:
        first.append(reply)
        return first[0]

    ehsm.change = replay
    quote = intel.sgx_quote()
    ehsm.service.verify_quote(quote, policy=None, measurements=ENCLAVE, expected=Expected())
    with pytest.raises(TokenUnbound):
        ehsm.service.verify_quote(quote, policy=None, measurements=ENCLAVE, expected=Expected())


def test_malformed_policy_id_is_refused(ehsm: Running) -> None:
    ehsm.change = lambda request, reply: Reply.of({"code": 200, "result": {"policyId": "x"}})
    with pytest.raises(ProviderAnswerInvalid):
        ehsm.service.upload_policy(ENCLAVE)


# --- the pure check ---------------------------------------------------------------------------------------------------
def answer(**members: object) -> dict[str, object]:
    values = {"result": True, "nonce": base64.b64encode(NONCE).decode(), **members}
    return {**values, "sign": hmac_of(KEY, values)}


def check(result: object, quote: bytes, *, api_key: str = KEY, expected: Expected | None = None) -> object:
    return check_answer(
        result,  # type: ignore[arg-type]
        quote=quote,
        nonce=NONCE,
        api_key=api_key,
        measurements=ENCLAVE,
        expected=expected or Expected(),
    )


def test_answer_signed_with_another_key_is_refused(intel: Intel) -> None:
    assert check(answer(), intel.sgx_quote())
    with pytest.raises(TokenSignature):
        check(answer(), intel.sgx_quote(), api_key="another")


def test_signature_in_capitals_is_not_the_signature(intel: Intel) -> None:
    result = answer()
    with pytest.raises(TokenSignature):
        check({**result, "sign": str(result["sign"]).upper()}, intel.sgx_quote())


def test_nonce_that_smuggles_a_result_is_refused(intel: Intel) -> None:
    """The signed text is unescaped: a signed "no" over the nonce ``x&result=true`` is that of a "yes" over ``x``."""
    nonce = base64.b64encode(NONCE).decode()
    assert hmac_of(KEY, {"result": False, "nonce": f"{nonce}&result=true"}) == answer()["sign"]
    with pytest.raises(TokenMalformed):
        check(answer(nonce=f"{nonce}&result=true", result=False), intel.sgx_quote())


@pytest.mark.parametrize(
    ("result", "refusal"),
    [
        ({}, TokenMalformed),
        ({"result": True, "nonce": "x"}, TokenMalformed),
        (answer(extra="1"), TokenMalformed),
        (answer(result="true"), TokenMalformed),
        (answer(nonce=7), TokenMalformed),
        ({**answer(), "sign": 7}, TokenMalformed),
        ({**answer(), "sign": ""}, TokenSignature),
        (answer(nonce="AAAA"), TokenUnbound),
        (answer(result=False), EvidenceError),
        (answer(mr_enclave="33" * 32), EvidenceUnbound),
        (answer(mr_signer="33" * 32), EvidenceUnbound),
    ],
)
def test_answer_that_is_not_authentic_fresh_and_good_is_refused(
    intel: Intel, result: dict[str, object], refusal: type[RedoubtError]
) -> None:
    with pytest.raises(refusal):
        check(result, intel.sgx_quote())


def test_debug_other_and_unbound_quotes_are_refused_whatever_the_service_says(intel: Intel) -> None:
    for quote, refusal in (
        (intel.sgx_quote(attributes=7), EvidenceDebug),
        (intel.sgx_quote(mrenclave=b"\x99" * 32), EvidenceUnbound),
        (intel.tdx_quote(), EvidenceMalformed),
        (b"not a quote", EvidenceMalformed),
    ):
        with pytest.raises(refusal):
            check(answer(), quote)
    with pytest.raises(EvidenceUnbound):
        check(answer(), intel.sgx_quote(report_data=b"a"), expected=Expected(report_data=b"b"))
    with pytest.raises(EvidenceNonce):
        check(answer(), intel.sgx_quote(), expected=Expected(nonce=b"n"))
    with pytest.raises(UsageError):
        Measurements(mrenclave=b"", mrsigner=b"")


@given(
    st.dictionaries(
        st.sampled_from(["result", "nonce", "mr_enclave", "mr_signer", "sign", "x"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_any_answer_is_refused_with_a_redoubt_error(result: dict[str, object]) -> None:
    with pytest.raises(RedoubtError):
        check(result, b"")


# --- GenerateQuote ----------------------------------------------------------------------------------------------------
def own(ehsm: Running, intel: Intel, measurements: Measurements = ENCLAVE) -> object:
    collateral = DcapCollateral.parse(intel.collateral())
    return ehsm.service.own_quote(measurements=measurements, collateral=collateral, now=NOW, root=intel.root_der)


@pytest.mark.parametrize("bind", [lambda challenge: challenge, lambda challenge: sha256(challenge).digest()])
def test_own_quote_over_the_challenge_is_verified_here(
    ehsm: Running, intel: Intel, bind: Callable[[bytes], bytes]
) -> None:
    ehsm.ehsm.quote = lambda challenge: intel.sgx_quote(report_data=bind(challenge))
    assert own(ehsm, intel)
    with pytest.raises(EvidenceUnbound):
        own(ehsm, intel, OTHER)


def test_own_quote_without_the_challenge_is_refused(ehsm: Running, intel: Intel) -> None:
    ehsm.ehsm.quote = lambda challenge: intel.sgx_quote()  # what the last published eHSM-KMS answers
    with pytest.raises(EvidenceUnbound, match="does not carry the challenge"):
        own(ehsm, intel)


def test_own_quote_of_another_pki_or_challenge_is_refused(ehsm: Running, intel: Intel) -> None:
    stranger = Intel()
    ehsm.ehsm.quote = lambda challenge: stranger.sgx_quote(report_data=challenge)
    with pytest.raises(EvidenceError):
        own(ehsm, intel)
    ehsm.change = lambda request, reply: Reply.of({"code": 200, "result": {"challenge": "AAAA", "quote": "AAAA"}})
    with pytest.raises(EvidenceUnbound):
        own(ehsm, intel)


def test_policy_ids_are_uuids(ehsm: Running) -> None:
    assert isinstance(ehsm.service.upload_policy(ENCLAVE), UUID)
