"""DSSE envelopes with one signature by a key on P-384: what receipts are signed with.

Source: DSSE 1.0.2 (envelope, pre-authentication encoding); the signature is ECDSA with SHA-384 in DER, as
securesystemslib and sigstore write it for such keys. Decides that an envelope has exactly one signature.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import ReceiptMalformed, ReceiptUnsigned, RedoubtError
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64, parse_object


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: ``"DSSEv1" SP LEN(type) SP type SP LEN(body) SP body``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatement:
    """A payload with one signature. Nothing in it is trusted before :meth:`check`."""

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes

    @classmethod
    def sign(
        cls, payload: bytes, *, payload_type: str, key: ec.EllipticCurvePrivateKey, key_id: str
    ) -> SignedStatement:
        """Return *payload* signed with *key*, which is known as *key_id*."""
        signature = key.sign(pae(payload_type, payload), ec.ECDSA(hashes.SHA384()))
        return cls(payload_type=payload_type, payload=payload, key_id=key_id, signature=signature)

    @classmethod
    def parse(cls, text: bytes, *, what: str, limit: int) -> SignedStatement:
        """Return the envelope that *text* is; raises as :meth:`of`."""
        return cls.of(parse_object(text, what=what, limit=limit, refusal=ReceiptMalformed), what=what)

    @classmethod
    def of(cls, body: JSON, *, what: str) -> SignedStatement:
        """Return the envelope that *body* is.

        Raises:
            ReceiptMalformed: it is no envelope.
            ReceiptUnsigned: it holds no signature.
        """
        if not isinstance(body, Mapping) or set(body) != {"payload", "payloadType", "signatures"}:
            raise ReceiptMalformed(f"{what} is no DSSE envelope")
        kind, listed = body["payloadType"], body["signatures"]
        if not isinstance(kind, str) or not isinstance(listed, list) or len(listed) > 1:
            raise ReceiptMalformed(f"the envelope of {what} has a malformed type, or more than one signature")
        if not listed:
            raise ReceiptUnsigned(f"{what} is not signed")
        (only,) = listed
        if not isinstance(only, Mapping) or set(only) != {"keyid", "sig"} or not isinstance(only["keyid"], str):
            raise ReceiptMalformed(f"the signature of {what} is not {{keyid, sig}}")
        signature = from_base64(only["sig"], what=f"the signature of {what}", refusal=ReceiptMalformed)
        if not signature:
            raise ReceiptUnsigned(f"the signature of {what} is empty")
        payload = from_base64(body["payload"], what=f"the payload of {what}", refusal=ReceiptMalformed)
        return cls(payload_type=kind, payload=payload, key_id=only["keyid"], signature=signature)

    def to_json(self) -> dict[str, JSON]:
        """Return the envelope as the object that :meth:`of` reads."""
        signature: dict[str, JSON] = {"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [signature],
        }

    def check(self, key: ec.EllipticCurvePublicKey, *, refusal: type[RedoubtError], what: str) -> bytes:
        """Return the payload if *key* signed it; raises *refusal*."""
        try:
            key.verify(self.signature, pae(self.payload_type, self.payload), ec.ECDSA(hashes.SHA384()))
        except InvalidSignature:
            raise refusal(f"{what} is not signed by the key that it must be signed by") from None
        return self.payload
