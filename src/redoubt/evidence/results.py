"""What the results of other verifiers have in common once their token is authentic.

Decides that a token carries the nonce and report data that the caller expects, that it does not speak of a debug
enclave or TD, and what of it becomes claims: all of it, under the prefix of its kind, so that no claim of a foreign
verifier can be taken for one that Redoubt proved itself.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping

from redoubt.errors import EvidenceDebug, TokenUnbound
from redoubt.evidence.claims import JSON, Expected, ResultKind, Verified, digest
from redoubt.evidence.tokens import VerifiedToken, flatten
from redoubt.limits import REPORT_DATA_BYTES


def verified(
    kind: ResultKind,
    token: VerifiedToken,
    *,
    extra: Mapping[str, JSON] | None = None,
    tcb_status: str | None = None,
    advisories: tuple[str, ...] = (),
) -> Verified:
    """Return *token* as verified claims of this *kind*; raises TokenMalformed for ambiguous ones."""
    return Verified(
        tee=kind,
        claims={**flatten(token.claims, prefix=kind.value), **(extra or {})},
        report_data=b"",
        tcb_status=tcb_status,
        advisories=advisories,
        evidence_digest=digest(token.signed),
        valid_until=token.valid_until,
    )


def check_token_nonce(carried: Iterable[JSON], *, expected: Expected) -> None:
    """Return if one of the *carried* texts spells the expected nonce; raises TokenUnbound.

    Issuers return the nonce as the attester spelt it: base64url, base64, hex, or as it is. A verifier's nonce is random
    and at least 16 bytes long, so no spelling of one is another one.
    """
    if expected.nonce is None:
        return
    spellings = (
        expected.nonce,
        expected.nonce.hex().encode(),
        base64.b64encode(expected.nonce),
        base64.urlsafe_b64encode(expected.nonce),
        base64.urlsafe_b64encode(expected.nonce).rstrip(b"="),
    )
    texts = [it.encode("utf-8", errors="replace") for it in carried if isinstance(it, str)]
    if not expected.nonce or not any(hmac.compare_digest(text, it) for text in texts for it in spellings):
        raise TokenUnbound("the token does not carry the verifier's nonce")


def check_token_report_data(carried: JSON, *, expected: Expected) -> None:
    """Return if *carried*, report data in hex, is the expected one; raises TokenUnbound."""
    if expected.report_data is None:
        return
    wanted = expected.report_data.ljust(REPORT_DATA_BYTES, b"\0").hex()
    text = carried.lower() if isinstance(carried, str) else ""
    if not expected.report_data or not hmac.compare_digest(text.encode("utf-8", errors="replace"), wanted.encode()):
        raise TokenUnbound("the token does not carry the expected report data")


def refuse_debug(claims: Mapping[str, JSON], names: Iterable[str]) -> None:
    """Raise EvidenceDebug if one of the claims *names* is there and not plainly false."""
    for name in names:
        if claims.get(name, False) is not False:
            raise EvidenceDebug(f"the token says {name}: {str(claims[name])[:16]}")
