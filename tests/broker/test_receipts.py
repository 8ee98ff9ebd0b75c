"""Receipts at a running broker: who gets one, what it is made of, and what nobody gets signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import delete, update
from tests.broker.client import Answer, SimulatedMachine
from tests.broker.world import ALICE, INPUT, MALLORY, OUTPUT, World, running_world

from redoubt.broker.schema import AUDIT, AUDIT_JOBS
from redoubt.cli.main import main
from redoubt.errors import (
    AuditBroken,
    AuditRowChanged,
    ExitStatus,
    JobClosed,
    OwnerUnauthenticated,
    ReceiptConflict,
    ReceiptInput,
    ReceiptJob,
    ReceiptMalformed,
    ReceiptMissing,
    ReceiptOutput,
    ReceiptProgram,
    ReceiptRoleAdded,
    ReceiptSigner,
    ReceiptUnsigned,
)
from redoubt.evidence.claims import digest
from redoubt.keys.private import create_private_file
from redoubt.keys.register import CommitHead
from redoubt.keys.types import Purpose, WrapContext
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.jwe import decrypt, public_jwk
from redoubt.protocol.key_api import AdvanceRequest, DataKeyAnswer, RegisteredHead
from redoubt.protocol.rcar import ProgramStatement
from redoubt.trust.audit_chain import AuditEntry, ChainEnd
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.policy import Action
from redoubt.trust.receipt import Receipt, sign_reported
from redoubt.trust.receipt_values import Reported, Touched
from redoubt.trust.receipt_verify import Trusted, VerifiedReceipt, verify_receipt
from redoubt.trust.signer_key import signer_jwk, thumbprint

PATH = "/redoubt/v1/receipts"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@dataclass
class SigningMachine(SimulatedMachine):
    """A machine whose program states a key for signatures, as agents do."""

    signer: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))

    @property
    def statement(self) -> str:
        assert self.program is not None
        return ProgramStatement(self.program, self.arguments, signer_jwk(self.signer.public_key())).encode()


@dataclass
class Job:
    """An attested job that reads, writes, and asks for its receipt."""

    world: World
    tokens: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        honest = self.world.machine()
        self.machine = SigningMachine(honest.client, honest.machine, honest.program, honest.arguments)
        self.attest()

    @property
    def id(self) -> str:
        return thumbprint(public_jwk(self.machine.key))

    def attest(self) -> None:
        self.tokens.append(self.machine.attest())

    def call(self, method: str, path: str, body: bytes) -> Answer:
        return self.machine.client.call(method, path, body, bearer=self.tokens[-1])

    def read(self, dataset: UUID = INPUT) -> Answer:
        _, record = self.world.sealed_key(dataset)
        request = UnwrapRequest(dataset, record.context.purpose, (record,))
        return self.call("POST", "/redoubt/v1/unwrap", request.encode())

    def write(self, head: RegisteredHead, previous: RegisteredHead | None) -> Answer:
        request = DataKeyRequest("default", WrapContext(OUTPUT, uuid4(), Purpose.DATA))
        answer = self.call("POST", "/redoubt/v1/data-keys", request.encode())
        ticket = DataKeyAnswer.parse(decrypt(answer.ok, self.machine.key), request).ticket
        body = AdvanceRequest(previous=previous, head=head, ticket=ticket).encode()
        return self.call("POST", f"/redoubt/v1/register/{OUTPUT}", body)

    def report(self, key: ec.EllipticCurvePrivateKey | None = None) -> SignedStatement:
        now = datetime.now(UTC).replace(microsecond=0)
        values: dict[str, Any] = {
            "job": self.id,
            "program": self.machine.program,
            "manifest": self.world.manifests.current().digest,
            "arguments": digest(rfc8785.dumps([])),
            "engine": {},
            "started": now - timedelta(seconds=5),
            "ended": now,
            "status": 0,
            "inputs": (),
            "outputs": (),
            "ears": tuple(self.tokens),
        }
        return sign_reported(Reported(**{**values, **self.changes}), key=key or self.machine.signer)

    def ask(self, report: SignedStatement | None = None) -> Answer:
        return self.call("POST", PATH, rfc8785.dumps((report or self.report()).to_json()))

    def verified(self, text: bytes) -> VerifiedReceipt:
        trusted = Trusted(brokers=frozenset({self.world.broker.id}), simulated=True)
        return verify_receipt(text, trusted=replace(trusted, manifests=self.world.manifests.history()), now=_now())


def _now() -> datetime:
    return datetime.now(UTC)


def head(number: int) -> RegisteredHead:
    return RegisteredHead(number=number, digest=f"sha256:{number:064x}")


def rows(world: World) -> list[AuditEntry]:
    store = world.broker._store.sql
    found: list[AuditEntry] = []
    while page := store.audit.entries(start=len(found) + 1):
        found += page
    return found


# --- what it says -----------------------------------------------------------------------------------------------------
def test_receipt_of_a_job_that_renewed_read_and_wrote(world: World) -> None:
    job = Job(world)
    assert job.read().ok
    job.attest()  # never used: no role
    job.attest()
    known = world.broker._store.register.head(OUTPUT)
    number = 1 if known is None else known.number + 1
    assert job.write(head(number), known).status == 204
    job.changes["outputs"] = (Touched(OUTPUT, CommitHead(number, head(number).digest)),)
    job.changes["inputs"] = (Touched(INPUT, None),)
    found = job.verified(job.ask().ok)
    assert [str(it.ear) for it in found.proved.roles] == [it.token_id for it in found.results]
    assert len(found.proved.roles) == 2
    assert {(it.dataset, it.action) for it in found.proved.releases} == {(INPUT, Action.READ), (OUTPUT, Action.WRITE)}
    assert [(it.dataset, it.head.number) for it in found.proved.commits] == [(OUTPUT, number)]
    assert found.simulated


def test_input_has_the_commit_that_was_registered_when_its_key_was_released(world: World) -> None:
    job = Job(world)
    known = world.broker._store.register.head(OUTPUT)
    now = head(1 if known is None else known.number + 1)
    assert job.write(now, known).status == 204
    assert job.read(OUTPUT).ok
    found = job.verified(job.ask().ok)
    assert [it.head for it in found.proved.releases if it.action is Action.READ] == [CommitHead(now.number, now.digest)]


def test_rows_of_the_receipt_are_rows_of_the_audit_log(world: World) -> None:
    job = Job(world)
    job.read()
    found = job.verified(job.ask().ok)
    log = rows(world)
    assert ChainEnd.of(log[found.audit.end.number - 1]) == found.audit.end
    for role in found.proved.roles:
        assert log[role.row - 1].event["token"] == role.token


# --- asking twice, and too late ---------------------------------------------------------------------------------------
def test_asked_again_the_broker_gives_the_same_receipt(world: World) -> None:
    job = Job(world)
    report = job.report()
    first = job.ask(report).ok
    assert job.ask(report).ok == first


def test_a_job_has_one_receipt(world: World) -> None:
    job = Job(world)
    assert job.ask().ok
    job.changes["status"] = 1
    assert job.ask().code == ReceiptConflict.code
    assert job.ask().status == 409


def test_a_job_is_given_nothing_after_its_receipt(world: World) -> None:
    job = Job(world)
    assert job.read().ok
    assert job.ask().ok
    assert job.read().code == JobClosed.code
    job.attest()  # a renewed result is of the same job
    assert job.read().code == JobClosed.code
    with pytest.raises(AssertionError):
        job.write(head(99), None)
    assert job.call("GET", "/kbs/v0/resource/input/a/b", b"").status in (401, 403, 404)


def test_owners_can_have_the_receipt_and_others_cannot(world: World) -> None:
    job = Job(world)
    path = f"{PATH}/{job.id}"
    assert world.client.owner(ALICE, "GET", path).code == ReceiptMissing.code
    made = job.ask().ok
    assert world.client.owner(ALICE, "GET", path).ok == made
    assert world.client.owner(MALLORY, "GET", path).code == OwnerUnauthenticated.code
    assert world.client.owner(ALICE, "GET", f"{PATH}/other").status == 404
    assert world.client.call("GET", path).status == 401


def test_owner_fetches_the_receipt_on_the_command_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(world)
    made = job.ask().ok
    (tmp_path / "ca.pem").write_bytes(world.broker.ca_pem)
    pem = ALICE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_private_file(tmp_path / "alice.pem", pem)
    options = ["--ca", str(tmp_path / "ca.pem"), "--key", str(tmp_path / "alice.pem")]
    words = ["receipt", "fetch", world.broker.url]
    assert main([*words, job.id, str(tmp_path / "receipt.json"), *options]) == ExitStatus.OK
    assert (tmp_path / "receipt.json").read_bytes() == made + b"\n"
    assert main([*words, job.id, str(tmp_path / "receipt.json"), *options]) == ExitStatus.USAGE
    assert main([*words, head(1).digest, str(tmp_path / "other.json"), *options]) == ExitStatus.REFUSED
    assert f"[{ReceiptMissing.code}]" in capsys.readouterr().err
    assert main([*words, "../audit", str(tmp_path / "other.json"), *options]) == ExitStatus.USAGE


# --- what is not signed -----------------------------------------------------------------------------------------------
def test_reports_that_contradict_the_log_are_not_signed(world: World) -> None:
    lies: list[tuple[dict[str, Any], str]] = [
        ({"inputs": (Touched(INPUT, CommitHead(1, head(1).digest)),)}, ReceiptInput.code),
        ({"inputs": (Touched(OUTPUT, None),)}, ReceiptInput.code),
        ({"outputs": (Touched(OUTPUT, CommitHead(77, head(77).digest)),)}, ReceiptOutput.code),
        ({"program": head(5).digest}, ReceiptProgram.code),
        ({"job": head(5).digest}, ReceiptJob.code),
    ]
    for changes, code in lies:
        job = Job(world, changes=changes)
        assert job.read().ok
        assert job.ask().code == code
        assert world.client.owner(ALICE, "GET", f"{PATH}/{job.id}").code == ReceiptMissing.code


def test_report_that_hides_a_result_by_which_keys_were_given_is_not_signed(world: World) -> None:
    job = Job(world)
    assert job.read().ok
    job.attest()
    job.changes["ears"] = (job.tokens[1],)
    assert job.ask().code == ReceiptRoleAdded.code


def test_report_by_another_key_than_the_attested_one_is_not_signed(world: World) -> None:
    job, other = Job(world), Job(world)
    assert job.ask(job.report(key=other.machine.signer)).code == ReceiptSigner.code
    assert job.ask(other.report()).code == ReceiptSigner.code
    assert job.ask().ok, "a forged report closes no job"


def test_a_stolen_result_gets_no_receipt(world: World) -> None:
    """A result is a bearer token; the key that signs the report is not in it."""
    victim, thief = Job(world), Job(world)
    thief.tokens = victim.tokens
    thief.changes["job"] = victim.id
    assert thief.ask().code == ReceiptSigner.code


def test_attester_that_states_no_key_for_signatures_gets_no_receipt(world: World) -> None:
    job = Job(world)
    plain = world.machine()
    job.tokens = [plain.attest()]
    assert job.ask().code == ReceiptSigner.code


def test_key_for_signatures_is_bound_by_the_evidence(world: World) -> None:
    job = Job(world)
    honest, mallory = job.machine.statement, Job(world).machine.statement
    assert honest != mallory
    cookie, challenge = job.machine.challenge()
    swapped = job.machine.request(challenge.nonce, additional_evidence=mallory)
    assert job.machine.send(cookie, swapped).status == 401


def test_malformed_and_unsigned_reports_are_refused(world: World) -> None:
    job = Job(world)
    assert job.call("POST", PATH, b"{}").code == ReceiptMalformed.code
    assert job.call("POST", PATH, b"{}").status == 400
    unsigned = {**job.report().to_json(), "signatures": []}
    assert job.call("POST", PATH, rfc8785.dumps(unsigned)).code == ReceiptUnsigned.code
    assert world.client.call("POST", PATH, b"{}").status == 401


def test_log_that_was_changed_in_the_store_is_not_signed(world: World) -> None:
    job = Job(world)
    assert job.read().ok
    database = world.broker._store.sql._database
    row = next(it for it in rows(world) if it.event.get("holder") == job.id and it.event["event"] == "unwrap")
    event = rfc8785.dumps({**row.event, "dataset": str(UUID(int=77))}).decode()
    database.writing(lambda it: it.execute(update(AUDIT).where(AUDIT.c.number == row.number).values(event=event)))
    try:
        assert job.ask().code == AuditRowChanged.code
    finally:
        event = rfc8785.dumps(dict(row.event)).decode()
        database.writing(lambda it: it.execute(update(AUDIT).where(AUDIT.c.number == row.number).values(event=event)))


def test_attestation_that_was_hidden_in_the_store_is_missed(world: World) -> None:
    job = Job(world)
    assert job.read().ok
    row = next(it for it in rows(world) if it.event.get("holder") == job.id and it.event["event"] == "attest")
    gone = delete(AUDIT_JOBS).where(AUDIT_JOBS.c.number == row.number)
    world.broker._store.sql._database.writing(lambda it: it.execute(gone))
    assert job.ask().code == AuditBroken.code


def test_receipt_is_parsed_as_it_was_signed(world: World) -> None:
    job = Job(world)
    made = job.ask().ok
    found = Receipt.parse(made)
    assert rfc8785.dumps(found.envelope.to_json()) == made
