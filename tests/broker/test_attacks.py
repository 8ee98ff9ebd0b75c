"""Attacks on a running broker, over HTTPS: each is refused with its own code, and no key leaves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.broker.client import Answer, Client, SimulatedMachine
from tests.broker.world import (
    ALICE,
    BOB,
    BOBS,
    INPUT,
    MALLORY,
    OTHER_PROGRAM,
    OUTPUT,
    PROGRAM,
    TOML,
    World,
    envelope,
    public,
    running_world,
    successor,
)

from redoubt.broker.core import Settings
from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.broker.verifiers import Collateral, production_verifiers
from redoubt.errors import GrantRefused
from redoubt.keys.rootkey import create_root_key_file
from redoubt.keys.types import Purpose, WrapContext, WrappedKey
from redoubt.limits import MAX_KEY_API_BYTES, MAX_RCAR_BYTES, MAX_REPORTED_BYTES
from redoubt.pki.server import make_ca, make_server_certificate
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.jwe import Recipient, decrypt, public_jwk
from redoubt.protocol.key_api import (
    AdvanceRequest,
    AnnounceRequest,
    DataKeyAnswer,
    RegisteredHead,
    UnwrapAnswer,
    parse_announced,
    parse_head,
)
from redoubt.protocol.owner_token import TYPE, OwnerRequest, body_hash, sign_owner_token
from redoubt.protocol.problem import parse_problem
from redoubt.protocol.rcar import AttestResponse, ProgramStatement
from redoubt.trust.refusal import Refusal
from redoubt_dev import DevelopmentKey
from redoubt_dev.broker import NAME

HEAD = RegisteredHead(number=1, digest="sha256:" + "11" * 32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture(scope="module")
def machine(world: World) -> SimulatedMachine:
    return world.machine()


@pytest.fixture(scope="module")
def token(machine: SimulatedMachine) -> str:
    return machine.attest()


def unwrap(client: Client, token: str, *records: WrappedKey, dataset: UUID = INPUT) -> Answer:
    request = UnwrapRequest(dataset, records[0].context.purpose, records)
    return client.call("POST", "/redoubt/v1/unwrap", request.encode(), bearer=token)


def new_data_key(client: Client, token: str, dataset: UUID = OUTPUT, key: str | None = "second") -> Answer:
    request = DataKeyRequest(key, WrapContext(dataset, uuid4()))
    return client.call("POST", "/redoubt/v1/data-keys", request.encode(), bearer=token)


def refused(answer: Answer, code: str, status: int) -> Answer:
    assert (answer.status, answer.code) == (status, code), answer.body
    return answer


# --- the honest way: the positive control of everything below ---------------------------------------------------------
def test_attested_program_gets_exactly_the_data_key_that_was_sealed(
    world: World, machine: SimulatedMachine, token: str
) -> None:
    key, record = world.sealed_key()
    answer = unwrap(world.client, token, record)
    request = UnwrapRequest(INPUT, Purpose.DATA, (record,))
    found = UnwrapAnswer.parse(decrypt(answer.ok, machine.key), request)
    assert ([it.secret for it in found.keys], found.head) == ([key.secret], None)
    assert base64.b64encode(key.secret) not in answer.body


def test_written_head_is_registered_and_handed_to_the_next_reader(world: World, machine: SimulatedMachine) -> None:
    token = machine.attest()
    request = DataKeyRequest("second", WrapContext(OUTPUT, uuid4()))
    answer = world.client.call("POST", "/redoubt/v1/data-keys", request.encode(), bearer=token)
    made = DataKeyAnswer.parse(decrypt(answer.ok, machine.key), request)
    assert world.workspace.unwrap([made.wrapped])[0].secret == made.key.secret
    path = f"/redoubt/v1/register/{OUTPUT}"
    advance = AdvanceRequest(previous=None, head=HEAD, ticket=made.ticket).encode()
    renewed = machine.attest()  # a job may outlive its result: the ticket is the key's, not the token's
    assert world.client.call("POST", path, advance, bearer=renewed).status == 204
    assert parse_head(world.client.call("GET", path, bearer=renewed).ok) == HEAD
    refused(world.client.call("POST", path, advance, bearer=renewed), "broker.register_conflict", 409)


# --- RCAR -------------------------------------------------------------------------------------------------------------
def test_replayed_evidence_is_refused(machine: SimulatedMachine) -> None:
    cookie, challenge = machine.challenge()
    request = machine.request(challenge.nonce)
    assert machine.send(cookie, request).status == 200
    refused(machine.send(cookie, request), "broker.nonce_replayed", 401)


def test_evidence_of_an_earlier_session_is_refused_in_a_later_one(machine: SimulatedMachine) -> None:
    _, old = machine.challenge()
    cookie, fresh = machine.challenge()
    stale = machine.request(old.nonce)
    refused(machine.send(cookie, replace(stale, nonce=fresh.nonce)), "broker.refused", 401)


def test_nonce_chosen_by_the_attester_is_refused(machine: SimulatedMachine) -> None:
    cookie, _ = machine.challenge()
    refused(machine.send(cookie, machine.request(bytes(32))), "broker.nonce_replayed", 401)


def test_refused_evidence_uses_the_nonce_up(machine: SimulatedMachine) -> None:
    cookie, challenge = machine.challenge()
    forged = machine.request(challenge.nonce, additional_evidence="")
    refused(machine.send(cookie, forged), "broker.refused", 401)
    refused(machine.send(cookie, machine.request(challenge.nonce)), "broker.nonce_replayed", 401)


def test_relayed_evidence_bound_to_another_key_is_refused(world: World, machine: SimulatedMachine) -> None:
    """Mallory relays the honest machine's evidence, with her own key in its place."""
    cookie, challenge = machine.challenge()
    mallory = Recipient.parse(public_jwk(ec.generate_private_key(ec.SECP256R1())))
    answer = refused(machine.send(cookie, machine.request(challenge.nonce, tee_pubkey=mallory)), "broker.refused", 401)
    assert explained(world, answer) == ["evidence.binding"]


def test_program_named_beside_the_evidence_is_refused(world: World, machine: SimulatedMachine) -> None:
    cookie, challenge = machine.challenge()
    claimed = ProgramStatement(OTHER_PROGRAM, ()).encode()
    answer = machine.send(cookie, machine.request(challenge.nonce, additional_evidence=claimed))
    assert explained(world, refused(answer, "broker.refused", 401)) == ["evidence.binding"]


def test_other_program_digest_is_refused_and_explained(world: World) -> None:
    changed = world.machine("sha256:" + "99" * 32)
    cookie, challenge = changed.challenge()
    answer = refused(changed.send(cookie, changed.request(challenge.nonce)), "broker.refused", 401)
    assert explained(world, answer) == ["appraisal.program"]


def test_other_arguments_are_refused_and_stay_secret(world: World) -> None:
    changed = world.machine(arguments=("--password", "hunter2"))
    cookie, challenge = changed.challenge()
    answer = refused(changed.send(cookie, changed.request(challenge.nonce)), "broker.refused", 401)
    assert explained(world, answer) == ["appraisal.arguments"]
    assert b"hunter2" not in answer.body
    assert b"hunter2" not in world.client.owner(ALICE, "GET", "/redoubt/v1/audit").ok


def test_unknown_machine_is_refused(world: World) -> None:
    stranger = replace(world.machine(), machine=DevelopmentKey.generate())
    cookie, challenge = stranger.challenge()
    answer = refused(stranger.send(cookie, stranger.request(challenge.nonce)), "broker.refused", 401)
    assert explained(world, answer) == ["token.key_unknown"]


@pytest.mark.parametrize("cookie", [None, "", uuid4().hex, "../../etc/passwd", "a" * 5000])
def test_attestation_without_a_session_is_refused(machine: SimulatedMachine, cookie: str | None) -> None:
    refused(machine.send(cookie, machine.request(bytes(32))), "broker.session_unknown", 401)


def test_rsa1_5_key_is_refused(machine: SimulatedMachine) -> None:
    cookie, challenge = machine.challenge()
    body = json.loads(machine.request(challenge.nonce).encode())
    body["runtime-data"]["tee-pubkey"] = {"kty": "RSA", "alg": "RSA1_5", "n": "AQAB", "e": "AQAB"}
    answer = machine.client.call("POST", "/kbs/v0/attest", json.dumps(body).encode(), cookie=cookie)
    refused(answer, "broker.secret", 401)


@pytest.mark.parametrize("version", ["0.1.1", "0.3.0", "1.0.0"])
def test_other_protocol_version_is_refused_in_trustees_form(world: World, version: str) -> None:
    body = json.dumps({"version": version, "tee": "snp", "extra-params": ""}).encode()
    answer = refused(world.client.call("POST", "/kbs/v0/auth", body), "broker.protocol_version", 401)
    assert answer.json["type"] == "https://github.com/confidential-containers/kbs/errors/AttestationError"


def test_hardware_evidence_is_not_verified_by_a_development_broker(world: World) -> None:
    for tee in ("snp", "sample"):
        body = json.dumps({"version": "0.4.0", "tee": tee, "extra-params": ""}).encode()
        refused(world.client.call("POST", "/kbs/v0/auth", body), "broker.tee", 401)


def explained(world: World, answer: Answer) -> list[str]:
    """The codes in the record that the owners get for the id in *answer*, from the broker and from the workspace."""
    correlation = parse_problem(answer.body, status=answer.status).correlation
    record = world.client.owner(ALICE, "GET", f"/redoubt/v1/refusals/{correlation}").ok
    assert (world.workspace.state_folder / "refusals" / f"{correlation}.json").read_bytes() == record
    return [it.code for it in Refusal.parse(record).failures]


# --- attestation results ----------------------------------------------------------------------------------------------
def test_result_of_another_broker_is_refused(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Same manifest, same machine, same name: another key."""
    with running_world(tmp_path_factory.mktemp("other")) as other:
        twin = SimulatedMachine(other.client, other.machine_key, PROGRAM)
        foreign = twin.attest()
        _, record = other.sealed_key()
        assert unwrap(other.client, foreign, record).status == 200
    refused(unwrap(world.client, foreign, record), "broker.not_attested", 401)


def test_result_of_an_earlier_manifest_is_refused(tmp_path: Any) -> None:
    with running_world(tmp_path) as world:
        machine = world.machine()
        token = machine.attest()
        _, record = world.sealed_key()
        assert unwrap(world.client, token, record).status == 200
        grant = '[[grants]]\nprogram = "job"\ntee = "laptop"\ndataset = "input"\nactions = ["read"]\n'
        assert grant in TOML
        revoked = TOML.replace(grant, "")
        body = successor(world.manifests.current(), revoked).encode()
        assert world.client.call("PUT", "/redoubt/v1/manifest", body).json["version"] == 2
        refused(unwrap(world.client, token, record), "broker.not_attested", 401)
        answer = refused(unwrap(world.client, machine.attest(), record), "broker.not_granted", 403)
        assert explained(world, answer) == ["appraisal.grant"]


def changed_token(token: str, header: dict[str, Any], sign: str = "keep") -> str:
    parts = token.split(".")
    old = json.loads(base64.urlsafe_b64decode(parts[0] + "=="))
    parts[0] = base64.urlsafe_b64encode(json.dumps({**old, **header}).encode()).rstrip(b"=").decode()
    if sign == "none":
        parts[2] = ""
    if sign == "hmac":
        mac = hmac.digest(b"key", f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256)
        parts[2] = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    return ".".join(parts)


@pytest.mark.parametrize(
    ("header", "sign"),
    [
        ({"alg": "none"}, "none"),
        ({"alg": "HS256"}, "hmac"),
        ({"typ": "ear+jwt"}, "keep"),
        ({"jku": "https://x"}, "keep"),
    ],
)
def test_forged_results_are_refused(world: World, token: str, header: dict[str, Any], sign: str) -> None:
    _, record = world.sealed_key()
    refused(unwrap(world.client, changed_token(token, header, sign), record), "broker.not_attested", 401)


@pytest.mark.parametrize("bearer", [None, "", "a.b.c", "ä" * 10])
def test_call_without_a_result_is_refused(world: World, bearer: str | None) -> None:
    _, record = world.sealed_key()
    request = UnwrapRequest(INPUT, Purpose.DATA, (record,)).encode()
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}".encode().decode("latin-1")}
    refused(world.client.call("POST", "/redoubt/v1/unwrap", request, headers=headers), "broker.not_attested", 401)


def test_stolen_result_opens_nothing(world: World, token: str) -> None:
    """Whoever replays an overheard result gets a JWE to a key that only the attested machine has."""
    _, record = world.sealed_key()
    stolen = unwrap(world.client, token, record).ok
    with pytest.raises(Exception, match="does not open"):
        decrypt(stolen, ec.generate_private_key(ec.SECP256R1()))


# --- data keys --------------------------------------------------------------------------------------------------------
def test_data_key_of_another_datasets_record_is_refused(world: World, token: str) -> None:
    """Bob's wrapped key, under Bob's name and under the name of a dataset that the program may read."""
    _, record = world.sealed_key(BOBS, "bobs")
    refused(unwrap(world.client, token, record, dataset=BOBS), "broker.not_granted", 403)
    renamed = replace(record, context=replace(record.context, dataset_id=INPUT))
    refused(unwrap(world.client, token, renamed), "broker.not_granted", 403)
    # Even under a key that the dataset does use, the context is authenticated.
    _, other = world.sealed_key(OUTPUT, "default")
    refused(
        unwrap(world.client, token, replace(other, context=replace(other.context, dataset_id=INPUT))),
        "key.context",
        403,
    )


def test_record_beside_the_stated_dataset_is_refused(world: World, token: str) -> None:
    _, mine = world.sealed_key()
    _, bobs = world.sealed_key(BOBS, "bobs")
    refused(unwrap(world.client, token, mine, bobs), "broker.message", 400)


def test_unwrap_without_a_grant_is_refused(world: World) -> None:
    token = world.machine(OTHER_PROGRAM).attest()
    _, record = world.sealed_key()
    answer = refused(unwrap(world.client, token, record), "broker.not_granted", 403)
    assert explained(world, answer) == ["appraisal.grant"]


def test_writing_where_only_reading_is_granted_is_refused(world: World, token: str) -> None:
    refused(new_data_key(world.client, token, INPUT, "default"), "broker.not_granted", 403)


@pytest.mark.parametrize("key", ["bobs", "nothing", None, "key:main/bobs.dev", "", "../second"])
def test_key_that_the_manifest_does_not_list_is_refused(world: World, token: str, key: str | None) -> None:
    refused(new_data_key(world.client, token, OUTPUT, key), "broker.not_granted", 403)


def test_unknown_dataset_is_refused(world: World, token: str) -> None:
    refused(new_data_key(world.client, token, uuid4()), "broker.not_granted", 403)
    refused(world.client.call("GET", f"/redoubt/v1/register/{uuid4()}", bearer=token), "broker.not_granted", 403)


# --- the register -----------------------------------------------------------------------------------------------------
def ticket_of(machine: SimulatedMachine, dataset: UUID, key: str) -> str:
    request = DataKeyRequest(key, WrapContext(dataset, uuid4()))
    answer = machine.client.call("POST", "/redoubt/v1/data-keys", request.encode(), bearer=machine.attest())
    return DataKeyAnswer.parse(decrypt(answer.ok, machine.key), request).ticket


def test_register_is_not_moved_with_a_foreign_ticket(world: World) -> None:
    bobs, mine, other = world.machine(OTHER_PROGRAM), world.machine(), world.machine()
    path = f"/redoubt/v1/register/{OUTPUT}"
    foreign = ticket_of(bobs, BOBS, "bobs")
    stolen = ticket_of(other, OUTPUT, "second")
    good = ticket_of(mine, OUTPUT, "second")
    forged = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
    current = parse_head(world.client.call("GET", path, bearer=mine.attest()).ok)
    head = RegisteredHead(number=99, digest=HEAD.digest)
    for ticket in (foreign, stolen, forged, "AAAA"):
        body = AdvanceRequest(previous=current, head=head, ticket=ticket).encode()
        refused(world.client.call("POST", path, body, bearer=mine.attest()), "broker.ticket", 403)
    assert parse_head(world.client.call("GET", path, bearer=mine.attest()).ok) == current


def test_commit_is_not_announced_with_a_foreign_ticket(world: World) -> None:
    mine, other = world.machine(), world.machine()
    path = f"/redoubt/v1/announced/{OUTPUT}"
    head = RegisteredHead(number=98, digest=HEAD.digest)
    for ticket in (ticket_of(world.machine(OTHER_PROGRAM), BOBS, "bobs"), ticket_of(other, OUTPUT, "second"), "AAAA"):
        body = AnnounceRequest(head=head, ticket=ticket).encode()
        refused(world.client.call("POST", path, body, bearer=mine.attest()), "broker.ticket", 403)
    assert head not in parse_announced(world.client.call("GET", path, bearer=mine.attest()).ok)
    body = AnnounceRequest(head=head, ticket=ticket_of(mine, OUTPUT, "second")).encode()
    assert world.client.call("POST", path, body, bearer=mine.attest()).status == 204
    assert head in parse_announced(world.client.call("GET", path, bearer=mine.attest()).ok)


def test_commit_is_not_announced_by_a_reader(world: World, token: str) -> None:
    ticket = ticket_of(world.machine(), OUTPUT, "second")
    body = AnnounceRequest(head=HEAD, ticket=ticket).encode()
    refused(world.client.call("POST", f"/redoubt/v1/announced/{INPUT}", body, bearer=token), "broker.not_granted", 403)
    refused(world.client.call("GET", f"/redoubt/v1/announced/{BOBS}", bearer=token), "broker.not_granted", 403)


def test_register_is_not_moved_by_a_reader(world: World, token: str) -> None:
    ticket = ticket_of(world.machine(), OUTPUT, "second")
    body = AdvanceRequest(previous=None, head=HEAD, ticket=ticket).encode()
    answer = world.client.call("POST", f"/redoubt/v1/register/{INPUT}", body, bearer=token)
    refused(answer, "broker.not_granted", 403)


# --- resources --------------------------------------------------------------------------------------------------------
def test_resource_reaches_its_program_alone(world: World, machine: SimulatedMachine, token: str) -> None:
    path = "/kbs/v0/resource/input/database/password"
    assert world.client.owner(ALICE, "POST", path, b"the password").status == 200
    assert decrypt(world.client.call("GET", path, bearer=token).ok, machine.key) == b"the password"
    cookie, challenge = machine.challenge()
    machine.send(cookie, machine.request(challenge.nonce))
    assert decrypt(world.client.call("GET", path, cookie=cookie).ok, machine.key) == b"the password"
    bobs = world.machine(OTHER_PROGRAM).attest()
    answer = refused(world.client.call("GET", path, bearer=bobs), "broker.not_granted", 403)
    assert answer.json["type"].endswith("/PolicyDeny")
    refused(world.client.owner(BOB, "POST", path, b"mine now"), "broker.owner_forbidden", 401)
    refused(world.client.call("GET", path), "broker.not_attested", 401)


@pytest.mark.parametrize("path", ["input/a/b%2Fc", "input/../bobs", "input/a/" + "b" * 64, "input/a/.hidden"])
def test_resource_names_are_no_paths(world: World, token: str, path: str) -> None:
    answer = world.client.call("GET", f"/kbs/v0/resource/{path}", bearer=token)
    assert answer.status == 404, answer.body


def test_missing_resource_is_not_found(world: World, token: str) -> None:
    refused(world.client.call("GET", "/kbs/v0/resource/input/no/such", bearer=token), "broker.resource_missing", 404)


# --- owners -----------------------------------------------------------------------------------------------------------
PATH = "/redoubt/v1/keys"


def signed(client: Client, **changes: Any) -> str:
    request = {"broker": client.broker_id, "method": "GET", "path": PATH, "body": b"", **changes}
    now = request.pop("now", datetime.now(UTC))
    key: Ed25519PrivateKey = request.pop("key", ALICE)
    return sign_owner_token(key, OwnerRequest(**request), now=now, token_id=uuid4())


def test_owners_token_is_good_for_one_request(world: World) -> None:
    token = signed(world.client)
    assert world.client.call("GET", PATH, bearer=token).status == 200
    answer = refused(world.client.call("GET", PATH, bearer=token), "broker.owner_unknown", 401)
    assert "before" in answer.error.what


@pytest.mark.parametrize(
    "changes",
    [
        {"now": datetime.now(UTC) - timedelta(minutes=6)},
        {"now": datetime.now(UTC) + timedelta(minutes=6)},
        {"path": "/redoubt/v1/audit"},
        {"method": "POST"},
        {"body": b"{}"},
        {"broker": "ab" * 32},
        {"key": MALLORY},
    ],
    ids=["expired", "future", "path", "method", "body", "broker", "key"],
)
def test_owners_token_for_something_else_is_refused(world: World, changes: dict[str, Any]) -> None:
    refused(world.client.call("GET", PATH, bearer=signed(world.client, **changes)), "broker.owner_unknown", 401)


def test_body_that_was_changed_after_signing_is_refused(world: World) -> None:
    token = signed(world.client, method="POST", body=b'{"name":"key:main/mine.dev"}')
    answer = world.client.call("POST", PATH, b'{"name":"key:main/hers.dev"}', bearer=token)
    refused(answer, "broker.owner_unknown", 401)


def handmade(client: Client, header: dict[str, Any], claims: dict[str, Any], key: Ed25519PrivateKey | None) -> str:
    now = int(datetime.now(UTC).timestamp())
    body = {
        "iss": public(ALICE),
        "aud": client.broker_id,
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid4()),
        "htm": "GET",
        "htu": PATH,
        "bsh": body_hash(b""),
        **claims,
    }
    head = {"alg": "EdDSA", "typ": TYPE, "kid": public(ALICE), **header}
    parts = [base64.urlsafe_b64encode(json.dumps(it).encode()).rstrip(b"=").decode() for it in (head, body)]
    message = ".".join(parts).encode()
    signature = b"" if key is None else key.sign(message)
    if header.get("alg") == "HS256":
        signature = hmac.digest(ALICE.public_key().public_bytes_raw(), message, hashlib.sha256)
    return f"{message.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_handmade_token_is_a_good_one(world: World) -> None:
    assert world.client.call("GET", PATH, bearer=handmade(world.client, {}, {}, ALICE)).status == 200


@pytest.mark.parametrize(
    ("header", "claims", "key"),
    [
        ({"alg": "none"}, {}, None),
        ({"alg": "HS256"}, {}, None),
        ({"alg": "ES256"}, {}, ALICE),
        ({"typ": "JWT"}, {}, ALICE),
        ({"kid": public(MALLORY)}, {}, MALLORY),
        ({}, {}, MALLORY),
        ({"jwk": {}}, {}, ALICE),
        ({}, {"iss": public(BOB)}, ALICE),
        ({}, {"exp": 2**40}, ALICE),
        ({}, {"exp": True}, ALICE),
        ({}, {"jti": "1"}, ALICE),
        ({}, {"sub": "admin"}, ALICE),
    ],
)
def test_forged_owner_tokens_are_refused(
    world: World, header: dict[str, Any], claims: dict[str, Any], key: Ed25519PrivateKey | None
) -> None:
    token = handmade(world.client, header, claims, key)
    refused(world.client.call("GET", PATH, bearer=token), "broker.owner_unknown", 401)


def test_attestation_result_is_no_owners_token(world: World, token: str) -> None:
    refused(world.client.call("GET", PATH, bearer=token), "broker.owner_unknown", 401)


def test_owner_manages_no_key_of_others(world: World) -> None:
    body = json.dumps({"name": "key:main/bobs.dev", "version": 1, "even_if_referenced": True}).encode()
    for call in ("destroy", "rotate"):
        refused(world.client.owner(ALICE, "POST", f"{PATH}/{call}", body), "broker.owner_forbidden", 403)


def test_owner_opens_only_data_of_their_own(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    data_key, record = world.sealed_key()
    body = json.dumps({"records": [base64.b64encode(record.encode()).decode()], "recipient": public_jwk(key)}).encode()
    opened = json.loads(decrypt(world.client.owner(ALICE, "POST", f"{PATH}/unwrap", body).ok, key))
    assert opened == {"secrets": [base64.b64encode(data_key.secret).decode()]}
    refused(world.client.owner(BOB, "POST", f"{PATH}/unwrap", body), "broker.owner_forbidden", 403)


def test_manifest_that_its_owners_did_not_sign_is_refused(world: World) -> None:
    current = world.manifests.current()
    forged = successor(current, TOML.replace('owners = ["bob"]', 'owners = ["alice", "bob"]'))
    alone = replace(forged, signatures={key: it for key, it in forged.signatures.items() if key != raw(BOB)})
    for body, code, status in (
        (alone.encode(), "manifest.unsigned", 403),
        (envelope().encode(), "manifest.rollback", 403),
        (b"{}", "manifest.malformed", 400),
    ):
        refused(world.client.call("PUT", "/redoubt/v1/manifest", body), code, status)
    assert world.manifests.current() == current


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


# --- transport --------------------------------------------------------------------------------------------------------
def test_broker_with_another_ca_is_not_spoken_to(world: World) -> None:
    stranger = make_ca("another", now=datetime.now(UTC)).certificate
    with pytest.raises(ssl.SSLCertVerificationError):
        replace(world.client, ca=stranger).call("GET", "/healthz")


def test_tls_1_2_is_refused(world: World) -> None:
    old = replace(world.client, minimum=ssl.TLSVersion.TLSv1_2, maximum=ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        old.call("GET", "/healthz")


def test_plain_http_gets_no_answer(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.broker.port), timeout=5) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/kbs/v0/attest", MAX_RCAR_BYTES),
        ("/redoubt/v1/unwrap", MAX_KEY_API_BYTES),
        ("/redoubt/v1/receipts", MAX_REPORTED_BYTES),
        ("/healthz", 0),
    ],
)
def test_oversize_body_is_refused_before_it_is_read(world: World, path: str, limit: int) -> None:
    """Declared, and streamed without a length: in both cases the answer comes without the rest of the body."""
    method = "GET" if limit == 0 else "POST"
    for head, sent in (
        (f"Content-Length: {limit + 10**9}", b"x" * 10),
        ("Transfer-Encoding: chunked", b"%x\r\n" % (limit + 1) + b"x" * (limit + 1) + b"\r\n"),
    ):
        context = ssl.create_default_context(cadata=world.client.ca.decode())
        with (
            socket.create_connection(("127.0.0.1", world.broker.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
            try:
                tls.sendall(sent)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                continue
            answer = tls.recv(4000)
            assert b" 413 " in answer.partition(b"\r\n")[0], answer
            assert b"broker.too_large" in answer + tls.recv(4000)


def test_stalled_tls_handshake_is_refused_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a connection is not counted yet, so nothing but its time bounds how many there are."""
    monkeypatch.setattr("redoubt.broker.server.BROKER_HANDSHAKE_SECONDS", 0.3)
    create_root_key_file(tmp_path / "root.key")
    ca = make_ca("test", now=datetime.now(UTC))
    with (
        closing(SqlStore.create(SqliteLocation(tmp_path / "s"), source=FileRoot(tmp_path / "root.key"))) as store,
        RunningBroker(
            store,
            address=Address("127.0.0.1", 0),
            identity=make_server_certificate(ca, name="test", hosts=["127.0.0.1"], now=datetime.now(UTC)),
            settings=Settings(),
            verifiers={},
        ) as broker,
        socket.create_connection(("127.0.0.1", broker.port), timeout=5) as plain,
    ):
        assert plain.recv(1) == b""


def test_endless_head_ends_the_connection(world: World) -> None:
    context = ssl.create_default_context(cadata=world.client.ca.decode())
    with (
        socket.create_connection(("127.0.0.1", world.broker.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        sent, ended = 0, False
        try:
            tls.sendall(b"GET /healthz HTTP/1.1\r\n")
            while sent < 4_000_000:
                sent += tls.send(b"X-Padding: " + b"x" * 1000 + b"\r\n")
            ended = tls.recv(10) == b""
        except (ConnectionError, ssl.SSLError):
            ended = True
        assert ended


def test_no_answer_may_be_cached(world: World, token: str) -> None:
    for answer in (world.client.call("GET", "/healthz"), world.client.call("GET", "/nothing")):
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_log_and_metrics_hold_no_token_cookie_or_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    machine = world.machine(arguments=("--month", "marker-3f9c"))
    with caplog.at_level(logging.DEBUG):
        cookie, challenge = machine.challenge()
        token = AttestResponse.parse(machine.send(cookie, machine.request(challenge.nonce)).ok).token
        _, record = world.sealed_key()
        assert unwrap(world.client, token, record).status == 200
        owner = signed(world.client)
        assert world.client.call("GET", f"{PATH}?marker-77aa=1", bearer=owner).status == 200
        world.client.call("GET", "/redoubt/v1/marker-77aa", bearer=owner)
    said = caplog.text + world.client.call("GET", "/metrics").ok.decode()
    audit = world.client.owner(ALICE, "GET", "/redoubt/v1/audit").ok.decode()
    assert "unwrap 200" in said
    assert 'route="unwrap"' in said
    secrets = (cookie, token, token.split(".")[1], owner, base64.b64encode(challenge.nonce).decode(), "marker-3f9c")
    for secret in (*secrets, "marker-77aa", base64.b64encode(record.ciphertext).decode()):
        assert secret not in said
        assert secret not in audit


# --- a production broker ----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A broker with the production's table of verifiers, under a manifest that would take simulated evidence."""
    folder = tmp_path_factory.mktemp("production")
    create_root_key_file(folder / "root.key")
    store = SqlStore.create(SqliteLocation(folder / "store.sqlite"), source=FileRoot(folder / "root.key"))
    ca = make_ca("test", now=datetime.now(UTC))
    identity = make_server_certificate(ca, name="test", hosts=["127.0.0.1"], now=datetime.now(UTC))
    settings = Settings(name=NAME, bootstrap_owners=frozenset({raw(ALICE)}))
    with RunningBroker(
        store,
        address=Address("127.0.0.1", 0),
        identity=identity,
        settings=settings,
        verifiers=production_verifiers(Collateral()),
    ) as running:
        yield Client(running.port, ca.certificate, running.core.id)
    store.close()


def test_before_the_first_manifest_only_bootstrap_owners_are_heard(production: Client) -> None:
    body = b'{"name":"key:main/default.dev"}'
    refused(production.owner(BOB, "POST", PATH, body), "broker.owner_unknown", 401)
    assert production.owner(ALICE, "POST", PATH, body).status == 200
    first = envelope().encode()
    refused(production.call("PUT", "/redoubt/v1/manifest", first), "broker.owner_unknown", 401)
    refused(production.owner(BOB, "PUT", "/redoubt/v1/manifest", first), "broker.owner_unknown", 401)
    assert production.owner(ALICE, "PUT", "/redoubt/v1/manifest", first).status == 200
    assert production.owner(BOB, "GET", PATH).status == 200


@pytest.mark.parametrize("tee", ["simulated", "sample", "csv", "nvidia"])
def test_simulated_and_sample_evidence_is_refused_by_a_production_broker(production: Client, tee: str) -> None:
    body = json.dumps({"version": "0.4.0", "tee": tee, "extra-params": ""}).encode()
    refused(production.call("POST", "/kbs/v0/auth", body), "broker.tee", 401)


def test_simulated_evidence_in_a_hardware_session_is_refused(production: Client) -> None:
    machine = SimulatedMachine(production, DevelopmentKey.generate(), PROGRAM, tee="snp")
    cookie, challenge = machine.challenge()
    refused(machine.send(cookie, machine.request(challenge.nonce)), "broker.message", 401)


def test_simulated_result_is_refused_by_a_production_broker(production: Client, token: str) -> None:
    answer = production.call("GET", f"/redoubt/v1/register/{INPUT}", bearer=token)
    refused(answer, "broker.not_attested", 401)


def test_refused_attester_of_a_production_broker_learns_no_reason(production: Client) -> None:
    machine = SimulatedMachine(production, DevelopmentKey.generate(), PROGRAM, tee="sgx")
    cookie, challenge = machine.challenge()
    answer = machine.send(cookie, machine.request(challenge.nonce, evidence={"quote": "AAAA"}))
    refused(answer, "broker.refused", 401)
    assert "quote" not in answer.body.decode()
    correlation = parse_problem(answer.body, status=401).correlation
    record = Refusal.parse(production.owner(ALICE, "GET", f"/redoubt/v1/refusals/{correlation}").ok)
    assert [it.code for it in record.failures] == ["evidence.malformed"]


def test_an_error_names_the_refusal(world: World, token: str) -> None:
    answer = new_data_key(world.client, token, INPUT, "default")
    problem = parse_problem(answer.body, status=answer.status)
    assert isinstance(problem.error, GrantRefused)
    assert problem.correlation is not None
