"""Signed tokens of other verifiers: a compact JWS, verified with keys that are never the token's own.

Source: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practices: explicit algorithms 3.1, keys 3.10).

The rules, in the order in which they are applied:

1. three parts of strict base64url; header and payload are strict JSON objects;
2. the algorithm is on an explicit list of asymmetric ones; ``none`` and HMAC cannot be on it;
3. the issuer is on the allow-list, and its keys are the ones that the caller got from it;
4. ``jku`` must be the issuer's well-known address, an embedded ``jwk`` a copy of the caller's key; ``x5u``, ``crit``
   and ``b64`` are refused. None of them, nor ``x5c``, is ever followed or used;
5. the key id selects one key, and the signature is checked with it alone;
6. ``exp``, ``nbf`` and ``iat`` are judged by the verifier's clock.

Claims are read before the signature only to choose the issuer's keys, and returned only after all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from redoubt.errors import (
    TokenAlgorithm,
    TokenExpired,
    TokenHeader,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignature,
)
from redoubt.evidence.claims import JSON
from redoubt.evidence.key_set import IssuerKey, KeySet, check_algorithm, same_key
from redoubt.evidence.strict_json import from_base64url, parse_object
from redoubt.limits import MAX_TOKEN_BYTES, MAX_TOKEN_CLAIMS, TOKEN_CLOCK_SKEW_SECONDS

#: What a caller may allow. RSASSA-PKCS1-v1_5 is here because Microsoft signs with nothing else.
ASYMMETRIC: Final = frozenset({"RS256", "RS384", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
_STEERING_HEADERS: Final = ("x5u", "crit", "b64")
#: The year 9999: beyond it datetime ends.
_LAST_SECOND: Final = 253402300799


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer that the caller trusts, with its keys.

    ``name`` is the ``iss`` of its tokens. ``None`` leaves the name open: the caller vouches that the keys belong to
    the issuer it means, as with profiles whose tokens name none; it must then be the only one.
    """

    keys: KeySet
    name: str | None


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a kind of token must look like.

    ``key_address`` gives the ``jku`` that an honest token of an issuer carries; any other is refused. ``longest_life``
    ends a token that many seconds after ``iat``, whatever its ``exp``.
    """

    what: str
    algorithms: frozenset[str]
    expiry_required: bool
    key_address: Callable[[str], str] | None = None
    longest_life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """An authentic, current token."""

    issuer: str | None
    claims: Mapping[str, JSON]
    signed: bytes
    valid_until: datetime | None


def verify_token(token: bytes, *, issuers: tuple[Issuer, ...], policy: TokenPolicy, now: datetime) -> VerifiedToken:
    """Return the claims of *token* by the rules above.

    Raises:
        TokenError: of the class that belongs to the rule.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenMalformed(f"{policy.what} is longer than {MAX_TOKEN_BYTES} bytes")
    token = token.strip()
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenMalformed(f"{policy.what} is not three parts separated by dots")
    header, claims = (_object(_decoded(part, policy.what), policy.what) for part in parts[:2])
    _decoded(parts[2], policy.what)
    algorithm = _algorithm(header, policy)
    issuer = _issuer(claims, issuers, policy)
    _check_header(header, claims, policy)
    key = _key(header, issuer, algorithm, now=now)
    _check_signature(token, key, algorithm, policy.what)
    valid_until = _check_times(claims, policy, now)
    name = claims.get("iss")
    return VerifiedToken(name if isinstance(name, str) else None, claims, b".".join(parts[:2]), valid_until)


def type_of(token: VerifiedToken) -> JSON:
    """Return the ``typ`` of a verified token's header, whatever it is."""
    return _object(_decoded(token.signed.partition(b".")[0], "the token"), "the token").get("typ")


def _decoded(part: bytes, what: str) -> bytes:
    # RFC 7515, 2: without padding. A second spelling of the same token would slip past lists of seen tokens.
    text = part.decode("ascii", errors="replace")
    if text.endswith("="):
        raise TokenMalformed(f"{what} is padded base64url")
    return from_base64url(text, what=what, refusal=TokenMalformed)


def _object(text: bytes, what: str) -> dict[str, JSON]:
    return parse_object(text, what=what, limit=MAX_TOKEN_BYTES, refusal=TokenMalformed)


def _algorithm(header: Mapping[str, JSON], policy: TokenPolicy) -> str:
    algorithm = header.get("alg")
    allowed = policy.algorithms & ASYMMETRIC
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise TokenAlgorithm(
            f"{policy.what} is signed with {str(algorithm)[:16]!r}; allowed are {', '.join(sorted(allowed))}"
        )
    return algorithm


def _issuer(claims: Mapping[str, JSON], issuers: tuple[Issuer, ...], policy: TokenPolicy) -> Issuer:
    name = claims.get("iss")
    if name is not None and not isinstance(name, str):
        raise TokenMalformed(f"the issuer of {policy.what} is not a text")
    if not issuers:
        raise TokenIssuer(f"no issuer is allowed for {policy.what}, and an empty list allows none")
    found = [it for it in issuers if it.name is None or it.name == name]
    if len(found) != 1:
        raise TokenIssuer(
            f"the issuer of {policy.what} is not on the list" if name else f"{policy.what} names no issuer"
        )
    return found[0]


def _check_header(header: Mapping[str, JSON], claims: Mapping[str, JSON], policy: TokenPolicy) -> None:
    for name in _STEERING_HEADERS:
        if name in header:
            raise TokenHeader(f"the header of {policy.what} has {name!r}")
    address = policy.key_address(str(claims.get("iss"))) if policy.key_address is not None else None
    if "jku" in header and (address is None or header["jku"] != address):
        raise TokenHeader(f"the header of {policy.what} names another source of keys than the issuer's own")


def _key(header: Mapping[str, JSON], issuer: Issuer, algorithm: str, *, now: datetime) -> IssuerKey:
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid):
        raise TokenKeyUnknown("the token's key id is not a text")
    key = issuer.keys.select(kid, now=now)
    if "jwk" in header and not same_key(header["jwk"], key.key):
        raise TokenHeader("the token's header brings a key of its own")
    check_algorithm(key, algorithm)
    return key


def _check_signature(token: bytes, key: IssuerKey, algorithm: str, what: str) -> None:
    from joserfc import jws
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    from redoubt.evidence.attestation_key import canonical

    kind = ECKey if algorithm.startswith("ES") else RSAKey
    try:
        jws.deserialize_compact(token, kind.import_key(canonical(key.key)), algorithms=[algorithm])
    except (JoseError, ValueError, TypeError):
        raise TokenSignature(f"{what} is not signed by the issuer's key") from None


def _check_times(claims: Mapping[str, JSON], policy: TokenPolicy, now: datetime) -> datetime | None:
    skew = timedelta(seconds=TOKEN_CLOCK_SKEW_SECONDS)
    ends, begins, issued = (_time(claims, name, policy.what) for name in ("exp", "nbf", "iat"))
    if ends is None and policy.expiry_required:
        raise TokenMalformed(f"{policy.what} has no `exp`")
    if policy.longest_life is not None:
        if issued is None:
            raise TokenMalformed(f"{policy.what} has no `iat`")
        ends = min(ends or issued + policy.longest_life, issued + policy.longest_life)
    if ends is not None and now >= ends:
        raise TokenExpired(f"{policy.what} expired at {ends.isoformat()}")
    for begin in (begins, issued):
        if begin is not None and now + skew < begin:
            raise TokenNotYetValid(f"{policy.what} is not valid before {begin.isoformat()}")
    return ends


def _time(claims: Mapping[str, JSON], name: str, what: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise TokenMalformed(f"{name!r} of {what} is not a time")
    return datetime.fromtimestamp(value, UTC)


def flatten(claims: Mapping[str, JSON], *, prefix: str) -> dict[str, JSON]:
    """Return *claims* as flat dotted names that begin with *prefix*; lists stay values.

    Raises:
        TokenMalformed: two claims would get one name, so a reader could take one for the other.
    """
    flat: dict[str, JSON] = {}
    waiting: list[tuple[str, Mapping[str, JSON]]] = [(prefix, claims)]
    while waiting:
        path, members = waiting.pop()
        for name, value in members.items():
            full = f"{path}.{name}"
            if isinstance(value, Mapping) and value:
                waiting.append((full, value))
            elif full in flat or len(flat) >= MAX_TOKEN_CLAIMS:
                raise TokenMalformed("the token's claims are ambiguous or too many")
            else:
                flat[full] = value
    return flat
