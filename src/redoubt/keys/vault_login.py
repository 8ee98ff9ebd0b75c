"""How the provider ``vault`` logs in, and what the service's statuses mean.

Source: the HTTP API of HashiCorp Vault 1.x and OpenBao 2.x: ``X-Vault-Token``, ``X-Vault-Namespace``, ``auth/token``,
``auth/approle/login``, ``auth/kubernetes/login``, and "HTTP status codes". A token comes from a file (an agent's sink,
read again when it is refused) or from a login with what stands in files; it is kept until shortly before its lease
ends. A refused token is replaced once, then the refusal stands.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from redoubt.crypto.strict_json import JSON
from redoubt.errors import ProviderAnswerInvalid, ProviderDenied, ProviderSettingsInvalid, ProviderUnreachable
from redoubt.keys.credentials import check_credential, read_credential, read_projected_token
from redoubt.keys.https import Answer, JsonClient
from redoubt.limits import MAX_TOKEN_LIFE_SECONDS, TOKEN_RENEWAL_SECONDS

_FORBIDDEN: Final = 403
#: Rate limit, standby without forwarding, sealed or down: all pass.
_BUSY: Final = frozenset({412, 429, 472, 473, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Lease:
    """A token and how long it lives, in seconds; None: until it is refused."""

    token: str
    seconds: float | None


class Login(Protocol):
    """Gets a token."""

    def __call__(self, client: JsonClient, headers: Mapping[str, str]) -> Lease:
        """Return a token; raises ProviderDenied or what reading its files raises."""


def token_file(path: Path) -> Login:
    """Log in with the token in the private file *path*."""
    return lambda client, headers: Lease(read_credential(path, what="the token file"), None)


def approle(*, mount: str, role_id: Path, secret_id: Path) -> Login:
    """Log in as an AppRole, whose ids stand in private files."""

    def login(client: JsonClient, headers: Mapping[str, str]) -> Lease:
        body = {
            "role_id": read_credential(role_id, what="the role id file"),
            "secret_id": read_credential(secret_id, what="the secret id file"),
        }
        return _login(client, headers, mount, body)

    return login


def kubernetes(*, mount: str, role: str, jwt: Path) -> Login:
    """Log in with the service-account token of the pod."""

    def login(client: JsonClient, headers: Mapping[str, str]) -> Lease:
        return _login(client, headers, mount, {"role": role, "jwt": read_projected_token(jwt, what="the JWT file")})

    return login


def _login(client: JsonClient, headers: Mapping[str, str], mount: str, body: Mapping[str, str]) -> Lease:
    answer = client.call("POST", f"/v1/auth/{mount}/login", body=json.dumps(body).encode(), headers=headers)
    if answer.status in _BUSY:
        raise ProviderUnreachable(f"the login at {mount!r} is not available (status {answer.status})")
    if answer.status != 200:
        raise ProviderDenied(f"the login at {mount!r} is refused (status {answer.status})")
    auth = answer.body.get("auth")
    token = auth.get("client_token") if isinstance(auth, Mapping) else None
    seconds = auth.get("lease_duration") if isinstance(auth, Mapping) else None
    if not isinstance(token, str) or type(seconds) is not int or seconds < 0:
        raise ProviderAnswerInvalid(f"the login at {mount!r} returned no token")
    try:
        checked = check_credential(token.encode("utf-8", errors="replace"), what="the token of the login")
    except ProviderSettingsInvalid as error:
        raise ProviderAnswerInvalid(error.what) from None
    return Lease(checked, float(seconds) or None)


class VaultSession:
    """Calls one Vault with a token that is current. Safe for several threads."""

    def __init__(
        self,
        client: JsonClient,
        login: Login,
        *,
        namespace: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use *client*, log in with *login* when a call needs it; *namespace* as in Vault Enterprise and OpenBao."""
        self._client = client
        self._login = login
        self._headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if namespace is not None:
            self._headers["X-Vault-Namespace"] = namespace
        self._clock = clock
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None

    def call(self, method: str, path: str, body: Mapping[str, JSON] | None = None) -> Answer:
        """Return the answer to an authenticated call, if its status is neither 403 nor one that passes.

        Raises:
            ProviderDenied: the credential is refused, also a fresh one.
            ProviderUnreachable, ProviderUntrusted, ProviderAnswerInvalid: the service does not answer as it must.
        """
        content = None if body is None else json.dumps(body).encode()
        answer = self._send(method, path, content, self._current(not_this=None))
        if answer.status == _FORBIDDEN:
            refused = self._token[0] if self._token else None
            answer = self._send(method, path, content, self._current(not_this=refused))
        if answer.status == _FORBIDDEN:
            raise ProviderDenied(f"the service does not allow {method} {path}")
        if answer.status in _BUSY:
            raise ProviderUnreachable(f"the service is sealed, overloaded or on standby (status {answer.status})")
        return answer

    def _send(self, method: str, path: str, content: bytes | None, token: str) -> Answer:
        return self._client.call(method, path, body=content, headers={**self._headers, "X-Vault-Token": token})

    def _current(self, *, not_this: str | None) -> str:
        with self._lock:
            if self._token is None or self._token[0] == not_this or self._token[1] <= self._clock():
                lease = self._login(self._client, self._headers)
                life = MAX_TOKEN_LIFE_SECONDS if lease.seconds is None else lease.seconds
                margin = min(TOKEN_RENEWAL_SECONDS, life / 2)
                self._token = (lease.token, self._clock() + min(life, MAX_TOKEN_LIFE_SECONDS) - margin)
            return self._token[0]
