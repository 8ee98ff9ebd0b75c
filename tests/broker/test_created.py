"""Datasets that programs create under a grant to do so, over HTTPS; and the ways to abuse such a grant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.broker.client import Answer, SimulatedMachine
from tests.broker.world import ALICE, BOB, OTHER_PROGRAM, OUTPUT, TOML, World, running_world, successor

from redoubt.broker.ports import AuditRow
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.jwe import Recipient, decrypt, public_jwk
from redoubt.protocol.key_api import AdvanceRequest, DataKeyAnswer, RegisteredHead, UnwrapAnswer
from redoubt.protocol.owner_api import RecordsRequest, WrapRequest, parse_records
from redoubt.protocol.problem import parse_problem
from redoubt.trust.explain import explain
from redoubt.trust.refusal import Refusal

RESULTS = UUID("5d9b8a0e-0000-4000-8000-0000000000f1")
ROW = AuditRow({"event": "register"}, datetime(2026, 6, 1, tzinfo=UTC))
HEAD = RegisteredHead(number=1, digest="sha256:" + "11" * 32)
#: `job` may create and use results, `bobs` only create them; both under the key that the dataset "input" uses too.
WITH_RESULTS = (
    TOML
    + f"""
[datasets.results]
id = "{RESULTS}"
owners = ["alice"]
keys = ["key:main/default.dev"]

[[grants]]
program = "job"
tee = "laptop"
dataset = "results"
actions = ["create", "read", "write"]

[[grants]]
program = "bobs"
tee = "laptop"
dataset = "results"
actions = ["create"]
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world"), WITH_RESULTS) as running:
        yield running


@pytest.fixture(scope="module")
def job(world: World) -> SimulatedMachine:
    return world.machine()


@pytest.fixture(scope="module")
def creator(world: World) -> SimulatedMachine:
    """The program that may only create."""
    return world.machine(OTHER_PROGRAM)


def ask(
    machine: SimulatedMachine, dataset: UUID, *, data_key: UUID | None = None, key: str | None = None
) -> tuple[Answer, DataKeyRequest]:
    request = DataKeyRequest(key, WrapContext(dataset, data_key or uuid4()))
    return machine.client.call("POST", "/redoubt/v1/data-keys", request.encode(), bearer=machine.attest()), request


def made(machine: SimulatedMachine, dataset: UUID, *, data_key: UUID | None = None) -> DataKeyAnswer:
    answer, request = ask(machine, dataset, data_key=data_key)
    return DataKeyAnswer.parse(decrypt(answer.ok, machine.key), request)


def unwrap(machine: SimulatedMachine, dataset: UUID, record: WrappedKey) -> Answer:
    request = UnwrapRequest(dataset, record.context.purpose, (record,))
    return machine.client.call("POST", "/redoubt/v1/unwrap", request.encode(), bearer=machine.attest())


def advance(machine: SimulatedMachine, dataset: UUID, ticket: str) -> Answer:
    body = AdvanceRequest(previous=None, head=HEAD, ticket=ticket).encode()
    return machine.client.call("POST", f"/redoubt/v1/register/{dataset}", body, bearer=machine.attest())


def refused(answer: Answer, code: str = "broker.not_granted", status: int = 403) -> Answer:
    assert (answer.status, answer.code) == (status, code), answer.body
    return answer


def test_created_dataset_is_written_registered_and_read_back(job: SimulatedMachine) -> None:
    dataset = uuid4()
    new = made(job, dataset)
    assert advance(job, dataset, new.ticket).status == 204
    request = UnwrapRequest(dataset, new.wrapped.context.purpose, (new.wrapped,))
    found = UnwrapAnswer.parse(decrypt(unwrap(job, dataset, new.wrapped).ok, job.key), request)
    assert ([it.secret for it in found.keys], found.head) == ([new.key.secret], HEAD)
    assert made(job, dataset).key.secret != new.key.secret  # an append


def test_who_may_only_create_publishes_and_opens_nothing(creator: SimulatedMachine, job: SimulatedMachine) -> None:
    dataset = uuid4()
    new = made(creator, dataset)
    assert advance(creator, dataset, new.ticket).status == 204
    refused(unwrap(creator, dataset, new.wrapped))
    refused(ask(creator, dataset)[0])
    assert unwrap(job, dataset, new.wrapped).ok


def test_existing_dataset_claimed_as_a_new_one_stays_shut(world: World, creator: SimulatedMachine) -> None:
    """Somebody sealed it under the same primary key; no manifest names it; the attacker knows its ids."""
    existing = uuid4()
    _, record = world.sealed_key(existing)
    attacker = world.machine()
    made(attacker, existing)
    refused(unwrap(attacker, existing, record))


def test_existing_data_key_claimed_by_its_id_stays_shut(world: World) -> None:
    existing = uuid4()
    _, record = world.sealed_key(existing)
    attacker = world.machine()
    made(attacker, existing, data_key=record.context.data_key_id)
    refused(unwrap(attacker, existing, record))


def test_dataset_of_the_manifest_is_not_created(creator: SimulatedMachine) -> None:
    refused(ask(creator, OUTPUT)[0])
    refused(ask(creator, RESULTS)[0])


def test_registered_dataset_is_not_created_anew(world: World, job: SimulatedMachine) -> None:
    """Its head would be moved by whoever may create: for its owners it would be lost."""
    dataset = uuid4()
    world.broker._store.register.advance(dataset, previous=None, head=HEAD, row=ROW)
    refused(ask(job, dataset)[0], "broker.dataset_taken", 409)


def test_register_of_a_created_dataset_needs_its_ticket(creator: SimulatedMachine) -> None:
    mine, other = uuid4(), uuid4()
    new = made(creator, mine)
    made(creator, other)
    refused(advance(creator, other, new.ticket), "broker.ticket", 403)


def test_data_key_is_made_once_and_a_refused_one_counts_for_no_primary_key(world: World, job: SimulatedMachine) -> None:
    dataset, data_key = uuid4(), uuid4()
    name = made(job, dataset, data_key=data_key).wrapped.key
    wraps = sum(it.wraps for it in world.workspace.provider_for(name).describe(name).versions)
    refused(ask(job, dataset, data_key=data_key)[0], "broker.dataset_taken", 409)
    assert sum(it.wraps for it in world.workspace.provider_for(name).describe(name).versions) == wraps


@pytest.mark.parametrize("key", ["second", "bobs", "nothing", ""])
def test_key_of_another_dataset_makes_none(job: SimulatedMachine, key: str) -> None:
    refused(ask(job, uuid4(), key=key)[0])


def test_refusal_to_create_is_explained(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_world(tmp_path_factory.mktemp("without")) as without:
        machine = without.machine()
        answer = refused(ask(machine, uuid4())[0])
        correlation = parse_problem(answer.body, status=answer.status).correlation
        found = without.client.owner(ALICE, "GET", f"/redoubt/v1/refusals/{correlation}")
        (explained,) = explain(Refusal.parse(found.ok))
    assert explained.edit is not None
    assert 'actions = ["create"]' in explained.edit


def test_owner_opens_and_appends_to_what_programs_created(world: World, job: SimulatedMachine) -> None:
    dataset = uuid4()
    new = made(job, dataset)
    recipient = Recipient.parse(public_jwk(job.key))

    def open_as(owner: Ed25519PrivateKey, record: WrappedKey) -> Answer:
        body = RecordsRequest(records=(record,), recipient=recipient).encode()
        return world.client.owner(owner, "POST", "/redoubt/v1/keys/unwrap", body)

    assert open_as(ALICE, new.wrapped).ok
    refused(open_as(BOB, new.wrapped), "broker.owner_forbidden")

    more = DataKey(context=WrapContext(dataset, uuid4()), secret=bytes(range(32)))
    body = WrapRequest(name=new.wrapped.key, keys=(more,)).encode()
    (appended,) = parse_records(world.client.owner(ALICE, "POST", "/redoubt/v1/keys/wrap", body).ok)
    assert open_as(ALICE, appended).ok
    assert unwrap(job, dataset, appended).ok


def test_created_dataset_ends_with_the_one_that_it_belongs_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_world(tmp_path_factory.mktemp("ended"), WITH_RESULTS) as world:
        machine, dataset = world.machine(), uuid4()
        new = made(machine, dataset)
        world.manifests.put(successor(world.manifests.history()[-1], TOML))
        refused(unwrap(machine, dataset, new.wrapped))
        named = TOML + f'\n[datasets.kept]\nid = "{dataset}"\nowners = ["alice"]\nkeys = ["key:main/default.dev"]\n'
        grant = '\n[[grants]]\nprogram = "job"\ntee = "laptop"\ndataset = "kept"\nactions = ["read"]\n'
        world.manifests.put(successor(world.manifests.history()[-1], named + grant))
        assert unwrap(machine, dataset, new.wrapped).ok
