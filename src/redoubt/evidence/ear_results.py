"""EAT Attestation Results (EAR) of other verifiers: Veraison, Trustee, another Redoubt.

Source: draft-ietf-rats-ear-04 (JWT serialisation), draft-ietf-rats-ar4si-09 (trustworthiness tiers), RFC 9711 (EAT).

Decides that a listed verifier signed the token and that it is current and carries the expected nonce. A token may be
authentic and still not be an EAR by the draft (old drafts lack profile and submodules): the claim ``ear.conformant``
says which, and only a conformant one has ``ear.profile`` and, for each submodule, ``ear.submods.<name>.…``. Appraisal
reads these and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from redoubt.errors import TokenMalformed
from redoubt.evidence.claims import JSON, Expected, ResultKind, Verified
from redoubt.evidence.results import check_token_nonce, check_token_report_data, verified
from redoubt.evidence.tokens import Issuer, TokenPolicy, verify_token

_POLICY: Final = TokenPolicy(
    what="the EAR token",
    algorithms=frozenset({"ES256", "ES384", "ES512", "PS256", "PS384", "RS256"}),
    expiry_required=False,
)
#: AR4SI tiers as draft-ietf-rats-ear-04, 3.1 spells them.
STATUSES: Final = frozenset({"none", "affirming", "warning", "contraindicated"})


def verify(
    token: bytes,
    *,
    issuers: tuple[Issuer, ...],
    expected: Expected,
    now: datetime,
    longest_life: timedelta | None = None,
) -> Verified:
    """Return the claims of the EAR *token*.

    An EAR need not expire: pass *longest_life* unless the caller's nonce in it makes it fresh.

    Raises:
        TokenError: it is not an authentic, current token of a listed verifier, or is bound to something else.
    """
    policy = replace(_POLICY, longest_life=longest_life)
    authentic = verify_token(token, issuers=issuers, policy=policy, now=now)
    claims = authentic.claims
    nonce = claims.get("eat_nonce")
    check_token_nonce(nonce if isinstance(nonce, list) else [nonce], expected=expected)
    check_token_report_data(None, expected=expected)  # an EAR has no place for it: what is expected is not there
    conformant = _is_conformant(claims)
    extra: dict[str, JSON] = {"ear.conformant": conformant}
    if conformant:
        extra["ear.profile"] = claims["eat_profile"]
    found = verified(ResultKind.EAR, replace(authentic, claims=claims if conformant else _outer(claims)))
    if not extra.keys().isdisjoint(found.claims):
        raise TokenMalformed("the EAR token has a claim with a name that Redoubt gives")
    return replace(found, claims={**found.claims, **extra})


def _is_conformant(claims: Mapping[str, JSON]) -> bool:
    verifier, submods = claims.get("ear.verifier-id"), claims.get("submods")
    return (
        isinstance(claims.get("eat_profile"), str)
        and claims.get("iat") is not None
        and isinstance(verifier, Mapping)
        and all(isinstance(verifier.get(name), str) for name in ("build", "developer"))
        and isinstance(submods, Mapping)
        and bool(submods)
        and all(isinstance(it, Mapping) and _has_status(it) for it in submods.values())
    )


def _has_status(submodule: Mapping[str, JSON]) -> bool:
    status = submodule.get("ear.status")
    return isinstance(status, str) and status in STATUSES


def _outer(claims: Mapping[str, JSON]) -> Mapping[str, JSON]:
    # What is left of a token by an unknown draft: registered JWT claims mean the same in all of them.
    return {name: claims[name] for name in ("iss", "iat", "nbf", "exp", "jti") if name in claims}
