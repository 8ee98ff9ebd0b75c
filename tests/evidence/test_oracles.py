"""Other people's verifiers on the same vectors: they must agree where they can judge.

Oracles are development dependencies only: Intel's own QVL (wheel for CPython 3.11 on x86-64; SGX version 3; it looks at
no debug attribute) and ``omne-attest`` (SNP under a VCEK of Milan and Genoa).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.evidence.vectors import Entry, parameters

from redoubt.errors import EvidenceError
from redoubt.evidence.kinds import Kind
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.verify import verify_request

_QVL_STATUS = {
    "STATUS_OK": "UpToDate",
    "STATUS_TCB_SW_HARDENING_NEEDED": "SWHardeningNeeded",
    "STATUS_TCB_CONFIGURATION_NEEDED": "ConfigurationNeeded",
    "STATUS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED": "ConfigurationAndSWHardeningNeeded",
    "STATUS_TCB_OUT_OF_DATE": "OutOfDate",
    "STATUS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED": "OutOfDateConfigurationNeeded",
}


def _signed_json(name: str, text: str, signature: str) -> str:
    # As Intel's service answers: the signed text must stand in it byte by byte.
    return f'{{"{name}":{text},"signature":"{signature}"}}'


def _intel_says(vector: Entry, quote: bytes) -> Any:
    qvl = pytest.importorskip("sgx_dcap_quote_verify", reason="Intel's QVL has no wheel for this Python")
    assert vector.collateral is not None
    parts = json.loads(vector.collateral.read_text())
    begin = "-----BEGIN CERTIFICATE-----"
    pck, ca, root = (begin + each for each in parse_quote(vector.evidence).pck_chain.decode().split(begin)[1:4])
    root = root.rstrip("\0")
    return qvl.verify(
        trusted_root_ca_certificate=root,
        pck_certificate=pck,
        pck_signing_chain=ca + root,
        root_ca_crl=parts["root_ca_crl"],
        intermediate_ca_crl=parts["pck_crl"],
        tcb_info=_signed_json("tcbInfo", parts["tcb_info"], parts["tcb_info_signature"]),
        tcb_signing_chain=parts["tcb_info_issuer_chain"],
        quote=quote,
        qe_identity=_signed_json("enclaveIdentity", parts["qe_identity"], parts["qe_identity_signature"]),
        expiration_date=vector.time,
    )


@pytest.mark.parametrize("vector", parameters(Kind.SGX, accepted=True))
def test_intels_qvl_agrees(vector: Entry) -> None:
    verified = verify_request(vector.request())
    result = _intel_says(vector, parse_quote(vector.evidence).canonical)
    assert _QVL_STATUS[result.quote_status.name] == verified.tcb_status
    assert result.enclave_report.mr_enclave.hex() == verified.claims["sgx.mrenclave"]
    assert result.enclave_report.report_data == verified.report_data


@pytest.mark.parametrize("vector", parameters(Kind.SGX, accepted=True)[:3])
def test_intels_qvl_refuses_what_we_refuse(vector: Entry) -> None:
    changed = bytearray(parse_quote(vector.evidence).canonical)
    changed[200] ^= 1
    with pytest.raises(EvidenceError):
        verify_request(replace(vector.request(), evidence=bytes(changed)))
    assert _intel_says(vector, bytes(changed)).quote_status.name not in _QVL_STATUS


@pytest.mark.parametrize("vector", parameters(Kind.SNP, accepted=True))
def test_omne_attest_agrees(vector: Entry) -> None:
    snp = pytest.importorskip("omne_attest.snp")
    if vector.fields["omne_attest"] != "ok":
        pytest.skip("omne-attest knows neither VLEK nor Turin")
    vcek, ask, ark = (path.read_bytes() for path in vector.certificates)
    policy = snp.Policy(max_vmpl=3, reject_debug=False)
    report = snp.verify(vector.evidence, vcek, ask, ark, hashlib.sha256(ark).digest(), policy)
    verified = verify_request(vector.request())
    assert report.measurement.hex() == verified.claims["snp.measurement"]
    assert report.report_data == verified.report_data
    changed = bytearray(vector.evidence)
    changed[0x90] ^= 1
    with pytest.raises(snp.Fail):
        snp.verify(bytes(changed), vcek, ask, ark, hashlib.sha256(ark).digest(), policy)
