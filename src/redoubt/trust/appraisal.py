"""Appraisal: is what was proved what the owners' manifest allows?

A pure function of verified evidence, the program claim that it binds, a signed manifest and a time. It returns what is
granted, or raises one :class:`redoubt.errors.AppraisalError` with every failed claim of the attempt that came closest.

The rules:

1. The evidence is still valid, and its kind is that of a TEE in the manifest. An attempt is made with each such TEE.
2. Reference values, minimums, TCB status, advisories, chip and debug are compared. A claim that is missing fails; a
   missing TCB status is the status ``unproved``. Values of different types are never equal.
3. The program's digest is in the manifest. Where the TEE shows the program in a claim of its own, that is compared
   too: what the attester says of itself is then only a name for what was measured.
4. The binding level is the weaker one of what the TEE gives and what the caller could verify, and covers the least
   level. The arguments match. A grant, of a dataset or of a role, names program and TEE together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from redoubt.errors import (
    AppraisalError,
    ArgumentsRefused,
    BindingRefused,
    ChipRefused,
    DebugRefused,
    EvidenceStale,
    FailedClaim,
    GrantMissing,
    ProgramRefused,
    ReferenceMismatch,
    TcbRefused,
    TeeUnknown,
    by_code,
)
from redoubt.evidence.claims import JSON, Verified, unix_time
from redoubt.limits import LARGEST_INTEGER, MAX_MANIFEST_TEXT
from redoubt.trust.encode import in_order
from redoubt.trust.patterns import all_match
from redoubt.trust.policy import Binding, Grant, Manifest, Program, TeeProfile, Value
from redoubt.trust.signing import SignedManifest
from redoubt.trust.tee_rules import IMAGE_CLAIMS, RULES, UNPROVED, shown_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramClaim:
    """What the evidence binds about the program, as far as the caller verified that binding."""

    #: Digest of the program descriptor; None if the attester named none (a plain KBS client).
    digest: str | None
    arguments: tuple[str, ...]
    #: ``asserted`` unless the report data, compared by the verifier, covers digest and arguments.
    binding: Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """What the manifest grants to this evidence: only :func:`appraise` makes one."""

    verified: Verified
    policy: SignedManifest
    program: str
    program_digest: str
    #: The TEEs of the manifest that the evidence satisfies, sorted; at least one.
    tees: tuple[str, ...]
    #: The weakest binding among them.
    binding: Binding
    grants: tuple[Grant, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class _Attempt:
    tee: str
    program: str | None
    binding: Binding
    failures: tuple[FailedClaim, ...]


def appraise(verified: Verified, program: ProgramClaim, *, policy: SignedManifest, now: datetime) -> Appraisal:
    """Return what *policy* grants to the *program* that *verified* evidence binds.

    Raises:
        AppraisalError: nothing; of the class of the first failed claim.
    """
    unix_time(now)
    manifest = policy.manifest
    found = next((name for name, it in manifest.programs.items() if it.digest == program.digest), None)
    attempts = [
        _attempt(verified, program, manifest, tee=name, found=found, now=now)
        for name, profile in sorted(manifest.tees.items())
        if profile.kind is verified.tee
    ]
    passed = [it for it in attempts if not it.failures]
    if not passed or found is None:
        raise _refusal(verified, manifest, attempts)
    tees = tuple(it.tee for it in passed)
    return Appraisal(
        verified=verified,
        policy=policy,
        program=found,
        program_digest=manifest.programs[found].digest,
        tees=tees,
        binding=min((it.binding for it in passed), key=lambda it: it.strength),
        grants=tuple(it for it in manifest.grants if it.program == found and it.tee in tees),
        at=now,
    )


def _refusal(verified: Verified, manifest: Manifest, attempts: list[_Attempt]) -> AppraisalError:
    if attempts:
        failures = min(attempts, key=lambda it: (len(it.failures), it.tee)).failures
    else:
        kinds = sorted({it.kind.value for it in manifest.tees.values()})
        failures = (_failed(TeeUnknown, "tee", kinds, verified.tee.value, ("tees",)),)
    first = failures[0]
    what = f"{first.claim} is not what the manifest allows"
    if len(failures) > 1:
        what += f", nor are {len(failures) - 1} more claims"
    refusal = by_code()[first.code]
    assert issubclass(refusal, AppraisalError)
    return refusal(what, failures=failures)


def _attempt(
    verified: Verified, claim: ProgramClaim, manifest: Manifest, *, tee: str, found: str | None, now: datetime
) -> _Attempt:
    profile = manifest.tees[tee]
    binding = Binding.weaker(profile.binding, claim.binding)
    failures = [
        *_check_age(verified, now),
        *_check_debug(verified, tee, profile),
        *_check_tcb(verified, tee, profile),
        *_check_reference(verified, tee, profile),
        *_check_chip(verified, tee, profile),
    ]
    if found is None:
        failures += _unknown_program(claim, manifest)
        least = manifest.least_binding
        path: tuple[str, ...] = ("least_binding",)
    else:
        program = manifest.programs[found]
        failures += _check_program(verified, found, program, tee, profile)
        failures += _check_arguments(claim, found, program)
        least, path = program.least_binding, ("programs", found, "binding")
        granted = {(it.program, it.tee) for it in manifest.grants} | {(it.program, it.tee) for it in manifest.roles}
        if (found, tee) not in granted:
            failures.append(_failed(GrantMissing, "grant", (), None, ("grants", found, tee)))
    if not binding.covers(least):
        failures.append(_failed(BindingRefused, "binding", (least.value,), binding.value, path))
    return _Attempt(tee, found, binding, tuple(failures))


# --- the single rules -------------------------------------------------------------------------------------------------
def _check_age(verified: Verified, now: datetime) -> Iterator[FailedClaim]:
    ends = verified.valid_until
    if ends is not None and now >= ends:
        yield _failed(EvidenceStale, "evidence.valid_until", (f"after {now.isoformat()}",), ends.isoformat(), ())


def _check_debug(verified: Verified, tee: str, profile: TeeProfile) -> Iterator[FailedClaim]:
    for name in RULES[profile.kind].unsafe:
        actual = verified.claims.get(name)
        allowed = {True, False} if profile.debug and name.endswith(".debug") else {False}
        if not isinstance(actual, bool) or actual not in allowed:
            yield _failed(DebugRefused, name, (False,), actual, ("tees", tee, "debug"))


def _check_tcb(verified: Verified, tee: str, profile: TeeProfile) -> Iterator[FailedClaim]:
    if RULES[profile.kind].statuses:
        proved = verified.claims.get("tdx.tcb_proved", True) is True
        status = verified.tcb_status if verified.tcb_status is not None and proved else UNPROVED
        if status not in profile.statuses:
            yield _failed(TcbRefused, "tcb_status", sorted(profile.statuses), status, ("tees", tee, "statuses"))
    for advisory in sorted(profile.refused_advisories.intersection(verified.advisories)):
        others = sorted(profile.refused_advisories - {advisory})
        yield _failed(TcbRefused, "advisories", others, advisory, ("tees", tee, "refused_advisories"))
    for name, least in sorted(profile.minimum.items()):
        actual = verified.claims.get(name)
        if type(actual) is not int or actual < least:
            yield _failed(TcbRefused, name, (least,), actual, ("tees", tee, "minimum", name))


def _check_reference(verified: Verified, tee: str, profile: TeeProfile) -> Iterator[FailedClaim]:
    for name, values in sorted(profile.reference.items()):
        actual = verified.claims.get(name)
        if not _is_one_of(actual, values):
            yield _failed(ReferenceMismatch, name, in_order(values), actual, ("tees", tee, "reference", name))


def _check_chip(verified: Verified, tee: str, profile: TeeProfile) -> Iterator[FailedClaim]:
    if not profile.chips:
        return
    names = RULES[profile.kind].chips
    shown = [it for name in names if isinstance(it := verified.claims.get(name), str)]
    if not profile.chips.intersection(shown):
        actual = shown[0] if shown else None
        yield _failed(ChipRefused, names[0], sorted(profile.chips), actual, ("tees", tee, "chips"))


def _unknown_program(claim: ProgramClaim, manifest: Manifest) -> Iterator[FailedClaim]:
    known = sorted(it.digest for it in manifest.programs.values())
    only = next(iter(manifest.programs)) if len(manifest.programs) == 1 else None
    path = ("programs",) if only is None else ("programs", only, "digest")
    yield _failed(ProgramRefused, "program.digest", known, claim.digest, path)


def _check_program(
    verified: Verified, name: str, program: Program, tee: str, profile: TeeProfile
) -> Iterator[FailedClaim]:
    claim = profile.program_claim
    if claim is None:
        return
    path: tuple[str, ...]
    if claim in IMAGE_CLAIMS:
        expected = frozenset(program.measurements.get(tee, ()))
        path = ("programs", name, "measurements", tee)
    else:
        expected = frozenset({shown_digest(claim, program.digest)})
        path = ("tees", tee, "program_claim")
    if not _is_one_of(verified.claims.get(claim), expected):
        yield _failed(ProgramRefused, claim, sorted(expected), verified.claims.get(claim), path)


def _check_arguments(claim: ProgramClaim, name: str, program: Program) -> Iterator[FailedClaim]:
    if not any(all_match(patterns, claim.arguments) for patterns in program.arguments):
        patterns = [json.dumps(it, ensure_ascii=False) for it in program.arguments]
        # How many there are is said, never what they are: people put secrets into arguments.
        yield _failed(
            ArgumentsRefused, "program.arguments", patterns, len(claim.arguments), ("programs", name, "arguments")
        )


def _is_one_of(actual: JSON, values: frozenset[Value] | frozenset[str]) -> bool:
    # 1 == True == 1.0 in Python, and a measurement is none of the three.
    return any(type(actual) is type(it) and actual == it for it in values)


def _failed(
    error: type[AppraisalError],
    claim: str,
    expected: tuple[Value, ...] | list[str],
    actual: JSON,
    path: tuple[str, ...],
) -> FailedClaim:
    return FailedClaim(error.code, claim, tuple(expected), _shown(actual), path)


def _shown(actual: JSON) -> Value | None:
    """Return *actual* if it can stand in a manifest, which is all that an owner could do with it."""
    if isinstance(actual, str):
        return actual if len(actual) <= MAX_MANIFEST_TEXT and actual.isprintable() else None
    return actual if isinstance(actual, int) and abs(actual) <= LARGEST_INTEGER else None
