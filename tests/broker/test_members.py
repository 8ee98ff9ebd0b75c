"""Certificates of roles, over HTTPS: what an attested program gets, and every way to get what it may not have."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.broker.client import Answer, SimulatedMachine
from tests.broker.world import ALICE, OTHER_PROGRAM, TOML, World, running_world, successor

from redoubt.errors import BrokerMessage, SecretRefused
from redoubt.pki.peer import public_key_of, verify_peer
from redoubt.pki.request import make_request
from redoubt.protocol.jwe import decrypt
from redoubt.protocol.key_api import PATH
from redoubt.protocol.membership import CERTIFICATES_PATH, CertificateRequest, Membership
from redoubt.protocol.problem import parse_problem
from redoubt.trust.explain import explain
from redoubt.trust.refusal import Refusal
from redoubt_dev import DevelopmentKey

ROLES = """
[[roles]]
program = "job"
tee = "laptop"
domain = "analytics"
roles = ["worker", "executor"]

[[roles]]
program = "bobs"
tee = "laptop"
domain = "marketing"
roles = ["driver"]
"""
KEY = ec.generate_private_key(ec.SECP384R1())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world"), TOML + ROLES) as running:
        yield running


@pytest.fixture
def machine(world: World) -> SimulatedMachine:
    return world.machine()


def token_id(token: str) -> str:
    body = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["jti"])


def ask(
    machine: SimulatedMachine,
    token: str,
    *,
    domain: str = "analytics",
    role: str = "worker",
    request: bytes | None = None,
) -> Answer:
    made = make_request(KEY, result=token_id(token)) if request is None else request
    body = CertificateRequest(domain=domain, role=role, request=made).encode()
    return machine.client.call("POST", CERTIFICATES_PATH, body, bearer=token)


def membership(machine: SimulatedMachine, answer: Answer) -> Membership:
    return Membership.parse(decrypt(answer.ok, machine.key))


def refused(answer: Answer, code: str) -> None:
    assert answer.status in (401, 403), answer.body
    assert answer.code == code, answer.body


# --- the honest way ---------------------------------------------------------------------------------------------------
def test_attested_role_gets_its_certificate_the_domains_cas_and_the_secret(machine: SimulatedMachine) -> None:
    answer = ask(machine, machine.attest())
    found = membership(machine, answer)
    now = datetime.now(UTC)
    name = verify_peer(found.certificate, bundle=found.bundle, domain="analytics", roles=frozenset({"worker"}), now=now)
    assert name == found.name
    assert public_key_of(found.certificate) == KEY.public_key()
    assert len(found.secret) == 64
    assert found.secret.encode() not in answer.body
    again = membership(machine, ask(machine, machine.attest(), role="executor"))
    assert (again.secret, again.bundle, again.name.id) == (found.secret, found.bundle, found.name.id)
    assert again.name.role == "executor"


def test_domains_share_neither_secret_nor_ca(world: World, machine: SimulatedMachine) -> None:
    other = world.machine(OTHER_PROGRAM)
    theirs = membership(other, ask(other, other.attest(), domain="marketing", role="driver"))
    ours = membership(machine, ask(machine, machine.attest()))
    assert theirs.secret != ours.secret
    serials = [{it.serial_number for it in x509.load_pem_x509_certificates(each.bundle)} for each in (theirs, ours)]
    assert [len(it) for it in serials] == [3, 3]
    assert not serials[0] & serials[1]


def test_audit_says_which_role_and_who(world: World, machine: SimulatedMachine) -> None:
    found = membership(machine, ask(machine, machine.attest()))
    rows = world.client.owner(ALICE, "GET", "/redoubt/v1/audit").ok.decode()
    mine = [it for it in rows.splitlines() if str(found.name) in it]
    assert len(mine) == 1
    assert all(it in mine[0] for it in ('"certificate"', '"granted"', '"worker"', '"analytics"', '"job"', '"serial"'))
    assert found.secret not in rows


# --- attacks ----------------------------------------------------------------------------------------------------------
def test_role_that_is_not_granted_is_refused(world: World, machine: SimulatedMachine) -> None:
    token = machine.attest()
    refused(ask(machine, token, role="driver"), "broker.role_refused")
    refused(ask(machine, token, role="master"), "broker.role_refused")
    refused(ask(machine, token, domain="marketing", role="driver"), "broker.role_refused")
    refused(ask(machine, token, domain="nowhere"), "broker.role_refused")
    other = world.machine(OTHER_PROGRAM)
    refused(ask(other, other.attest()), "broker.role_refused")


def test_refused_role_is_explained_by_the_entry_that_would_allow_it(tmp_path: Path) -> None:
    with running_world(tmp_path, TOML + ROLES) as world:
        machine = world.machine()
        answer = ask(machine, machine.attest(), role="driver")
        refused(answer, "broker.role_refused")
        told = parse_problem(answer.body, status=answer.status).correlation
        kept = world.client.owner(ALICE, "GET", f"{PATH}/refusals/{told}").ok
        (found,) = explain(Refusal.parse(kept))
        assert found.text.startswith('role: expected "executor" or "worker", found "driver" (roles.job.')
        assert found.edit is not None
        assert tomllib.loads(found.edit)["roles"][0] == {
            "program": "job", "tee": "laptop", "domain": "analytics", "roles": ["executor", "worker", "driver"]
        }  # fmt: skip
        allowed = successor(
            world.broker._running.core.policy.current(), TOML + found.edit + ROLES.partition('"executor"]')[2]
        )
        assert world.client.call("PUT", f"{PATH}/manifest", allowed.encode()).status == 200
        assert membership(machine, ask(machine, machine.attest(), role="driver")).name.role == "driver"


def test_replayed_request_is_refused(machine: SimulatedMachine) -> None:
    token = machine.attest()
    request = make_request(KEY, result=token_id(token))
    assert ask(machine, token, request=request).status == 200
    refused(ask(machine, token, request=request), "broker.nonce_replayed")


def test_request_of_another_result_is_refused(world: World, machine: SimulatedMachine) -> None:
    token, theirs = machine.attest(), world.machine()
    stolen = make_request(KEY, result=token_id(theirs.attest()))
    refused(ask(machine, token, request=stolen), "pki.request")


def test_request_for_another_name_is_refused_and_no_name_is_taken_from_it(machine: SimulatedMachine) -> None:
    token = machine.attest()
    name = x509.UniformResourceIdentifier(f"spiffe://analytics/master/{'0' * 32}")
    named = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "master")]))
        .add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, token_id(token).encode())
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(KEY, hashes.SHA384())
    )
    refused(ask(machine, token, request=named.public_bytes(Encoding.DER)), "pki.request")


def test_nobody_without_a_result_gets_a_certificate(world: World, machine: SimulatedMachine) -> None:
    token = machine.attest()
    request = make_request(KEY, result=token_id(token))
    body = CertificateRequest(domain="analytics", role="worker", request=request).encode()
    refused(world.client.call("POST", CERTIFICATES_PATH, body), "broker.not_attested")
    forged = token[:-8] + ("A" * 8)
    refused(ask(machine, forged, request=request), "broker.not_attested")


def test_unknown_machine_is_not_attested_and_so_gets_none(world: World) -> None:
    stranger = SimulatedMachine(world.client, DevelopmentKey.generate(), None)
    cookie, challenge = stranger.challenge()
    assert stranger.send(cookie, stranger.request(challenge.nonce)).status == 401


def test_intercepted_answer_opens_for_nobody_else(world: World, machine: SimulatedMachine) -> None:
    answer = ask(machine, machine.attest())
    with pytest.raises(SecretRefused):
        decrypt(answer.ok, ec.generate_private_key(ec.SECP256R1()))


def test_revoked_role_ends_with_the_manifest_not_with_the_result(tmp_path: Path) -> None:
    with running_world(tmp_path, TOML + ROLES) as world:
        machine = world.machine()
        token = machine.attest()
        assert ask(machine, token).status == 200
        current = world.broker._running.core.policy.current()
        without = TOML + ROLES.replace('"worker", "executor"', '"executor"')
        put = world.client.call("PUT", "/redoubt/v1/manifest", successor(current, without).encode())
        assert put.status == 200
        refused(ask(machine, token), "broker.not_attested")
        refused(ask(machine, machine.attest()), "broker.role_refused")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda it: f'{{"domain":"{it}"}}'.encode())))
def test_anything_else_is_refused_as_a_message(body: bytes) -> None:
    for kind in (CertificateRequest, Membership):
        with pytest.raises(BrokerMessage):
            kind.parse(body)
