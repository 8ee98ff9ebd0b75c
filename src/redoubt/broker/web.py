"""HTTP in front of the service: an ASGI application that bounds, dispatches, answers and counts.

In this order, so that a stranger costs little: the rate limit by address; the route; the declared length; the body,
counted and timed while it is read; then the handler, in a worker thread, since stores block. Errors become problem
documents. The log has route, status, time, address and refusal id, and never a token, a cookie, a query or a body.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from redoubt.broker.answers import internal_error, is_refusal, problem_reply
from redoubt.broker.gate import peer_of
from redoubt.broker.metrics import Metrics
from redoubt.broker.openapi import OPENAPI_PATH, openapi_document
from redoubt.broker.rate import RateLimiter
from redoubt.broker.routes import Access, Call, Reply, Route
from redoubt.errors import BodyTooLarge, BrokerMessage, NotFound, RateLimited, RedoubtError
from redoubt.limits import BROKER_BODY_SECONDS, MAX_REQUEST_PATH, REFUSED_REQUEST_COST
from redoubt.protocol.messages import write_object
from redoubt.protocol.rcar import SESSION_COOKIE

LOG: Final = logging.getLogger("redoubt.broker")
_BEARER: Final = "bearer "
_UNKNOWN: Final = "unknown"
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
}


def make_app(routes: tuple[Route, ...], *, metrics: Metrics, limiter: RateLimiter) -> Starlette:
    """Return the application that serves *routes* and their OpenAPI page."""
    page = _page(write_object(openapi_document(routes)))
    by_path: dict[str, dict[str, Route]] = {}
    for route in (*routes, page):
        by_path.setdefault(route.path, {})[route.method] = route
    edge = _Edge(metrics, limiter)

    def serve(methods: Mapping[str, Route]) -> StarletteRoute:
        async def endpoint(request: Request) -> Response:
            return await edge.answer(request, methods.get(request.method))

        path = next(iter(methods.values())).path
        return StarletteRoute(path, endpoint, methods=_METHODS)

    async def nothing(request: Request, _: Exception | None = None) -> Response:
        return await edge.answer(request, None)

    app = Starlette(
        routes=[*map(serve, by_path.values()), StarletteRoute("/{rest:path}", nothing, methods=_METHODS)],
        # What Starlette would answer by itself (TRACE, `OPTIONS *`) is bounded and counted as all the rest.
        exception_handlers={HTTPException: nothing},
    )
    app.router.redirect_slashes = False  # to wherever the Host header says
    return app


def _page(document: bytes) -> Route:
    """Return the route of the OpenAPI page: bounded and counted as all others, and not listed on itself."""
    return Route(
        method="GET",
        path=OPENAPI_PATH,
        name="openapi",
        handle=lambda call: Reply(body=document),
        summary="This page.",
        access=Access.PUBLIC,
    )


class _Edge:
    def __init__(self, metrics: Metrics, limiter: RateLimiter) -> None:
        self._metrics = metrics
        self._limiter = limiter

    async def answer(self, request: Request, route: Route | None) -> Response:
        began = time.monotonic()
        # The connection's own address: what a header says of it, anybody can write.
        address = request.client.host if request.client is not None else _UNKNOWN
        peer, path = peer_of(address), _path(request)
        unread = False
        try:
            self._limiter.admit(peer, now=began)
            if route is None or len(path) > MAX_REQUEST_PATH:
                unread = True
                raise NotFound(f"the broker has no {request.method} of this path")
            unread = True
            body = await _read(request, route)
            unread = False
            reply = await run_in_threadpool(route.handle, _call(request, body))
            error: RedoubtError | None = None
        except RedoubtError as refused:
            error = refused
            reply = problem_reply(refused, kbs=path.startswith("/kbs/"))
            self._count_refusal(peer, refused)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as fault:  # noqa: BLE001
            # A peer must get an answer, and never our internals; the log gets the place, never a text with data in it.
            LOG.error("internal error: %s at %s", type(fault).__name__, _place(fault))
            error = internal_error()
            reply = problem_reply(error, kbs=path.startswith("/kbs/"))
        self._tell(route, reply, error, address, time.monotonic() - began)
        return _response(reply, close=unread)

    def _count_refusal(self, peer: str, error: RedoubtError) -> None:
        if isinstance(error, RateLimited):
            self._metrics.rate_limited()
        elif is_refusal(error):
            self._limiter.charge(peer, REFUSED_REQUEST_COST, now=time.monotonic())

    def _tell(
        self, route: Route | None, reply: Reply, error: RedoubtError | None, address: str, seconds: float
    ) -> None:
        name = _UNKNOWN if route is None else route.name
        self._metrics.request(name, reply.status, seconds)
        code = "-" if error is None else error.code
        refusal = getattr(error, "refusal", None) or "-"
        LOG.info("%s %d %s %s %s %.1f ms", name, reply.status, code, refusal, address, seconds * 1000)


async def _read(request: Request, route: Route) -> bytes:
    """Return the body; raises BodyTooLarge as soon as it is known to be, or BrokerMessage if it does not arrive."""
    declared = request.headers.get("content-length", "")
    too_large = f"a body of this request has at most {route.limit} bytes"
    if declared.isdigit() and (len(declared) > 12 or int(declared) > route.limit):
        raise BodyTooLarge(too_large)
    body = bytearray()
    try:
        async with asyncio.timeout(BROKER_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > route.limit:
                    raise BodyTooLarge(too_large)
    except TimeoutError:
        raise BrokerMessage("the body did not arrive in time") from None
    return bytes(body)


def _call(request: Request, body: bytes) -> Call:
    authorization = request.headers.get("authorization", "")
    bearer = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else None
    return Call(
        method=request.method,
        path=_path(request),
        parameters={name: str(value) for name, value in request.path_params.items()},
        query=dict(request.query_params),
        bearer=bearer,
        session=request.cookies.get(SESSION_COOKIE),
        body=body,
    )


def _path(request: Request) -> str:
    """Return the path by which the request was routed. ``request.url`` is made of the peer's Host header, too."""
    return str(request.scope["path"])


def _place(fault: Exception) -> str:
    frames = traceback.extract_tb(fault.__traceback__)[-3:]
    return " < ".join(f"{PurePath(it.filename).name}:{it.lineno}" for it in reversed(frames))


def _response(reply: Reply, *, close: bool) -> Response:
    headers = {**_HEADERS, **reply.headers}
    if close:
        # What is left of the body is not read: the connection cannot be used again.
        headers["Connection"] = "close"
    return Response(reply.body, status_code=reply.status, media_type=reply.media_type, headers=headers)
