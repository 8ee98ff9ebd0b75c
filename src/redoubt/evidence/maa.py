"""Tokens of Microsoft Azure Attestation (MAA) as attestation results.

Source: learn.microsoft.com/azure/attestation/claim-sets and the REST reference, api-versions 2020-10-01 to 2025-06-01:
JWT, RS256, ``iss`` the instance's address, keys at ``<iss>/certs``, ``x-ms-attestation-type`` one of sgx, sevsnpvm,
tdxvm, azurevm, tpm.

Decides that an instance on the caller's list signed the token, that it is current and carries what the caller expects.
The claims keep Microsoft's names under ``maa.``. An instance's owner writes its policy, hence its claims: whoever lists
an instance trusts that owner too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from redoubt.errors import TokenIssuer, TokenMalformed
from redoubt.evidence.claims import JSON, Expected, ResultKind, Verified
from redoubt.evidence.results import check_token_nonce, check_token_report_data, refuse_debug, verified
from redoubt.evidence.tokens import Issuer, TokenPolicy, VerifiedToken, verify_token

#: Microsoft's public and sovereign clouds.
_INSTANCE: Final = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.attest\.azure\.(net|us|cn)")
_POLICY: Final = TokenPolicy(
    what="the MAA token",
    algorithms=frozenset({"RS256"}),
    expiry_required=True,
    key_address=lambda issuer: f"{issuer}/certs",
)
#: Attestation type → the claim with the report data that the attester chose. An Azure VM's is chosen by its HCL.
_REPORT_DATA: Final[Mapping[str, str | None]] = {
    "sgx": "x-ms-sgx-report-data",
    "sevsnpvm": "x-ms-sevsnpvm-reportdata",
    "tdxvm": "tdx_report_data",
    "azurevm": None,
    "tpm": None,
}
_DEBUG: Final = ("x-ms-sgx-is-debuggable", "is-debuggable", "tdx_td_attributes_debug")


def verify(token: bytes, *, issuers: tuple[Issuer, ...], expected: Expected, now: datetime) -> Verified:
    """Return the claims of the MAA *token*.

    Raises:
        TokenError: it is not an authentic, current token of a listed instance, or is bound to something else.
        EvidenceDebug: it speaks of a debug enclave or TD.
    """
    authentic = verify_token(token, issuers=issuers, policy=_POLICY, now=now)
    if authentic.issuer is None or not _INSTANCE.fullmatch(authentic.issuer):
        raise TokenIssuer("the issuer of the MAA token is not an instance of Azure Attestation")
    claims = authentic.claims
    kind = claims.get("x-ms-attestation-type")
    if not isinstance(kind, str) or kind not in _REPORT_DATA:
        raise TokenMalformed("the MAA token's attestation type is unknown")
    for holder in (claims, claims.get("x-ms-isolation-tee")):
        if isinstance(holder, Mapping):
            refuse_debug(holder, _DEBUG)
    check_token_nonce(_nonces(authentic), expected=expected)
    name = _REPORT_DATA[kind]
    check_token_report_data(claims.get(name) if name is not None else None, expected=expected)
    status = claims.get("attester_tcb_status")
    return verified(ResultKind.MAA, authentic, tcb_status=status if isinstance(status, str) else None)


def _nonces(token: VerifiedToken) -> list[JSON]:
    runtime = token.claims.get("x-ms-runtime")
    payload = runtime.get("client-payload") if isinstance(runtime, Mapping) else None
    return [token.claims.get("nonce"), payload.get("nonce") if isinstance(payload, Mapping) else None]
