"""Problem documents (RFC 9457) of the broker, in its own form and in Trustee's.

Our paths answer with ``urn:redoubt:error:<code>`` as type. Below ``/kbs/v0`` the type is one of Trustee's addresses,
the status is 401 but for a path that names nothing (its clients attest again on 401), and ``code`` says what it was.
``instance`` is the correlation id of a refusal: what an attester can give to a data owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redoubt.errors import BrokerError, BrokerMessage, RedoubtError, by_code
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import MAX_PROBLEM_BYTES
from redoubt.protocol.endpoint import ERROR_URN
from redoubt.protocol.messages import text_member, write_object

MEDIA_TYPE: Final = "application/problem+json"
KBS_TYPES: Final = "https://github.com/confidential-containers/kbs/errors/"
_INSTANCE: Final = "urn:uuid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error on its way to a peer."""

    error: RedoubtError
    status: int
    #: Trustee's name for it; None on our own paths.
    kbs_type: str | None = None
    #: The id under which the owners find the reasons.
    correlation: UUID | None = None

    def encode(self) -> bytes:
        """Return the body."""
        code = self.error.code
        document: dict[str, JSON] = {
            "type": ERROR_URN + code if self.kbs_type is None else KBS_TYPES + self.kbs_type,
            "title": self.error.cause,
            "status": self.status,
            "detail": self.error.what,
            "code": code,
        }
        if self.correlation is not None:
            document["instance"] = f"{_INSTANCE}{self.correlation}"
        return write_object(document)


@dataclass(frozen=True, slots=True)
class ReadProblem:
    """A problem document as a client reads it."""

    error: RedoubtError
    correlation: UUID | None


def parse_problem(body: bytes, *, status: int) -> ReadProblem:
    """Return the error in *body*, an answer with this HTTP *status*. What is no problem document is a BrokerError.

    Members are read where they are known and passed over else, since proxies and other brokers answer too.
    """
    try:
        found = parse_object(body, what="the answer", limit=MAX_PROBLEM_BYTES, refusal=BrokerMessage)
        detail = text_member(found, "detail", what="the answer")[:1024]
    except BrokerMessage:
        return ReadProblem(BrokerError(f"the broker answered with HTTP status {status}"), None)
    code = found.get("code", str(found.get("type", "")).removeprefix(ERROR_URN))
    kind = by_code().get(code) if isinstance(code, str) else None
    instance = found.get("instance")
    try:
        correlation = UUID(instance.removeprefix(_INSTANCE)) if isinstance(instance, str) else None
    except ValueError:
        correlation = None
    what = "".join(it if it.isprintable() else "?" for it in detail)
    return ReadProblem((kind or BrokerError)(what), correlation)
