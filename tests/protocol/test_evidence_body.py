"""Evidence bodies: from real evidence to JSON and back to the same bytes, which still verify."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evidence.vectors import Entry, parameters, trustee
from tests.protocol.samples import json_values, mutate

from redoubt.errors import BrokerMessage
from redoubt.evidence.azure_encoding import parse_azure
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected
from redoubt.evidence.kinds import Kind
from redoubt.evidence.tpm import parse_evidence
from redoubt.protocol.evidence_body import decode_body, encode_body
from redoubt.protocol.snp_body import CERTIFICATES, encode_report, parse_table

CERTIFICATE = b"0\x82certificate"


def unsigned_report() -> bytes:
    """A report of version 2 with an empty body, which its parser takes and no verifier would."""
    report = bytearray(1184)
    report[0], report[0x0A], report[0x34], report[0x1A0 + 63] = 2, 2, 1, 1
    return bytes(report)


REPORT = unsigned_report()


def host_table(*, little_endian: bool = False) -> bytes:
    guid = UUID(CERTIFICATES["VCEK"])
    raw = guid.bytes_le if little_endian else guid.bytes
    entry = raw + (48).to_bytes(4, "little") + len(CERTIFICATE).to_bytes(4, "little")
    return entry + bytes(24) + CERTIFICATE + bytes(100)


@pytest.mark.parametrize("entry", parameters(Kind.SNP))
def test_every_real_snp_report_survives_the_structure(entry: Entry) -> None:
    report = entry.request().evidence
    body = json.loads(json.dumps(encode_body(Collected(Tee.SNP, report, host_table()))))
    found = decode_body(Tee.SNP, body)
    assert (found.evidence, found.certificates) == (report, (CERTIFICATE,))


def test_snp_structure_is_that_of_the_sev_crate() -> None:
    body: Any = encode_report(REPORT)
    assert body["version"] == 2
    assert body["cpuid_fam_id"] is None
    assert set(body["reported_tcb"]) == {"fmc", "bootloader", "tee", "snp", "microcode"}
    assert body["reported_tcb"]["fmc"] is None
    assert set(body["current"]) == {"major", "minor", "build"}
    assert [len(body["signature"][it]) for it in "rs"] == [72, 72]
    assert type(body["policy"]) is type(body["plat_info"]) is type(body["key_info"]) is int


def test_host_table_in_either_byte_order() -> None:
    assert parse_table(host_table()) == parse_table(host_table(little_endian=True)) == {"VCEK": CERTIFICATE}
    assert parse_table(b"") == {}
    assert parse_table(bytes(200)) == {}


@given(st.binary(max_size=200))
def test_any_host_table_is_read_or_refused(table: bytes) -> None:
    try:
        encode_body(Collected(Tee.SNP, REPORT, host_table()[:24] + table))
    except BrokerMessage:
        return


def test_certificates_of_other_kinds_are_passed_over() -> None:
    body: Any = encode_body(Collected(Tee.SNP, REPORT, host_table()))
    body["cert_chain"] += [
        {"cert_type": {"OTHER": str(UUID(int=5))}, "data": [1]},
        {"cert_type": "CRL", "data": [2]},
        {"cert_type": "Empty", "data": []},
    ]
    assert decode_body(Tee.SNP, body).certificates == (CERTIFICATE,)


@pytest.mark.parametrize("tee", [Tee.SGX, Tee.TDX])
def test_quotes_are_base64(tee: Tee) -> None:
    body: Any = encode_body(Collected(tee, b"quote"))
    assert body["quote"] == base64.b64encode(b"quote").decode()
    assert decode_body(tee, body).evidence == b"quote"


def test_td_carries_its_event_log() -> None:
    body: Any = encode_body(Collected(Tee.TDX, b"quote"), event_log=b"log")
    assert decode_body(Tee.TDX, body).event_log == b"log"
    del body["cc_eventlog"]
    assert decode_body(Tee.TDX, body).event_log is None


@pytest.mark.parametrize(
    ("tee", "file"),
    [
        (Tee.AZ_SNP_VTPM, "az-snp-vtpm-evidence-v0.json"),
        (Tee.AZ_SNP_VTPM, "az-snp-vtpm-evidence-v2.json"),
        (Tee.AZ_TDX_VTPM, "az-tdx-vtpm-evidence-v1.json"),
    ],
)
def test_azure_evidence_stays_what_its_verifier_reads(tee: Tee, file: str) -> None:
    evidence = trustee(file)
    found = decode_body(tee, encode_body(Collected(tee, evidence)))
    assert parse_azure(found.evidence, tee=tee) == parse_azure(evidence, tee=tee)


def test_tpm_evidence_stays_what_its_verifier_reads() -> None:
    evidence = trustee("tpm_evidence.json")
    found = decode_body(Tee.TPM, encode_body(Collected(Tee.TPM, evidence)))
    assert parse_evidence(found.evidence).quote == parse_evidence(evidence).quote


def test_simulated_evidence_is_a_token() -> None:
    body = encode_body(Collected(Tee.SIMULATED, b"a.b.c"))
    assert body == {"eat": "a.b.c"}
    assert decode_body(Tee.SIMULATED, body).evidence == b"a.b.c"


def test_evidence_that_is_not_of_its_tee_is_not_sent() -> None:
    for tee in (Tee.SNP, Tee.TPM, Tee.AZ_TDX_VTPM):
        with pytest.raises(BrokerMessage):
            encode_body(Collected(tee, b"quote"))


@pytest.mark.parametrize(
    ("tee", "body"),
    [
        (Tee.SGX, {"quote": ""}),
        (Tee.SGX, {"quote": "AAAA", "more": 1}),
        (Tee.TDX, {"quote": "!"}),
        (Tee.TDX, {"quote": "AAAA", "cc_eventlog": ""}),
        (Tee.SGX, {"quote": base64.b64encode(bytes(70_000)).decode()}),
        (Tee.SIMULATED, {"eat": "ä"}),
        (Tee.SIMULATED, {"svn": "1", "report_data": "AAAA"}),
        (Tee.SNP, {"attestation_report": []}),
        (Tee.SNP, {}),
    ],
)
def test_malformed_bodies_are_refused(tee: Tee, body: Any) -> None:
    with pytest.raises(BrokerMessage):
        decode_body(tee, body)


BODIES: list[tuple[Tee, Any]] = [
    (Tee.SNP, encode_body(Collected(Tee.SNP, REPORT, host_table()))),
    (Tee.TDX, {"quote": "AAAA", "cc_eventlog": "AAAA"}),
    (Tee.SIMULATED, {"eat": "a.b.c"}),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BODIES), st.data(), json_values)
def test_a_member_replaced_by_anything(good: tuple[Tee, Any], data: st.DataObject, value: Any) -> None:
    tee, body = good
    changed = mutate(json.loads(json.dumps(body)), data, value)
    try:
        decode_body(tee, changed)
    except BrokerMessage:
        return


@given(json_values)
def test_anything_instead_of_a_body(value: Any) -> None:
    for tee in (Tee.SGX, Tee.TDX, Tee.SNP, Tee.SIMULATED):
        with pytest.raises(BrokerMessage):
            decode_body(tee, value)
