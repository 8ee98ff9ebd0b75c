"""Access tokens of Microsoft Entra ID for Azure's key services: by managed identity or client credentials.

Sources: "Managed identities for Azure resources", the token endpoint of the instance metadata service (IMDS,
``/metadata/identity/oauth2/token``, api-version 2018-02-01); OAuth 2.0 client credentials of the Microsoft identity
platform (``/{tenant}/oauth2/v2.0/token``). IMDS is plain HTTP to a link-local address by design: it never leaves the
machine, and nothing secret is sent to it. Everything else is HTTPS.

A token is an opaque text here; it is kept until shortly before its end and never printed.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlencode

from redoubt.crypto.strict_json import JSON
from redoubt.errors import ProviderAnswerInvalid, ProviderDenied, ProviderSettingsInvalid, ProviderUnreachable
from redoubt.keys.credentials import check_credential, read_credential
from redoubt.keys.https import Answer, JsonClient
from redoubt.limits import MAX_TOKEN_LIFE_SECONDS, PROVIDER_TIMEOUT_SECONDS, TOKEN_RENEWAL_SECONDS

IMDS: Final = ("169.254.169.254", 80)
_IMDS_VERSION: Final = "2018-02-01"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token and how long it lives, in seconds."""

    text: str
    seconds: float

    def __repr__(self) -> str:
        return "AccessToken(…)"


class Login(Protocol):
    """Gets an access token."""

    def __call__(self) -> AccessToken:
        """Return a fresh token; raises ProviderDenied, or what reading its files raises."""


def managed_identity(*, resource: str, client_id: str | None, imds: tuple[str, int] = IMDS) -> Login:
    """Ask the machine's metadata service; *client_id* names a user-assigned identity."""
    query = {"api-version": _IMDS_VERSION, "resource": resource}
    if client_id is not None:
        query["client_id"] = client_id
    client = JsonClient("IMDS", lambda: http.client.HTTPConnection(*imds, timeout=PROVIDER_TIMEOUT_SECONDS))

    def login() -> AccessToken:
        path = f"/metadata/identity/oauth2/token?{urlencode(query)}"
        return _token(client.call("GET", path, headers={"Metadata": "true"}), "the managed identity")

    return login


def client_credentials(*, client: JsonClient, tenant: str, client_id: str, secret: Path, resource: str) -> Login:
    """Log in as an application whose secret stands in a private file."""

    def login() -> AccessToken:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": read_credential(secret, what="the client secret file"),
            "scope": f"{resource}/.default",
        }
        answer = client.call(
            "POST",
            f"/{quote(tenant, safe='')}/oauth2/v2.0/token",
            body=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        return _token(answer, "the application")

    return login


def _token(answer: Answer, who: str) -> AccessToken:
    if answer.status == 429 or answer.status >= 500:
        raise ProviderUnreachable(f"no token for {who} now (status {answer.status})")
    if answer.status != 200:
        raise ProviderDenied(f"no token for {who} (status {answer.status})")
    text, seconds = answer.body.get("access_token"), answer.body.get("expires_in")
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) < 10:
        seconds = int(seconds)  # IMDS spells it as a text
    if not isinstance(text, str) or type(seconds) is not int or seconds <= 0:
        raise ProviderAnswerInvalid(f"the answer for {who} holds no token")
    try:
        checked = check_credential(text.encode("utf-8", errors="replace"), what=f"the token for {who}")
    except ProviderSettingsInvalid as error:
        raise ProviderAnswerInvalid(error.what) from None
    return AccessToken(checked, min(float(seconds), MAX_TOKEN_LIFE_SECONDS))


class AzureSession:
    """Calls one vault with a token that is current. Safe for several threads."""

    def __init__(self, client: JsonClient, login: Login, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Use *client*, and *login* when a call needs a token."""
        self._client = client
        self._login = login
        self._clock = clock
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None

    def call(self, method: str, path: str, body: Mapping[str, JSON] | None = None) -> Answer:
        """Return the answer to an authenticated call; a token that is refused is replaced once.

        Raises:
            ProviderDenied: the credential is refused, also a fresh one.
            ProviderUnreachable, ProviderUntrusted, ProviderAnswerInvalid: the service does not answer as it must.
        """
        content = None if body is None else json.dumps(body).encode()
        token = self._current(not_this=None)
        answer = self._send(method, path, content, token)
        if answer.status == 401:
            answer = self._send(method, path, content, self._current(not_this=token))
        if answer.status == 401:
            raise ProviderDenied("the service does not accept the access token")
        if answer.status == 429 or answer.status >= 500:
            raise ProviderUnreachable(f"the service is overloaded or down (status {answer.status})")
        return answer

    def _send(self, method: str, path: str, content: bytes | None, token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._client.call(method, path, body=content, headers=headers)

    def _current(self, *, not_this: str | None) -> str:
        with self._lock:
            if self._token is None or self._token[0] == not_this or self._token[1] <= self._clock():
                made = self._login()
                margin = min(TOKEN_RENEWAL_SECONDS, made.seconds / 2)
                self._token = (made.text, self._clock() + made.seconds - margin)
            return self._token[0]
