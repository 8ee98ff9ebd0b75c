"""``simulated`` evidence: an EAT (RFC 9711) in a JWT, signed with ES384 by a development key.

The producer and the verifier are pure. The token carries the report data that the verifier chose, a nonce if there was
one, and measurements of the program (name → SHA-384). ``dbgstat`` and a warning in plain words say what it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import ECKey

from redoubt.errors import EvidenceMalformed, UsageError
from redoubt.evidence.claims import (
    JSON,
    Expected,
    Tee,
    Verified,
    check_nonce,
    check_report_data,
    digest,
    unix_time,
)
from redoubt.evidence.key_set import KeySet
from redoubt.evidence.strict_json import check_names, from_base64url, from_hex
from redoubt.evidence.tokens import Issuer, TokenPolicy, verify_token
from redoubt.limits import REPORT_DATA_BYTES
from redoubt_dev.key import DevelopmentKey

ISSUER: Final = "redoubt-dev"
PROFILE: Final = "urn:redoubt:simulated:1"
WARNING: Final = "SIMULATED: proves nothing about hardware"
LIFETIME: Final = timedelta(minutes=10)
_POLICY: Final = TokenPolicy(
    what="the simulated evidence",
    algorithms=frozenset({"ES384"}),
    expiry_required=True,
    longest_life=LIFETIME,
)
_REQUIRED: Final = ("iss", "iat", "exp", "eat_profile", "dbgstat", "swname", "warning", "report_data", "measurements")


def produce(
    key: DevelopmentKey,
    *,
    report_data: bytes,
    now: datetime,
    nonce: bytes | None = None,
    measurements: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return evidence of a machine that does not exist, over *report_data* (64 bytes)."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError(f"report data must be {REPORT_DATA_BYTES} bytes, not {len(report_data)}")
    claims = {
        "iss": ISSUER,
        "iat": unix_time(now),
        "exp": unix_time(now + LIFETIME),
        "eat_profile": PROFILE,
        "dbgstat": "enabled",
        "swname": ISSUER,
        "warning": WARNING,
        "report_data": report_data.hex(),
        "measurements": {name: value.hex() for name, value in (measurements or {}).items()},
        **({} if nonce is None else {"eat_nonce": base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()}),
    }
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    header = {"alg": "ES384", "typ": "eat+jwt", "kid": key.id}
    return jws.serialize_compact(header, json.dumps(claims).encode(), ECKey.import_key(pem), ["ES384"]).encode()


def verify(evidence: bytes, *, keys: KeySet, expected: Expected, now: datetime) -> Verified:
    """Return the claims of simulated *evidence*, signed with one of these development *keys*.

    Raises:
        TokenError, EvidenceError: it is not that, or not fresh.
    """
    token = verify_token(evidence, issuers=(Issuer(keys, ISSUER),), policy=_POLICY, now=now)
    claims = {name: value for name, value in token.claims.items() if name != "eat_nonce"}
    check_names(claims, _REQUIRED, what="the simulated evidence")
    if claims["eat_profile"] != PROFILE or claims["warning"] != WARNING or claims["dbgstat"] != "enabled":
        raise EvidenceMalformed("the simulated evidence does not say what it is")
    report_data = from_hex(claims["report_data"], what="the report data")
    measurements = claims["measurements"]
    if len(report_data) != REPORT_DATA_BYTES or not isinstance(measurements, Mapping):
        raise EvidenceMalformed("the simulated evidence has no report data or measurements")
    nonce = token.claims.get("eat_nonce", "")
    check_nonce(from_base64url(nonce, what="the nonce"), expected=expected)
    check_report_data(report_data, expected=expected)
    proved: dict[str, JSON] = {"simulated.warning": WARNING, "simulated.report_data": report_data.hex()}
    for name, value in measurements.items():
        proved[f"simulated.measurement.{name}"] = from_hex(value, what="a measurement").hex()
    return Verified(
        tee=Tee.SIMULATED,
        claims=proved,
        report_data=report_data,
        tcb_status=None,
        advisories=(),
        evidence_digest=digest(token.signed),
        valid_until=token.valid_until,
    )
