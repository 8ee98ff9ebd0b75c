"""Attestation results: EARs that a broker issues for what it appraised.

Sources: draft-ietf-rats-ear-04 (claims, JWT), draft-ietf-rats-ar4si-09 (trustworthiness vector and tiers), RFC 9711
(EAT: profile, nonce), RFC 7800 (cnf), RFC 7519. Trustee's layout, by its own tokens: submodule ``cpu0`` with
``ear.veraison.annotated-evidence``, in it the claims of the TEE under its name, ``report_data`` and the attester's key
under ``runtime_data_claims``, so that Trustee's relying parties find what they look for.

Decides how an appraisal reads as a vector. Results of simulated evidence have an issuer, a type and a profile of their
own, and a hardware tier that no relying party takes for affirming (hardening H25). Never signs anything but what
:func:`redoubt.trust.appraisal.appraise` returned.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt import __version__
from redoubt.errors import EvidenceStale, UsageError
from redoubt.evidence.claims import JSON, Tee, unix_time
from redoubt.evidence.key_set import load_keys
from redoubt.limits import MAX_EAR_SECONDS, MAX_NONCE_BYTES
from redoubt.trust.appraisal import Appraisal
from redoubt.trust.broker_key import ALGORITHM as ALGORITHM
from redoubt.trust.broker_key import key_id as key_id
from redoubt.trust.broker_key import sign_compact
from redoubt.trust.policy import Binding

PROFILE: Final = "urn:redoubt:ear:1"
SIMULATED_PROFILE: Final = "urn:redoubt:simulated-ear:1"
TYPE: Final = "ear+jwt"
SIMULATED_TYPE: Final = "simulated-ear+jwt"
SIMULATED_ISSUER: Final = "urn:redoubt:simulated:"
SUBMODULE: Final = "cpu0"
ANNOTATED: Final = "ear.veraison.annotated-evidence"
DEVELOPER: Final = "Redoubt"

# AR4SI, 2.3: 2 to 31 affirm, 32 to 95 warn, 96 to 127 contraindicate.
GENUINE: Final = 2
APPROVED_AT_BOOT: Final = 3
KNOWN_WEAKNESS: Final = 32
UNRECOGNISED: Final = 33
UNKNOWN_HARDWARE: Final = 97
#: What of an attester's key is repeated in the token (RFC 7517, 7518); alg says how secrets are encrypted to it.
_JWK_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e", "alg", "kid", "use")
_ISOLATING: Final = frozenset({Tee.SGX, Tee.TDX, Tee.SNP, Tee.AZ_SNP_VTPM, Tee.AZ_TDX_VTPM})


def issuer_name(issuer: str, *, simulated: bool) -> str:
    """Return the ``iss`` of a broker named *issuer*: results of simulated evidence are another issuer's."""
    return SIMULATED_ISSUER + issuer if simulated else issuer


def status_of(vector: Mapping[str, int]) -> str:
    """Return the word for the worst tier in *vector* (draft-ietf-rats-ear-04, 3.1)."""
    worst = max(vector.values(), default=0)
    if worst >= 96:
        return "contraindicated"
    if worst >= 32:
        return "warning"
    return "affirming" if worst >= 2 else "none"


def trustworthiness(appraisal: Appraisal) -> dict[str, int]:
    """Return what the appraisal says, in the words of AR4SI; what it says nothing of is absent."""
    verified = appraisal.verified
    if verified.tee is Tee.SIMULATED:
        return {"hardware": UNKNOWN_HARDWARE}
    profiles = [appraisal.policy.manifest.tees[name] for name in appraisal.tees]
    current = verified.tcb_status in (None, "UpToDate") and verified.claims.get("tdx.tcb_proved", True) is True
    debug = verified.claims.get("snp.debug", False) is not False
    measured = appraisal.binding is not Binding.ASSERTED
    vector = {
        "hardware": GENUINE if current else KNOWN_WEAKNESS,
        "executables": APPROVED_AT_BOOT if measured else UNRECOGNISED,
        "configuration": KNOWN_WEAKNESS if debug else GENUINE,
    }
    if verified.tee in _ISOLATING:
        vector["runtime-opaque"] = KNOWN_WEAKNESS if debug else GENUINE
    if all(it.chips for it in profiles):
        vector["instance-identity"] = GENUINE
    return vector


def issue_ear(
    appraisal: Appraisal,
    *,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    attester_key: Mapping[str, JSON],
    nonce: bytes | None,
    now: datetime,
    token_id: UUID,
    lifetime: timedelta,
    signer: Mapping[str, str] | None = None,
) -> bytes:
    """Return the EAR of *appraisal*, signed with the broker's *key* (P-384), for the holder of *attester_key* (a JWK).

    It ends with the evidence, if that is sooner than *lifetime*. *signer* is the key that the same evidence binds for
    signatures of the attester.

    Raises:
        UsageError: the key is not P-384, or nonce or lifetime are out of range.
        TokenMalformed: the attester's key is no public key for which a JWK is known.
        EvidenceStale: the evidence is no longer valid at *now*.
    """
    if not isinstance(key.curve, ec.SECP384R1):
        raise UsageError("EARs are signed with ES384, which needs a key on P-384")
    if not timedelta(0) < lifetime <= timedelta(seconds=MAX_EAR_SECONDS):
        raise UsageError(f"an EAR lives up to {MAX_EAR_SECONDS} seconds")
    if nonce is not None and not 8 <= len(nonce) <= MAX_NONCE_BYTES:
        raise UsageError(f"a nonce is 8 to {MAX_NONCE_BYTES} bytes long")
    ends = min(filter(None, (now + lifetime, appraisal.verified.valid_until)))
    if unix_time(ends) <= unix_time(now):
        raise EvidenceStale("the evidence is no longer valid")
    jwk = _public_jwk(attester_key)
    simulated = appraisal.verified.tee is Tee.SIMULATED
    claims: dict[str, JSON] = {
        "eat_profile": SIMULATED_PROFILE if simulated else PROFILE,
        "iss": issuer_name(issuer, simulated=simulated),
        "iat": unix_time(now),
        "exp": unix_time(ends),
        "jti": str(token_id),
        "cnf": {"jwk": jwk},
        "ear.verifier-id": {"build": f"redoubt {__version__}", "developer": DEVELOPER},
        "submods": {SUBMODULE: _submodule(appraisal, jwk, nonce, signer)},
    }
    if nonce is not None:
        claims["eat_nonce"] = _base64url(nonce)
    # Not RFC 8785: an SNP report has whole numbers beyond those that it knows.
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
    return sign_compact(payload, key=key, kind=SIMULATED_TYPE if simulated else TYPE)


def _submodule(
    appraisal: Appraisal, jwk: Mapping[str, JSON], nonce: bytes | None, signer: Mapping[str, str] | None
) -> JSON:
    vector = trustworthiness(appraisal)
    verified = appraisal.verified
    runtime: dict[str, JSON] = {"tee-pubkey": dict(jwk)}
    if nonce is not None:
        runtime["nonce"] = base64.b64encode(nonce).decode()
    annotated: dict[str, JSON] = {
        **_by_prefix(verified.claims),
        "report_data": verified.report_data.hex(),
        "runtime_data_claims": runtime,
        "redoubt": {
            "tee": verified.tee.value,
            "evidence": verified.evidence_digest,
            "program": appraisal.program_digest,
            "binding": appraisal.binding.value,
            "manifest_version": appraisal.policy.manifest.version,
            "tees": list(appraisal.tees),
            "tcb_status": verified.tcb_status,
            "advisories": list(verified.advisories),
            **({} if signer is None else {"signer": dict(signer)}),
        },
    }
    return {
        "ear.status": status_of(vector),
        "ear.trustworthiness-vector": dict(vector),
        "ear.appraisal-policy-id": appraisal.policy.digest,
        ANNOTATED: annotated,
    }


def _public_jwk(given: Mapping[str, JSON]) -> dict[str, JSON]:
    load_keys(json.dumps(dict(given)).encode())  # refuses secret parameters, weak keys, and what is none
    jwk = {name: given[name] for name in _JWK_MEMBERS if name in given}
    load_keys(json.dumps(jwk).encode())
    return jwk


def _by_prefix(claims: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the flat *claims* as one object a prefix: ``{"snp": {"measurement": …}, "tpm": {"pcr.sha256.7": …}}``."""
    grouped: dict[str, dict[str, JSON]] = {}
    for name, value in claims.items():
        prefix, _, rest = name.partition(".")
        grouped.setdefault(prefix, {})[rest] = value
    return dict(grouped)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
