"""Targets: everything that an attester, a vendor or another verifier sends."""

from __future__ import annotations

import base64
import functools
import json
from datetime import UTC, datetime

from tests.evidence import (
    pki_dcap,
    test_azure,
    test_ccel,
    test_ehsm,
    test_hcl,
    test_simulated,
    test_snp,
    test_tokens,
    test_tpm,
)
from tests.evidence.machines import JwtIssuer, spki
from tests.evidence.vectors import entries
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.errors import EvidenceError, EvidenceMalformed, RedoubtError, TokenError
from redoubt.evidence import ccel, dcap, td_signature
from redoubt.evidence.attestation_key import load_key
from redoubt.evidence.claims import Expected, Tee
from redoubt.evidence.dcap import DcapCollateral
from redoubt.evidence.hcl import parse_hcl_report
from redoubt.evidence.key_set import load_keys
from redoubt.evidence.kinds import Kind
from redoubt.evidence.quote import parse_quote
from redoubt.evidence.snp_report import parse_report
from redoubt.evidence.strict_json import parse_object
from redoubt.evidence.tpm_structures import parse_attest, parse_signature

_EVIDENCE = (EvidenceError,)
#: Tokens carry vendors' evidence words, whose checks are the evidence's.
_TOKEN = (TokenError, EvidenceError)


def _vectors(*kinds: Kind) -> tuple[bytes, ...]:
    return tuple(it.evidence for it in entries() if it.kind in kinds and it.accepted and len(it.files) == 1)


@functools.cache
def _intel() -> pki_dcap.Intel:
    return pki_dcap.Intel()


def _verify_quote(data: bytes, *, tee: Tee, collateral: DcapCollateral) -> object:
    return dcap.verify(
        data, tee=tee, collateral=collateral, expected=Expected(), now=pki_dcap.NOW, root=_intel().root_der
    )


def _td_signature(data: bytes) -> object:
    return td_signature.check_td_signature(parse_quote(data), now=datetime(2026, 1, 1, tzinfo=UTC))


def _real_tds() -> list[Target]:
    """Only Intel's own quoting enclave will do here, so this one needs the public vectors."""
    quotes = tuple(it for it in _vectors(Kind.TDX) if parse_quote(it).version == 4)
    return [Target("td-signature", _td_signature, quotes, _EVIDENCE, slow=True)] if quotes else []


def _signed(issuer: JwtIssuer, kind: str, payload: bytes) -> object:
    """What only the issuer can send: any claims at all, signed."""
    algorithm = "ES384" if kind == "ear" else "RS256"
    return test_tokens.check(kind, issuer.sign({"alg": algorithm, "kid": issuer.kid}, payload))


def _claims(issuer: JwtIssuer) -> bytes:
    return json.dumps({"iss": issuer.name, **issuer.claims}).encode()


def _snp(data: bytes) -> object:
    return test_snp.check(data)


def _certificates(data: bytes) -> object:
    by = test_snp.amd()
    return test_snp.check(by.report(), (data, *by.chain()[1:]))


def _revocation_list(data: bytes) -> object:
    return test_snp.check(_snp_report(), crl=data)


@functools.cache
def _snp_report() -> bytes:
    return test_snp.amd().report()


def _ehsm(data: bytes) -> object:
    answer = parse_object(data, what="the answer", limit=100_000)
    return test_ehsm.check(answer, _sgx_quote())


def _simulated(data: bytes) -> object:
    return test_simulated.check(data, now=test_simulated.NOW)


def _collateral(data: bytes) -> object:
    return _verify_quote(_sgx_quote(), tee=Tee.SGX, collateral=DcapCollateral.parse(data))


@functools.cache
def _sgx_quote() -> bytes:
    return _intel().sgx_quote()


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    sgx, tdx = _sgx_quote(), _intel().tdx_quote()
    sgx_collateral = DcapCollateral.parse(_intel().collateral())
    tdx_collateral = DcapCollateral.parse(_intel().collateral(tdx=True))
    hcl = (test_hcl.REPORT, *(_hcl_vectors()))
    tpms = [(tpm, tpm.attest(test_tpm.NONCE)) for tpm in test_tpm.TPMS.values()]
    tokens = {kind: tuple(issuer.token() for _ in range(2)) for kind, (issuer, _) in test_tokens.KINDS.items()}
    signed = (_TOKEN, Shape.JSON, True)
    key_texts = (
        spki(test_tpm.TPM.key),
        spki(test_tpm.TPMS["ecdsa-p384"].key),
        base64.b64encode(spki(test_tpm.TPM.key)),
    )
    return (
        Target("quote", parse_quote, (sgx, tdx, *_vectors(Kind.SGX, Kind.TDX)), _EVIDENCE),
        Target(
            "sgx-verify",
            lambda data: _verify_quote(data, tee=Tee.SGX, collateral=sgx_collateral),
            (sgx,),
            _EVIDENCE,
            slow=True,
        ),
        Target(
            "tdx-verify",
            lambda data: _verify_quote(data, tee=Tee.TDX, collateral=tdx_collateral),
            (tdx,),
            _EVIDENCE,
            slow=True,
        ),
        *_real_tds(),
        Target("collateral", _collateral, (_intel().collateral(),), _EVIDENCE, Shape.JSON, slow=True),
        Target("snp-report", parse_report, (_snp_report(), *_vectors(Kind.SNP)), _EVIDENCE),
        Target("snp-verify", _snp, (_snp_report(),), _EVIDENCE, slow=True),
        Target("snp-certificate", _certificates, test_snp.amd().chain()[:1], _EVIDENCE, slow=True),
        Target("snp-revocation-list", _revocation_list, (test_snp.amd().revocation_list(),), _EVIDENCE, slow=True),
        Target("hcl-report", parse_hcl_report, hcl, _EVIDENCE),
        Target(
            "az-snp-vtpm",
            test_azure.check_snp,
            (test_azure.snp_evidence(),),
            _EVIDENCE,
            Shape.JSON,
            slow=True,
        ),
        Target("az-tdx-vtpm", _az_tdx, (test_azure.tdx_evidence(),), _EVIDENCE, Shape.JSON, slow=True),
        Target("tpm-attest", parse_attest, tuple(message for _, message in tpms), _EVIDENCE),
        Target("tpm-signature", parse_signature, tuple(tpm.signature(message) for tpm, message in tpms), _EVIDENCE),
        Target("tpm-evidence", test_tpm.check, (test_tpm.TPM.evidence(test_tpm.NONCE),), _EVIDENCE, Shape.JSON),
        Target("attestation-key", load_key, key_texts, _EVIDENCE),
        Target("ccel", ccel.replay, (test_ccel.LOG, *_vectors(Kind.CCEL)), _EVIDENCE),
        *(
            Target(kind, functools.partial(test_tokens.check, kind), samples, _TOKEN, Shape.TOKEN)
            for kind, samples in tokens.items()
        ),
        *(
            Target(f"{kind}-signed", functools.partial(_signed, issuer, kind), (_claims(issuer),), *signed)
            for kind, (issuer, _) in test_tokens.KINDS.items()
        ),
        Target("ehsm-answer", _ehsm, (json.dumps(test_ehsm.answer()).encode(),), _TOKEN, Shape.JSON),
        Target("simulated", _simulated, (test_simulated.made(),), (RedoubtError,), Shape.TOKEN),
        Target(
            "jwks",
            load_keys,
            (test_tokens.MAA.jwks(test_tokens.EAR.jwk(kid="2")), test_tokens.EAR.jwks()),
            (TokenError,),
            Shape.JSON,
        ),
        Target(
            "strict-json",
            lambda data: parse_object(data, what="it", limit=100_000),
            (b'{"a":[1,2.5,{"b":"c"}],"d":null,"e":"\\u00e9"}', test_tpm.TPM.evidence(test_tpm.NONCE)),
            (EvidenceMalformed,),
            Shape.JSON,
        ),
    )


def _az_tdx(data: bytes) -> object:
    return test_azure.check_tdx(data, collateral=_az_collateral())


@functools.cache
def _az_collateral() -> bytes:
    return test_azure.intel().collateral(tdx=True)


def _hcl_vectors() -> tuple[bytes, ...]:
    return tuple(
        it.evidence
        for it in entries()
        if it.kind in (Kind.AZ_SNP_VTPM, Kind.AZ_TDX_VTPM) and it.accepted and it.evidence.startswith(b"HCLA")
    )
