"""Targets: messages between attesters, brokers, agents and engines, read by either side."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

from tests.protocol import test_endpoint_messages, test_evidence_body, test_jwe, test_key_api, test_rcar
from tests.protocol.samples import KEY, RECIPIENT
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.errors import BrokerError, BrokerMessage, EndpointError, EvidenceMalformed, KeyUnknown
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import MAX_RCAR_BYTES
from redoubt.protocol.evidence_body import decode_body
from redoubt.protocol.jwe import PrivateKey, Recipient, decrypt, encrypt, public_jwk
from redoubt.protocol.problem import Problem, parse_problem
from redoubt.protocol.rcar import AttestRequest
from redoubt.protocol.snp_body import parse_table

_BROKER = (BrokerError,)


def _attestation(data: bytes) -> object:
    """An attestation that parses has report data, and a statement or a refusal of it."""
    read = AttestRequest.parse(data)
    assert len(read.report_data) == 64
    return read.program


def _object(data: bytes) -> dict[str, JSON]:
    return parse_object(data, what="the message", limit=MAX_RCAR_BYTES, refusal=BrokerMessage)


def _body(tee: Tee, data: bytes) -> object:
    return decode_body(tee, _object(data))


def _recipient(data: bytes) -> object:
    """A key that is served is one that secrets can be encrypted to."""
    return encrypt(b"secret", Recipient.parse(_object(data)))


def _numbered(
    name: str,
    parsers: list[tuple[Callable[[bytes], object], bytes]],
    refusals: tuple[type[BrokerError | EndpointError], ...],
) -> list[Target]:
    return [
        Target(f"{name}-{number}", parse, (good,), refusals, Shape.JSON)
        for number, (parse, good) in enumerate(parsers, start=1)
    ]


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    keys: dict[str, PrivateKey] = {"p256": KEY, "p521": test_jwe.P521_KEY, "rsa": test_jwe.RSA_KEY}
    served = [*map(public_jwk, keys.values()), dict(RECIPIENT.jwk)]
    recipients = tuple(json.dumps(it).encode() for it in served)
    bodies: dict[Tee, list[bytes]] = {}
    for tee, body in test_evidence_body.BODIES:
        bodies.setdefault(tee, []).append(json.dumps(body).encode())
    problem = Problem(error=KeyUnknown("x"), status=404, correlation=test_key_api.ID).encode()
    return (
        *_numbered("endpoint", test_endpoint_messages.DECODERS, (EndpointError,)),
        # The program statement is a text within JSON, never bytes: whatever is no UTF-8 cannot reach it.
        *_numbered("rcar", test_rcar.PARSERS[:-1], _BROKER),
        *_numbered("key-api", test_key_api.PARSERS, _BROKER),
        Target("rcar-attestation", _attestation, (test_rcar.ATTEST.encode(),), _BROKER, Shape.JSON),
        *(
            Target(
                f"jwe-{name}",
                lambda data, key=key: decrypt(data, key),  # type: ignore[misc]
                (encrypt(b"secret", Recipient.parse(public_jwk(key))),),
                _BROKER,
                Shape.JSON,
                slow=name != "p256",
            )
            for name, key in keys.items()
        ),
        Target("jwe-recipient", _recipient, recipients, _BROKER, Shape.JSON),
        *(
            Target(f"body-{tee}", functools.partial(_body, tee), tuple(samples), _BROKER, Shape.JSON)
            for tee, samples in bodies.items()
        ),
        Target("snp-host-table", parse_table, (test_evidence_body.host_table(),), (EvidenceMalformed,)),
        Target("problem", lambda data: parse_problem(data, status=404), (problem,), (), Shape.JSON),
    )
