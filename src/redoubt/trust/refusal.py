"""The record of a refusal: what a broker keeps for the owners when an attester gets no more than a code and an id.

One JSON object with a fixed set of fields. It holds digests, claims and rules; no key, no argument of a program, no
evidence. Decides that a record is one, since it may come from a file that somebody sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

import rfc8785

from redoubt.errors import (
    AppraisalError,
    ArgumentsRefused,
    BindingRefused,
    ChipRefused,
    DebugRefused,
    EvidenceError,
    FailedClaim,
    GrantMissing,
    ProgramRefused,
    ReferenceMismatch,
    RefusalMalformed,
    RoleNotGranted,
    TcbRefused,
    TeeUnknown,
    TokenError,
    by_code,
)
from redoubt.evidence.claims import JSON, Tee, Verified, unix_time
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import (
    LARGEST_INTEGER,
    MAX_MANIFEST_ENTRIES,
    MAX_MANIFEST_TEXT,
    MAX_MANIFEST_VERSION,
    MAX_REFUSAL_BYTES,
)
from redoubt.trust.appraisal import ProgramClaim
from redoubt.trust.ear_verify import AttestationResult
from redoubt.trust.policy import Action, Binding, Value
from redoubt.trust.program import is_digest
from redoubt.trust.signing import SignedManifest

REFUSAL_FORMAT: Final = 1
_FIELDS: Final = frozenset(
    {"format", "id", "at", "manifest", "manifest_version", "tee", "evidence", "program", "binding", "failures"}
)
_FAILURE_FIELDS: Final = frozenset({"code", "claim", "expected", "actual", "path"})
#: How long the path of a failure is: what `explain` makes an edit of.
_PATH_LENGTHS: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        TeeUnknown.code: frozenset({1}),
        ReferenceMismatch.code: frozenset({4}),
        TcbRefused.code: frozenset({3, 4}),
        DebugRefused.code: frozenset({3}),
        ChipRefused.code: frozenset({3}),
        ProgramRefused.code: frozenset({1, 3, 4}),
        ArgumentsRefused.code: frozenset({3}),
        BindingRefused.code: frozenset({1, 3}),
        GrantMissing.code: frozenset({3, 5}),  # with dataset and action: what was asked with an attestation result
        RoleNotGranted.code: frozenset({5}),  # with trust domain and role
    }
)
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One refusal."""

    id: UUID
    at: datetime
    manifest: str
    manifest_version: int
    tee: str
    evidence: str
    program: str | None
    binding: Binding
    failures: tuple[FailedClaim, ...]

    @classmethod
    def of(
        cls,
        error: AppraisalError,
        *,
        verified: Verified,
        program: ProgramClaim,
        policy: SignedManifest,
        now: datetime,
        refusal_id: UUID,
    ) -> Refusal:
        """Return the record of *error*, which appraising exactly this raised."""
        return cls(
            id=refusal_id,
            at=datetime.fromtimestamp(unix_time(now), UTC),
            manifest=policy.digest,
            manifest_version=policy.manifest.version,
            tee=verified.tee.value,
            evidence=verified.evidence_digest,
            program=program.digest if is_digest(program.digest) else None,
            binding=program.binding,
            failures=error.failures,
        )

    @classmethod
    def not_granted(
        cls,
        result: AttestationResult,
        *,
        dataset: str,
        action: Action,
        policy: SignedManifest,
        now: datetime,
        refusal_id: UUID,
    ) -> Refusal:
        """Return the record of a program that was attested, and asked for what no grant allows."""
        path = ("grants", _name(result, policy), result.tees[0], dataset, action.value)
        failure = FailedClaim(GrantMissing.code, "grant", (), None, path)
        return cls._after(result, failure, policy=policy, now=now, refusal_id=refusal_id)

    @classmethod
    def no_role(
        cls,
        result: AttestationResult,
        *,
        domain: str,
        role: str,
        policy: SignedManifest,
        now: datetime,
        refusal_id: UUID,
    ) -> Refusal:
        """Return the record of a program that was attested, and asked for a role that it may not take."""
        program, tee = _name(result, policy), result.tees[0]
        entry = (it for it in policy.manifest.roles if (it.program, it.tee, it.domain) == (program, tee, domain))
        may = tuple(sorted(role for it in entry for role in it.roles))
        failure = FailedClaim(RoleNotGranted.code, "role", may, role, ("roles", program, tee, domain, role))
        return cls._after(result, failure, policy=policy, now=now, refusal_id=refusal_id)

    @classmethod
    def _after(
        cls,
        result: AttestationResult,
        failure: FailedClaim,
        *,
        policy: SignedManifest,
        now: datetime,
        refusal_id: UUID,
    ) -> Refusal:
        return cls(
            id=refusal_id,
            at=datetime.fromtimestamp(unix_time(now), UTC),
            manifest=policy.digest,
            manifest_version=policy.manifest.version,
            tee=result.tee.value,
            evidence=result.evidence,
            program=result.program,
            binding=result.binding,
            failures=(failure,),
        )

    @classmethod
    def unproved(
        cls,
        error: EvidenceError | TokenError,
        *,
        tee: Tee,
        evidence: str,
        program: ProgramClaim,
        policy: SignedManifest,
        now: datetime,
        refusal_id: UUID,
    ) -> Refusal:
        """Return the record of *error*, which verifying raised; *evidence* is the digest of what was sent."""
        found = error.what[:MAX_MANIFEST_TEXT]
        failure = FailedClaim(
            error.code, "evidence", ("authentic evidence",), found if found.isprintable() else None, ()
        )
        return cls(
            id=refusal_id,
            at=datetime.fromtimestamp(unix_time(now), UTC),
            manifest=policy.digest,
            manifest_version=policy.manifest.version,
            tee=tee.value,
            evidence=evidence,
            program=program.digest if is_digest(program.digest) else None,
            binding=program.binding,
            failures=(failure,),
        )

    def encode(self) -> bytes:
        """Return the record's text, in one spelling."""
        failures: list[JSON] = [
            {
                "code": it.code,
                "claim": it.claim,
                "expected": list(it.expected),
                "actual": it.actual,
                "path": list(it.path),
            }
            for it in self.failures
        ]
        record: dict[str, JSON] = {
            "format": REFUSAL_FORMAT,
            "id": str(self.id),
            "at": self.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "manifest": self.manifest,
            "manifest_version": self.manifest_version,
            "tee": self.tee,
            "evidence": self.evidence,
            "program": self.program,
            "binding": self.binding.value,
            "failures": failures,
        }
        return rfc8785.dumps(record)

    @classmethod
    def parse(cls, text: bytes) -> Refusal:
        """Return the record that *text* is; raises RefusalMalformed."""
        body = parse_object(text, what="the refusal", limit=MAX_REFUSAL_BYTES, refusal=RefusalMalformed)
        if set(body) != _FIELDS or type(body["format"]) is not int or body["format"] != REFUSAL_FORMAT:
            raise RefusalMalformed("the record does not have the fields of format 1")
        program, version, listed, tee = (body[it] for it in ("program", "manifest_version", "failures", "tee"))
        if type(version) is not int or not 1 <= version <= MAX_MANIFEST_VERSION:
            raise RefusalMalformed("the record's manifest version is none")
        if not isinstance(tee, str) or not _WORD.fullmatch(tee):
            raise RefusalMalformed("the record's TEE has the wrong form")
        if program is not None and not is_digest(program):
            raise RefusalMalformed("the record's program is no digest")
        if not isinstance(listed, list) or not 0 < len(listed) <= MAX_MANIFEST_ENTRIES:
            raise RefusalMalformed("the record names no failure, or too many")
        try:
            return cls(
                id=UUID(_text(body["id"])),
                at=datetime.strptime(_text(body["at"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
                manifest=_digest(body["manifest"]),
                manifest_version=version,
                tee=tee,
                evidence=_digest(body["evidence"]),
                program=program if isinstance(program, str) else None,
                binding=Binding(_text(body["binding"])),
                failures=tuple(map(_failure, listed)),
            )
        except ValueError:
            raise RefusalMalformed("the record's id, time or binding has the wrong form") from None


def _name(result: AttestationResult, policy: SignedManifest) -> str:
    """Return what the manifest calls the program of *result*."""
    return next((name for name, it in policy.manifest.programs.items() if it.digest == result.program), "NAME")


def _failure(value: JSON) -> FailedClaim:
    if not isinstance(value, Mapping) or set(value) != _FAILURE_FIELDS:
        raise RefusalMalformed("a failure does not have the fields of format 1")
    kind = by_code().get(_text(value["code"]))
    if kind is None or not issubclass(kind, AppraisalError | EvidenceError | TokenError):
        raise RefusalMalformed("a failure has a code that no verification and no appraisal has")
    expected, path, actual = value["expected"], value["path"], value["actual"]
    if not isinstance(expected, list) or not isinstance(path, list):
        raise RefusalMalformed("a failure's expected values or path are no lists")
    if len(path) not in _PATH_LENGTHS.get(kind.code, {0}):
        raise RefusalMalformed("a failure's path is not one of its code")
    return FailedClaim(
        kind.code,
        _text(value["claim"]),
        tuple(map(_value, expected)),
        None if actual is None else _value(actual),
        tuple(map(_text, path)),
    )


def _value(value: JSON) -> Value:
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise RefusalMalformed("the record holds an absurd number")
    return value if isinstance(value, int) else _text(value)


def _text(value: JSON) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise RefusalMalformed("the record has a value where a text belongs")
    return value


def _digest(value: JSON) -> str:
    if not is_digest(value):
        raise RefusalMalformed("the record has something else where a digest belongs")
    return _text(value)
