"""EARs: readable by Trustee's relying parties, and every way to pass off a worse one."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey
from tests.trust.samples import NOW, SIMULATED_CLAIMS, TOML, sgx, snp, verified
from tests.trust.test_appraisal import PROGRAM, signed

from redoubt.errors import (
    EarError,
    EarPolicy,
    EarSimulated,
    EarStatus,
    EvidenceStale,
    TokenAlgorithm,
    TokenError,
    TokenExpired,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignature,
    TokenUnbound,
    UsageError,
)
from redoubt.evidence import ear_results
from redoubt.evidence.attestation_key import canonical
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.evidence.tokens import Issuer
from redoubt.trust.appraisal import Appraisal, appraise
from redoubt.trust.ear import SIMULATED_ISSUER, issue_ear, key_id, status_of, trustworthiness
from redoubt.trust.ear_verify import AttestationResult, verify_ear
from redoubt.trust.policy import Binding

KEY = ec.derive_private_key(7, ec.SECP384R1())
ISSUER = "https://broker.example"
KEYS = KeySet((IssuerKey(KEY.public_key(), kid=key_id(KEY.public_key()), algorithm="ES384"),))
PINNED = Issuer(KEYS, ISSUER)
PINNED_SIMULATED = Issuer(KEYS, SIMULATED_ISSUER + ISSUER)
NONCE = bytes(range(32))
ATTESTER: Mapping[str, Any] = {
    **ECKey.import_key(ec.derive_private_key(9, ec.SECP256R1()).public_key()).as_dict(private=False),
    "alg": "ECDH-ES+A256KW",
}
POLICY = signed(TOML.replace('binding = "measurement"\nargu', 'binding = "agent"\nargu'))


def appraisal(evidence: Verified | None = None) -> Appraisal:
    return appraise(evidence or snp(), PROGRAM, policy=POLICY, now=NOW)


def simulated() -> Appraisal:
    return appraisal(verified(Tee.SIMULATED, SIMULATED_CLAIMS))


def issue(found: Appraisal | None = None, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "key": KEY,
        "issuer": ISSUER,
        "attester_key": ATTESTER,
        "nonce": NONCE,
        "now": NOW,
        "token_id": UUID(int=5),
        "lifetime": timedelta(minutes=5),
    }
    return issue_ear(found or appraisal(), **{**values, **changes})


def rely(token: bytes, **changes: Any) -> AttestationResult:
    values: dict[str, Any] = {"issuer": PINNED, "manifest": POLICY.digest, "nonce": NONCE, "now": NOW}
    return verify_ear(token, **{**values, **changes})


def parts(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in token.split(b".")[:2]
    )
    return header, claims


def forge(token: bytes, *, header: Mapping[str, Any] = {}, key: Any = KEY, **claims: Any) -> bytes:
    """The token with other claims, signed by the broker's own key unless said otherwise."""
    old_header, old = parts(token)
    made = {name: value for name, value in {**old, **claims}.items() if value is not None}
    new_header = {**old_header, **header}
    payload = json.dumps(made).encode()
    return jws.serialize_compact(new_header, payload, ECKey.import_key(key), [new_header["alg"]]).encode()


def submodule(token: bytes, **changes: Any) -> dict[str, Any]:
    return {"cpu0": {**parts(token)[1]["submods"]["cpu0"], **changes}}


# --- what is issued ---------------------------------------------------------------------------------------------------
def test_a_relying_party_reads_what_was_appraised() -> None:
    result = rely(issue())
    assert (result.status, result.tee, result.binding) == ("affirming", Tee.SNP, Binding.MEASUREMENT)
    assert (result.manifest, result.program) == (POLICY.digest, PROGRAM.digest)
    assert result.vector == {
        "hardware": 2,
        "executables": 3,
        "configuration": 2,
        "runtime-opaque": 2,
        "instance-identity": 2,
    }
    assert result.key == ATTESTER
    assert result.valid_until == NOW + timedelta(minutes=5)


def test_layout_is_trustees() -> None:
    header, claims = parts(issue())
    assert header == {"alg": "ES384", "typ": "ear+jwt", "kid": key_id(KEY.public_key())}
    assert set(claims) == {
        "eat_profile",
        "iss",
        "iat",
        "exp",
        "jti",
        "cnf",
        "eat_nonce",
        "ear.verifier-id",
        "submods",
    }
    assert set(claims["ear.verifier-id"]) == {"build", "developer"}
    cpu = claims["submods"]["cpu0"]
    assert set(cpu) == {
        "ear.status",
        "ear.trustworthiness-vector",
        "ear.appraisal-policy-id",
        "ear.veraison.annotated-evidence",
    }
    annotated = cpu["ear.veraison.annotated-evidence"]
    assert annotated["snp"]["measurement"] == "11" * 48
    assert annotated["report_data"] == "00" * 64
    assert annotated["runtime_data_claims"]["tee-pubkey"] == ATTESTER


def test_our_own_verifier_of_foreign_results_finds_it_conformant() -> None:
    found = ear_results.verify(issue(), issuers=(PINNED,), expected=Expected(nonce=NONCE), now=NOW)
    assert found.claims["ear.conformant"] is True
    assert found.claims["ear.submods.cpu0.ear.status"] == "affirming"
    assert found.claims["ear.submods.cpu0.ear.appraisal-policy-id"] == POLICY.digest


def test_numbers_beyond_53_bits_and_absent_claims_can_be_issued() -> None:
    token = issue(appraisal(replace(snp(), claims={**snp().claims, "snp.policy": 2**64 - 1, "snp.author_key": None})))
    rely(token)
    assert parts(token)[1]["submods"]["cpu0"]["ear.veraison.annotated-evidence"]["snp"]["policy"] == 2**64 - 1


def test_a_tcb_that_the_owners_accept_is_still_a_warning() -> None:
    token = issue(appraisal(sgx(status="SWHardeningNeeded")))
    with pytest.raises(EarStatus):
        rely(token)
    assert rely(token, accept_warning=True).vector["hardware"] == 32


def test_debug_that_the_owners_accept_is_still_a_warning() -> None:
    policy = signed(TOML.replace("chips = ", "debug = true\nchips = "))
    found = appraise(snp(debug=True), PROGRAM, policy=policy, now=NOW)
    assert status_of(trustworthiness(found)) == "warning"


def test_statuses_of_tiers() -> None:
    words = {2: "affirming", 31: "affirming", 32: "warning", 95: "warning", 96: "contraindicated", 0: "none"}
    assert {tier: status_of({"hardware": tier}) for tier in words} == words
    assert status_of({"hardware": 2, "executables": 33}) == "warning"
    assert status_of({}) == "none"


def test_a_result_ends_with_its_evidence() -> None:
    ends = NOW + timedelta(seconds=30)
    token = issue(appraisal(replace(snp(), valid_until=ends)))
    assert rely(token).valid_until == ends
    with pytest.raises(EvidenceStale):
        issue(appraisal(replace(snp(), valid_until=ends)), now=ends)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": ec.derive_private_key(7, ec.SECP256R1())},
        {"lifetime": timedelta(hours=2)},
        {"lifetime": timedelta(0)},
        {"nonce": b"short"},
        {"nonce": bytes(65)},
    ],
)
def test_what_is_not_issued(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        issue(**changes)


def test_private_or_symmetric_attester_keys_are_never_repeated() -> None:
    private = ECKey.import_key(ec.derive_private_key(9, ec.SECP256R1())).as_dict(private=True)
    for jwk in (private, {"kty": "oct", "k": "AAAA"}, {}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}):
        with pytest.raises(TokenMalformed):
            issue(attester_key=jwk)
    assert "note" not in parts(issue(attester_key={**ATTESTER, "note": "x"}))[1]["cnf"]["jwk"]


# --- attacks ----------------------------------------------------------------------------------------------------------
def test_expired_ear() -> None:
    token = issue()
    rely(token, now=NOW + timedelta(minutes=4, seconds=59))
    with pytest.raises(TokenExpired):
        rely(token, now=NOW + timedelta(minutes=5))
    with pytest.raises(TokenNotYetValid):
        rely(token, now=NOW - timedelta(minutes=2))


def test_ear_that_never_ends_or_lives_too_long() -> None:
    with pytest.raises(TokenMalformed):
        rely(forge(issue(), exp=None))
    far = int((NOW + timedelta(days=400)).timestamp())
    with pytest.raises(TokenExpired):
        rely(forge(issue(), exp=far), now=NOW + timedelta(hours=1))


def test_alg_none() -> None:
    _, payload, _ = issue().split(b".")
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"ear+jwt"}').rstrip(b"=")
    for token in (header + b"." + payload + b".", header + b"." + payload + b".AA"):
        with pytest.raises(TokenAlgorithm):
            rely(token)


def test_hs256_with_the_public_key_as_secret() -> None:
    _, payload, _ = issue().split(b".")
    signed_part = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"ear+jwt"}').rstrip(b"=") + b"." + payload
    mac = hmac.digest(canonical(KEY.public_key()), signed_part, "sha256")
    with pytest.raises(TokenAlgorithm):
        rely(signed_part + b"." + base64.urlsafe_b64encode(mac).rstrip(b"="))


def test_es256_and_other_asymmetric_algorithms() -> None:
    with pytest.raises(TokenAlgorithm):
        rely(forge(issue(), header={"alg": "ES256"}, key=ec.derive_private_key(7, ec.SECP256R1())))


def test_another_key() -> None:
    other = ec.derive_private_key(8, ec.SECP384R1())
    with pytest.raises(TokenSignature):
        rely(forge(issue(), key=other))
    with pytest.raises(TokenKeyUnknown):
        rely(issue(key=other))


def test_wrong_issuer() -> None:
    with pytest.raises(TokenIssuer):
        rely(issue(issuer="https://mallory.example"))
    with pytest.raises(TokenIssuer):
        rely(forge(issue(), iss=None))
    with pytest.raises(TokenIssuer):
        rely(issue(), issuer=Issuer(KEYS, None))


def test_simulated_ear_at_a_hardware_relying_party() -> None:
    token = issue(simulated())
    header, claims = parts(token)
    assert (header["typ"], claims["iss"]) == ("simulated-ear+jwt", SIMULATED_ISSUER + ISSUER)
    assert claims["submods"]["cpu0"]["ear.status"] == "contraindicated"
    with pytest.raises(TokenIssuer):
        rely(token)
    with pytest.raises(TokenIssuer):  # not even by pinning the simulated issuer
        rely(token, issuer=PINNED_SIMULATED)
    with pytest.raises(EarSimulated):  # nor if the broker signed it under its own name
        rely(forge(token, iss=ISSUER))
    with pytest.raises(EarSimulated):
        rely(forge(token, header={"typ": "ear+jwt"}, iss=ISSUER))
    with pytest.raises(EarSimulated):
        rely(forge(token, header={"typ": "ear+jwt"}, iss=ISSUER, eat_profile=parts(issue())[1]["eat_profile"]))


def test_simulated_ear_on_purpose() -> None:
    result = rely(issue(simulated()), issuer=PINNED_SIMULATED, simulated=True)
    assert (result.tee, result.status, result.vector) == (Tee.SIMULATED, "contraindicated", {"hardware": 97})


def test_hardware_ear_where_simulated_is_asked_for() -> None:
    with pytest.raises(TokenIssuer):
        rely(issue(), simulated=True)
    with pytest.raises(EarSimulated):
        rely(forge(issue(), iss=SIMULATED_ISSUER + ISSUER), issuer=PINNED_SIMULATED, simulated=True)


def test_another_manifest() -> None:
    with pytest.raises(EarPolicy):
        rely(issue(), manifest="sha256:" + "00" * 32)


def test_another_or_no_nonce() -> None:
    for token in (issue(nonce=bytes(32)), issue(nonce=None)):
        with pytest.raises(TokenUnbound):
            rely(token)
    rely(issue(nonce=None), nonce=None)


def test_status_that_its_vector_does_not_bear_out() -> None:
    token = issue()
    changes: dict[str, Any]
    for changes in (
        {"ear.trustworthiness-vector": {"hardware": 97}},
        {"ear.trustworthiness-vector": {}},
        {"ear.trustworthiness-vector": {"hardware": -20}},
        {"ear.status": "none"},
        {"ear.status": "excellent"},
    ):
        with pytest.raises(EarStatus):
            rely(forge(token, submods=submodule(token, **changes)))


def test_claims_that_are_missing_or_of_the_wrong_form() -> None:
    token = issue()
    annotated = parts(token)[1]["submods"]["cpu0"]["ear.veraison.annotated-evidence"]
    changes: list[dict[str, Any]] = [
        {"submods": None},
        {"submods": {}},
        {"submods": {**submodule(token), "gpu0": {}}},
        {"submods": submodule(token, **{"ear.status": 2})},
        {"submods": submodule(token, **{"ear.trustworthiness-vector": {"hardware": 2.0}})},
        {"submods": submodule(token, **{"ear.trustworthiness-vector": {"hardware": True}})},
        {"submods": submodule(token, **{"ear.appraisal-policy-id": "default"})},
        {"submods": submodule(token, **{"ear.veraison.annotated-evidence": {**annotated, "redoubt": None}})},
        {"ear.verifier-id": {"build": "x"}},
        {"eat_profile": "tag:github.com,2023:veraison/ear"},
        {"cnf": None},
        {"jti": None},
    ]
    for change in changes:
        with pytest.raises(EarError):
            rely(forge(token, **change))
    for name, value in (("tee", "sev"), ("binding", "total"), ("program", "x"), ("evidence", 1)):
        facts = {**annotated["redoubt"], name: value}
        damaged = submodule(token, **{"ear.veraison.annotated-evidence": {**annotated, "redoubt": facts}})
        with pytest.raises(EarError):
            rely(forge(token, submods=damaged))
    with pytest.raises(EarError):
        rely(forge(token, header={"typ": "JWT"}))


_TOKEN = issue()


@given(st.data())
def test_any_changed_byte_is_refused_with_a_documented_error(data: st.DataObject) -> None:
    raw = bytearray(_TOKEN)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255).filter(lambda it: it != raw[place]))
    if bytes(raw).strip() == _TOKEN:
        return
    with pytest.raises((TokenError, EarError)):
        rely(bytes(raw))


def test_times_are_whole_seconds() -> None:
    later = NOW + timedelta(microseconds=1)
    claims = parts(issue(now=later))[1]
    assert isinstance(later, datetime)
    assert (claims["iat"], type(claims["exp"])) == (int(NOW.timestamp()), int)
