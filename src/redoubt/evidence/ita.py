"""Tokens of Intel Trust Authority as attestation results.

Source: docs.trustauthority.intel.com, "Attestation tokens": JWT, PS384 or RS256, ``iss`` the portal's address, keys at
``<portal>/certs``, claims ``attester_type``, ``attester_tcb_status``, ``tdx_report_data``, ``sgx_report_data``,
``verifier_nonce``.

Decides that the listed portal signed the token, that it is current and carries what the caller expects. Claims keep
Intel's names under ``ita.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from redoubt.errors import TokenMalformed
from redoubt.evidence.claims import Expected, ResultKind, Verified
from redoubt.evidence.results import check_token_nonce, check_token_report_data, refuse_debug, verified
from redoubt.evidence.tokens import Issuer, TokenPolicy, verify_token

#: Issuers of tokens before version 2 were named "Intel Trust Authority", which is no address.
_OLD_KEY_ADDRESS: Final = "https://portal.trustauthority.intel.com/certs"
_REPORT_DATA: Final[Mapping[str, str]] = {"SGX": "sgx_report_data", "TDX": "tdx_report_data"}
_DEBUG: Final = ("sgx_is_debuggable", "tdx_is_debuggable")


def _key_address(issuer: str) -> str:
    return f"{issuer}/certs" if urlsplit(issuer).scheme == "https" else _OLD_KEY_ADDRESS


_POLICY: Final = TokenPolicy(
    what="the Intel Trust Authority token",
    algorithms=frozenset({"PS384", "RS256"}),
    expiry_required=True,
    key_address=_key_address,
)


def verify(token: bytes, *, issuers: tuple[Issuer, ...], expected: Expected, now: datetime) -> Verified:
    """Return the claims of the Intel Trust Authority *token*.

    Raises:
        TokenError: it is not an authentic, current token of a listed issuer, or is bound to something else.
        EvidenceDebug: it speaks of a debug enclave or TD.
    """
    authentic = verify_token(token, issuers=issuers, policy=_POLICY, now=now)
    claims = authentic.claims
    kind = claims.get("attester_type")
    if not isinstance(kind, str):
        raise TokenMalformed("the Intel Trust Authority token names no attester type")
    refuse_debug(claims, _DEBUG)
    nonce = claims.get("verifier_nonce")
    check_token_nonce([nonce.get("val")] if isinstance(nonce, Mapping) else [], expected=expected)
    check_token_report_data(claims.get(_REPORT_DATA.get(kind, "")), expected=expected)
    status, advisories = claims.get("attester_tcb_status"), claims.get("attester_advisory_ids")
    return verified(
        ResultKind.ITA,
        authentic,
        tcb_status=status if isinstance(status, str) else None,
        advisories=tuple(it for it in advisories if isinstance(it, str)) if isinstance(advisories, list) else (),
    )
