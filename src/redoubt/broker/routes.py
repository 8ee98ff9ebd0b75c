"""Requests and answers without HTTP's details, and the table of routes that the server and its OpenAPI page share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from redoubt.evidence.claims import JSON

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, its body read whole and within its bound."""

    method: str
    #: The path alone, as owners sign it.
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    #: What stands behind ``Authorization: Bearer``.
    bearer: str | None = field(repr=False)
    #: The cookie of an attestation session.
    session: str | None = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    body: bytes = b""
    status: int = 200
    media_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


class Access(StrEnum):
    """Who may call a route, as the OpenAPI page says it."""

    PUBLIC = "public"
    ATTESTER = "attester"
    OWNER = "owner"
    #: A signed envelope; the first one also needs a bootstrap owner's token.
    ENVELOPE = "envelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path. ``path`` holds parameters in braces, each one segment."""

    method: str
    path: str
    #: The name in metrics, logs and the OpenAPI page.
    name: str
    handle: Callable[[Call], Reply]
    summary: str
    access: Access
    #: The largest body that is read.
    limit: int = 0
    #: Names of schemas; None for an empty body.
    request: str | None = None
    answer: str | None = None
    status: int = 200
    media_type: str = JSON_TYPE
    #: What may stand in the query, each with its schema.
    query: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def kbs(self) -> bool:
        """Whether errors have Trustee's form."""
        return self.path.startswith("/kbs/")
