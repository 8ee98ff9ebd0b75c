"""A client written from docs/protocol.md for the tests: one HTTPS request at a time, RCAR, and owners' tokens."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redoubt.errors import RedoubtError
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.collect.attester import Collected
from redoubt.protocol.evidence_body import encode_body
from redoubt.protocol.jwe import Recipient, public_jwk
from redoubt.protocol.owner_token import OwnerRequest, sign_owner_token
from redoubt.protocol.problem import parse_problem
from redoubt.protocol.rcar import AttestRequest, AttestResponse, AuthRequest, Challenge, ProgramStatement
from redoubt_dev import DevelopmentKey, produce


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> RedoubtError:
        assert self.status >= 400, (self.status, self.body)
        return parse_problem(self.body, status=self.status).error

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def ok(self) -> bytes:
        assert self.status < 300, (self.status, self.body)
        return self.body


@dataclass
class Client:
    """Talks to one broker."""

    port: int
    ca: bytes
    broker_id: str
    host: str = "127.0.0.1"
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self.ca.decode())
        context.minimum_version, context.maximum_version = self.minimum, self.maximum
        return http.client.HTTPSConnection(self.host, self.port, timeout=10, context=context)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        bearer: str | None = None,
        cookie: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        sent = dict(headers)
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        if cookie is not None:
            sent["Cookie"] = f"kbs-session-id={cookie}"
        with self.connected() as connection:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def connected(self) -> AbstractContextManager[http.client.HTTPSConnection]:
        """One connection a request; the benchmarks keep theirs."""
        return closing(self.connection())

    def owner(self, key: Ed25519PrivateKey, method: str, path: str, body: bytes = b"", **changes: Any) -> Answer:
        """A request that *key* signs; *changes* replace what is signed."""
        signed = {"broker": self.broker_id, "method": method, "path": path.partition("?")[0], "body": body, **changes}
        now = signed.pop("now", datetime.now(UTC))
        token = sign_owner_token(key, OwnerRequest(**signed), now=now, token_id=uuid4())
        return self.call(method, path, body or None, bearer=token)


@dataclass
class SimulatedMachine:
    """An attester whose every step can be bent."""

    client: Client
    machine: DevelopmentKey
    program: str | None
    arguments: tuple[str, ...] = ()
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    tee: str = "simulated"

    @property
    def statement(self) -> str:
        return "" if self.program is None else ProgramStatement(self.program, self.arguments).encode()

    def challenge(self) -> tuple[str, Challenge]:
        answer = self.client.call("POST", "/kbs/v0/auth", AuthRequest(self.tee).encode())
        challenge = Challenge.parse(answer.ok)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "kbs-session-id"
        return rest.partition(";")[0], challenge

    def request(self, nonce: bytes, **changes: Any) -> AttestRequest:
        """The honest attestation of *nonce*, or one in which *changes* replace a part after the evidence was made."""
        recipient = Recipient.parse(public_jwk(self.key))
        honest = AttestRequest(nonce=nonce, tee_pubkey=recipient, evidence=None, additional_evidence=self.statement)
        made = {
            "nonce": nonce,
            "tee_pubkey": recipient,
            "additional_evidence": self.statement,
            "evidence": self.evidence(honest.report_data),
        }
        return AttestRequest(**{**made, **changes})

    def evidence(self, report_data: bytes) -> JSON:
        token = produce(self.machine, report_data=report_data, now=datetime.now(UTC))
        return encode_body(Collected(Tee.SIMULATED, token))

    def send(self, cookie: str | None, request: AttestRequest) -> Answer:
        return self.client.call("POST", "/kbs/v0/attest", request.encode(), cookie=cookie)

    def attest(self) -> str:
        """Run RCAR and return the result."""
        cookie, challenge = self.challenge()
        return AttestResponse.parse(self.send(cookie, self.request(challenge.nonce)).ok).token
