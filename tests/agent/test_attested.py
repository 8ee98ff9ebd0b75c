"""Attest, then execute, against a real broker on loopback with simulated evidence: what is refused, what goes on."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.agent.attested import CALLER, JOB, Laptop, running_laptop

from redoubt.agent.attest import AttestedAgent, Pins
from redoubt.agent.broker_keys import BrokerKeySource
from redoubt.agent.client import EndpointClient
from redoubt.agent.endpoint import KeyEndpoint
from redoubt.agent.exec import Execution
from redoubt.agent.measure import ProgramSpec, measure
from redoubt.broker.core import Settings
from redoubt.broker.location import SqliteLocation
from redoubt.broker.ports import BrokerStore
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.broker.verifiers import Collateral, production_verifiers
from redoubt.errors import (
    AttestationRefused,
    BrokerNameRefused,
    BrokerUnreachable,
    BrokerUntrusted,
    EarError,
    EarPolicy,
    EarSimulated,
    GrantRefused,
    RedoubtError,
    RegisterRollback,
    ResourceMissing,
    TokenError,
    UsageError,
)
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected
from redoubt.keys.rootkey import create_root_key_file
from redoubt.keys.types import WrapContext
from redoubt.pki.server import make_ca, make_server_certificate, server_context
from redoubt.protocol import rcar
from redoubt.protocol.https import Answer, BrokerConnection, Brokers
from redoubt.protocol.jwe import Recipient, public_jwk
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset, Freshness
from redoubt.sealed.write import DatasetWrite, WriteMode
from redoubt_dev import SimulatedAttester


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with running_laptop(tmp_path_factory.mktemp("laptop")) as running:
        yield running


@pytest.fixture
def agent(laptop: Laptop, python: Path) -> Iterator[AttestedAgent]:
    """The agent of a program that is trusted."""
    spec = laptop.spec(python)
    laptop.trust(spec)
    with measure(spec, caller=CALLER) as program:
        yield laptop.agent(program)


def broker_store(laptop: Laptop) -> Any:
    return laptop.broker._running.core.store


# --- the way it should go ---------------------------------------------------------------------------------------------
def test_an_attested_program_gets_its_data_keys(
    laptop: Laptop, python: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    laptop.trust(laptop.spec(python))
    outcome = laptop.run(laptop.spec(python))
    assert outcome.status == 0
    assert outcome.released == {(laptop.dataset, laptop.data_key)}
    assert capfd.readouterr().out == f"{laptop.data_key}\n"


def test_the_program_ends_with_its_own_status_and_gets_its_secrets(
    laptop: Laptop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        '#!/bin/sh\ncat "$REDOUBT_SECRETS/token"; stat -c " %a" "$REDOUBT_SECRETS/token"; id -u; exit 7\n'
    )
    script.chmod(0o755)
    spec = ProgramSpec(command=(str(script),))
    laptop.trust(spec)
    path = f"d-{laptop.dataset}/password/store"
    broker_store(laptop).resources.put(path, b"the secret")
    users = [None, "nobody"] if os.geteuid() == 0 else [None]
    for user in users:
        outcome = laptop.run(spec, execution=Execution(secrets={"token": path}, user=user))
        assert outcome.status == 7
        secret, uid = capfd.readouterr().out.splitlines()
        assert secret == "the secret 600"
        assert (uid == str(os.geteuid())) is (user is None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as other users")
def test_a_program_of_another_user_cannot_change_its_copy_or_read_the_agents(
    laptop: Laptop, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        '#!/bin/sh\nfolder="${0%/*}"\nchmod u+w "$folder" "$0" && echo CHANGED\n'
        'touch "$folder/new" && echo WROTE\ncat /proc/$PPID/environ && echo READ\n'
        'touch "$TMPDIR/mine" && echo scratch\n'
    )
    script.chmod(0o755)
    spec = ProgramSpec(command=(str(script),))
    laptop.trust(spec)
    assert laptop.run(spec, execution=Execution(user="nobody")).status == 0
    assert capfd.readouterr().out == "scratch\n"


def test_resources_are_served_where_confidential_containers_looks_for_them(
    laptop: Laptop, agent: AttestedAgent
) -> None:
    path = f"d-{laptop.dataset}/key/one"
    broker_store(laptop).resources.put(path, b"\0resource")
    keys = BrokerKeySource(agent)

    def ask(folder: Path, path: str) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection = EndpointClient(folder)._connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    with KeyEndpoint(keys, resources=keys) as endpoint:
        assert ask(endpoint.folder, f"/cdh/resource/{path}") == (200, b"\0resource")
        status, body = ask(endpoint.folder, f"/cdh/resource/d-{laptop.dataset}/key/none")
        assert status >= 400
        assert ResourceMissing.code.encode() in body
        for bad in ("/cdh/resource/a/b", "/cdh/resource/a/../b", "/cdh/resource/a/b/c/d", "/cdh/resource/a/b/%2e"):
            assert ask(endpoint.folder, bad)[0] == 400
    with KeyEndpoint(laptop.workspace) as plain:
        assert ask(plain.folder, f"/cdh/resource/{path}")[0] == 400


def test_a_dataset_rolled_back_behind_the_broker_is_refused(laptop: Laptop, python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"

    def append(keys: Any, name: str) -> Dataset:
        write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.APPEND)
        part = write.parts.part(name, media_type="text/plain")
        part.write(b"x")
        return write.commit([part.finish()])

    append(laptop.workspace, "a")  # its owner made it
    laptop.trust(laptop.spec(python))
    with measure(laptop.spec(python), caller=CALLER) as program:
        agent = laptop.agent(program)
        keys = BrokerKeySource(agent)
        append(keys, "b")
        shutil.copytree(folder, tmp_path / "old")
        agent.renew(agent.current())  # tickets outlive a result
        append(keys, "c")
        assert Dataset.open(str(folder), keys=keys).freshness is Freshness.REGISTERED
        with pytest.raises(RegisterRollback):
            Dataset.open(str(tmp_path / "old"), keys=keys)


def test_two_writes_of_one_job_to_one_dataset_are_both_committed(laptop: Laptop, python: Path, tmp_path: Path) -> None:
    """The first to be registered uses up what says that the other may commit."""
    folder = tmp_path / "d"
    laptop.trust(laptop.spec(python))

    def begin(keys: Any, name: str) -> tuple[DatasetWrite, list[Part]]:
        write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.APPEND)
        part = write.parts.part(name, media_type="text/plain")
        part.write(b"x")
        return write, [part.finish()]

    write, parts = begin(laptop.workspace, "a")
    write.commit(parts)  # its owner made it
    laptop.trust(laptop.spec(python))
    with measure(laptop.spec(python), caller=CALLER) as program:
        keys = BrokerKeySource(laptop.agent(program))
        writes = [begin(keys, it) for it in "bc"]
        for write, parts in writes:
            write.commit(parts)
        opened = Dataset.open(str(folder), keys=keys)
    assert len(opened.parts) == 3
    assert opened.freshness is Freshness.REGISTERED


# --- programs that are not the trusted one ----------------------------------------------------------------------------
@pytest.mark.parametrize("change", ["code", "py-file", "argument", "option", "environment"])
def test_one_change_of_the_program_is_refused(laptop: Laptop, python: Path, tmp_path: Path, change: str) -> None:
    script, module = tmp_path / "job.py", tmp_path / "module.py"
    script.write_text("print(1)\n")
    module.write_text("X = 1\n")

    def spec(*arguments: str, option: str = "-u", zone: str = "UTC") -> ProgramSpec:
        return ProgramSpec(
            command=(str(python), option, str(script), *arguments), py_files=(module,), environment={"TZ": zone}
        )

    laptop.trust(spec("a"))
    assert laptop.run(spec("a")).status == 0
    changed = spec("a")
    if change == "code":
        script.write_text("print(2)\n")
    elif change == "py-file":
        module.write_text("X = 2\n")
    elif change == "argument":
        changed = spec("b")
    elif change == "option":
        changed = spec("a", option="-B")
    else:
        changed = spec("a", zone="CET")
    with pytest.raises(AttestationRefused) as refused:
        laptop.run(changed)
    assert "redoubt explain" in str(refused.value.hint)


@pytest.mark.parametrize("change", ["jar", "JVM option"])
def test_one_change_of_a_jar_or_jvm_option_is_refused(laptop: Laptop, tmp_path: Path, change: str) -> None:
    home = tmp_path / "jdk"
    for folder in ("bin", "lib"):
        (home / folder).mkdir(parents=True)
    (home / "lib/modules").write_bytes(b"modules")
    (home / "bin/java").write_text("")
    shutil.copy("/bin/true", home / "bin/java")
    jar = tmp_path / "app.jar"
    jar.write_bytes(b"PK")

    def spec(option: str = "-Xmx1g") -> ProgramSpec:
        return ProgramSpec(command=(str(home / "bin/java"), option, "-jar", str(jar)))

    laptop.trust(spec())
    assert laptop.run(spec()).status == 0
    if change == "jar":
        jar.write_bytes(b"PL")
    with pytest.raises(AttestationRefused):
        laptop.run(spec("-Xmx1g" if change == "jar" else "-Xmx2g"))


def test_a_dataset_that_is_not_granted_is_refused(laptop: Laptop, agent: AttestedAgent) -> None:
    _, wrapped = laptop.workspace.new_data_key(None, WrapContext(uuid4(), uuid4()))
    with pytest.raises(GrantRefused):
        BrokerKeySource(agent).unwrap([wrapped])


def test_a_program_creates_datasets_and_reads_them_back(laptop: Laptop, agent: AttestedAgent) -> None:
    """The development manifest grants it; data that was sealed since stays shut (the test above)."""
    source = BrokerKeySource(agent)
    key, wrapped = source.new_data_key(None, WrapContext(uuid4(), uuid4()))
    (again,) = source.unwrap([wrapped])
    assert again.secret == key.secret


# --- evidence and results that are not this agent's -------------------------------------------------------------------
class Relaying(SimulatedAttester):
    """Gives evidence that a genuine machine made for somebody else's key."""

    def collect(self, report_data: bytes) -> Collected:
        return super().collect(bytes(reversed(report_data)))


class Replaying(SimulatedAttester):
    """Gives the first evidence again and again."""

    first: Collected | None = None

    def collect(self, report_data: bytes) -> Collected:
        self.first = self.first or super().collect(report_data)
        return self.first


def test_relayed_evidence_is_refused(laptop: Laptop, python: Path) -> None:
    laptop.trust(laptop.spec(python))
    with measure(laptop.spec(python), caller=CALLER) as program, pytest.raises(AttestationRefused):
        laptop.agent(program, attester=Relaying(laptop.machine)).current()


def test_replayed_evidence_is_refused(laptop: Laptop, python: Path) -> None:
    laptop.trust(laptop.spec(python))
    with measure(laptop.spec(python), caller=CALLER) as program:
        agent = laptop.agent(program, attester=Replaying(laptop.machine))
        with pytest.raises(AttestationRefused):
            agent.renew(agent.current())


def test_evidence_of_another_machine_is_refused(laptop: Laptop, python: Path, tmp_path: Path) -> None:
    laptop.trust(laptop.spec(python))
    with measure(laptop.spec(python), caller=CALLER) as program, pytest.raises(AttestationRefused):
        laptop.agent(program, attester=SimulatedAttester(tmp_path / "other")).current()


class InTheMiddle(BrokerConnection):
    """Attests with a key of its own in the place of the agent's, over the same nonce."""

    def __init__(self, brokers: Brokers, laptop: Laptop) -> None:
        super().__init__(brokers)
        self._laptop = laptop

    def call(self, method: str, path: str, *, body: bytes = b"", **rest: Any) -> Answer:
        if path.endswith("/attest"):
            sent = rcar.AttestRequest.parse(body)
            own = ec.generate_private_key(ec.SECP256R1())
            data = rcar.report_data(
                nonce=sent.nonce, tee_pubkey=public_jwk(own), additional_evidence=sent.additional_evidence
            )
            eat = SimulatedAttester(self._laptop.machine).collect(data).evidence.decode()
            recipient = Recipient.parse(public_jwk(own))
            body = rcar.AttestRequest(sent.nonce, recipient, {"eat": eat}, sent.additional_evidence).encode()
        return super().call(method, path, body=body, **rest)


def test_a_result_for_another_key_is_refused(laptop: Laptop, agent: AttestedAgent) -> None:
    agent.brokers = InTheMiddle(Brokers(urls=(laptop.broker.url,), ca=laptop.broker.ca), laptop)
    with pytest.raises(EarError, match="another key"):
        agent.current()


class Old(BrokerConnection):
    """Returns an earlier result instead of a new one."""

    token = b""

    def call(self, method: str, path: str, **rest: Any) -> Answer:
        answer = super().call(method, path, **rest)
        return Answer(answer.status, self.token) if path.endswith("/attest") else answer


def test_a_result_for_another_nonce_is_refused(laptop: Laptop, agent: AttestedAgent) -> None:
    first = agent.current()
    old = Old(Brokers(urls=(laptop.broker.url,), ca=laptop.broker.ca))
    old.token = rcar.AttestResponse(first.token).encode()
    agent.brokers = old
    with pytest.raises(TokenError):
        agent.renew(first)


# --- brokers that are not the pinned one ------------------------------------------------------------------------------
def test_a_broker_with_another_ca_is_not_spoken_to(laptop: Laptop, python: Path) -> None:
    other = make_ca("other", now=datetime.now(UTC)).certificate
    with measure(laptop.spec(python), caller=CALLER) as program, pytest.raises(BrokerUntrusted):
        laptop.agent(program, ca=other).current()


@pytest.mark.parametrize(
    ("pins", "error"),
    [
        (Pins(broker_id="ab" * 32, simulated=True), BrokerUntrusted),
        (Pins(manifest="sha256:" + "ab" * 32, simulated=True), EarPolicy),
        (Pins(simulated=False), EarSimulated),
    ],
    ids=["id", "manifest", "simulated"],
)
def test_a_broker_that_is_not_the_pinned_one_is_refused(
    laptop: Laptop, agent: AttestedAgent, python: Path, pins: Pins, error: type[RedoubtError]
) -> None:
    with measure(laptop.spec(python), caller=CALLER) as program, pytest.raises(error):
        laptop.agent(program, pins=pins).current()


def test_a_production_broker_refuses_simulated_evidence(laptop: Laptop, agent: AttestedAgent, tmp_path: Path) -> None:
    store = broker_store(laptop)
    identity = make_server_certificate(store.ca, name="production", hosts=("127.0.0.1",), now=datetime.now(UTC))
    create_root_key_file(tmp_path / "root.key")
    own = SqlStore.create(SqliteLocation(tmp_path / "store.sqlite"), source=FileRoot(tmp_path / "root.key"))
    own.manifests.append(1, store.manifests.envelopes()[0])

    def production(store: BrokerStore) -> RunningBroker:
        return RunningBroker(
            store,
            address=Address("127.0.0.1", 0),
            identity=identity,
            settings=Settings(name="production"),
            verifiers=production_verifiers(Collateral()),
        )

    with pytest.raises(BrokerNameRefused):  # else it would sign with the key of a development broker
        production(store)
    with closing(own), production(own) as broker:
        agent.brokers = BrokerConnection(Brokers(urls=(f"https://127.0.0.1:{broker.port}",), ca=laptop.broker.ca))
        agent._pins = Pins(broker_id=broker.core.id, simulated=True)
        with pytest.raises(RedoubtError) as refused:
            agent.current()
        assert "simulated" in refused.value.what


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://", "https://u:p@h", "https://h/path", "https://h?q=1", "https://h:x", ""]
)
def test_only_plain_https_addresses_name_a_broker(url: str) -> None:
    with pytest.raises(UsageError):
        Brokers(urls=(url,), ca=b"")


# --- brokers that fail ------------------------------------------------------------------------------------------------
@pytest.fixture
def dropping(laptop: Laptop) -> Iterator[str]:
    """The URL of a certified server that reads requests and never answers."""
    store = broker_store(laptop)
    identity = make_server_certificate(store.ca, name="dropping", hosts=("127.0.0.1",), now=datetime.now(UTC))
    listening = socket.create_server(("127.0.0.1", 0))
    context = server_context(identity)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(65536)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_a_job_goes_on_when_one_of_two_brokers_fails(laptop: Laptop, python: Path, dropping: str) -> None:
    laptop.trust(laptop.spec(python))
    dead = "https://127.0.0.1:9"
    wrapped = laptop.wrapped
    with measure(laptop.spec(python), caller=CALLER) as program:
        for urls in ((dead, laptop.broker.url), (dropping, laptop.broker.url), (laptop.broker.url, dropping)):
            agent = laptop.agent(program, urls=urls)
            keys = BrokerKeySource(agent)
            for turn in range(3):
                agent.brokers._next = turn  # whichever is asked first
                assert keys.unwrap([wrapped])[0].id == laptop.data_key
                agent.brokers._next = turn
                agent.renew(agent.current())


def test_no_broker_at_all_is_one_error_after_a_bounded_time(laptop: Laptop) -> None:
    times = iter(range(0, 1000, 10))
    brokers = Brokers(urls=("https://127.0.0.1:9",), ca=laptop.broker.ca)
    connection = BrokerConnection(brokers, clock=lambda: float(next(times)), sleep=lambda _: None)
    with pytest.raises(BrokerUnreachable):
        connection.call("GET", "/", repeatable=True)


def test_what_may_have_been_done_is_not_done_twice(laptop: Laptop, dropping: str) -> None:
    connection = BrokerConnection(Brokers(urls=(dropping, laptop.broker.url), ca=laptop.broker.ca))
    with pytest.raises(BrokerUnreachable):
        connection.call("POST", "/", repeatable=False)


# --- renewal ----------------------------------------------------------------------------------------------------------
def test_a_changed_manifest_is_attested_anew(laptop: Laptop, agent: AttestedAgent, python: Path) -> None:
    wrapped = laptop.wrapped
    keys = BrokerKeySource(agent)
    before = agent.current().result.manifest
    laptop.workspace.new_data_key(None, WrapContext(uuid4(), uuid4()))
    after = laptop.trust(laptop.spec(python)).digest
    assert keys.unwrap([wrapped])[0].id == laptop.data_key
    assert agent.current().result.manifest == after != before


def test_a_program_that_is_trusted_no_more_gets_no_more_keys(laptop: Laptop, python: Path, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("1\n")
    spec = laptop.spec(python, script)
    laptop.trust(spec)
    with measure(spec, caller=CALLER) as program:
        keys = BrokerKeySource(laptop.agent(program))
        wrapped = laptop.wrapped
        keys.unwrap([wrapped])
        script.write_text("2\n")
        laptop.trust(spec)  # the same name, another program
        with pytest.raises(AttestationRefused):
            keys.unwrap([wrapped])


def test_the_result_is_renewed_before_it_ends(laptop: Laptop, agent: AttestedAgent) -> None:
    first = agent.current()
    agent._clock = lambda: datetime.now(UTC) + timedelta(minutes=7)
    agent.keep_current()
    deadline = time.monotonic() + 20
    while agent.current().token == first.token:
        assert time.monotonic() < deadline, "it was not renewed"
        time.sleep(0.02)
    agent.close()
    assert agent.current().result.token_id != first.result.token_id


def test_an_agent_says_when_it_cannot_renew_and_goes_on(laptop: Laptop, agent: AttestedAgent) -> None:
    first = agent.current()
    said: list[str] = []
    agent._say = said.append
    agent.brokers = BrokerConnection(Brokers(urls=("https://127.0.0.1:9",), ca=laptop.broker.ca), sleep=lambda _: None)
    agent.brokers._clock = iter(range(0, 10_000, 50)).__next__
    agent._clock = lambda: datetime.now(UTC) + timedelta(minutes=7)
    agent.keep_current()
    deadline = time.monotonic() + 20
    while not said:
        assert time.monotonic() < deadline, "it said nothing"
        time.sleep(0.02)
    assert BrokerUnreachable.code in said[0]
    assert agent.current() is first
    agent.close()


def test_a_renewal_that_is_refused_is_not_asked_for_again(laptop: Laptop, python: Path, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("1\n")
    spec = laptop.spec(python, script)
    laptop.trust(spec)
    with measure(spec, caller=CALLER) as program:
        agent = laptop.agent(program)
        agent.current()
        script.write_text("2\n")
        laptop.trust(spec)
        said: list[str] = []
        agent._say = said.append
        agent._clock = lambda: datetime.now(UTC) + timedelta(minutes=7)
        agent.keep_current()
        assert agent._thread is not None
        agent._thread.join(20)
        assert not agent._thread.is_alive()
        assert [AttestationRefused.code in it for it in said] == [True]


def test_an_interface_to_several_tees_is_asked_which_one_it_is(laptop: Laptop, agent: AttestedAgent) -> None:
    class Several(SimulatedAttester):
        tees = frozenset(Tee)

    agent._attester = Several(laptop.machine)
    assert agent.current().result.tee == "simulated"


def test_the_job_is_what_users_write() -> None:
    assert "redoubt" not in JOB.read_text().lower().replace("redoubt_endpoint", "")
