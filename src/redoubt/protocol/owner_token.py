"""Tokens with which owners sign their requests to a broker: one token a request, no passwords.

Sources: RFC 7515 (compact JWS), RFC 8037 (EdDSA), RFC 7519; after the pattern of DPoP (RFC 9449: htm, htu, jti), with
the body bound too. Header ``{"alg":"EdDSA","typ":"redoubt-owner+jwt","kid":<public key text>}``.

Decides that a token is by an Ed25519 key, for this broker, for exactly this method, path and body, and fresh. Whether
the key is an owner's, and whether the token was used before, is decided by the broker, which knows both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from redoubt.errors import ManifestField, OwnerUnauthenticated
from redoubt.evidence.claims import JSON, unix_time
from redoubt.evidence.strict_json import from_base64url, parse_object
from redoubt.limits import MAX_OWNER_TOKEN_BYTES, MAX_OWNER_TOKEN_SECONDS, TOKEN_CLOCK_SKEW_SECONDS
from redoubt.protocol.messages import write_object
from redoubt.trust.public_key import parse_public_key, public_key_text

TYPE: Final = "redoubt-owner+jwt"
_ALGORITHM: Final = "EdDSA"
_CLAIMS: Final = frozenset({"iss", "aud", "iat", "exp", "jti", "htm", "htu", "bsh"})
#: The year 9999: beyond it datetime ends.
_LAST_SECOND: Final = 253402300799


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerRequest:
    """What a token is for. ``broker`` is the broker's id; ``path`` is the path alone, without a query."""

    broker: str
    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerToken:
    """An authentic token: only :func:`verify_owner_token` makes one."""

    #: The Ed25519 public key, 32 bytes.
    key: bytes
    token_id: UUID
    expires: datetime


def sign_owner_token(key: Ed25519PrivateKey, request: OwnerRequest, *, now: datetime, token_id: UUID) -> str:
    """Return a token for *request*, good from *now* for as long as any may be."""
    issuer = public_key_text(key.public_key().public_bytes_raw())
    header: dict[str, JSON] = {"alg": _ALGORITHM, "typ": TYPE, "kid": issuer}
    claims: dict[str, JSON] = {
        "iss": issuer,
        "aud": request.broker,
        "iat": unix_time(now),
        "exp": unix_time(now) + MAX_OWNER_TOKEN_SECONDS,
        "jti": str(token_id),
        "htm": request.method,
        "htu": request.path,
        "bsh": body_hash(request.body),
    }
    signed = b".".join(_base64url(write_object(it)).encode() for it in (header, claims))
    return f"{signed.decode()}.{_base64url(key.sign(signed))}"


def verify_owner_token(token: str, request: OwnerRequest, *, now: datetime) -> OwnerToken:
    """Return *token* if it is authentic, fresh, and for *request*; raises OwnerUnauthenticated."""
    parts = token.split(".")
    if len(token) > MAX_OWNER_TOKEN_BYTES or len(parts) != 3:
        raise OwnerUnauthenticated("the token is not three parts separated by dots")
    header, claims = (_object(it) for it in parts[:2])
    key = _check_signature(header, parts)
    if set(claims) != _CLAIMS or claims["iss"] != header["kid"]:
        raise OwnerUnauthenticated("the token has unknown or missing claims, or another issuer than its key")
    for name, wanted in (
        ("aud", request.broker),
        ("htm", request.method),
        ("htu", request.path),
        ("bsh", body_hash(request.body)),
    ):
        given = claims[name]
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), wanted.encode()):
            raise OwnerUnauthenticated(f"the token is for another request: {name!r} differs")
    expires = _check_times(claims, now)
    try:
        token_id = UUID(str(claims["jti"]))
    except ValueError:
        raise OwnerUnauthenticated("the token's id is no UUID") from None
    return OwnerToken(key=key, token_id=token_id, expires=expires)


def body_hash(body: bytes) -> str:
    """Return the claim ``bsh`` of a request with this *body*."""
    return _base64url(hashlib.sha256(body).digest())


def _object(part: str) -> dict[str, JSON]:
    # RFC 7515, 2: without padding; a second spelling of a token would be another token.
    if part.endswith("="):
        raise OwnerUnauthenticated("the token is padded base64url")
    raw = from_base64url(part, what="the token", refusal=OwnerUnauthenticated)
    return parse_object(raw, what="the token", limit=MAX_OWNER_TOKEN_BYTES, refusal=OwnerUnauthenticated)


def _check_signature(header: Mapping[str, JSON], parts: list[str]) -> bytes:
    if set(header) != {"alg", "typ", "kid"} or header["alg"] != _ALGORITHM or header["typ"] != TYPE:
        raise OwnerUnauthenticated(f"the token's algorithm or type is not {_ALGORITHM} and {TYPE}")
    try:
        key = parse_public_key(header["kid"])
    except ManifestField as error:
        raise OwnerUnauthenticated(f"the token's key {error.what}") from None
    signature = from_base64url(parts[2], what="the token's signature", refusal=OwnerUnauthenticated)
    if parts[2].endswith("="):
        raise OwnerUnauthenticated("the token is padded base64url")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, f"{parts[0]}.{parts[1]}".encode())
    except (InvalidSignature, ValueError):
        raise OwnerUnauthenticated("the token is not signed by its key") from None
    return key


def _check_times(claims: Mapping[str, JSON], now: datetime) -> datetime:
    issued, expires = claims["iat"], claims["exp"]
    if type(issued) is not int or type(expires) is not int or not 0 <= issued <= expires <= _LAST_SECOND:
        raise OwnerUnauthenticated("the token's times are none")
    if expires - issued > MAX_OWNER_TOKEN_SECONDS:
        raise OwnerUnauthenticated(f"the token is good for more than {MAX_OWNER_TOKEN_SECONDS} seconds")
    begins, ends = (datetime.fromtimestamp(it, UTC) for it in (issued, expires))
    if now >= ends or now + timedelta(seconds=TOKEN_CLOCK_SKEW_SECONDS) < begins:
        raise OwnerUnauthenticated("the token has expired, or is from the future; check the clocks")
    return ends


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
