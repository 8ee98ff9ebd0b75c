"""The OpenAPI page, made of the table of routes: ``/openapi.json`` and, in the repository, ``docs/openapi.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redoubt import __version__
from redoubt.broker.openapi_schemas import SCHEMAS
from redoubt.broker.routes import Access, Route
from redoubt.evidence.claims import JSON
from redoubt.protocol.problem import MEDIA_TYPE
from redoubt.protocol.rcar import SESSION_COOKIE

OPENAPI_PATH: Final = "/openapi.json"
_SECURITY: Final[Mapping[Access, JSON]] = {
    Access.PUBLIC: [],
    Access.ATTESTER: [{"attestation": []}],
    Access.OWNER: [{"owner": []}],
    Access.ENVELOPE: [{}, {"owner": []}],
}
_SCHEMES: Final[Mapping[str, JSON]] = {
    "attestation": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "EAR",
        "description": "An attestation result that this broker issued, of the manifest in force.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "The session of an attestation.",
    },
    "owner": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that an owner signed for this one request: docs/protocol.md, Owners.",
    },
}


def openapi_document(routes: tuple[Route, ...]) -> dict[str, JSON]:
    """Return the document that describes *routes*."""
    paths: dict[str, dict[str, JSON]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Redoubt broker",
            "version": __version__,
            "description": "Appraises evidence against the owners' manifest and releases keys.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(SCHEMAS), "securitySchemes": dict(_SCHEMES)},
    }


def _operation(route: Route) -> JSON:
    security = _SECURITY[route.access]
    if route.name == "resource":
        security = [{"attestation": []}, {"session": []}]
    operation: dict[str, JSON] = {
        "operationId": route.name,
        "summary": route.summary,
        "security": security,
        "responses": {
            str(route.status): _answer(route),
            "default": {"description": "A problem document (RFC 9457).", "content": _content(MEDIA_TYPE, "Problem")},
        },
    }
    parameters: list[JSON] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()]
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        media_type = "application/octet-stream" if route.request == "Bytes" else "application/json"
        operation["requestBody"] = {"required": True, "content": _content(media_type, route.request)}
    return operation


def _answer(route: Route) -> JSON:
    if route.answer is None:
        return {"description": "Done."}
    return {"description": "Done.", "content": _content(route.media_type, route.answer)}


def _content(media_type: str, schema: str) -> JSON:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
