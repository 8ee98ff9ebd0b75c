"""Attestation results of Redoubt brokers, as a relying party judges them.

Sources as in :mod:`redoubt.trust.ear`; the token itself by the rules of :mod:`redoubt.evidence.tokens` (explicit
algorithm, pinned issuer with its keys, times).

Decides that a result is one of a Redoubt broker, for hardware unless simulated ones are asked for by name, that its
status agrees with its vector and is good enough, and that it was appraised under the manifest that is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from redoubt.errors import EarError, EarPolicy, EarSimulated, EarStatus, TokenIssuer
from redoubt.evidence.claims import JSON, Expected, Tee
from redoubt.evidence.results import check_token_nonce
from redoubt.evidence.tokens import Issuer, TokenPolicy, VerifiedToken, type_of, verify_token
from redoubt.limits import MAX_EAR_SECONDS
from redoubt.trust.ear import (
    ALGORITHM,
    ANNOTATED,
    PROFILE,
    SIMULATED_ISSUER,
    SIMULATED_PROFILE,
    SIMULATED_TYPE,
    SUBMODULE,
    TYPE,
    status_of,
)
from redoubt.trust.policy import Binding
from redoubt.trust.program import is_digest

_POLICY: Final = TokenPolicy(
    what="the EAR",
    algorithms=frozenset({ALGORITHM}),
    expiry_required=True,
    longest_life=timedelta(seconds=MAX_EAR_SECONDS),
)
_REAL: Final = frozenset(Tee) - {Tee.SIMULATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """What a broker says of one attester: only :func:`verify_ear` makes one."""

    issuer: str
    token_id: str
    status: str
    vector: Mapping[str, int]
    manifest: str
    tee: Tee
    #: Names of the manifest's TEEs that the evidence satisfies.
    tees: tuple[str, ...]
    program: str
    binding: Binding
    evidence: str
    #: The public key (JWK) whose holder was attested.
    key: Mapping[str, JSON]
    valid_until: datetime
    #: The public key (JWK) that the attester signs with, if it attested one.
    signer: Mapping[str, JSON] | None = None


def verify_ear(
    token: bytes,
    *,
    issuer: Issuer,
    manifest: str,
    nonce: bytes | None,
    now: datetime,
    accept_warning: bool = False,
    simulated: bool = False,
) -> AttestationResult:
    """Return the result in *token*, by this *issuer* (named), under the manifest with this digest.

    *simulated* asks for a result of simulated evidence, and for nothing else; development only.

    Raises:
        TokenError: it is not an authentic, current token of the issuer, or carries another nonce.
        EarError: it is authentic, but not good enough.
    """
    if issuer.name is None or issuer.name.startswith(SIMULATED_ISSUER) is not simulated:
        raise TokenIssuer("a relying party pins its issuer by name, and simulated results have an issuer of their own")
    authentic = verify_token(token, issuers=(issuer,), policy=_POLICY, now=now)
    _check_kind(authentic, simulated=simulated)
    check_token_nonce([authentic.claims.get("eat_nonce")], expected=Expected(nonce=nonce))
    result = _read(authentic, issuer.name)
    if (result.tee in _REAL) is simulated:
        raise EarSimulated(f"the EAR speaks of {result.tee} evidence")
    accepted = {"affirming", "warning"} if accept_warning else {"affirming"}
    if not simulated and result.status not in accepted:
        raise EarStatus(f"the EAR's status is {result.status}")
    if result.manifest != manifest:
        raise EarPolicy("the EAR was appraised under another manifest")
    return result


def _check_kind(token: VerifiedToken, *, simulated: bool) -> None:
    kind = type_of(token)
    profile = token.claims.get("eat_profile")
    wanted = (SIMULATED_TYPE, SIMULATED_PROFILE) if simulated else (TYPE, PROFILE)
    if (kind, profile) == wanted:
        return
    if kind == SIMULATED_TYPE or profile == SIMULATED_PROFILE or simulated:
        raise EarSimulated("the EAR is of simulated evidence where hardware is expected, or the other way round")
    raise EarError("the token's type or profile is not that of an EAR of Redoubt")


def _read(token: VerifiedToken, issuer: str) -> AttestationResult:
    verifier, submodules = (_object(token.claims, it) for it in ("ear.verifier-id", "submods"))
    if set(submodules) != {SUBMODULE} or any(not isinstance(verifier.get(it), str) for it in ("build", "developer")):
        raise EarError(f"the EAR does not name its verifier, or has other submodules than {SUBMODULE!r}")
    submodule = _object(submodules, SUBMODULE)
    vector = _vector(_object(submodule, "ear.trustworthiness-vector"))
    status, manifest = (_text(submodule, it) for it in ("ear.status", "ear.appraisal-policy-id"))
    if status != status_of(vector):
        raise EarStatus("the EAR's status is not that of its trustworthiness vector")
    facts = _object(_object(submodule, ANNOTATED), "redoubt")
    program, evidence = (_text(facts, it) for it in ("program", "evidence"))
    if not all(map(is_digest, (manifest, program, evidence))) or token.valid_until is None:
        raise EarError("the EAR has something else where a digest belongs")
    try:
        tee, binding = Tee(_text(facts, "tee")), Binding(_text(facts, "binding"))
    except ValueError:
        raise EarError("the EAR names an unknown TEE or binding level") from None
    return AttestationResult(
        issuer=issuer,
        token_id=_text(token.claims, "jti"),
        status=status,
        vector=vector,
        manifest=manifest,
        tee=tee,
        tees=_texts(facts, "tees"),
        program=program,
        binding=binding,
        evidence=evidence,
        key=_object(_object(token.claims, "cnf"), "jwk"),
        valid_until=token.valid_until,
        signer=_object(facts, "signer") if "signer" in facts else None,
    )


def _vector(members: Mapping[str, JSON]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, value in members.items():
        if type(value) is not int or not -128 <= value <= 127:
            raise EarError("the EAR's trustworthiness vector holds something else than tiers")
        # AR4SI: -1 to 1 claim nothing; other negative ones are the verifier's own, and unknown means bad.
        found[name] = value if value >= -1 else 127
    return found


def _object(holder: Mapping[str, JSON], name: str) -> Mapping[str, JSON]:
    value = holder.get(name)
    if not isinstance(value, Mapping):
        raise EarError(f"the EAR has no object {name!r}")
    return value


def _text(holder: Mapping[str, JSON], name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise EarError(f"the EAR has no text {name!r}")
    return value


def _texts(holder: Mapping[str, JSON], name: str) -> tuple[str, ...]:
    value = holder.get(name)
    texts = tuple(it for it in value if isinstance(it, str)) if isinstance(value, list) else ()
    if not isinstance(value, list) or len(texts) != len(value) or not texts:
        raise EarError(f"the EAR has no list of texts {name!r}")
    return texts
