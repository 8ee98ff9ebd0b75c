"""Texts that are JSON and no Unicode, in what strangers send: refused where they come in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redoubt.errors import OwnerUnauthenticated
from redoubt.protocol.owner_token import OwnerRequest, sign_owner_token, verify_owner_token

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUEST = OwnerRequest(broker="broker", method="POST", path="/x", body=b"{}")
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.mark.parametrize("claim", ["aud", "htm", "htu", "bsh", "jti", "iss"])
def test_a_strangers_token_with_half_a_surrogate_pair_is_refused(claim: str) -> None:
    """Anybody can sign one with a key of his own, and the comparison of claims failed on it, as the broker's fault."""
    header, claims, _ = sign_owner_token(STRANGER, REQUEST, now=NOW, token_id=UUID(int=1)).split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    payload = json.dumps({**body, claim: "\ud800"}).encode()
    signed = f"{header}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}"
    signature = base64.urlsafe_b64encode(STRANGER.sign(signed.encode())).rstrip(b"=").decode()
    with pytest.raises(OwnerUnauthenticated):
        verify_owner_token(f"{signed}.{signature}", REQUEST, now=NOW)
