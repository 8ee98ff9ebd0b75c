"""How errors leave the broker: which HTTP status, and which of Trustee's types below ``/kbs/v0``.

Decides by the error's class first and its family's exit status else, so a new error has a status without being named
here. What is no error of Redoubt becomes one line without its text, which could carry anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redoubt.broker.routes import Reply
from redoubt.errors import (
    AttestationRefused,
    AttesterUnauthenticated,
    BodyTooLarge,
    BrokerError,
    ExitStatus,
    GrantRefused,
    KeyUnknown,
    ManifestMissing,
    NonceReplayed,
    NotFound,
    OwnerUnauthenticated,
    RateLimited,
    ReceiptMalformed,
    ReceiptMissing,
    ReceiptTooLarge,
    ReceiptType,
    RedoubtError,
    RefusalMissing,
    ResourceMissing,
    SecretRefused,
    SessionExpired,
    SessionUnknown,
    TeeMissing,
    WrapRefused,
)
from redoubt.protocol.problem import MEDIA_TYPE, Problem

UNAUTHORIZED: Final = 401
_STATUS: Final[Mapping[type[RedoubtError], int]] = MappingProxyType(
    {
        SessionUnknown: 401,
        SessionExpired: 401,
        NonceReplayed: 401,
        AttesterUnauthenticated: 401,
        OwnerUnauthenticated: 401,
        WrapRefused: 403,
        SecretRefused: 400,
        KeyUnknown: 404,
        ResourceMissing: 404,
        RefusalMissing: 404,
        ReceiptMissing: 404,
        ReceiptMalformed: 400,
        ReceiptType: 400,
        ReceiptTooLarge: 413,
        TeeMissing: 404,
        NotFound: 404,
        ManifestMissing: 409,
        BodyTooLarge: 413,
        RateLimited: 429,
    }
)
_BY_EXIT_STATUS: Final[Mapping[ExitStatus, int]] = MappingProxyType(
    {
        ExitStatus.USAGE: 400,
        ExitStatus.REFUSED: 403,
        ExitStatus.KEY: 409,
        ExitStatus.STORAGE: 503,
        ExitStatus.CONFLICT: 409,
        ExitStatus.ENVIRONMENT: 503,
    }
)
#: Malformed messages are the caller's fault, though their family's exit status says "refused".
_BAD_REQUESTS: Final = frozenset({"broker.message", "broker.protocol_version", "broker.tee", "manifest.malformed"})
#: Trustee's names (kbs/src/error.rs), and the statuses that its clients tell apart: 404 and 403 are final, on 401 they
#: attest again.
_KBS: Final[Mapping[type[RedoubtError], tuple[str, int]]] = MappingProxyType(
    {
        NotFound: ("InvalidRequestPath", 404),
        ResourceMissing: ("PluginInternalError", 404),
        GrantRefused: ("PolicyDeny", 403),
        AttesterUnauthenticated: ("TokenVerifierError", 401),
        OwnerUnauthenticated: ("AdminAuthAccess", 401),
        SecretRefused: ("JweError", 401),
    }
)


def status_of(error: RedoubtError) -> int:
    """Return the HTTP status of *error* on the broker's own paths."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    if error.code in _BAD_REQUESTS:
        return 400
    if type(error) is BrokerError:
        return 500
    return _BY_EXIT_STATUS.get(error.exit_status, 500)


def problem_reply(error: RedoubtError, *, kbs: bool) -> Reply:
    """Return *error* as an answer, in Trustee's form if *kbs*."""
    status, kind = status_of(error), None
    if kbs:
        name, status_there = _KBS.get(type(error), ("AttestationError", UNAUTHORIZED))
        # Trustee has no word for a server that is busy, full or ill, and clients must not take it for a refusal.
        kind, status = name, status if status in (413, 429, 500, 503) else status_there
    refusal = error.refusal if isinstance(error, BrokerError) else None
    headers = {"Retry-After": error.hint} if isinstance(error, RateLimited) and error.hint else {}
    document = Problem(error=error, status=status, kbs_type=kind, correlation=refusal)
    return Reply(body=document.encode(), status=status, media_type=MEDIA_TYPE, headers=headers)


def internal_error() -> BrokerError:
    """Return what a peer is told of a fault of ours."""
    return BrokerError("the broker failed internally")


def is_refusal(error: RedoubtError) -> bool:
    """Return whether *error* is one that a peer should not provoke often: guesses, forgeries, refused evidence."""
    return status_of(error) in (UNAUTHORIZED, 403) or isinstance(error, AttestationRefused)
