"""Tickets: who was given a data key of a dataset may later move the dataset's registered head.

A ticket is a MAC over {dataset, attested key, expiry}, under a key that every broker on one store derives from their
signing key. It reaches its holder encrypted to the attested key, and is good only together with an attestation result
for that key: a stolen one moves nothing. It outlives the attestation result, since a job may write for days.
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.broker.derive import derived_key
from redoubt.crypto.encoding import encode_fields
from redoubt.errors import TicketRefused
from redoubt.evidence.claims import JSON, unix_time
from redoubt.evidence.strict_json import from_base64url
from redoubt.limits import TICKET_SECONDS

_LABEL: Final = b"redoubt/register-ticket/v1"
_EXPIRY: Final = struct.Struct(">Q")
_MAC_BYTES: Final = 32


class Tickets:
    """Makes and checks tickets of one broker, or of all brokers on one store."""

    def __init__(self, signing_key: ec.EllipticCurvePrivateKey) -> None:
        self._key = derived_key(signing_key, label=_LABEL)

    def issue(self, *, dataset_id: UUID, holder: Mapping[str, JSON], now: datetime) -> str:
        """Return a ticket for *dataset_id* to the *holder* of this attested key (a JWK)."""
        expiry = _EXPIRY.pack(unix_time(now + timedelta(seconds=TICKET_SECONDS)))
        return base64.urlsafe_b64encode(expiry + self._mac(dataset_id, holder, expiry)).rstrip(b"=").decode()

    def check(self, ticket: str, *, dataset_id: UUID, holder: Mapping[str, JSON], now: datetime) -> None:
        """Return if *ticket* is for this dataset and holder, and current; raises TicketRefused."""
        raw = from_base64url(ticket, what="the ticket", refusal=TicketRefused)
        expiry, mac = raw[: _EXPIRY.size], raw[_EXPIRY.size :]
        if len(raw) != _EXPIRY.size + _MAC_BYTES or not hmac.compare_digest(mac, self._mac(dataset_id, holder, expiry)):
            raise TicketRefused("the ticket is not one of this broker for this dataset and this attested key")
        if unix_time(now) >= _EXPIRY.unpack(expiry)[0]:
            raise TicketRefused("the ticket has expired")

    def _mac(self, dataset_id: UUID, holder: Mapping[str, JSON], expiry: bytes) -> bytes:
        thumbprint = sha256(rfc8785.dumps(dict(holder))).digest()
        return hmac.digest(self._key, encode_fields(_LABEL, dataset_id.bytes, thumbprint, expiry), sha256)
