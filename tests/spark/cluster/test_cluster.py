"""A whole cluster on this machine, as people start it, and the ways into it that must not be ones.

One cluster of two workers, one driver: every JVM start costs seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.spark.cluster.running import NAME, SECONDS, Cluster, files_below, processes, wait
from tests.spark.cluster.small import cluster_python

from redoubt.broker.derive import derived_key
from redoubt.errors import ExitStatus
from redoubt.keys.workspace import Workspace
from redoubt.pki.authority import domain_authority
from redoubt.pki.build import Certified, load_identity, private_pem
from redoubt.pki.spiffe import SpiffeId
from redoubt.spark.cluster.options import EXECUTOR_MODULE
from redoubt.spark.cluster.state import cluster_folder
from redoubt_dev.workspace_store import WorkspaceStore

pytestmark = pytest.mark.spark

JOB = """
import os, sys, time
from pathlib import Path
from pyspark.sql import SparkSession
from redoubt.spark.cluster import driver_conf

folder = Path(sys.argv[2])
user = {
    "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.executor.memory": "512m",
    "spark.executorEnv.JAVA_HOME": "/nonexistent", "spark.executorEnv.LD_PRELOAD": "/nonexistent.so",
    "spark.executorEnv.JAVA_TOOL_OPTIONS": "-Dplanted=by-the-driver",
}
os.environ["PYSPARK_PYTHON"] = sys.executable
spark = SparkSession.builder.config(map=driver_conf(sys.argv[1], user)).getOrCreate()
numbers = spark.sparkContext.parallelize(range(1000), 4).map(lambda it: (it % 7, it))


def answer():
    return str(sorted(numbers.reduceByKey(lambda a, b: a + b).collect()))


def environment(_):
    yield from os.environ.items()


while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)
(folder / "environment").write_text(str(sorted(numbers.mapPartitions(environment).collect())))
(folder / "first").write_text(answer())
while not (folder / "go").exists():
    time.sleep(0.05)
(folder / "second").write_text(answer())
spark.stop()
"""
ANSWER = str([(it, sum(range(it, 1000, 7))) for it in range(7)])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(cluster_python(tmp_path_factory.mktemp("python") / "p"), folder)
    made.redoubt("init", ".")
    (folder / "job.py").write_text(JOB)
    made.redoubt("cluster", "up", "--workers", "2")
    try:
        made.redoubt("cluster", "trust", "--", str(made.python), "job.py", made.state.master, str(folder))
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.redoubt("cluster", "down")


# --- ways in that are none: no JVM is started for these ---------------------------------------------------------------
def knock(port: int, identity: Certified | None) -> bool:
    """Whether the master keeps a connection on which this *identity* was shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        load_identity(context, identity)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        try:
            with context.wrap_socket(raw) as connection:
                connection.settimeout(3)
                return connection.recv(1) != b""
        except TimeoutError:
            return True  # it waits for a message: who is let in is not spoken to first
        except (ssl.SSLError, ConnectionError):
            return False


def certified(seed: bytes, name: SpiffeId) -> Certified:
    key = ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(UTC)
    certificate = domain_authority(seed, domain=name.domain, now=now).issue(name, key.public_key(), now=now)
    return Certified(certificate.public_bytes(Encoding.PEM), private_pem(key))


def test_only_roles_of_the_cluster_are_let_in(cluster: Cluster) -> None:
    """A worker with a stolen secret and no certificate never gets to say the secret."""
    port = int(cluster.state.master.rpartition(":")[2])
    store = WorkspaceStore.open(Workspace.open(cluster.folder))
    seed = derived_key(store.signing_key, label=b"redoubt/trust-domains/v1")
    store.close()
    member = SpiffeId(domain=NAME, role="worker", id="0" * 32)
    assert knock(port, certified(seed, member))  # the positive control
    assert not knock(port, None)
    assert not knock(port, certified(bytes(32), member))
    assert not knock(port, certified(seed, SpiffeId(domain="marketing", role="worker", id="0" * 32)))
    assert not knock(port, certified(seed, SpiffeId(domain=NAME, role="reporting", id="0" * 32)))


def test_replayed_registration_is_not_answered(cluster: Cluster) -> None:
    port = int(cluster.state.master.rpartition(":")[2])
    whole = (cluster.identity("worker") / "identity.pem").read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    load_identity(context, Certified(b"", whole))
    recorded = b""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        for _ in range(20):
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                sent = outgoing.read()
                recorded += sent
                raw.sendall(sent)
                incoming.write(raw.recv(65536))
        session.write(b"a registration")
        recorded += outgoing.read()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(recorded)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while block := raw.recv(65536):
                answer += block
    # A server hello for fresh keys, which the replayer does not have, and the end: no record after it that answers.
    assert b"a registration" not in answer


def test_executor_without_evidence_is_not_started(cluster: Cluster, tmp_path: Path) -> None:
    """Its machine is one that the broker does not know: the agent ends before a JVM starts."""
    agent = cluster.state.agent
    words = agent.command("executor", "executor-none", EXECUTOR_MODULE, "{}")
    environment = {**agent.environment, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == ExitStatus.REFUSED
    assert "broker.refused" in done.stderr
    assert "executor-none" not in cluster.roles()


def test_driver_whose_code_changed_is_not_started(cluster: Cluster) -> None:
    (cluster.folder / "changed").mkdir(exist_ok=True)
    (cluster.folder / "changed/job.py").write_text(JOB + "# one more line\n")
    refused = cluster.redoubt(
        *cluster.driver("changed/job.py", cluster.state.master, str(cluster.folder)), status=ExitStatus.REFUSED
    )
    assert "broker.refused" in refused


def test_cluster_that_is_refused_half_way_leaves_nothing(cluster: Cluster) -> None:
    """The manifest gives these programs no role in that trust domain."""
    agent = cluster.state.agent
    words = ("--broker", agent.broker, "--ca", agent.ca, "--broker-id", agent.broker_id, "--tee", "simulated")
    before = {it.name for it in Path(agent.memory).parent.glob("redoubt-c-*")}
    refused = cluster.redoubt(
        "cluster", "up", "--name", "other", "--workers", "1", *words, status=ExitStatus.ENVIRONMENT
    )
    assert "broker.role_refused" in refused
    assert not cluster_folder(cluster.folder / ".redoubt", "other").exists()
    assert {it.name for it in Path(agent.memory).parent.glob("redoubt-c-*")} == before


def test_cluster_that_is_stopped_half_way_leaves_nothing(cluster: Cluster) -> None:
    memory = Path(cluster.state.agent.memory).parent
    before = {it.name for it in memory.glob("redoubt-c-*")}
    folder = cluster_folder(cluster.folder / ".redoubt", "stopped")
    with cluster.start("cluster", "up", "--name", "stopped") as up:
        wait(lambda: list(folder.glob("logs/broker.log")), what="the broker of the new cluster", process=up)
        up.terminate()
        up.communicate(timeout=SECONDS)
    assert up.returncode == 128 + signal.SIGTERM
    assert not folder.exists()
    assert {it.name for it in memory.glob("redoubt-c-*")} == before
    assert not [pid for pid, line in processes("cmdline").items() if str(folder).encode() in line]


def test_name_is_taken_once(cluster: Cluster) -> None:
    assert "cluster.exists" in cluster.redoubt("cluster", "up", status=ExitStatus.CONFLICT)


# --- a job ------------------------------------------------------------------------------------------------------------
def listening(pid: int) -> set[str]:
    """The local addresses at which a process listens, as the kernel writes them."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(os.readlink(path))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in held:
                found.add(words[1].partition(":")[0])
    return found


def check_only_loopback_is_listened_at(cluster: Cluster) -> None:
    memory = cluster.state.agent.memory.encode()
    java = [pid for pid, line in processes("cmdline").items() if b"/bin/java\0" in line and memory in line]
    heard = {pid: listening(pid) for pid in java}
    assert sum(map(bool, heard.values())) >= 5  # master, two workers, two executors
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert set[str]().union(*heard.values()) <= loopback


def check_nothing_secret_is_found(cluster: Cluster) -> None:
    place = cluster.identity("executor")
    secret = (place / "domain-secret").read_bytes()
    key = (place / "identity.pem").read_bytes().splitlines()[1]
    state = cluster.state
    memory = Path(state.agent.memory)
    held = [path.name for path, content in files_below(memory) if secret in content]
    assert set(held) == {"domain-secret", "credentials"}  # the positive control: the search finds it where it is
    arguments, environments = processes("cmdline"), processes("environ")
    words = (b"CoarseGrainedExecutorBackend\0--driver-url", b"-Xmx512M", b"java.security.properties", bytes(memory))
    java = [pid for pid, line in arguments.items() if all(it in line for it in words)]
    assert len(java) == 2
    assert all(b"REDOUBT_SECRETS=" in environments[pid] for pid in java)
    for pid in java:
        assert b"planted" not in environments[pid] + arguments[pid]
        assert not any(it.startswith((b"LD_", b"_SPARK_", b"JAVA_TOOL")) for it in environments[pid].split(b"\0"))
    for found in (arguments, environments):
        assert not [pid for pid, text in found.items() if secret in text or key in text]
    assert not [
        str(it) for it, text in files_below(state.folder, Path(state.agent.scratch)) if secret in text or key in text
    ]


def test_job_runs_attested_and_recovers_from_a_killed_executor_and_a_killed_worker(cluster: Cluster) -> None:
    folder = cluster.folder
    with cluster.start(*cluster.driver("job.py", cluster.state.master, str(folder))) as driver:
        wait(lambda: (folder / "first").exists(), what="the first answer", process=driver)
        time.sleep(0.2)
        roles = cluster.roles()
        executors = [it for it in roles.values() if it["role"].startswith("executor-")]
        assert len(executors) == 2
        for it in (roles["master"], roles["worker-1"], roles["worker-2"], *executors):
            kind = it["role"].partition("-")[0]
            assert it["name"].startswith(f"spiffe://{NAME}/{kind}/")
            assert (it["state"], it["tee"], it["binding"]) == ("runs", "simulated", "agent")
            assert it["ear"].startswith("sha256:")
            assert it["evidence"].startswith("sha256:")
        assert len({it["program"] for it in roles.values() if "program" in it}) == 3
        check_nothing_secret_is_found(cluster)
        check_only_loopback_is_listened_at(cluster)
        assert "_SPARK_AUTH_SECRET" not in (folder / "environment").read_text()
        assert "attested by" in cluster.redoubt("cluster", "logs", executors[0]["role"])
        os.kill(executors[0]["pid"], signal.SIGKILL)
        os.kill(roles["worker-2"]["pid"], signal.SIGKILL)
        (folder / "go").touch()
        wait(lambda: (folder / "second").exists(), what="the second answer", process=driver)
        _, said = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, said[-4000:]
    assert (folder / "first").read_text() == (folder / "second").read_text() == ANSWER
    assert cluster.roles()["worker-2"]["state"] == "ended"


def test_scale_replaces_what_was_lost_and_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.redoubt("cluster", "scale", "1")
    assert {it for it, facts in cluster.roles().items() if facts["state"] == "runs"} >= {"broker", "master", "worker-1"}
    state = cluster.state
    assert "worker-2" not in {it.name for it in state.processes}
    cluster.redoubt("cluster", "down")
    for folder in (state.folder, Path(state.agent.memory), Path(state.agent.scratch)):
        assert not folder.exists()
    assert not [pid for pid, line in processes("cmdline").items() if state.agent.memory.encode() in line]
    assert "cluster.missing" in cluster.redoubt("cluster", "status", status=ExitStatus.USAGE)
