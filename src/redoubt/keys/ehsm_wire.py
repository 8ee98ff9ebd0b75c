"""The wire of Intel eHSM-KMS, which is archived upstream: signed requests, and answers with a code of their own.

Source: "eHSM REST API Reference" (intel/ehsm, docs/API_Reference.md, 2024), "Common Parameters". A request is a POST of
``{appid, nonce, timestamp, payload, sign}`` to ``/ehsm?Action=…``. ``sign`` is the base64 of HMAC-SHA-256 under the API
key over ``name=value`` pairs joined by ``&``, in ASCII order of the names, the payload's pairs in place of its value,
empty values left out. The reference's samples put the base64 into capitals; its definition, its server and its own test
of answers do not, and neither does this.

Values stand in the signed text unescaped, so that two different requests can have one signature. What is sent here is
base64, hexadecimal and fixed words, and of a signed answer only what is such is believed.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from redoubt.crypto.strict_json import JSON
from redoubt.errors import (
    KeyError_,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
    ProviderUnreachable,
)
from redoubt.keys.credentials import check_credential
from redoubt.keys.https import JsonClient

APPID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_MISSING: Final = ("keyid error", "keyid is disabled", "keyid expire", "not find this keyid")
_DENIED: Final = ("sign error", "appid error", "timestamp")

Parameters = Mapping[str, "str | int | bool | Parameters"]


def signed_text(parameters: Parameters) -> str:
    """Return the text that a signature covers. Values that JavaScript takes for empty are left out."""
    pairs = []
    for name in sorted(parameters):
        value = parameters[name]
        if isinstance(value, Mapping):
            pairs.append(f"{name}={signed_text(value)}")
        elif value:  # the server leaves out false and 0 with the empty text
            pairs.append(f"{name}={'true' if value is True else value}")
    return "&".join(pairs)


def sign(api_key: str, parameters: Parameters) -> str:
    """Return the signature of *parameters* under *api_key*."""
    return base64.b64encode(hmac.digest(api_key.encode(), signed_text(parameters).encode(), "sha256")).decode()


class EhsmClient:
    """Calls one eHSM as one application. Safe for several threads."""

    def __init__(
        self,
        client: JsonClient,
        *,
        base: str,
        appid: str,
        api_key: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use *client*, below the path *base*; *api_key* is read at every call and kept nowhere."""
        self._client = client
        self._base = base
        self._appid = appid
        self._api_key = api_key
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def call(
        self, action: str, payload: Parameters, *, refusal: type[KeyError_] = ProviderAnswerInvalid
    ) -> Mapping[str, JSON]:
        """Return the result of a signed call; *refusal* is what a code without a known meaning means.

        Raises:
            ProviderDenied: the service does not accept the application, its signature, or this machine's clock.
            ProviderKeyMissing: there is no such key, or it is disabled or expired.
            ProviderUnreachable, ProviderUntrusted, ProviderAnswerInvalid: the service does not answer as it must.
        """
        values: dict[str, str | int | bool | Parameters] = {
            "appid": self._appid,
            "nonce": secrets.token_hex(16),
            "timestamp": str(self._timestamp()),
            "payload": payload,
        }
        body = {**values, "sign": sign(self._api_key(), values)}
        return self._result(action, json.dumps(body).encode(), refusal)

    def api_key(self) -> str:
        """Return the API key, which also signs some answers."""
        return self._api_key()

    def _timestamp(self) -> int:
        """Return the time in milliseconds, each only once: older services refuse a second request of one."""
        with self._lock:
            self._last = max(int(self._clock() * 1000), self._last + 1)
            return self._last

    def _result(self, action: str, content: bytes, refusal: type[KeyError_]) -> Mapping[str, JSON]:
        headers = {"Content-Type": "application/json"}
        path = f"{self._base}/ehsm?Action={quote(action, safe='')}"
        answer = self._client.call("POST", path, body=content, headers=headers)
        if answer.status == 429 or answer.status >= 500:
            raise ProviderUnreachable(f"the service is overloaded or down (status {answer.status})")
        return result_of(action, answer.body if answer.status == 200 else {}, refusal=refusal)


def result_of(action: str, body: Mapping[str, JSON], *, refusal: type[KeyError_]) -> Mapping[str, JSON]:
    """Return the ``result`` of an answer whose ``code`` is 200.

    Raises:
        ProviderDenied, ProviderKeyMissing: the message of another code says so.
        KeyError_: of class *refusal*, if the code has another message.
        ProviderAnswerInvalid: the answer is none.
    """
    code, message, result = body.get("code"), body.get("message"), body.get("result")
    if type(code) is int and code == 200 and isinstance(result, Mapping):
        return result
    said = message.lower() if isinstance(message, str) else ""
    if any(text in said for text in _MISSING):
        raise ProviderKeyMissing(f"the service cannot {action}: it has no such key, or it is disabled or expired")
    if any(text in said for text in _DENIED):
        raise ProviderDenied(
            f"the service does not accept the signature of {action}",
            hint="Check appid, API key and this machine's clock: the service allows it a few minutes.",
        )
    if type(code) is not int or code == 200:
        raise ProviderAnswerInvalid(f"the answer to {action} is not one of an eHSM")
    raise refusal(f"the service cannot {action} (code {code})")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an eHSM gives a new application. It prints without its key."""

    appid: str
    api_key: str

    def __repr__(self) -> str:
        return f"Enrolment(appid={self.appid!r}, api_key=…)"


def enroll(client: JsonClient, *, base: str) -> Enrolment:
    """Ask the eHSM below the path *base* for a new application; it asks for nothing in return.

    Raises:
        ProviderUnreachable, ProviderUntrusted, ProviderAnswerInvalid: the service does not answer as it must.
    """
    answer = client.call("GET", f"{base}/ehsm?Action=Enroll")
    result = result_of("Enroll", answer.body if answer.status == 200 else {}, refusal=ProviderAnswerInvalid)
    appid, api_key = result.get("appid"), result.get("apikey")
    if not isinstance(appid, str) or not APPID.fullmatch(appid) or not isinstance(api_key, str):
        raise ProviderAnswerInvalid("the service enrolled no application")
    try:
        return Enrolment(appid, check_credential(api_key.encode("utf-8", errors="replace"), what="the API key"))
    except ProviderSettingsInvalid as error:
        raise ProviderAnswerInvalid(error.what) from None
