"""Evidence of real machines and of simulated ones, through verification, appraisal and EAR."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import tomlkit
from tests.evidence.vectors import Entry, parameters
from tests.trust.samples import ALICE, DIGEST, NOW, TOML, public
from tests.trust.test_ear import ATTESTER, ISSUER, KEY, NONCE, PINNED, PINNED_SIMULATED

from redoubt.errors import AppraisalError, EarStatus, ManifestEmpty, ReferenceMismatch
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import verify_request
from redoubt.trust.appraisal import ProgramClaim, appraise
from redoubt.trust.ear import issue_ear
from redoubt.trust.ear_verify import verify_ear
from redoubt.trust.manifest import parse_manifest
from redoubt.trust.policy import Binding
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest
from redoubt.trust.tee_rules import RULES, UNPROVED
from redoubt_dev import DevelopmentKey, produce, verify

PROGRAM = ProgramClaim(digest=DIGEST, arguments=(), binding=Binding.AGENT)
_PINNED = ("sgx.mrenclave", "tdx.mrtd", "tdx.rtmr1", "tdx.rtmr2", "snp.measurement", "snp.vmpl", "simulated.warning")
#: An HCL report alone is authentic and nothing makes it fresh: without PCRs no manifest can name it.
_WITHOUT_QUOTE = "hcl-report-bin-701c"
KINDS = (Kind.SGX, Kind.TDX, Kind.SNP, Kind.AZ_SNP_VTPM, Kind.AZ_TDX_VTPM, Kind.TPM)


def policy_for(verified: Verified) -> SignedManifest:
    """A manifest whose one TEE is exactly the machine that this evidence is of."""
    assert isinstance(verified.tee, Tee)
    claims = verified.claims
    rules = RULES[verified.tee]
    pcrs = [name for name in claims if name.startswith("tpm.pcr.")]
    profile: dict[str, Any] = {
        "kind": verified.tee.value,
        "binding": "agent",
        "reference": {name: [claims[name]] for name in (*_PINNED, *pcrs) if name in claims},
    }
    if rules.statuses:
        profile["statuses"] = [verified.tcb_status or UNPROVED]
    if rules.minimum:
        profile["minimum"] = {name: claims[name] for name in rules.minimum}
    if rules.may_debug and claims["snp.debug"]:
        profile["debug"] = True
    tree = {
        "format": 1,
        "version": 1,
        "owners": {"alice": {"key": public(ALICE)}},
        "datasets": {
            "d": {"id": "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f01", "owners": ["alice"], "keys": ["key:main/d.dev"]}
        },
        "programs": {"p": {"digest": DIGEST}},
        "tees": {"t": profile},
        "grants": [{"program": "p", "tee": "t", "dataset": "d", "actions": ["read"]}],
    }
    manifest = parse_manifest(tomlkit.dumps(tree).encode())
    return verify_manifest(Envelope.of(manifest).signed(ALICE), previous=None)


@pytest.mark.parametrize("entry", parameters(*KINDS, accepted=True))
def test_real_evidence_is_granted_under_a_manifest_of_its_own_values_and_no_other(entry: Entry) -> None:
    request = entry.request()
    verified = verify_request(request)
    if entry.id == _WITHOUT_QUOTE:
        with pytest.raises(ManifestEmpty, match=r"must pin tdx\.mrtd and tpm\.pcr"):
            policy_for(verified)
        return
    policy = policy_for(verified)
    found = appraise(verified, PROGRAM, policy=policy, now=request.now)
    token = issue_ear(
        found,
        key=KEY,
        issuer=ISSUER,
        attester_key=ATTESTER,
        nonce=NONCE,
        now=request.now,
        token_id=UUID(int=1),
        lifetime=timedelta(minutes=5),
    )
    wanted: dict[str, Any] = {"issuer": PINNED, "manifest": policy.digest, "nonce": NONCE, "now": request.now}
    result = verify_ear(token, **wanted, accept_warning=True)
    assert result.evidence == verified.evidence_digest
    current = verified.tcb_status in (None, "UpToDate") and verified.claims.get("tdx.tcb_proved", True)
    if not current or verified.claims.get("snp.debug", False):
        with pytest.raises(EarStatus):
            verify_ear(token, **wanted)
    else:
        assert verify_ear(token, **wanted).status == "affirming"
    sample = verify_manifest(Envelope.of(parse_manifest(TOML.encode())).signed(ALICE), previous=None)
    with pytest.raises(AppraisalError):
        appraise(verified, PROGRAM, policy=sample, now=request.now)


def test_simulated_evidence_of_redoubt_dev() -> None:
    key = DevelopmentKey.generate()
    evidence = produce(key, report_data=bytes(64), now=NOW, measurements={"program": b"x" * 48})
    verified = verify(evidence, keys=key.key_set, expected=Expected(report_data=bytes(64)), now=NOW)
    policy = policy_for(verified)
    found = appraise(verified, PROGRAM, policy=policy, now=NOW)
    token = issue_ear(
        found,
        key=KEY,
        issuer=ISSUER,
        attester_key=ATTESTER,
        nonce=NONCE,
        now=NOW,
        token_id=UUID(int=1),
        lifetime=timedelta(minutes=5),
    )
    result = verify_ear(token, issuer=PINNED_SIMULATED, manifest=policy.digest, nonce=NONCE, now=NOW, simulated=True)
    assert result.status == "contraindicated"
    other = produce(key, report_data=bytes(64), now=NOW)
    pinned = policy_for(verify(evidence, keys=key.key_set, expected=Expected(), now=NOW))
    stricter = {**dict(pinned.manifest.tees["t"].reference), "simulated.measurement.program": frozenset({"78" * 48})}
    tees = {"t": replace(pinned.manifest.tees["t"], reference=stricter)}
    strict = replace(pinned, manifest=replace(pinned.manifest, tees=tees))
    appraise(verified, PROGRAM, policy=strict, now=NOW)
    unmeasured = verify(other, keys=key.key_set, expected=Expected(), now=NOW)
    with pytest.raises(ReferenceMismatch):
        appraise(unmeasured, PROGRAM, policy=strict, now=NOW)
