"""Plain TPM quotes: every scheme, every way to cheat."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.machines import ALL_PCRS, FakeTpm, ec_key, flips, rsa_key, spki
from tests.evidence.vectors import trustee

from redoubt.errors import (
    EvidenceError,
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceSignature,
    EvidenceUnbound,
    EvidenceUnprovable,
    PcrMissing,
)
from redoubt.evidence.attestation_key import load_key
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.tpm import EnrolledKeys, parse_evidence, verify
from redoubt.evidence.tpm_structures import parse_attest, parse_signature

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONCE = b"the verifier's nonce"
TPM = FakeTpm(rsa_key())
TPMS = {
    "rsassa-sha256": TPM,
    "rsassa-sha384": FakeTpm(rsa_key(), hash="sha384"),
    "rsapss-sha256": FakeTpm(rsa_key(), scheme="RSAPSS"),
    "rsapss-sha512": FakeTpm(rsa_key(), scheme="RSAPSS", hash="sha512"),
    "ecdsa-p256": FakeTpm(ec_key(), scheme="ECDSA"),
    "ecdsa-p384": FakeTpm(ec_key(1, ec.SECP384R1), scheme="ECDSA", hash="sha384"),
}


def check(evidence: bytes, tpm: FakeTpm = TPM, **changes: Any) -> Verified:
    required = changes.pop("required", frozenset())
    expected = Expected(**{"nonce": NONCE, **changes})
    enrolled = EnrolledKeys.load(spki(tpm.key), required_pcrs=required)
    return verify(evidence, enrolled=enrolled, expected=expected, now=NOW)


def changed(evidence: bytes, **parts: Any) -> bytes:
    body = json.loads(evidence)
    body["tpm_quote"] |= parts
    return json.dumps(body).encode()


# --- accepted ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TPMS)
@pytest.mark.parametrize("bank", ["sha256", "sha384"])
def test_an_enrolled_key_is_believed(name: str, bank: str) -> None:
    tpm = TPMS[name]
    verified = check(tpm.evidence(NONCE, bank=bank), tpm, required={0, 7, 23})
    assert verified.tee is Tee.TPM
    assert verified.report_data == NONCE
    assert verified.claims[f"tpm.pcr.{bank}.7"] == tpm.pcrs(bank)[7].hex()
    assert verified.claims["tpm.ak_sha256"] == hashlib.sha256(spki(tpm.key)).hexdigest()
    assert (
        verified.evidence_digest
        == "sha256:" + hashlib.sha256(tpm.attest(NONCE, selections=((bank, ALL_PCRS),))).hexdigest()
    )


def test_the_public_vector() -> None:
    evidence = trustee("tpm_evidence.json")
    key = base64.b64decode(json.loads(evidence)["ak_public"])
    verified = verify(
        evidence, enrolled=EnrolledKeys.load(key, required_pcrs=frozenset(ALL_PCRS)), expected=Expected(), now=NOW
    )
    assert verified.claims["tpm.firmware_version"] == "2019102300163636"
    assert sum(name.startswith("tpm.pcr.") for name in verified.claims) == 24


def test_a_48_byte_digest_is_compared_as_if_padded_to_64() -> None:
    digest = hashlib.sha384(b"key and nonce").digest()
    evidence = TPM.evidence(digest)
    for expected in (digest, digest.ljust(64, b"\0")):
        assert check(evidence, nonce=None, report_data=expected).report_data == digest
    with pytest.raises(EvidenceUnbound):
        check(evidence, nonce=None, report_data=digest + b"\1")


# --- attacks ----------------------------------------------------------------------------------------------------------
def test_replayed_quote_is_refused() -> None:
    with pytest.raises(EvidenceNonce):
        check(TPM.evidence(b"yesterday's nonce"))


def test_longer_nonce_with_the_right_beginning_is_refused() -> None:
    with pytest.raises(EvidenceNonce):
        check(TPM.evidence(NONCE + b"\0"))


def test_quote_bound_to_another_key_is_refused() -> None:
    with pytest.raises(EvidenceUnbound):
        check(TPM.evidence(NONCE), nonce=None, report_data=hashlib.sha384(b"my key").digest())


def test_key_that_nobody_enrolled_is_refused() -> None:
    stranger = FakeTpm(rsa_key(number=1))
    with pytest.raises(EvidenceUnprovable):
        check(stranger.evidence(NONCE), TPM)
    with pytest.raises(EvidenceUnprovable):
        verify(TPM.evidence(NONCE), enrolled=EnrolledKeys(()), expected=Expected(), now=NOW)


def test_enrolled_key_beside_another_keys_signature_is_refused() -> None:
    stranger = FakeTpm(rsa_key(number=1))
    signature = stranger.signature(TPM.attest(NONCE))
    with pytest.raises(EvidenceSignature):
        check(changed(TPM.evidence(NONCE), signature=base64.b64encode(signature).decode()))


def test_missing_pcr_in_the_selection_is_refused() -> None:
    evidence = TPM.evidence(NONCE, selections=(("sha256", (0, 1, 2, 3)),))
    with pytest.raises(PcrMissing, match="PCR 7, 14"):
        check(evidence, required={0, 7, 14})


def test_a_register_outside_the_selection_is_no_claim() -> None:
    claims = check(TPM.evidence(NONCE, selections=(("sha256", (0, 1)),))).claims
    assert {name for name in claims if name.startswith("tpm.pcr")} == {"tpm.pcr.sha256.0", "tpm.pcr.sha256.1"}


@pytest.mark.parametrize("index", [0, 7, 23])
def test_changed_pcr_value_is_refused(index: int) -> None:
    values = [it.hex() for it in TPM.pcrs()]
    values[index] = "00" * 32
    with pytest.raises(PcrMissing):
        check(changed(TPM.evidence(NONCE), pcrs=values))


def test_values_left_out_or_of_another_bank_are_refused() -> None:
    values = [it.hex() for it in TPM.pcrs()]
    for wrong in (values[:-1], [], [*values, "00" * 32], [it.hex() for it in TPM.pcrs("sha384")]):
        with pytest.raises(EvidenceMalformed):
            check(changed(TPM.evidence(NONCE), pcrs=wrong))


@pytest.mark.parametrize(
    "selections",
    [
        (),
        (("sha256", ()),),
        (("sha256", (0,)), ("sha384", (0,))),
        (("sha1", (0, 1)),),
        (("sha256", (0,)), ("sha256", (1,))),
    ],
    ids=["none", "empty", "two banks", "sha1", "one bank twice"],
)
def test_odd_selections_are_refused(selections: Any) -> None:
    with pytest.raises(EvidenceMalformed):
        check(TPM.evidence(NONCE, selections=selections))


@pytest.mark.parametrize("changes", [{"magic": 0x12345678}, {"kind": 0x8017}], ids=["no magic", "certify"])
def test_signed_bytes_that_are_no_quote_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceMalformed):
        check(TPM.evidence(NONCE, **changes))


def test_bytes_after_the_quote_are_refused() -> None:
    with pytest.raises(EvidenceMalformed):
        check(TPM.evidence(NONCE, message=TPM.attest(NONCE) + b"\0"))


def test_weak_and_odd_keys_are_refused() -> None:
    for key in (rsa_key(1024), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(EvidenceMalformed):
            load_key(spki(key))


def test_signature_of_another_scheme_than_the_keys_is_refused() -> None:
    signature = FakeTpm(ec_key(), scheme="ECDSA").signature(TPM.attest(NONCE))
    with pytest.raises(EvidenceSignature):
        check(changed(TPM.evidence(NONCE), signature=base64.b64encode(signature).decode()))


@pytest.mark.parametrize("field", ["ak_public", "tpm_quote", "extra"])
def test_missing_and_unknown_fields_are_refused(field: str) -> None:
    body = json.loads(TPM.evidence(NONCE))
    if field == "extra":
        body["extra"] = 1
    else:
        del body[field]
    with pytest.raises(EvidenceMalformed):
        check(json.dumps(body).encode())


def test_a_name_that_stands_twice_is_refused() -> None:
    evidence = TPM.evidence(NONCE).decode()
    with pytest.raises(EvidenceMalformed, match="repeats"):
        check(evidence.replace('{"ak_public"', '{"ak_public": "AAAA", "ak_public"', 1).encode())


# --- flipped bits and garbage -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TPMS)
def test_every_flipped_bit_is_refused(name: str) -> None:
    tpm = TPMS[name]
    evidence = tpm.evidence(NONCE)
    message = tpm.attest(NONCE)
    signature = tpm.signature(message)
    for part in flips(message, count=100):
        with pytest.raises(EvidenceError):
            check(changed(evidence, message=base64.b64encode(part).decode()), tpm)
    for part in flips(signature, count=100):
        with pytest.raises(EvidenceError):
            check(changed(evidence, signature=base64.b64encode(part).decode()), tpm)


def test_every_flipped_bit_of_the_public_vector_is_refused() -> None:
    evidence = trustee("tpm_evidence.json")
    body = json.loads(evidence)
    enrolled = EnrolledKeys.load(base64.b64decode(body["ak_public"]))
    for field in ("message", "signature"):
        for part in flips(base64.b64decode(body["tpm_quote"][field])):
            again = changed(evidence, **{field: base64.b64encode(part).decode()})
            with pytest.raises(EvidenceError):
                verify(again, enrolled=enrolled, expected=Expected(), now=NOW)


@given(st.binary(max_size=300))
def test_garbage_raises_only_documented_errors(data: bytes) -> None:
    for parse in (parse_attest, parse_signature, load_key, parse_evidence):
        with pytest.raises(EvidenceError):
            parse(data)


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=5), st.booleans())
def test_mutated_keys_raise_only_documented_errors(changes: list[tuple[int, int]], rsa: bool) -> None:
    key = bytearray(spki(rsa_key() if rsa else ec_key()))
    for at, value in changes:
        key[at] = value
    with contextlib.suppress(EvidenceError):
        load_key(bytes(key))


@given(st.data())
def test_mutated_structures_raise_only_documented_errors(data: st.DataObject) -> None:
    message = TPM.attest(NONCE)
    for original, parse in ((message, parse_attest), (TPM.signature(message), parse_signature)):
        changed_bytes = bytearray(original)
        for _ in range(data.draw(st.integers(1, 6))):
            changed_bytes[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(original)))
        with contextlib.suppress(EvidenceError):
            parse(bytes(changed_bytes[:cut]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["ak_public", "tpm_quote", "message", "signature", "pcrs"]), inner, max_size=5
            )
        ),
    )
)
def test_any_json_raises_only_documented_errors(value: object) -> None:
    with pytest.raises(EvidenceError):
        parse_evidence(json.dumps(value).encode())
