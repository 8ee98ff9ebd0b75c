"""RCAR messages, the golden transcript of docs/protocol.md, and what parsers say to strangers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.samples import KEY, NONCE, PROGRAM, RECIPIENT, json_values, mutate

from redoubt.errors import BrokerMessage, ProtocolVersion, SecretRefused
from redoubt.limits import MAX_ARGUMENTS, MAX_RCAR_BYTES
from redoubt.protocol.jwe import Recipient, decrypt, public_jwk
from redoubt.protocol.rcar import (
    AttestRequest,
    AttestResponse,
    AuthRequest,
    Challenge,
    ProgramStatement,
    report_data,
)
from redoubt.trust.signer_key import signer_jwk

STATEMENT = ProgramStatement(PROGRAM, ("--month", "2026-11"))
ATTEST = AttestRequest(
    nonce=NONCE, tee_pubkey=RECIPIENT, evidence={"quote": "AwACAAAAAAA="}, additional_evidence=STATEMENT.encode()
)
SIGNER = ec.derive_private_key(13, ec.SECP384R1())
PAGE = (Path(__file__).parents[2] / "docs/protocol.md").read_text()


def transcript(name: str) -> bytes:
    """The block of docs/protocol.md that follows the mark of this *name*."""
    found = re.search(rf"<!-- golden: {name} -->\n```\w*\n(.*?)\n```", PAGE, re.DOTALL)
    assert found, name
    return found[1].encode()


# --- golden -----------------------------------------------------------------------------------------------------------
def test_golden_transcript_is_what_we_send() -> None:
    assert AuthRequest("sgx").encode() == transcript("auth")
    assert Challenge(NONCE).encode() == transcript("challenge")
    assert ATTEST.encode() == transcript("attest")
    assert f"{KEY.private_numbers().private_value:064x}".encode() == transcript("attester key")


def test_golden_transcript_is_what_we_read() -> None:
    assert AuthRequest.parse(transcript("auth")) == AuthRequest("sgx")
    assert Challenge.parse(transcript("challenge")) == Challenge(NONCE)
    read = AttestRequest.parse(transcript("attest"))
    assert (read, read.program) == (ATTEST, STATEMENT)
    assert read.report_data.hex().encode() == transcript("report data")
    assert AttestResponse.parse(transcript("response")).token.count(".") == 2
    assert decrypt(transcript("resource"), KEY) == b"the resource"


def test_report_data_is_computed_as_the_specification_says() -> None:
    """From the text of the message alone: no code of ours but SHA-384 and RFC 8785."""
    message = json.loads(transcript("attest"))
    bound = {
        "tee-pubkey": message["runtime-data"]["tee-pubkey"],
        "nonce": message["runtime-data"]["nonce"],
        "additional-evidence": message["tee-evidence"]["additional_evidence"],
    }
    canonical = rfc8785.dumps(bound)
    assert canonical == transcript("hashed")
    assert (hashlib.sha384(canonical).digest() + bytes(16)).hex().encode() == transcript("report data")


# --- what Trustee's clients send --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "extra", ["", {}, {"supported-hash-algorithms": ["sha256", "sha384", "sha512"]}, {"selected": 1}, {"x": []}]
)
def test_requests_of_trustees_clients(extra: Any) -> None:
    body = json.dumps({"version": "0.4.0", "tee": "snp", "extra-params": extra}).encode()
    assert AuthRequest.parse(body) == AuthRequest("snp")


@pytest.mark.parametrize(("old", "new"), [("azsnpvtpm", "az-snp-vtpm"), ("aztdxvtpm", "az-tdx-vtpm")])
def test_azure_names_of_older_clients(old: str, new: str) -> None:
    assert AuthRequest.parse(AuthRequest(old).encode()) == AuthRequest(new)


@pytest.mark.parametrize("extra", [None, 1, ["sha384"], {"supported-hash-algorithms": "sha384"}])
def test_other_extra_params_are_refused(extra: Any) -> None:
    with pytest.raises(BrokerMessage, match="extra-params"):
        AuthRequest.parse(json.dumps({"version": "0.4.0", "tee": "snp", "extra-params": extra}).encode())


def test_attester_without_sha384_is_refused() -> None:
    body = {"version": "0.4.0", "tee": "snp", "extra-params": {"supported-hash-algorithms": ["sha256"]}}
    with pytest.raises(BrokerMessage, match="SHA-384"):
        AuthRequest.parse(json.dumps(body).encode())


@pytest.mark.parametrize("version", ["0.1.0", "0.1.1", "0.2.0", "0.3.0", "0.4.1", "1.0.0", "", "0.4.0 "])
def test_other_versions_are_refused_by_name(version: str) -> None:
    body = AuthRequest("snp").encode().replace(b"0.4.0", version.encode())
    with pytest.raises(ProtocolVersion, match=r"0\.4\.0 is served"):
        AuthRequest.parse(body)


def test_attestation_of_an_older_version_is_refused() -> None:
    old = {"tee-pubkey": dict(RECIPIENT.jwk), "tee-evidence": {"quote": "AAAA"}}
    with pytest.raises(BrokerMessage, match="tee-pubkey"):
        AttestRequest.parse(json.dumps(old).encode())


@pytest.mark.parametrize("name", ["", "SNP", "-", "a" * 33, "s np", "snp\n"])
def test_tee_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BrokerMessage, match="TEE"):
        AuthRequest.parse(AuthRequest(name).encode())


@pytest.mark.parametrize("selected", [{"selected-hash-algorithm": "sha384"}, {}, ""])
def test_challenges_of_trustee(selected: Any) -> None:
    body = {**json.loads(Challenge(NONCE).encode()), "extra-params": selected}
    assert Challenge.parse(json.dumps(body).encode()).nonce == NONCE


def test_challenge_that_downgrades_the_hash_is_refused() -> None:
    body = {**json.loads(Challenge(NONCE).encode()), "extra-params": {"selected-hash-algorithm": "sha256"}}
    with pytest.raises(BrokerMessage, match="SHA-384"):
        Challenge.parse(json.dumps(body).encode())


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_short_nonce_is_refused(size: int) -> None:
    with pytest.raises(BrokerMessage, match="nonce"):
        Challenge.parse(Challenge(bytes(size)).encode())


# --- the program statement --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "{}"])
def test_clients_that_know_no_programs_claim_none(text: str) -> None:
    assert replace(ATTEST, additional_evidence=text).program is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"nvidia":{}}', "devices"),
        ('{"redoubt":{},"nvidia":{}}', "devices"),
        (STATEMENT.encode().replace(":", ": ", 1), "canonical"),
        (STATEMENT.encode().replace('"format":1', '"format":2'), "format"),
        (STATEMENT.encode().replace('"format":1', '"format":true'), "format"),
        (STATEMENT.encode().replace('"format":1', '"format":1,"more":1'), "unknown member"),
        (STATEMENT.encode().replace("sha256:", "sha384:"), "digest"),
        (STATEMENT.encode().replace('"2026-11"', "3"), "argument"),
        (STATEMENT.encode().replace('"2026-11"', '"\\ud800"'), "surrogate"),
        ('{"redoubt":[]}', "object"),
        ("redoubt", "JSON"),
    ],
)
def test_other_additional_evidence_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BrokerMessage, match=reason):
        ProgramStatement.parse(text)


def test_arguments_are_bounded() -> None:
    with pytest.raises(BrokerMessage, match="arguments"):
        ProgramStatement(PROGRAM, ("",) * (MAX_ARGUMENTS + 1)).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(d="AAAA"),
        lambda it: it.update(crv="P-256"),
        lambda it: it.pop("y"),
        lambda it: it.update(x=it["y"], y=it["x"]),
        lambda it: it.update(x=it["x"] + "="),
    ],
)
def test_statement_with_another_key_for_signatures_than_one_on_p384_is_refused(change: Callable[[Any], Any]) -> None:
    jwk = signer_jwk(SIGNER.public_key())
    text = ProgramStatement(PROGRAM, (), jwk).encode()
    assert ProgramStatement.parse(text) == ProgramStatement(PROGRAM, (), jwk)
    body = json.loads(text)
    change(body["redoubt"]["signer"])
    with pytest.raises(BrokerMessage, match="key for signatures"):
        ProgramStatement.parse(rfc8785.dumps(body).decode())


@given(st.lists(st.text(max_size=20), max_size=5))
def test_statements_round_trip(arguments: list[str]) -> None:
    statement = ProgramStatement(PROGRAM, tuple(arguments))
    assert ProgramStatement.parse(statement.encode()) == statement


# --- binding ----------------------------------------------------------------------------------------------------------
def test_report_data_binds_nonce_key_and_program() -> None:
    other_key = Recipient.parse(public_jwk(ec.generate_private_key(ec.SECP256R1())))
    others = [
        replace(ATTEST, nonce=bytes(32)),
        replace(ATTEST, tee_pubkey=other_key),
        replace(ATTEST, additional_evidence=""),
        replace(ATTEST, additional_evidence=ProgramStatement(PROGRAM, ()).encode()),
    ]
    digests = {it.report_data for it in (ATTEST, *others)}
    assert len(digests) == 5
    assert all(len(it) == 64 and not any(it[48:]) for it in digests)


def test_rsa1_5_key_is_refused_before_anything_is_encrypted() -> None:
    body = json.loads(ATTEST.encode())
    body["runtime-data"]["tee-pubkey"] = {"kty": "RSA", "alg": "RSA1_5", "n": "AQAB", "e": "AQAB"}
    with pytest.raises(SecretRefused, match="RSA1_5"):
        AttestRequest.parse(json.dumps(body).encode())


@pytest.mark.parametrize("init", [{"format": "toml", "body": ""}, None])
def test_init_data_changes_nothing(init: Any) -> None:
    body = {**json.loads(ATTEST.encode()), "init-data": init}
    assert AttestRequest.parse(json.dumps(body).encode()) == ATTEST


@pytest.mark.parametrize("init", [{"format": "toml"}, {"format": "toml", "body": 1}, [], "x"])
def test_malformed_init_data_is_refused(init: Any) -> None:
    with pytest.raises(BrokerMessage, match="init-data"):
        AttestRequest.parse(json.dumps({**json.loads(ATTEST.encode()), "init-data": init}).encode())


def test_additional_evidence_forges_no_member_of_what_is_hashed() -> None:
    """Quotes in the additional evidence cannot forge another member of what is hashed."""
    forged = report_data(nonce=NONCE, tee_pubkey=RECIPIENT.jwk, additional_evidence='","nonce":"AAAA')
    assert forged != report_data(nonce=NONCE, tee_pubkey=RECIPIENT.jwk, additional_evidence="")


# --- strangers --------------------------------------------------------------------------------------------------------
PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (AuthRequest.parse, AuthRequest("tdx").encode()),
    (Challenge.parse, Challenge(NONCE).encode()),
    (lambda body: AttestRequest.parse(body).program, ATTEST.encode()),
    (AttestResponse.parse, AttestResponse("a.b.c").encode()),
    (lambda body: ProgramStatement.parse(body.decode()), STATEMENT.encode().encode()),
]
parsers = st.sampled_from(PARSERS)


@given(parsers, st.binary(min_size=1, max_size=100))
def test_bytes_that_are_no_message(parser: tuple[Callable[[bytes], object], bytes], garbage: bytes) -> None:
    with pytest.raises((BrokerMessage, UnicodeDecodeError)):
        parser[0](garbage + b"\0")


@settings(max_examples=400)
@given(parsers, st.data(), json_values)
def test_a_member_replaced_by_anything(
    parser: tuple[Callable[[bytes], object], bytes], data: st.DataObject, value: Any
) -> None:
    parse, good = parser
    try:
        parse(json.dumps(mutate(json.loads(good), data, value)).encode())
    except (BrokerMessage, SecretRefused, ProtocolVersion):
        return


@pytest.mark.parametrize("body", [b"[]", b"[" * 50_000, b" " * (MAX_RCAR_BYTES + 1), b'{"version":"0.4.0"}', b"\xff"])
def test_malformed_bodies(body: bytes) -> None:
    for parse, _ in PARSERS[:-1]:
        with pytest.raises(BrokerMessage):
            parse(body)
