"""The production table: real evidence through it, in Trustee's bodies, and nothing beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.evidence.vectors import Entry, parameters, vector

from redoubt.broker.collateral import IntelCollateral
from redoubt.broker.verifiers import Collateral, choose_verifier, production_verifiers
from redoubt.errors import (
    EvidenceCollateral,
    EvidenceError,
    EvidenceUnbound,
    EvidenceUnprovable,
    TeeUnsupported,
)
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected
from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import verify_request
from redoubt.protocol.evidence_body import EvidenceBody, decode_body, encode_body

_KINDS = (Kind.SGX, Kind.TDX, Kind.SNP, Kind.AZ_SNP_VTPM, Kind.TPM)


def served(entry: Entry, tmp_path: Path) -> tuple[Tee, EvidenceBody, Collateral]:
    """The entry as it comes over the wire, with its collateral as an operator would have it."""
    request = entry.request()
    tee = Tee(entry.kind.value)
    body = decode_body(tee, encode_body(Collected(tee, request.evidence)))
    fetched = request.collateral or b""
    intel = IntelCollateral(tmp_path, fetch=lambda quote: fetched)
    return (
        tee,
        body,
        Collateral(
            intel=intel,
            amd_certificates=request.certificates,
            amd_revocations=request.collateral if entry.kind is Kind.SNP else None,
            tpm_keys=request.attestation_key,
        ),
    )


def one_of_each() -> list[object]:
    found = [it for kind in _KINDS for it in parameters(kind, accepted=True)[:2]]
    return [it for it in found if it.values[0] is None or len(it.values[0].files) == 1]


@pytest.mark.parametrize("entry", one_of_each())
def test_real_evidence_is_verified_over_the_report_data_that_is_asked_for(entry: Entry, tmp_path: Path) -> None:
    tee, body, collateral = served(entry, tmp_path)
    request = entry.request()
    alone = verify_request(request)
    wanted = alone.report_data.ljust(64, b"\0")
    _, verifier = choose_verifier(production_verifiers(collateral), tee.value)
    found = verifier(body, wanted, request.now)
    assert (found.tee, found.evidence_digest) == (tee, alone.evidence_digest)
    other = bytes([wanted[0] ^ 1]) + wanted[1:]
    with pytest.raises(EvidenceUnbound):
        verifier(body, other, request.now)


def test_table_holds_hardware_alone() -> None:
    table = production_verifiers(Collateral())
    assert set(table) == set(Tee) - {Tee.SIMULATED}
    for name in ("simulated", "sample", "", "SNP", "cca"):
        with pytest.raises(TeeUnsupported, match="snp"):
            choose_verifier(table, name)


def test_without_collateral_or_enrolled_keys_nothing_is_taken_on_trust() -> None:
    table = production_verifiers(Collateral())
    now = datetime(2025, 6, 1, tzinfo=UTC)
    quote = vector("confidential-containers+trustee/sgx-v3-77bcbdfa.quote.bin")
    with pytest.raises(EvidenceCollateral):
        table[Tee.SGX](EvidenceBody(tee=Tee.SGX, evidence=quote), bytes(64), now)
    tpm = vector("confidential-containers+trustee/tpm_evidence.json")
    with pytest.raises(EvidenceUnprovable):
        table[Tee.TPM](EvidenceBody(tee=Tee.TPM, evidence=tpm), bytes(64), now)


def test_event_log_that_does_not_replay_is_refused(tmp_path: Path) -> None:
    (entry,) = (it.values[0] for it in parameters(Kind.TDX, accepted=True)[:1])
    if entry is None:
        pytest.skip("no public vectors")
    tee, body, collateral = served(entry, tmp_path)
    verifier = production_verifiers(collateral)[tee]
    data = verify_request(entry.request()).report_data
    with pytest.raises(EvidenceError):
        verifier(replace(body, event_log=b"no log"), data, entry.time)
