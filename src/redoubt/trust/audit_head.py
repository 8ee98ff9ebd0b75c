"""Signed heads of an audit log, and what two of them say about the store in between.

A head is a compact JWS (ES384, ``typ`` ``redoubt-audit-head+jwt``) by the broker's key over ``{"digest", "iat", "iss",
"number"}``; ``iss`` is the broker's id, which is the ``kid`` of its key. It says: at that time the log had so many rows
and ended with that digest. It does not expire: it is worth remembering because it stays true.

Whoever remembers a head notices at the next contact that a broker's store was put back to an earlier state: its log is
shorter (:class:`RegisterRollback`), or goes on differently from there (:class:`AuditForked`). What happened after the
newest head that anybody remembers can be undone without a trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import (
    AuditForked,
    AuditTruncated,
    RegisterRollback,
    TokenHeader,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
)
from redoubt.evidence.claims import unix_time
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.evidence.tokens import Issuer, TokenPolicy, type_of, verify_token
from redoubt.limits import LARGEST_INTEGER
from redoubt.trust.audit_chain import START, AuditEntry, ChainEnd, follow
from redoubt.trust.broker_key import ALGORITHM, key_id, sign_compact
from redoubt.trust.program import is_digest

TYPE: Final = "redoubt-audit-head+jwt"
_MEMBERS: Final = frozenset({"digest", "iat", "iss", "number"})
_POLICY: Final = TokenPolicy(what="the audit head", algorithms=frozenset({ALGORITHM}), expiry_required=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """A head that a broker signed: only :func:`verify_head` makes one of a token."""

    broker: str
    end: ChainEnd
    at: datetime


def sign_head(end: ChainEnd, *, key: ec.EllipticCurvePrivateKey, at: datetime) -> bytes:
    """Return the head of a log that ends at *end*, signed with the broker's *key*."""
    claims = {
        "digest": end.digest,
        "iat": unix_time(at),
        "iss": key_id(key.public_key()),
        "number": end.number,
    }
    return sign_compact(json.dumps(claims, separators=(",", ":")).encode(), key=key, kind=TYPE)


def verify_head(token: bytes, *, keys: KeySet, now: datetime) -> AuditHead:
    """Return the head in *token*, by one of the broker's *keys*.

    Raises:
        TokenError: it is not a head, not authentic, or of another broker.
    """
    named = KeySet(tuple(map(_named, keys.keys)))
    authentic = verify_token(token, issuers=(Issuer(named, None),), policy=_POLICY, now=now)
    if type_of(authentic) != TYPE:
        raise TokenHeader(f"the token is no audit head: its type is not {TYPE}")
    claims = authentic.claims
    number, digest, issuer = claims.get("number"), claims.get("digest"), claims.get("iss")
    if set(claims) != _MEMBERS or not isinstance(digest, str) or not is_digest(digest):
        raise TokenMalformed("the audit head has other members than a head")
    if type(number) is not int or not 0 <= number <= LARGEST_INTEGER or type(claims["iat"]) is not int:
        raise TokenMalformed("the audit head has an impossible number or time")
    if not isinstance(issuer, str) or issuer not in {key.kid for key in named.keys}:
        raise TokenIssuer("the audit head names another broker than the one whose key signed it")
    at = datetime.fromtimestamp(claims["iat"], UTC)
    return AuditHead(broker=issuer, end=ChainEnd(number=number, digest=digest), at=at)


def verify_log(entries: Iterable[AuditEntry], *, head: AuditHead | None) -> ChainEnd:
    """Return the end of a whole log, from its first row on, that goes through *head* if one is given.

    Raises:
        AuditBroken: of the class that names the break.
    """
    end = START
    for entry in follow(START, entries):
        end = ChainEnd.of(entry)
        if head is not None and end.number == head.end.number and end != head.end:
            raise AuditForked(f"row {end.number} is another one than the row whose digest was signed")
    if head is not None and end.number < head.end.number:
        raise AuditTruncated(f"the log ends with row {end.number}; a head of row {head.end.number} was signed")
    return end


def verify_progress(remembered: AuditHead, current: AuditHead, *, between: Iterable[AuditEntry]) -> AuditHead:
    """Return *current* if its log continues the one that was *remembered*.

    *between* are the rows after the remembered head up to the current one; none are needed if the two are equal.

    Raises:
        TokenIssuer: the heads are of two brokers.
        RegisterRollback: the log is shorter than it was: the store was put back to an earlier state.
        AuditBroken: it goes on differently, or the rows between the heads are not whole.
    """
    if remembered.broker != current.broker:
        raise TokenIssuer("the remembered audit head is another broker's")
    if current.end.number < remembered.end.number:
        raise RegisterRollback(
            f"the broker's audit log ends with row {current.end.number}; row {remembered.end.number} was seen before",
            hint="The broker's store was rolled back. Restore its newest state; if that is lost, tell every owner.",
        )
    end = remembered.end
    for entry in follow(end, between):
        end = ChainEnd.of(entry)
        if end.number == current.end.number:
            break
    if end.number < current.end.number:
        raise AuditTruncated(f"rows {end.number + 1} to {current.end.number} of the audit log were not shown")
    if end != current.end:
        raise AuditForked(f"row {end.number} of the audit log is another one than was remembered or is signed now")
    return current


def _named(key: IssuerKey) -> IssuerKey:
    """Return *key* with the id that its content gives, whatever its publisher called it."""
    if not isinstance(key.key, ec.EllipticCurvePublicKey):
        raise TokenKeyUnknown("the key set holds a key that is no broker's")
    return IssuerKey(key.key, key_id(key.key), key.algorithm, key.not_before, key.not_after)
