"""An eHSM-KMS for the tests, written from its API reference: signatures, replay, expiry, keys, policies and quotes.

The signed text is built as the reference defines it, apart from the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.keys.peers.tls import Reply, Request

BASE64 = re.compile(r"[a-zA-Z0-9+/]+={0,2}")
KEYID = re.compile(r"[a-z\d]{8}-[a-z\d]{4}-[a-z\d]{4}-[a-z\d]{4}-[a-z\d]{12}")


def joined(values: dict[str, Any]) -> str:
    pairs = []
    for name in sorted(values):
        value = values[name]
        if value in ("", None, False, 0):
            continue
        text = joined(value) if isinstance(value, dict) else "true" if value is True else str(value)
        pairs.append(f"{name}={text}")
    return "&".join(pairs)


def hmac_of(api_key: str, values: dict[str, Any]) -> str:
    return base64.b64encode(hmac.new(api_key.encode(), joined(values).encode(), hashlib.sha256).digest()).decode()


@dataclass
class EhsmKey:
    owner: str
    key: bytes
    enabled: bool = True
    expires: float = field(default_factory=lambda: time.time() + 365 * 86400)


@dataclass
class Ehsm:
    apps: dict[str, str] = field(default_factory=dict)
    keys: dict[str, EhsmKey] = field(default_factory=dict)
    policies: dict[str, tuple[str, str]] = field(default_factory=dict)
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    #: Whether a quote is genuine, and the service's own quote over a challenge.
    judge: Callable[[bytes], bool] = lambda quote: True
    quote: Callable[[bytes], bytes] = lambda challenge: b""

    def enroll(self) -> tuple[str, str]:
        appid, api_key = str(uuid4()), base64.b64encode(os.urandom(24)).decode()
        self.apps[appid] = api_key
        return appid, api_key

    def __call__(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        action = parse_qs(parts.query).get("Action", [""])[0]
        if parts.path != "/ehsm":
            return Reply.of({"code": 404, "message": "API Not Found", "result": {}})
        if request.method == "GET" and action == "Enroll":
            appid, api_key = self.enroll()
            return self._ok(appid=appid, apikey=api_key)
        body = request.json
        refusal = self._check(body)
        if refusal is not None:
            return refusal
        handler = getattr(self, f"_{action}", None)
        if handler is None:
            return Reply.of({"code": 404, "message": "API Not Found", "result": {}})
        reply: Reply = handler(body["appid"], body.get("payload") or {})
        return reply

    def _check(self, body: dict[str, Any]) -> Reply | None:
        appid, timestamp, signature = body.get("appid"), body.get("timestamp"), body.get("sign")
        if not appid or not timestamp or not signature:
            return self._no("Missing required parameters")
        if len(timestamp) != 13 or abs(time.time() * 1000 - int(timestamp)) > 600_000:
            return self._no("Timestamp error")
        once = (appid, timestamp, body.get("nonce", ""))
        if once in self.seen:
            return self._no("Timestamp can't be repeated in 20 minutes")
        self.seen.add(once)
        values = {name: value for name, value in body.items() if name != "sign"}
        if appid not in self.apps or signature != hmac_of(self.apps[appid], values):
            return self._no("sign error")
        return None

    # --- keys ---------------------------------------------------------------------------------------------------------
    def _CreateKey(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        if payload.get("keyspec") != "EH_AES_GCM_256" or payload.get("origin") != "EH_INTERNAL_KEY":
            return self._no("Parameter invalid, The keyspec type is incorrect.")
        keyid = str(uuid4())
        self.keys[keyid] = EhsmKey(appid, os.urandom(32))
        return self._ok(keyid=keyid)

    def _Encrypt(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        key = self._find(appid, payload)
        if isinstance(key, Reply):
            return key
        plain, aad = self._bytes(payload, "plaintext"), self._bytes(payload, "aad")
        nonce = os.urandom(12)
        sealed = AESGCM(key.key).encrypt(nonce, plain, aad)
        return self._ok(ciphertext=base64.b64encode(nonce + sealed).decode())

    def _Decrypt(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        key = self._find(appid, payload)
        if isinstance(key, Reply):
            return key
        data = self._bytes(payload, "ciphertext")
        try:
            plain = AESGCM(key.key).decrypt(data[:12], data[12:], self._bytes(payload, "aad"))
        except (InvalidTag, ValueError):
            return Reply.of({"code": 500, "message": "Server exception.", "result": {}})
        return self._ok(plaintext=base64.b64encode(plain).decode())

    def _DeleteKey(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        self.keys.pop(payload["keyid"], None)
        return self._ok()

    def _ListKey(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        return self._ok(list=[{"keyid": name} for name, key in self.keys.items() if key.owner == appid])

    def _find(self, appid: str, payload: dict[str, Any]) -> EhsmKey | Reply:
        if not KEYID.fullmatch(payload.get("keyid", "")):
            return self._no("Parameter invalid, The keyid format wrong.")
        key = self.keys.get(payload["keyid"])
        if key is None:
            return self._no("keyid error")
        if key.owner != appid:
            return self._no("appid error")
        if not key.enabled:
            return self._no("keyid is disabled")
        return key if key.expires > time.time() else self._no("keyid expire")

    # --- quotes -------------------------------------------------------------------------------------------------------
    def _UploadQuotePolicy(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        policy = str(uuid4())
        self.policies[policy] = (payload["mr_enclave"], payload["mr_signer"])
        return self._ok(policyId=policy)

    def _VerifyQuote(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        quote = self._bytes(payload, "quote")
        result: dict[str, Any] = {"result": self.judge(quote), "nonce": payload["nonce"]}
        if policy := payload.get("policyId"):
            if policy not in self.policies:
                return self._no("Invalid  policyId.")
            result["mr_enclave"], result["mr_signer"] = self.policies[policy]
            measured = quote[48 + 64 : 48 + 96].hex(), quote[48 + 128 : 48 + 160].hex()
            result["result"] = result["result"] and measured == self.policies[policy]
        return self._ok(**result, sign=hmac_of(self.apps[appid], result))

    def _GenerateQuote(self, appid: str, payload: dict[str, Any]) -> Reply:  # noqa: N802
        quote = self.quote(self._bytes(payload, "challenge"))
        return self._ok(challenge=payload["challenge"], quote=base64.b64encode(quote).decode())

    # --- answers ------------------------------------------------------------------------------------------------------
    @staticmethod
    def _bytes(payload: dict[str, Any], name: str) -> bytes:
        text = payload.get(name, "")
        assert text == "" or BASE64.fullmatch(text), name
        return base64.b64decode(text)

    @staticmethod
    def _ok(**result: Any) -> Reply:
        return Reply.of({"code": 200, "message": "success!", "result": result})

    @staticmethod
    def _no(message: str) -> Reply:
        return Reply.of({"code": 400, "message": message, "result": {}})
