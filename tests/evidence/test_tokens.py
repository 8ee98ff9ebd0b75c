"""Attestation results of others: MAA, Intel Trust Authority and EAR tokens, and every way to forge one."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.machines import JwtIssuer, b64url, ec_key, flips, rsa_key, spki
from tests.evidence.vectors import vector

from redoubt.errors import (
    EvidenceDebug,
    RedoubtError,
    TokenAlgorithm,
    TokenError,
    TokenExpired,
    TokenHeader,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignature,
    TokenUnbound,
)
from redoubt.evidence import ear_results, ita, maa
from redoubt.evidence.claims import Expected, ResultKind, Verified
from redoubt.evidence.key_set import load_keys
from redoubt.evidence.tokens import Issuer, flatten

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
NONCE = bytes(range(32))
REPORT_DATA = bytes(range(64))
_TIMES = {"iat": SECONDS - 60, "nbf": SECONDS - 60, "exp": SECONDS + 3600}
MAA = JwtIssuer(
    "https://ours.weu.attest.azure.net",
    rsa_key(),
    claims={
        **_TIMES,
        "x-ms-attestation-type": "sgx",
        "x-ms-sgx-is-debuggable": False,
        "x-ms-sgx-mrenclave": "ab" * 32,
        "x-ms-sgx-report-data": REPORT_DATA.hex(),
        "nonce": base64.b64encode(NONCE).decode(),
    },
)
ITA = JwtIssuer(
    "https://portal.trustauthority.intel.com",
    rsa_key(),
    claims={
        **_TIMES,
        "attester_type": "TDX",
        "attester_tcb_status": "OutOfDate",
        "attester_advisory_ids": ["INTEL-SA-00001"],
        "tdx_report_data": REPORT_DATA.hex(),
        "tdx_is_debuggable": False,
        "verifier_nonce": {"val": base64.b64encode(NONCE).decode(), "iat": "eA==", "signature": "eA=="},
    },
)
EAR = JwtIssuer(
    "https://verifier.example",
    ec_key(2, ec.SECP384R1),
    claims={
        **_TIMES,
        "eat_profile": "tag:github.com,2024:confidential-containers/Trustee",
        "eat_nonce": b64url(NONCE),
        "ear.verifier-id": {"build": "1", "developer": "us"},
        "submods": {"cpu0": {"ear.status": "affirming", "ear.appraisal-policy-id": "p"}},
    },
)
KINDS: dict[str, tuple[JwtIssuer, Callable[..., Verified]]] = {
    "maa": (MAA, maa.verify),
    "ita": (ITA, ita.verify),
    "ear": (EAR, ear_results.verify),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def check(kind: str, token: bytes, *, jwks: bytes | None = None, **changes: Any) -> Verified:
    issuer, verify = KINDS[kind]
    now = changes.pop("now", NOW)
    name = changes.pop("name", issuer.name)
    issuers = (Issuer(load_keys(jwks or issuer.jwks()), name),)
    return verify(token, issuers=issuers, expected=Expected(**changes), now=now)


def token_with(kind: str, claims: dict[str, Any]) -> bytes:
    return KINDS[kind][0].token(**claims)


# --- accepted ---------------------------------------------------------------------------------------------------------
@each_kind
def test_a_token_of_a_listed_issuer_is_believed(kind: str) -> None:
    issuer, _ = KINDS[kind]
    verified = check(kind, issuer.token(), nonce=NONCE)
    assert verified.tee is ResultKind(kind)
    assert all(name.startswith(f"{kind}.") for name in verified.claims)
    assert verified.claims[f"{kind}.iss"] == issuer.name
    assert verified.valid_until == NOW + timedelta(hours=1)


def test_report_data_status_and_advisories() -> None:
    verified = check("ita", ITA.token(), report_data=REPORT_DATA)
    assert (verified.tcb_status, verified.advisories) == ("OutOfDate", ("INTEL-SA-00001",))
    assert check("maa", MAA.token(), report_data=REPORT_DATA).claims["maa.x-ms-sgx-mrenclave"] == "ab" * 32


@pytest.mark.parametrize("alg", ["PS384", "RS256"])
def test_both_algorithms_of_intel(alg: str) -> None:
    check("ita", ITA.token(alg=alg), nonce=NONCE)


def test_the_issuers_own_key_address_is_no_fault_and_is_not_used() -> None:
    check("maa", MAA.token(header={"jku": f"{MAA.name}/certs"}))


def test_keys_as_certificates_only() -> None:
    issued = _certificate(NOW - timedelta(days=1), NOW + timedelta(days=1))
    jwks = json.dumps({"keys": [{"kty": "RSA", "kid": "key-1", "use": "sig", "x5c": [issued]}]}).encode()
    check("maa", MAA.token(), jwks=jwks)
    with pytest.raises(TokenKeyUnknown):
        check("maa", MAA.token(exp=SECONDS + 10**7), jwks=jwks, now=NOW + timedelta(days=2))


def test_a_pinned_pem_key_and_a_token_without_key_id() -> None:
    pem = EAR.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    check("ear", replace(EAR, kid=None).token(), jwks=pem)
    check("ear", EAR.token(), jwks=spki(EAR.key))


def test_an_ear_by_another_draft_is_authentic_but_claims_nothing() -> None:
    claims = check("ear", EAR.token(submods=...)).claims
    assert claims["ear.conformant"] is False
    assert "ear.profile" not in claims
    assert set(claims) <= {"ear.conformant", "ear.iss", "ear.iat", "ear.exp", "ear.nbf"}
    strange: list[Any] = ["splendid", ["affirming"], {}, None]  # a list or an object was a TypeError
    for status in strange:
        bad = {"cpu0": {"ear.status": status}}
        assert check("ear", EAR.token(submods=bad)).claims["ear.conformant"] is False


def test_an_ear_lives_no_longer_than_its_reader_allows() -> None:
    issuers = (Issuer(load_keys(EAR.jwks()), EAR.name),)
    for exp in (..., SECONDS + 10**6):
        token = EAR.token(exp=exp)
        life = timedelta(minutes=5)
        verified = ear_results.verify(token, issuers=issuers, expected=Expected(), now=NOW, longest_life=life)
        assert verified.valid_until == NOW + timedelta(minutes=4)
        with pytest.raises(TokenExpired):
            ear_results.verify(
                token, issuers=issuers, expected=Expected(), now=NOW + timedelta(minutes=4), longest_life=life
            )


# --- public vectors ---------------------------------------------------------------------------------------------------
def _public_maa() -> tuple[bytes, tuple[Issuer, ...], datetime]:
    folder = "Azure+confidential-computing-cvm-guest-attestation"
    keys = load_keys(vector(f"{folder}/maa-jwks.json"))
    token = vector(f"{folder}/maa-sharedweu-2023-azurevm-sevsnp.jwt")
    issuers = (Issuer(keys, "https://sharedweu.weu.attest.azure.net"),)
    return token, issuers, datetime.fromtimestamp(1680173434, UTC)


def test_the_public_maa_token() -> None:
    token, issuers, at = _public_maa()
    verified = maa.verify(token, issuers=issuers, expected=Expected(nonce=b"ADE0101"), now=at)
    assert verified.claims["maa.x-ms-isolation-tee.x-ms-sevsnpvm-vmpl"] == 0
    for days in (-400, 1, 400):
        with pytest.raises((TokenExpired, TokenNotYetValid)):
            maa.verify(token, issuers=issuers, expected=Expected(), now=at + timedelta(days=days))
    for changed in flips(token.strip()):
        with pytest.raises(TokenError):
            maa.verify(changed, issuers=issuers, expected=Expected(), now=at)


def test_the_public_token_with_an_unknown_key_id() -> None:
    _, issuers, _ = _public_maa()
    token = vector("Azure-Samples+microsoft-azure-attestation/maa-sevsnp-unknown-kid.jwt")
    at = datetime.fromtimestamp(1744085800, UTC)
    with pytest.raises(TokenKeyUnknown):
        maa.verify(token, issuers=(Issuer(issuers[0].keys, None),), expected=Expected(), now=at)


@pytest.mark.parametrize(
    ("number", "refusal"),
    [(1, None), (2, None), (3, TokenHeader), (4, None), (5, TokenAlgorithm), (6, None), (7, None)],
)
def test_the_public_ear_tokens(number: int, refusal: type[TokenError] | None) -> None:
    issuers = (Issuer(load_keys(vector("veraison+ear/pkey.jwk.json")), None),)
    token = vector(f"veraison+ear/ear-{number}.jwt")
    if refusal is not None:
        with pytest.raises(refusal):
            ear_results.verify(token, issuers=issuers, expected=Expected(), now=NOW)
        return
    verified = ear_results.verify(token, issuers=issuers, expected=Expected(), now=NOW)
    assert verified.claims["ear.conformant"] is (number != 6)
    for changed in flips(token.strip()):
        with pytest.raises(TokenError):
            ear_results.verify(changed, issuers=issuers, expected=Expected(), now=NOW)


# --- attacks ----------------------------------------------------------------------------------------------------------
@each_kind
def test_alg_none_is_refused(kind: str) -> None:
    with pytest.raises(TokenAlgorithm):
        check(kind, KINDS[kind][0].token(alg="none"))


@each_kind
def test_hs256_with_the_public_key_as_secret_is_refused(kind: str) -> None:
    issuer, _ = KINDS[kind]
    for secret in (spki(issuer.key), issuer.jwks(), b""):
        token = issuer.sign({"alg": "HS256", "kid": "key-1"}, json.dumps(dict(issuer.claims)).encode(), secret=secret)
        with pytest.raises(TokenAlgorithm):
            check(kind, token)


@each_kind
@pytest.mark.parametrize("header", [{"x5u": "https://evil.example"}, {"crit": ["b64"], "b64": False}, {"b64": False}])
def test_headers_that_steer_verification_are_refused(kind: str, header: dict[str, Any]) -> None:
    with pytest.raises(TokenHeader):
        check(kind, KINDS[kind][0].token(header=header))


@each_kind
@pytest.mark.parametrize("address", ["https://evil.example/certs", "", None, 7])
def test_jku_header_of_another_place_is_refused(kind: str, address: object) -> None:
    with pytest.raises(TokenHeader):
        check(kind, KINDS[kind][0].token(header={"jku": address}))


@each_kind
def test_embedded_key_is_never_used(kind: str) -> None:
    issuer, _ = KINDS[kind]
    ours = replace(issuer, key=rsa_key(number=1) if kind != "ear" else ec_key(3, ec.SECP384R1))
    with pytest.raises(TokenHeader):
        check(kind, ours.token(header={"jwk": ours.jwk()}))
    with pytest.raises(TokenSignature):
        check(kind, ours.token(header={"jwk": issuer.jwk()}))
    with pytest.raises(TokenSignature):
        check(kind, ours.token(header={"x5c": ["AAAA"]}))


@each_kind
def test_another_signer_with_a_known_key_id_is_refused(kind: str) -> None:
    issuer, _ = KINDS[kind]
    stranger = replace(issuer, key=rsa_key(number=1) if kind != "ear" else ec_key(3, ec.SECP384R1))
    with pytest.raises(TokenSignature):
        check(kind, stranger.token())


@each_kind
def test_unknown_key_id_is_refused(kind: str) -> None:
    for kid in ("key-2", "", 7):
        with pytest.raises(TokenKeyUnknown):
            check(kind, KINDS[kind][0].token(header={"kid": kid}))


def test_token_without_key_id_is_refused_where_there_are_several_keys() -> None:
    jwks = EAR.jwks(replace(EAR, key=ec_key(3, ec.SECP384R1), kid="key-2").jwk())
    with pytest.raises(TokenKeyUnknown):
        check("ear", replace(EAR, kid=None).token(), jwks=jwks)


@each_kind
def test_issuer_that_is_not_listed_is_refused(kind: str) -> None:
    issuer, verify = KINDS[kind]
    for name in ("https://evil.attest.azure.net", ...):
        with pytest.raises(TokenIssuer):
            check(kind, issuer.token(iss=name))
    with pytest.raises(TokenIssuer):
        verify(issuer.token(), issuers=(), expected=Expected(), now=NOW)
    with pytest.raises(TokenMalformed):
        check(kind, issuer.token(iss=7))


@pytest.mark.parametrize("name", ["https://attest.azure.net.evil.example", "http://a.attest.azure.net", "a"])
def test_maa_issuer_outside_of_azure_is_refused_though_its_key_is_known(name: str) -> None:
    with pytest.raises(TokenIssuer):
        check("maa", MAA.token(iss=name), name=None)


@each_kind
def test_key_of_one_issuer_does_not_speak_for_another(kind: str) -> None:
    issuer, verify = KINDS[kind]
    other = Issuer(load_keys(replace(issuer, key=rsa_key(number=1), name="https://b").jwks()), "https://b")
    with pytest.raises((TokenSignature, TokenAlgorithm)):
        verify(
            issuer.token(iss="https://b"),
            issuers=(Issuer(load_keys(issuer.jwks()), issuer.name), other),
            expected=Expected(),
            now=NOW,
        )


@each_kind
def test_expired_token_is_refused(kind: str) -> None:
    for now in (NOW + timedelta(hours=1), NOW + timedelta(days=400)):
        with pytest.raises(TokenExpired):
            check(kind, KINDS[kind][0].token(), now=now)


@each_kind
@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_token_from_the_future_is_refused(kind: str, name: str) -> None:
    with pytest.raises(TokenNotYetValid):
        check(kind, token_with(kind, {name: SECONDS + 61}))
    check(kind, token_with(kind, {name: SECONDS + 59}))


@pytest.mark.parametrize("kind", ["maa", "ita"])
def test_token_without_expiry_is_refused(kind: str) -> None:
    with pytest.raises(TokenMalformed):
        check(kind, KINDS[kind][0].token(exp=...))


@each_kind
@pytest.mark.parametrize("value", ["tomorrow", True, -1, 10**30, [1]])
def test_times_that_are_no_times_are_refused(kind: str, value: object) -> None:
    with pytest.raises(TokenMalformed):
        check(kind, KINDS[kind][0].token(exp=value))


@each_kind
def test_replayed_token_is_refused(kind: str) -> None:
    for nonce in (bytes(32), NONCE[:-1], b""):
        with pytest.raises(TokenUnbound):
            check(kind, KINDS[kind][0].token(), nonce=nonce)


@each_kind
def test_token_bound_to_another_key_is_refused(kind: str) -> None:
    for data in (bytes(64), REPORT_DATA[:32], b""):
        with pytest.raises(TokenUnbound):
            check(kind, KINDS[kind][0].token(), report_data=data)


@pytest.mark.parametrize(
    ("kind", "claims"),
    [
        ("maa", {"x-ms-sgx-is-debuggable": True}),
        ("maa", {"x-ms-sgx-is-debuggable": "false"}),
        ("maa", {"x-ms-isolation-tee": {"x-ms-sgx-is-debuggable": True}}),
        ("ita", {"tdx_is_debuggable": True}),
        ("ita", {"sgx_is_debuggable": 0}),
    ],
)
def test_debug_enclave_is_refused_whatever_the_issuer_says(kind: str, claims: dict[str, Any]) -> None:
    with pytest.raises(EvidenceDebug):
        check(kind, KINDS[kind][0].token(**claims))


def test_algorithm_of_another_kind_of_key_is_refused() -> None:
    with pytest.raises(TokenAlgorithm):
        check("maa", MAA.token(alg="PS256"))
    with pytest.raises(TokenAlgorithm):
        check("ear", MAA.token(alg="RS256", iss=EAR.name), jwks=EAR.jwks())
    named = json.dumps({"keys": [ITA.jwk(alg="PS384")]}).encode()
    with pytest.raises(TokenAlgorithm):
        check("ita", ITA.token(alg="RS256"), jwks=named)


@pytest.mark.parametrize("payload", [b"[]", b"7", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"{" * 40, b'{"a":' * 2000])
def test_payloads_that_are_not_one_object_are_refused(payload: bytes) -> None:
    with pytest.raises(TokenMalformed):
        check("ear", EAR.sign({"alg": "ES384", "kid": "key-1"}, payload))


def test_ambiguous_claims_are_refused() -> None:
    with pytest.raises(TokenMalformed):
        check("maa", token_with("maa", {"a": {"b": 1}, "a.b": 2}))
    with pytest.raises(TokenMalformed):
        check("ear", EAR.token(conformant=True))
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}, prefix="p") == {"p.a.b": 1, "p.a.c": {}, "p.d": [1]}


# --- key sets ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "jwks",
    [
        b"",
        b"{}",
        b'{"keys": []}',
        b'{"keys": [7]}',
        b'{"keys": {"kty": "RSA"}}',
        json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}).encode(),
        json.dumps({"keys": [EAR.jwk(d="AAAA")]}).encode(),
        json.dumps({"keys": [EAR.jwk(), EAR.jwk()]}).encode(),
        json.dumps({"keys": [EAR.jwk(use="enc")]}).encode(),
        json.dumps({"keys": [EAR.jwk(crv="P-256")]}).encode(),
        json.dumps({"keys": [EAR.jwk(kid=7)]}).encode(),
        json.dumps({"keys": [{"kty": "RSA", "x5c": ["AAAA"]}]}).encode(),
        JwtIssuer("i", rsa_key(1024)).jwks(),
    ],
)
def test_key_sets_that_are_none_are_refused(jwks: bytes) -> None:
    with pytest.raises(TokenMalformed):
        load_keys(jwks)


# --- flipped bits and garbage -----------------------------------------------------------------------------------------
@each_kind
def test_every_flipped_bit_is_refused(kind: str) -> None:
    token = KINDS[kind][0].token()
    for changed in flips(token):
        with pytest.raises(TokenError):
            check(kind, changed)


@each_kind
def test_a_second_spelling_of_a_signature_is_refused(kind: str) -> None:
    token = KINDS[kind][0].token()
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for char in last:
        again = token[:-1] + bytes([char])
        if again != token:
            with pytest.raises(TokenError):
                check(kind, again)


@given(st.binary(max_size=200))
def test_garbage_raises_only_documented_errors(data: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(TokenError):
            check(kind, data)
    with pytest.raises(TokenError):
        load_keys(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(st.sampled_from(["iss", "exp", "iat", "nbf", "x-ms-runtime", "attester_type", "submods"]), _JSON),
    st.dictionaries(st.sampled_from(["alg", "kid", "jku", "jwk", "typ", "crit", "x5c", "zip"]), _JSON),
)
def test_any_signed_claims_raise_only_documented_errors(
    kind: str, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    issuer, _ = KINDS[kind]
    with contextlib.suppress(ValueError), contextlib.suppress(RedoubtError):
        token = issuer.token(**claims)
        check(kind, token, nonce=NONCE)
    head = {"alg": "ES384" if kind == "ear" else "RS256", "kid": "key-1"} | {
        name: value for name, value in header.items() if name != "alg"
    }
    with contextlib.suppress(RedoubtError):
        check(kind, issuer.sign(head, json.dumps(dict(issuer.claims)).encode()))


@given(st.dictionaries(st.sampled_from(["kty", "kid", "alg", "use", "n", "e", "x", "y", "crv", "x5c"]), _JSON))
def test_any_key_set_raises_only_documented_errors(member: dict[str, Any]) -> None:
    for changed in (member, EAR.jwk() | member, MAA.jwk() | member):
        with contextlib.suppress(TokenError):
            load_keys(json.dumps({"keys": [changed]}).encode())


def _certificate(begins: datetime, ends: datetime) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MAA")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    dated = builder.public_key(MAA.key.public_key()).not_valid_before(begins).not_valid_after(ends)
    return base64.b64encode(dated.sign(MAA.key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()
