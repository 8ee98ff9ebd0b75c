"""Programs of attesters that state none: plain clients of Confidential Containers.

Where the TEE itself shows a program (its image, or the descriptor's digest in its configuration), that proves what
runs, though not its arguments. Such an attester is appraised as that program, its result says ``asserted``, and so it
is given resources and never data keys (hardening H4).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from redoubt.errors import AppraisalError
from redoubt.evidence.claims import Verified
from redoubt.trust.appraisal import Appraisal, ProgramClaim, appraise
from redoubt.trust.policy import Binding, Manifest
from redoubt.trust.signing import SignedManifest
from redoubt.trust.tee_rules import IMAGE_CLAIMS, shown_digest

UNSTATED: Final = ProgramClaim(digest=None, arguments=(), binding=Binding.ASSERTED)


def appraise_unstated(verified: Verified, *, policy: SignedManifest, now: datetime) -> Appraisal:
    """Return what *policy* grants to the program that the TEE shows, without arguments, at the level ``asserted``.

    Raises:
        AppraisalError: nothing.
    """
    refusal: AppraisalError | None = None
    for name in sorted(policy.manifest.programs):
        tees = _showing(verified, policy.manifest, name)
        if not tees:
            continue
        digest = policy.manifest.programs[name].digest
        shown = ProgramClaim(digest=digest, arguments=(), binding=Binding.MEASUREMENT)
        try:
            found = appraise(verified, shown, policy=policy, now=now)
        except AppraisalError as error:
            refusal = refusal or error
            continue
        # Another TEE of the kind may have passed by what was stated, and nothing was.
        kept = tuple(it for it in found.tees if it in tees)
        if kept:
            grants = tuple(it for it in found.grants if it.tee in kept)
            return replace(found, tees=kept, binding=Binding.ASSERTED, grants=grants)
    if refusal is not None:
        raise refusal
    return appraise(verified, UNSTATED, policy=policy, now=now)


def _showing(verified: Verified, manifest: Manifest, name: str) -> frozenset[str]:
    """Return the TEEs of the manifest in whose program claim the evidence shows the program *name*."""
    program = manifest.programs[name]
    found = set()
    for tee, profile in manifest.tees.items():
        claim = profile.program_claim
        if claim is None or profile.kind is not verified.tee:
            continue
        wanted = (
            program.measurements.get(tee, frozenset())
            if claim in IMAGE_CLAIMS
            else {shown_digest(claim, program.digest)}
        )
        if verified.claims.get(claim) in wanted:
            found.add(tee)
    return frozenset(found)
