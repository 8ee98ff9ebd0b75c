"""The table of routes: what the server serves and ``docs/openapi.json`` describes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redoubt.broker.routes import Access, Route
from redoubt.broker.service import AUDIT_TYPE, Service
from redoubt.evidence.claims import JSON
from redoubt.limits import (
    MAX_AUDIT_PAGE,
    MAX_ENVELOPE_BYTES,
    MAX_KEY_API_BYTES,
    MAX_MEMBERSHIP_BYTES,
    MAX_RCAR_BYTES,
    MAX_REPORTED_BYTES,
    MAX_RESOURCE_BYTES,
)
from redoubt.protocol import broker_evidence, key_api, membership, owner_api, rcar

_RESOURCE: Final = f"{rcar.PATH}/resource/{{repository}}/{{type}}/{{tag}}"
#: Call of the provider's contract → summary, schema of the request, schema of the answer.
_KEY_CALLS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "describe": ("Facts of one primary key.", "KeyRequest", "KeyInfo"),
        "rotate": ("Add a version, which wraps from now on.", "KeyRequest", "KeyInfo"),
        "state": ("Enable or disable versions.", "KeyRequest", "KeyInfo"),
        "destroy": ("Destroy a version for ever.", "KeyRequest", "KeyInfo"),
        "wrap": ("Wrap data keys under the newest version.", "WrapRequest", "Records"),
        "unwrap": ("Data keys for an owner of their dataset, encrypted to the recipient.", "RecordsRequest", "Jwe"),
        "rewrap": ("Wrap again under the newest version.", "RecordsRequest", "Records"),
        "release": ("Forget the references that these wraps hold.", "RecordsRequest", "Empty"),
        "settle": ("Forget references by older versions than these.", "RecordsRequest", "Empty"),
        "references": ("What is still wrapped by a key or a version of it.", "KeyRequest", "Contexts"),
    }
)
_PAGE: Final[Mapping[str, JSON]] = MappingProxyType(
    {
        "start": {"type": "integer", "minimum": 1, "default": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_AUDIT_PAGE, "default": MAX_AUDIT_PAGE},
    }
)


def make_routes(service: Service) -> tuple[Route, ...]:
    """Return every route but ``/openapi.json``, which describes them."""
    return (*_rcar(service), *_attested(service), *_owners(service), *_public(service))


def _rcar(service: Service) -> tuple[Route, ...]:
    return (
        Route(
            method="POST",
            path=f"{rcar.PATH}/auth",
            name="auth",
            handle=service.auth,
            summary="RCAR: ask for a challenge.",
            access=Access.PUBLIC,
            limit=MAX_RCAR_BYTES,
            request="AuthRequest",
            answer="Challenge",
        ),
        Route(
            method="POST",
            path=f"{rcar.PATH}/attest",
            name="attest",
            handle=service.attest,
            summary="RCAR: answer the challenge with evidence.",
            access=Access.PUBLIC,
            limit=MAX_RCAR_BYTES,
            request="AttestRequest",
            answer="AttestResponse",
        ),
        Route(
            method="GET",
            path=_RESOURCE,
            name="resource",
            handle=service.resource,
            summary="A resource, encrypted to the attested key.",
            access=Access.ATTESTER,
            answer="Jwe",
        ),
        Route(
            method="POST",
            path=_RESOURCE,
            name="resource-set",
            handle=service.set_resource,
            summary="Store a resource in the repository that is named after a dataset.",
            access=Access.OWNER,
            limit=MAX_RESOURCE_BYTES,
            request="Bytes",
            answer="Empty",
        ),
    )


def _attested(service: Service) -> tuple[Route, ...]:
    return (
        Route(
            method="POST",
            path=f"{key_api.PATH}/unwrap",
            name="unwrap",
            handle=service.unwrap,
            summary="Data keys of one dataset and its registered head, encrypted to the attested key.",
            access=Access.ATTESTER,
            limit=MAX_KEY_API_BYTES,
            request="UnwrapRequest",
            answer="Jwe",
        ),
        Route(
            method="POST",
            path=membership.CERTIFICATES_PATH,
            name="certificates",
            handle=service.certificate,
            summary="A role's certificate, its trust domain's CAs and secret, encrypted to the attested key.",
            access=Access.ATTESTER,
            limit=MAX_MEMBERSHIP_BYTES,
            request="CertificateRequest",
            answer="Jwe",
        ),
        Route(
            method="POST",
            path=f"{key_api.PATH}/data-keys",
            name="data-keys",
            handle=service.data_key,
            summary="A fresh data key with its wrap and a ticket, encrypted to the attested key.",
            access=Access.ATTESTER,
            limit=MAX_RCAR_BYTES,
            request="DataKeyRequest",
            answer="Jwe",
        ),
        Route(
            method="GET",
            path=f"{key_api.PATH}/register/{{dataset}}",
            name="register",
            handle=service.head,
            summary="The registered head of a dataset.",
            access=Access.ATTESTER,
            answer="Head",
        ),
        Route(
            method="POST",
            path=f"{key_api.PATH}/register/{{dataset}}",
            name="register-advance",
            handle=service.advance,
            summary="Move the registered head of a dataset, by compare and swap.",
            access=Access.ATTESTER,
            limit=MAX_RCAR_BYTES,
            request="AdvanceRequest",
            status=204,
        ),
        Route(
            method="PUT",
            path=f"{key_api.PATH}/register/{{dataset}}",
            name="register-put",
            handle=service.register,
            summary="Register the head of a dataset by its owner's word, whatever was registered before.",
            access=Access.OWNER,
            limit=MAX_RCAR_BYTES,
            request="Head",
            status=204,
        ),
        Route(
            method="GET",
            path=f"{key_api.PATH}/announced/{{dataset}}",
            name="announced",
            handle=service.announced,
            summary="The commits of a dataset that writers announced and did not register yet.",
            access=Access.ATTESTER,
            answer="Announced",
        ),
        Route(
            method="POST",
            path=f"{key_api.PATH}/announced/{{dataset}}",
            name="announce",
            handle=service.announce,
            summary="Announce a commit that is about to be made.",
            access=Access.ATTESTER,
            limit=MAX_RCAR_BYTES,
            request="AnnounceRequest",
            status=204,
        ),
        Route(
            method="POST",
            path=f"{key_api.PATH}/receipts",
            name="receipt-issue",
            handle=service.issue_receipt,
            summary="The signed receipt of the job that asks, around what its agent reports.",
            access=Access.ATTESTER,
            limit=MAX_REPORTED_BYTES,
            request="Statement",
            answer="Statement",
        ),
    )


def _owners(service: Service) -> tuple[Route, ...]:
    calls = tuple(
        Route(
            method="POST",
            path=f"{owner_api.PATH}/{name}",
            name=f"keys-{name}",
            handle=service.key_call(name),
            summary=summary,
            access=Access.OWNER,
            limit=MAX_KEY_API_BYTES,
            request=request,
            answer=answer,
        )
        for name, (summary, request, answer) in _KEY_CALLS.items()
    )
    return (
        Route(
            method="GET",
            path=owner_api.PATH,
            name="keys",
            handle=service.list_keys,
            summary="Facts of every primary key.",
            access=Access.OWNER,
            answer="KeyList",
        ),
        Route(
            method="POST",
            path=owner_api.PATH,
            name="keys-create",
            handle=service.create_key,
            summary="Create a primary key.",
            access=Access.OWNER,
            limit=MAX_KEY_API_BYTES,
            request="KeyRequest",
            answer="KeyInfo",
        ),
        *calls,
        Route(
            method="GET",
            path=f"{key_api.PATH}/manifest",
            name="manifest",
            handle=service.manifests,
            summary="Every signed manifest, oldest first.",
            access=Access.OWNER,
            answer="Manifests",
        ),
        Route(
            method="PUT",
            path=f"{key_api.PATH}/manifest",
            name="manifest-set",
            handle=service.set_manifest,
            summary="Put a signed manifest in force.",
            access=Access.ENVELOPE,
            limit=MAX_ENVELOPE_BYTES,
            request="Envelope",
            answer="ManifestFacts",
        ),
        Route(
            method="GET",
            path=f"{key_api.PATH}/audit",
            name="audit",
            handle=service.audit,
            summary="Rows of the audit log, one a line.",
            access=Access.OWNER,
            answer="AuditRows",
            media_type=AUDIT_TYPE,
            query=_PAGE,
        ),
        Route(
            method="GET",
            path=f"{key_api.PATH}/refusals/{{id}}",
            name="refusal",
            handle=service.refusal,
            summary="The record of a refusal, for `redoubt explain`.",
            access=Access.OWNER,
            answer="Refusal",
        ),
        Route(
            method="GET",
            path=f"{key_api.PATH}/receipts/{{job}}",
            name="receipt",
            handle=service.receipt,
            summary="The receipt of a job, if it asked for one.",
            access=Access.OWNER,
            answer="Statement",
        ),
    )


def _public(service: Service) -> tuple[Route, ...]:
    found = (
        (f"{key_api.PATH}/broker", "broker", service.broker, "Public facts of the broker.", "BrokerFacts"),
        ("/.well-known/jwks.json", "jwks", service.key_set, "The broker's public keys.", "KeySet"),
        ("/healthz", "health", service.health, "Whether the process answers.", "Status"),
        ("/readyz", "ready", service.ready, "Whether the store answers and its manifests are whole.", "Status"),
    )
    return (
        *(
            Route(
                method="GET",
                path=path,
                name=name,
                handle=handle,
                summary=summary,
                access=Access.PUBLIC,
                answer=answer,
                media_type="application/jwk-set+json" if name == "jwks" else "application/json",
            )
            for path, name, handle, summary, answer in found
        ),
        Route(
            method="POST",
            path=broker_evidence.PATH,
            name="evidence",
            handle=service.evidence,
            summary="Evidence of the broker itself, where it runs in a TEE.",
            access=Access.PUBLIC,
            limit=MAX_RCAR_BYTES,
            request="EvidenceRequest",
            answer="EvidenceAnswer",
        ),
        Route(
            method="GET",
            path="/metrics",
            name="metrics",
            handle=service.prometheus,
            summary="Metrics in Prometheus' text format.",
            access=Access.PUBLIC,
            answer="Text",
            media_type="text/plain",
        ),
    )
