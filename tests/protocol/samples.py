"""Fixed keys and values of the golden transcript, and what property tests throw at parsers."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

from redoubt.protocol.jwe import Recipient, public_jwk

#: The attester's key of the transcript: nobody's secret.
KEY = ec.derive_private_key(int("5eed" * 16, 16), ec.SECP256R1())
RECIPIENT = Recipient.parse(public_jwk(KEY))
NONCE = bytes(range(32))
PROGRAM = "sha256:" + "ab" * 32

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["AAAA", "EC", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def mutate(document: Any, data: st.DataObject, value: Any) -> Any:
    """The *document* with one member or element, at any depth, replaced by *value*, or one more."""
    target: Any = document
    key: Any = data.draw(st.sampled_from(sorted(document)))
    while isinstance(target[key], list | dict) and target[key] and data.draw(st.booleans()):
        target = target[key]
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
    if data.draw(st.booleans()):
        target[key] = value
    elif isinstance(target, dict):
        target[data.draw(st.text(max_size=8))] = value
    return document


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
