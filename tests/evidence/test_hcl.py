"""HCL reports: the binding of the virtual TPM's key to the hardware report, and nothing that is not bound."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.machines import flips, hcl_report, rsa_key, runtime_data, td_report
from tests.evidence.vectors import trustee

from redoubt.errors import EvidenceError, EvidenceMalformed, EvidenceUnbound
from redoubt.evidence.attestation_key import canonical
from redoubt.evidence.hcl import HardwareReport, parse_hcl_report

RUNTIME = runtime_data(rsa_key())
REPORT = hcl_report(td_report, RUNTIME, kind=4)


def patched(at: int, value: bytes, report: bytes = REPORT) -> bytes:
    return report[:at] + value + report[at + len(value) :]


def test_the_key_of_a_bound_report() -> None:
    report = parse_hcl_report(REPORT)
    assert report.kind is HardwareReport.TDX
    der = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert canonical(report.key) == der
    assert report.runtime_data == RUNTIME
    assert report.report_data[32:] == bytes(32)


@pytest.mark.parametrize(
    ("name", "kind"), [("az-snp-hcl-report.bin", HardwareReport.SNP), ("az-tdx-hcl-report.bin", HardwareReport.TDX)]
)
def test_the_public_reports(name: str, kind: HardwareReport) -> None:
    assert parse_hcl_report(trustee(name)).kind is kind


def test_swapped_attestation_key_is_refused() -> None:
    """The attack that the binding is for: a TPM key of the attacker's in a genuine report."""
    theirs = runtime_data(rsa_key(number=1))
    assert len(theirs) == len(RUNTIME)
    with pytest.raises(EvidenceUnbound):
        parse_hcl_report(REPORT.replace(RUNTIME, theirs))


def test_every_flipped_bit_of_the_runtime_data_is_refused() -> None:
    start = REPORT.index(RUNTIME)
    for changed in flips(REPORT, spans=[range(start, start + len(RUNTIME))]):
        with pytest.raises(EvidenceUnbound):
            parse_hcl_report(changed)


def test_every_flipped_bit_of_the_header_and_the_lengths_is_refused() -> None:
    for changed in flips(REPORT, spans=[range(32), range(1216, 1236), range(32 + 1024, 1216)]):
        with pytest.raises(EvidenceError):
            parse_hcl_report(changed)


def test_report_data_that_is_more_than_the_digest_is_refused() -> None:
    with pytest.raises(EvidenceUnbound):
        parse_hcl_report(patched(32 + 0x80 + 63, b"\1"))


@pytest.mark.parametrize(
    "changed",
    [
        b"",
        REPORT[:1235],
        REPORT[: 1236 + len(RUNTIME) - 1],
        REPORT + b"\1",
        patched(4, b"\x03"),
        patched(1216 + 8, b"\x03"),
        patched(1216 + 12, b"\x02"),
        REPORT + bytes(20000),
    ],
    ids=["empty", "short", "cut", "rest", "version", "kind", "hash", "long"],
)
def test_reports_of_another_shape_are_refused(changed: bytes) -> None:
    with pytest.raises(EvidenceMalformed):
        parse_hcl_report(changed)


_AK = json.loads(RUNTIME)["keys"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": []},
        {"keys": [_AK, _AK]},
        {"keys": [_AK | {"kid": "HCLEkPub"}]},
        {"keys": [_AK | {"kty": "EC"}]},
        {"keys": [_AK | {"key_ops": ["encrypt"]}]},
        {"keys": [_AK | {"e": "AAAB"}]},
        {"keys": [_AK | {"n": "AQAB"}]},
        {"keys": [_AK | {"n": 7}]},
        {"keys": "HCLAkPub"},
    ],
)
def test_runtime_data_without_one_sound_key_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceMalformed):
        parse_hcl_report(hcl_report(td_report, runtime_data(rsa_key(), **changes), kind=4))


def test_bound_runtime_data_that_is_no_strict_json_is_refused() -> None:
    for text in (b"", b"[]", RUNTIME + b"}", RUNTIME.replace(b'{"keys"', b'{"keys": [], "keys"', 1)):
        with pytest.raises(EvidenceMalformed):
            parse_hcl_report(hcl_report(td_report, text, kind=4))


@given(st.binary(max_size=100), st.binary(max_size=60))
def test_garbage_raises_only_documented_errors(data: bytes, runtime: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_hcl_report(data)
    with pytest.raises(EvidenceError):
        parse_hcl_report(hcl_report(td_report, runtime, kind=4))


@given(st.lists(st.tuples(st.integers(0, len(REPORT) - 1), st.integers(0, 255)), max_size=5))
def test_mutations_raise_only_documented_errors(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(REPORT)
    for at, value in changes:
        changed[at] = value
    with contextlib.suppress(EvidenceError):
        parse_hcl_report(bytes(changed))
