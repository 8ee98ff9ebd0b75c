"""The bodies of the broker's API as JSON schemas, for its OpenAPI page. What decides is the parser of each message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redoubt.evidence.claims import JSON

_TEXT: Final[JSON] = {"type": "string"}
_NUMBER: Final[JSON] = {"type": "integer", "minimum": 0}
_BASE64: Final[JSON] = {"type": "string", "contentEncoding": "base64"}
_BASE64URL: Final[JSON] = {"type": "string", "contentEncoding": "base64url"}
_UUID: Final[JSON] = {"type": "string", "format": "uuid"}
_DIGEST: Final[JSON] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_PURPOSE: Final[JSON] = {"enum": ["data", "model", "checkpoint"]}


def _object(optional: tuple[str, ...] = (), /, **members: JSON) -> JSON:
    """Return the schema of an object with exactly these members; a trailing underscore stands for a reserved word."""
    properties: dict[str, JSON] = {name.rstrip("_").replace("__", "-"): schema for name, schema in members.items()}
    required: list[JSON] = [it for it in properties if it not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(items: JSON) -> JSON:
    return {"type": "array", "items": items}


def _ref(name: str) -> JSON:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: JSON) -> JSON:
    return {"anyOf": [schema, {"type": "null"}]}


SCHEMAS: Final[Mapping[str, JSON]] = {
    "AdvanceRequest": _object(previous=_or_null(_ref("RegisteredHead")), head=_ref("RegisteredHead"), ticket=_TEXT),
    "AnnounceRequest": _object(head=_ref("RegisteredHead"), ticket=_TEXT),
    "Announced": _object(heads=_list(_ref("RegisteredHead"))),
    "AttestRequest": _object(
        ("init-data",),
        init__data=_or_null(_object(format=_TEXT, body=_TEXT)),
        runtime__data=_object(nonce=_BASE64, tee__pubkey=_ref("Recipient")),
        tee__evidence=_object(primary_evidence={"type": "object"}, additional_evidence=_TEXT),
    ),
    "AttestResponse": _object(token=_TEXT),
    "AuditRows": {"type": "string", "description": "One row a line (RFC 8785): docs/operations.md."},
    "AuthRequest": _object(version={"const": "0.4.0"}, tee=_TEXT, extra__params={}),
    "BrokerFacts": _object(
        api={"const": "redoubt-broker"},
        version={"const": 1},
        id=_TEXT,
        name=_TEXT,
        software=_TEXT,
        simulated={"type": "boolean"},
        keys=_ref("KeySet"),
        manifest=_or_null(_ref("ManifestFacts")),
        audit_head={"type": "string", "description": "Compact JWS."},
        rcar=_list(_TEXT),
        tees=_list(_TEXT),
        attested={"type": "boolean"},
    ),
    "Bytes": {"type": "string", "format": "binary"},
    "CertificateRequest": _object(domain=_TEXT, role=_TEXT, request=_BASE64),
    "Challenge": _object(nonce=_BASE64, extra__params={}),
    "Context": _object(dataset=_UUID, data_key=_UUID, purpose=_PURPOSE),
    "Contexts": _object(contexts=_list(_ref("Context"))),
    "DataKeyRequest": _object(key=_or_null(_TEXT), dataset=_UUID, data_key=_UUID, purpose=_PURPOSE),
    "Empty": {"type": "object", "additionalProperties": False},
    "Envelope": _object(
        payload=_BASE64,
        payloadType={"const": "application/vnd.redoubt.manifest+json"},
        signatures=_list(_object(keyid=_TEXT, sig=_BASE64)),
    ),
    "EvidenceAnswer": _object(tee=_TEXT, primary_evidence={"type": "object"}),
    "EvidenceRequest": _object(nonce=_BASE64),
    "Head": _object(head=_or_null(_ref("RegisteredHead"))),
    "Jwe": _object(
        protected=_BASE64URL, encrypted_key=_BASE64URL, iv=_BASE64URL, ciphertext=_BASE64URL, tag=_BASE64URL
    ),
    "KeyInfo": _object(
        name=_TEXT,
        versions=_list(
            _object(
                version=_NUMBER,
                state={"enum": ["enabled", "disabled", "destroyed"]},
                created=_NUMBER,
                wraps=_NUMBER,
                references=_NUMBER,
            )
        ),
    ),
    "KeyList": _object(keys=_list(_ref("KeyInfo")), assurances=_list({"enum": ["dev", "hw"]})),
    "KeyRequest": _object(
        ("version", "state", "even_if_referenced"),
        name=_TEXT,
        version=_or_null(_NUMBER),
        state=_or_null({"enum": ["enabled", "disabled"]}),
        even_if_referenced={"type": "boolean"},
    ),
    "KeySet": _object(keys=_list({"type": "object"})),
    "ManifestFacts": _object(version=_NUMBER, digest=_DIGEST),
    "Manifests": _object(envelopes=_list({"type": "string", "description": "A signed envelope."})),
    "Problem": {
        "type": "object",
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "code": {"type": "string", "description": "One of docs/errors.md."},
            "instance": {"type": "string", "description": "urn:uuid:… of a refusal, for its owners."},
        },
        "required": ["type", "title", "status", "detail", "code"],
    },
    "Recipient": {
        "oneOf": [
            _object(
                kty={"const": "EC"},
                alg={"const": "ECDH-ES+A256KW"},
                crv={"enum": ["P-256", "P-521"]},
                x=_BASE64URL,
                y=_BASE64URL,
            ),
            _object(kty={"const": "RSA"}, alg={"const": "RSA-OAEP-256"}, n=_BASE64URL, e=_BASE64URL),
        ]
    },
    "Records": _object(records=_list(_BASE64)),
    "RecordsRequest": _object(("recipient",), records=_list(_BASE64), recipient=_ref("Recipient")),
    "Refusal": {"type": "object", "description": "docs/manifest.md, Refusals."},
    "RegisteredHead": _object(number=_NUMBER, digest=_DIGEST),
    "Statement": _object(
        payload=_BASE64,
        payloadType={"const": "application/vnd.in-toto+json"},
        signatures=_list(_object(keyid=_TEXT, sig=_BASE64)),
    ),
    "Status": _object(status=_TEXT),
    "Text": _TEXT,
    "UnwrapRequest": _object(dataset=_UUID, purpose=_PURPOSE, records=_list(_BASE64)),
    "WrapRequest": _object(
        name=_TEXT, keys=_list(_object(dataset=_UUID, data_key=_UUID, purpose=_PURPOSE, secret=_BASE64))
    ),
}
