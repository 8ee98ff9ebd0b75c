"""Two brokers on one PostgreSQL, seen by a job over HTTPS: one is killed, and the job, which retries, does not fail."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.broker import node
from tests.broker.client import Answer, Client, SimulatedMachine
from tests.broker.postgres import Server
from tests.broker.world import OUTPUT, PROGRAM, envelope

from redoubt.broker.location import PostgresLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.keys.names import KeyName
from redoubt.keys.types import WrapContext
from redoubt.pki.server import make_ca
from redoubt.protocol.endpoint import DataKeyRequest
from redoubt.protocol.jwe import decrypt
from redoubt.protocol.key_api import DataKeyAnswer
from redoubt.trust.audit_chain import AuditEntry
from redoubt.trust.audit_head import verify_log
from redoubt.trust.broker_key import key_id
from redoubt_dev import DevelopmentKey

WORKERS = 4


class Job:
    """A program with two brokers' addresses, which asks the other one when one does not answer."""

    def __init__(self, clients: list[Client], machine: SimulatedMachine, token: str) -> None:
        self.clients = clients
        self.machine = machine
        self.token = token
        self.made: list[DataKeyAnswer] = []
        self.retries = 0
        self.failures: list[str] = []
        self.stop = threading.Event()

    def run(self, preferred: int) -> None:
        try:
            while not self.stop.is_set():
                request = DataKeyRequest("second", WrapContext(OUTPUT, uuid4()))
                answer = self._ask(preferred, request)
                self.made.append(DataKeyAnswer.parse(decrypt(answer.ok, self.machine.key), request))
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.failures.append(repr(error))

    def _ask(self, preferred: int, request: DataKeyRequest) -> Answer:
        for place in (preferred, 1 - preferred):
            try:
                return self.clients[place].call("POST", "/redoubt/v1/data-keys", request.encode(), bearer=self.token)
            except (OSError, HTTPException):  # refused, reset, or cut in the middle of an answer
                self.retries += 1
        raise AssertionError("no broker answers")


@pytest.fixture
def nodes(
    server: Server, postgres_location: PostgresLocation, root_file: Path, tmp_path: Path
) -> Iterator[tuple[list[subprocess.Popen[bytes]], Job, SqlStore]]:
    store = SqlStore.create(postgres_location, source=FileRoot(root_file))
    for name in ("default", "second", "bobs"):
        store.provider.create(KeyName.parse(f"key:main/{name}.dev"))
    store.manifests.append(1, envelope().encode())
    ca, machine = make_ca("several", now=datetime.now(UTC)), DevelopmentKey.generate()
    public = machine.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for file, content in (("ca.pem", ca.certificate), ("ca.key", ca.key), ("machine.pem", public)):
        (tmp_path / file).write_bytes(content)
    command = [sys.executable, node.__file__, server.url(str(postgres_location.url.database)), str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        broker = key_id(store.signing_key.public_key())
        clients = []
        for process in processes:
            assert process.stdout is not None
            clients.append(Client(int(process.stdout.readline()), ca.certificate, broker))
        attester = SimulatedMachine(clients[0], machine, PROGRAM)
        # The challenge comes from one broker, its answer goes to the other.
        cookie, challenge = attester.challenge()
        attester.client = clients[1]
        token = attester.send(cookie, attester.request(challenge.nonce)).json["token"]
        yield processes, Job(clients, attester, token), store
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        store.close()


def test_killed_broker_fails_no_job_that_retries_and_loses_no_key(
    nodes: tuple[list[subprocess.Popen[bytes]], Job, SqlStore],
) -> None:
    processes, job, store = nodes
    threads = [threading.Thread(target=job.run, args=(place % 2,)) for place in range(WORKERS)]
    for thread in threads:
        thread.start()
    _wait_for(job, 8)
    processes[0].kill()
    _wait_for(job, len(job.made) + 8)
    job.stop.set()
    for thread in threads:
        thread.join(60)
    assert job.failures == []
    assert job.retries > 0  # the control: somebody was cut off
    for made in job.made:
        (opened,) = store.provider.unwrap([made.wrapped])
        assert opened.secret == made.key.secret
    rows: list[AuditEntry] = []
    while page := store.audit.entries(start=len(rows) + 1):
        rows += page
    assert verify_log(rows, head=None).number >= len(job.made)


def _wait_for(job: Job, keys: int) -> None:
    end = time.monotonic() + 60
    while len(job.made) < keys and not job.failures:
        assert time.monotonic() < end, "the brokers give no keys"
        time.sleep(0.01)
