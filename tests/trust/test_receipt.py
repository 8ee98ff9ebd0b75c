"""Receipts: what a verifier learns, and every way to make it learn something else. Each has an error of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.trust import test_ear
from tests.trust.receipts import (
    BROKER,
    BROKER_KEY,
    END,
    INPUT_HEAD,
    MALLORY_SIGNER,
    MONTHLY,
    OTHER_ATTESTER,
    OTHER_BROKER,
    OUTPUT_HEAD,
    REPORT,
    SALES,
    SIGNER,
    TRUSTED,
    Job,
    edited,
    edited_report,
    under,
    under_named_broker,
    verify,
)
from tests.trust.samples import OTHER_DIGEST
from tests.trust.test_appraisal import signed

from redoubt.errors import (
    AuditBroken,
    AuditRowChanged,
    ReceiptBroker,
    ReceiptError,
    ReceiptGrant,
    ReceiptInput,
    ReceiptJob,
    ReceiptMalformed,
    ReceiptManifest,
    ReceiptOutput,
    ReceiptProgram,
    ReceiptRole,
    ReceiptRoleAdded,
    ReceiptRoleRemoved,
    ReceiptSignature,
    ReceiptSigner,
    ReceiptSimulated,
    ReceiptTime,
    ReceiptType,
    ReceiptUnsigned,
    RedoubtError,
    TokenError,
)
from redoubt.keys.register import CommitHead
from redoubt.trust.broker_key import key_id
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.policy import Action, Binding
from redoubt.trust.receipt import PAYLOAD_TYPE, SIMULATED_RECEIPT, Receipt, parse_report, sign_receipt, sign_reported
from redoubt.trust.receipt_audit import Signatory, proved_part
from redoubt.trust.receipt_values import Touched
from redoubt.trust.receipt_verify import Trusted
from redoubt.trust.signer_key import parse_signer, signer_jwk, thumbprint

JOB = Job()
RECEIPT = JOB.receipt()
SIMULATED = Job(simulated=True).receipt()
OTHER_JOB = Job(attester=OTHER_ATTESTER, ears=(50, 60))
FORGED = "sha256:" + "0f" * 32
Statement = dict[str, Any]


# --- what a verifier learns -------------------------------------------------------------------------------------------
def test_a_receipt_says_who_computed_what() -> None:
    found = verify(RECEIPT)
    assert (found.broker, found.simulated) == (BROKER, False)
    assert [it.binding for it in found.proved.roles] == [Binding.MEASUREMENT] * 2
    read, wrote = found.proved.releases
    assert (read.dataset, read.action, read.head, read.data_keys) == (SALES, Action.READ, INPUT_HEAD, 2)
    assert (wrote.dataset, wrote.action, wrote.data_keys) == (REPORT, Action.WRITE, 1)
    assert [(it.dataset, it.head) for it in found.proved.commits] == [(REPORT, OUTPUT_HEAD)]
    assert found.reported.status == 0
    assert found.audit.at == found.proved.at == END


def test_a_receipt_is_an_in_toto_statement_in_dsse() -> None:
    envelope = json.loads(RECEIPT)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:redoubt:receipt:v1"
    assert statement["subject"] == [{"name": f"dataset:{REPORT}", "digest": {"sha256": "2b" * 32}}]


def test_another_implementation_of_dsse_accepts_and_refuses_the_same() -> None:
    """securesystemslib, the library of in-toto and TUF."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    envelope = Envelope.from_dict(json.loads(RECEIPT))
    for key, right in ((BROKER_KEY, True), (OTHER_BROKER, False)):
        public = SSlibKey.from_crypto(key.public_key(), keyid=BROKER)
        if right:
            assert envelope.verify([public], 1) == {BROKER: public}
            continue
        with pytest.raises(VerificationError):
            envelope.verify([public], 1)


def test_a_job_that_wrote_nothing_is_a_run_of_its_program() -> None:
    job = Job(changes={"outputs": ()})
    rows = [row for row in job.rows()[1:] if row.event["event"] != "register"]
    old = Receipt.parse(job.receipt()).proved
    by = Signatory(issuer=old.issuer, key=old.key, ear=old.ear, at=old.at, audit=old.audit)
    proved = proved_part(job.job, rows, by=by)
    made = sign_receipt(proved, job.report(), key=BROKER_KEY, simulated=False)
    assert verify(made).proved.commits == ()
    assert Receipt.parse(made).subject == [{"name": "program", "digest": {"sha256": "ab" * 32}}]


def test_an_attestation_that_was_never_used_is_no_role() -> None:
    job = Job(ears=(5, 6))
    rows = [row for row in job.rows()[1:] if row.event["event"] == "attest"]
    old = Receipt.parse(RECEIPT).proved
    by = Signatory(issuer=old.issuer, key=old.key, ear=UUID(int=6), at=old.at, audit=old.audit)
    assert [it.ear for it in proved_part(job.job, rows, by=by).roles] == [UUID(int=6)]


# --- tampering: somebody changed a receipt and has no key -------------------------------------------------------------
def predicate(change: Callable[[Statement], object]) -> Callable[[], bytes]:
    return lambda: edited(RECEIPT, lambda it: change(it["predicate"]["proved"]))


def reported(change: Callable[[Statement], object]) -> Callable[[], bytes]:
    return lambda: edited_report(RECEIPT, change)


def envelope(**changes: Any) -> Callable[[], bytes]:
    return lambda: rfc8785.dumps({**json.loads(RECEIPT), **changes})


def with_other_proof() -> bytes:
    other = json.loads(base64.b64decode(json.loads(OTHER_JOB.receipt())["payload"]))["predicate"]["proved"]
    return edited(RECEIPT, lambda it: it["predicate"].update(proved=other))


def countersigned_by_another() -> bytes:
    found = json.loads(RECEIPT)
    again = SignedStatement.sign(
        base64.b64decode(found["payload"]),
        payload_type=PAYLOAD_TYPE,
        key=OTHER_BROKER,
        key_id=key_id(OTHER_BROKER.public_key()),
    )
    return rfc8785.dumps(again.to_json())


def reported_by_mallory() -> bytes:
    return edited(
        RECEIPT,
        lambda it: it["predicate"].update(reported=sign_reported(JOB.reported(), key=MALLORY_SIGNER).to_json()),
    )


def extra_role() -> bytes:
    return predicate(lambda it: it["roles"].append({**it["roles"][0], "token": FORGED, "ear": str(UUID(int=7))}))()


def signature_taken_from_another_receipt() -> bytes:
    return rfc8785.dumps({**json.loads(RECEIPT), "signatures": json.loads(OTHER_JOB.receipt())["signatures"]})


TAMPERED: dict[str, tuple[Callable[[], bytes], type[RedoubtError]]] = {
    "output digest, reported": (reported(lambda it: it["outputs"][0]["head"].update(digest=FORGED)), ReceiptOutput),
    "output digest, proved": (predicate(lambda it: it["commits"][0]["head"].update(digest=FORGED)), ReceiptOutput),
    "output digest, subject": (
        lambda: edited(RECEIPT, lambda it: it["subject"][0]["digest"].update(sha256="0f" * 32)),
        ReceiptOutput,
    ),
    "input digest, reported": (reported(lambda it: it["inputs"][0]["head"].update(digest=FORGED)), ReceiptInput),
    "input digest, proved": (predicate(lambda it: it["releases"][0]["head"].update(digest=FORGED)), ReceiptInput),
    "role removed": (predicate(lambda it: it["roles"].pop(0)), ReceiptRoleRemoved),
    "every role removed": (predicate(lambda it: it["roles"].clear()), ReceiptRoleRemoved),
    "role added": (extra_role, ReceiptRoleAdded),
    "evidence of a role": (predicate(lambda it: it["roles"][0].update(evidence=FORGED)), ReceiptRole),
    "TEE of a role": (predicate(lambda it: it["roles"][0].update(tee="tdx")), ReceiptRole),
    "binding level of a role": (predicate(lambda it: it["roles"][0].update(binding="extended")), ReceiptRole),
    "program digest, proved": (predicate(lambda it: it["roles"][0].update(program=OTHER_DIGEST)), ReceiptProgram),
    "program digest, reported": (reported(lambda it: it.update(program=OTHER_DIGEST)), ReceiptProgram),
    "manifest digest, proved": (predicate(lambda it: it["roles"][0].update(manifest=FORGED)), ReceiptManifest),
    "manifest digest, reported": (reported(lambda it: it.update(manifest=FORGED)), ReceiptManifest),
    "broker's time": (predicate(lambda it: it.update(at="2026-11-21T12:04:01Z")), ReceiptTime),
    "broker's time, in the future": (predicate(lambda it: it.update(at="2036-11-21T12:04:00Z")), ReceiptTime),
    "countersigned by another broker": (countersigned_by_another, ReceiptBroker),
    "proved part of another job": (with_other_proof, ReceiptJob),
    "job of the report": (reported(lambda it: it.update(job=FORGED)), ReceiptJob),
    "reported part signed by another key": (reported_by_mallory, ReceiptSigner),
    "exit status": (reported(lambda it: it.update(status=1)), ReceiptSigner),
    "payload type": (envelope(payloadType="application/json"), ReceiptType),
    "predicate type": (lambda: edited(RECEIPT, lambda it: it.update(predicateType="urn:other")), ReceiptType),
    "signature taken away": (envelope(signatures=[]), ReceiptUnsigned),
    "empty signature (alg none)": (envelope(signatures=[{"keyid": BROKER, "sig": ""}]), ReceiptUnsigned),
    "signature of another receipt": (signature_taken_from_another_receipt, ReceiptSignature),
    "simulated made production": (
        lambda: edited(SIMULATED, lambda it: it.update(predicateType="urn:redoubt:receipt:v1")),
        ReceiptSimulated,
    ),
    "number of keys, in the one place where it stands": (
        predicate(lambda it: it["releases"][0].update(data_keys=9)),
        ReceiptSignature,
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_receipt_is_refused_for_its_own_reason(name: str) -> None:
    make, reason = TAMPERED[name]
    with pytest.raises(RedoubtError) as refused:
        verify(make())
    assert type(refused.value) is reason, refused.value


def test_reasons_are_many() -> None:
    assert len({reason.code for _, reason in TAMPERED.values()}) >= 12


def test_receipt_of_a_development_broker_is_no_receipt_of_hardware_and_the_other_way_round() -> None:
    with pytest.raises(ReceiptSimulated):
        verify(SIMULATED)
    assert verify(SIMULATED, replace(TRUSTED, simulated=True)).simulated
    with pytest.raises(ReceiptSimulated):
        verify(RECEIPT, replace(TRUSTED, simulated=True))
    assert json.loads(base64.b64decode(json.loads(SIMULATED)["payload"]))["predicateType"] == SIMULATED_RECEIPT


# --- attackers who have a key -----------------------------------------------------------------------------------------
def resigned(change: Callable[[Statement], None]) -> bytes:
    """A receipt that the pinned broker's own key signs after *change*: a broken broker, or a stolen key."""
    text = edited(RECEIPT, change)
    payload = base64.b64decode(json.loads(text)["payload"])
    made = SignedStatement.sign(payload, payload_type=PAYLOAD_TYPE, key=BROKER_KEY, key_id=BROKER)
    return rfc8785.dumps(made.to_json())


def test_attested_agent_that_reports_what_it_did_not_do_is_refused() -> None:
    lies: list[tuple[dict[str, Any], type[ReceiptError]]] = [
        ({"inputs": (Touched(UUID(int=4), INPUT_HEAD),)}, ReceiptInput),
        ({"inputs": (Touched(SALES, None),)}, ReceiptInput),
        ({"outputs": (Touched(REPORT, CommitHead(9, OUTPUT_HEAD.digest)),)}, ReceiptOutput),
        ({"program": OTHER_DIGEST}, ReceiptProgram),
        ({"manifest": FORGED}, ReceiptManifest),
        ({"job": FORGED}, ReceiptJob),
        ({"ears": (JOB.tokens[1].decode(),)}, ReceiptRoleAdded),
        ({"ended": END + timedelta(hours=1)}, ReceiptTime),
        ({"started": END, "ended": END - timedelta(seconds=1)}, ReceiptTime),
    ]
    for changes, reason in lies:
        with pytest.raises(reason):
            verify(Job(changes=changes).receipt())


def test_report_without_what_was_read_or_written_still_shows_it() -> None:
    """What an agent leaves out, the broker proves."""
    found = verify(Job(changes={"inputs": (), "outputs": ()}).receipt())
    assert [it.head for it in found.proved.commits] == [OUTPUT_HEAD]
    assert found.proved.releases[0].head == INPUT_HEAD


def test_report_of_an_agent_that_attested_another_key_is_refused() -> None:
    with pytest.raises(ReceiptSigner):
        verify(JOB.receipt(sign_reported(JOB.reported(), key=MALLORY_SIGNER)))
    renamed = replace(
        sign_reported(JOB.reported(), key=MALLORY_SIGNER), key_id=thumbprint(signer_jwk(SIGNER.public_key()))
    )
    with pytest.raises(ReceiptSigner, match="not signed by the key"):
        verify(JOB.receipt(renamed))


def test_signed_contradictions_are_refused_too() -> None:
    """A signature does not make true what the attestation results and the audit head deny."""
    with pytest.raises(ReceiptTime):
        verify(resigned(lambda it: it["predicate"]["proved"].update(at="2026-11-21T12:04:01Z")))
    with pytest.raises(ReceiptProgram):
        verify(resigned(lambda it: it["predicate"]["proved"]["roles"][0].update(program=OTHER_DIGEST)))
    with pytest.raises(ReceiptTime, match="younger"):
        verify(resigned(lambda it: it["predicate"]["proved"]["commits"][0].update(row=10_000)))


def test_attestation_result_that_had_ended_when_the_broker_signed_is_refused() -> None:
    late = Job(at=END + timedelta(minutes=10), changes={"ended": END})
    with pytest.raises(ReceiptTime, match="had ended"):
        verify(late.receipt(), now=late.at)


def test_receipt_of_the_future_is_refused_and_an_old_one_is_not() -> None:
    with pytest.raises(ReceiptTime, match="future"):
        verify(RECEIPT, now=END - timedelta(minutes=5))
    assert verify(RECEIPT, now=END + timedelta(days=3650)).broker == BROKER


def test_a_result_that_is_not_the_brokers_makes_no_role() -> None:
    job = Job()
    job.tokens[0] = test_ear.forge(job.tokens[0], key=OTHER_BROKER)
    with pytest.raises(TokenError):
        verify(job.receipt())


def test_a_broker_is_pinned_or_nothing_is_verified() -> None:
    with pytest.raises(ReceiptBroker, match="no broker is pinned"):
        verify(RECEIPT, Trusted())
    with pytest.raises(ReceiptBroker, match="not pinned"):
        verify(RECEIPT, Trusted(brokers=frozenset({"0" * 64})))
    # A key that is not the signer's beside the signer's id, and the other way round.
    other = Job(key=OTHER_BROKER)
    theirs = json.loads(other.receipt())
    theirs["signatures"][0]["keyid"] = BROKER
    with pytest.raises(ReceiptBroker, match="another broker than the one whose key is in it"):
        verify(rfc8785.dumps(theirs))


# --- manifests --------------------------------------------------------------------------------------------------------
def test_a_manifest_pins_the_broker_that_it_names() -> None:
    job = under_named_broker()
    found = verify(job.receipt(), Trusted(manifests=(job.policy,)))
    assert found.manifest is job.policy
    with pytest.raises(ReceiptBroker):
        verify(job.receipt(), Trusted(manifests=(signed(MONTHLY.replace(BROKER, "0" * 64)),)))


def test_manifest_that_is_not_the_owners_is_refused() -> None:
    with pytest.raises(ReceiptManifest, match="none of the 1 given"):
        verify(RECEIPT, replace(TRUSTED, manifests=(signed(MONTHLY),)))


@pytest.mark.parametrize("lost", ['dataset = "sales"', 'dataset = "report"'])
def test_what_no_manifest_grants_is_refused(lost: str) -> None:
    grant = f'[[grants]]\nprogram = "monthly"\ntee = "amd"\n{lost}\n'
    head, _, rest = MONTHLY.partition(grant)
    job = under(head + rest.partition("\n\n")[2])
    with pytest.raises(ReceiptGrant):
        verify(job.receipt(), replace(TRUSTED, manifests=(job.policy,)))


@pytest.mark.parametrize(("parent", "allowed"), [(REPORT, True), (SALES, False), (UUID(int=8), False), (None, False)])
def test_dataset_that_was_created_is_judged_by_the_one_that_it_belongs_to(parent: UUID | None, allowed: bool) -> None:
    job = under(MONTHLY, output=UUID(int=77), parent=parent)
    trusted = replace(TRUSTED, manifests=(job.policy,))
    if allowed:
        assert verify(job.receipt(), trusted).proved.commits[0].parent == parent
        return
    with pytest.raises(ReceiptGrant):
        verify(job.receipt(), trusted)


def test_grant_to_create_is_enough_for_what_was_created() -> None:
    toml = MONTHLY.replace('actions = ["write", "read"]', 'actions = ["create"]')
    job = under(toml, output=UUID(int=77), parent=REPORT)
    assert verify(job.receipt(), replace(TRUSTED, manifests=(job.policy,))).proved.commits[0].dataset == UUID(int=77)
    with pytest.raises(ReceiptGrant):
        verify(under(toml).receipt(), replace(TRUSTED, manifests=(job.policy,)))


# --- what the broker makes it of --------------------------------------------------------------------------------------
def test_rows_that_were_changed_or_are_of_others_are_not_signed() -> None:
    rows = JOB.rows()[1:]
    old = Receipt.parse(RECEIPT).proved
    by = Signatory(issuer=old.issuer, key=old.key, ear=old.ear, at=old.at, audit=old.audit)
    assert proved_part(JOB.job, rows, by=by) == old
    with pytest.raises(AuditRowChanged):
        proved_part(JOB.job, [replace(rows[0], event={**rows[0].event, "binding": "agent"}), *rows[1:]], by=by)
    with pytest.raises(AuditBroken, match="another job"):
        proved_part(FORGED, rows, by=by)
    with pytest.raises(AuditBroken, match="no attestation"):
        proved_part(JOB.job, rows[1:], by=by)


def test_refused_requests_prove_nothing() -> None:
    assert UUID(int=9) not in {it.dataset for it in verify(RECEIPT).proved.releases}


# --- keys -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {**signer_jwk(SIGNER.public_key()), "d": "AA"},
        {**signer_jwk(SIGNER.public_key()), "crv": "P-256"},
        {**signer_jwk(SIGNER.public_key()), "x": "AA"},
        {**signer_jwk(SIGNER.public_key()), "x": signer_jwk(SIGNER.public_key())["x"] + "="},
        {**signer_jwk(SIGNER.public_key()), "y": signer_jwk(MALLORY_SIGNER.public_key())["y"]},
    ],
)
def test_what_is_no_key_for_signatures_is_refused(jwk: Any) -> None:
    with pytest.raises(ReceiptSigner):
        parse_signer(jwk)


def test_thumbprint_is_that_of_rfc_7638() -> None:
    """The example of RFC 7638, 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha"
        "jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    digest = base64.urlsafe_b64decode("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs=").hex()
    assert (
        thumbprint({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}) == f"sha256:{digest}"
    )


# --- the parser -------------------------------------------------------------------------------------------------------
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_no_receipt(text: bytes) -> None:
    with pytest.raises(ReceiptError):
        Receipt.parse(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=_JSON)
def test_any_value_in_any_place_is_refused(data: st.DataObject, value: Any) -> None:
    """Whatever stands wherever: an error of the family, never another one, and never a verified receipt."""

    def put(holder: Any) -> None:
        while True:
            places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            place = data.draw(st.sampled_from(places))
            if not isinstance(holder[place], dict | list) or not holder[place] or data.draw(st.booleans()):
                if holder[place] == value:
                    value_there = "changed"
                    holder[place] = value_there
                else:
                    holder[place] = value
                return
            holder = holder[place]

    inside = data.draw(st.booleans())
    text = edited_report(RECEIPT, put) if inside else edited(RECEIPT, put)
    with pytest.raises((ReceiptError, TokenError)):
        verify(text)


def test_receipt_with_a_member_too_many_or_too_few_is_refused() -> None:
    for change in (
        lambda it: it.update(more=1),
        lambda it: it["predicate"].update(more=1),
        lambda it: it["predicate"]["proved"].pop("audit"),
        lambda it: it["predicate"]["proved"]["roles"][0].pop("row"),
    ):
        with pytest.raises(ReceiptMalformed):
            verify(edited(RECEIPT, change))
    with pytest.raises(ReceiptMalformed):
        parse_report(RECEIPT[:-1])
