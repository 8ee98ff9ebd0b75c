"""Azure for the tests: Key Vault, Entra ID and the instance metadata service, from their API documentation.

Keys are real RSA keys and tokens are signed JWTs that the vault verifies: issuer, audience, tenant and end. What a test
changes is in the attributes. RSA keys come round from a small pool, since making one takes longer than a test.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from tests.keys.peers.tls import Reply, Request

TENANT, CLIENT, SECRET = "11111111-2222-3333-4444-555555555555", "application-id", "client~secret.value"
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


@functools.cache
def _pool(bits: int) -> itertools.cycle[rsa.RSAPrivateKey]:
    return itertools.cycle([rsa.generate_private_key(public_exponent=65537, key_size=bits) for _ in range(3)])


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class VaultKey:
    name: str
    version: str
    kty: str
    key: rsa.RSAPrivateKey
    operations: list[str]
    enabled: bool = True


@dataclass
class Azure:
    audience: str
    #: Set once the port is known; key identifiers carry it.
    url: str = ""
    #: Seconds that tokens live; negative for ones that have ended.
    life: int = 3600
    tokens_issued: int = 0
    software_only: bool = False
    keys: dict[str, VaultKey] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    # --- Entra ID and IMDS --------------------------------------------------------------------------------------------
    def entra(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if request.path != f"/{TENANT}/oauth2/v2.0/token" or form.get("grant_type") != "client_credentials":
            return Reply.of({"error": "invalid_request"}, 400)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return Reply.of({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401)
        if form.get("scope") != f"{self.audience}/.default":
            return Reply.of({"error": "invalid_scope"}, 400)
        return Reply.of({"token_type": "Bearer", "expires_in": abs(self.life), "access_token": self._issue()})

    def imds(self, request: Request) -> Reply:
        query = parse_qs(urlsplit(request.path).query)
        if request.headers.get("Metadata") != "true" or not request.path.startswith("/metadata/identity/oauth2/token?"):
            return Reply.of({"error": "invalid_request"}, 400)
        if query.get("api-version") != ["2018-02-01"] or query.get("resource") != [self.audience]:
            return Reply.of({"error": "invalid_resource"}, 400)
        if query.get("client_id") not in (None, [CLIENT]):
            return Reply.of({"error": "invalid_request", "error_description": "Identity not found"}, 400)
        return Reply.of({"token_type": "Bearer", "expires_in": str(abs(self.life)), "access_token": self._issue()})

    def _issue(self) -> str:
        self.tokens_issued += 1
        claims = {"iss": f"https://sts/{TENANT}/", "aud": self.audience, "tid": TENANT, "exp": time.time() + self.life}
        signed = f"{b64(json.dumps({'alg': 'RS256'}).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(_issuer().sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"

    def _accepts(self, authorization: str) -> bool:
        signed, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
        try:
            _issuer().public_key().verify(unb64(signature), signed.encode(), padding.PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        claims = json.loads(unb64(signed.partition(".")[2]))
        return bool(claims["aud"] == self.audience and claims["tid"] == TENANT and claims["exp"] > time.time())

    # --- Key Vault ----------------------------------------------------------------------------------------------------
    def vault(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        if not self._accepts(request.headers.get("Authorization", "")):
            return Reply(
                401, b"", {"WWW-Authenticate": f'Bearer authorization="https://login", resource="{self.audience}"'}
            )
        if parse_qs(parts.query).get("api-version") != ["7.4"]:
            return Reply.of({"error": {"code": "BadParameter"}}, 400)
        steps = parts.path.strip("/").split("/")
        if (request.method, steps) == ("GET", ["keys"]):
            return Reply.of({"value": [], "nextLink": None})
        if request.method == "POST" and len(steps) == 3 and steps[2] == "create":
            return self._create(steps[1], request)
        if request.method == "DELETE" and len(steps) == 2:
            return self._delete(steps[1])
        if request.method == "POST" and len(steps) == 4 and steps[3] in ("wrapkey", "unwrapkey"):
            return self._operate(steps[1], steps[2], steps[3], request)
        return Reply.of({"error": {"code": "BadParameter"}}, 400)

    def _kid(self, key: VaultKey) -> str:
        return f"{self.url}/keys/{key.name}/{key.version}"

    def _create(self, name: str, request: Request) -> Reply:
        body = request.json
        kty = "RSA" if self.software_only else body["kty"]
        key = VaultKey(name, uuid4().hex, kty, next(_pool(body["key_size"])), body["key_ops"])
        self.keys[name] = key
        numbers = key.key.public_key().public_numbers()
        public = {"n": b64(numbers.n.to_bytes(body["key_size"] // 8, "big")), "e": "AQAB"}
        return Reply.of({"key": {"kid": self._kid(key), "kty": kty, "key_ops": key.operations, **public}})

    def _delete(self, name: str) -> Reply:
        if name in self.deleted:
            return Reply.of(
                {"error": {"code": "Conflict", "innererror": {"code": "ObjectIsDeletedButRecoverable"}}}, 409
            )
        if name not in self.keys:
            return Reply.of({"error": {"code": "KeyNotFound"}}, 404)
        key = self.keys.pop(name)
        self.deleted.add(name)
        return Reply.of({"recoveryId": f"{self.url}/deletedkeys/{name}", "key": {"kid": self._kid(key)}})

    def _operate(self, name: str, version: str, operation: str, request: Request) -> Reply:
        key = self.keys.get(name)
        if key is None or key.version != version:
            return Reply.of({"error": {"code": "KeyNotFound"}}, 404)
        if not key.enabled:
            return Reply.of({"error": {"code": "Forbidden", "innererror": {"code": "KeyDisabled"}}}, 403)
        body = request.json
        if (
            body["alg"] != "RSA-OAEP-256"
            or {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey"}[operation] not in key.operations
        ):
            return Reply.of({"error": {"code": "BadParameter"}}, 400)
        try:
            value = unb64(body["value"])
            out = key.key.public_key().encrypt(value, OAEP) if operation == "wrapkey" else key.key.decrypt(value, OAEP)
        except ValueError:
            return Reply.of({"error": {"code": "BadParameter", "message": "decryption failed"}}, 400)
        return Reply.of({"kid": self._kid(key), "value": b64(out)})


@functools.cache
def _issuer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
