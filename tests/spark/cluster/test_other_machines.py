"""Workers that other machines start: over a real sshd on loopback, and by `redoubt cluster join`.

Both ends are this machine, so what differs from two is that files and processes can be seen from both.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spark.cluster.running import Cluster, processes, wait
from tests.spark.cluster.small import cluster_python

from redoubt.agent.held import remove_leftovers
from redoubt.errors import ClusterRefused, ExitStatus, UsageError
from redoubt.spark.cluster.conf import is_loopback
from redoubt.spark.cluster.join import WorkerPlan
from redoubt.spark.cluster.manage import free_port
from redoubt.spark.cluster.ssh import SshOptions, SshTarget, Statuses
from redoubt.spark.cluster.ssh_worker import Given

OPTIONS = SshOptions(
    target="ann@other",
    python="/opt/redoubt/bin/python3",
    plan=WorkerPlan(
        master="spark://10.0.0.5:7077",
        domain="local",
        host="10.0.0.7",
        cores=2,
        memory="2g",
        broker="https://127.0.0.1:8443",
        broker_id="0a26",
    ),
    ca="/nowhere/ca.pem",
    key="/nowhere/key.pem",
    status="/nowhere",
    name="worker-3",
)
APPLICATION = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("sum", spark.range(1000).repartition(4).selectExpr("sum(id)").first()[0])
"""


@pytest.mark.parametrize(
    ("text", "target", "host"),
    [
        ("other", "other", "other"),
        ("ann@other.example", "ann@other.example", "other.example"),
        ("ann@alias=10.0.0.7", "ann@alias", "10.0.0.7"),
    ],
)
def test_target(text: str, target: str, host: str) -> None:
    assert SshTarget.parse(text) == SshTarget(target=target, host=host)


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=x", "a b", "ann@", "other=a b", "o\nther", "other=-x", "other=*.x", "other=::1"]
)
def test_target_that_is_an_option_or_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        SshTarget.parse(text)


def test_name_that_begins_like_a_loopback_address_is_another_machine() -> None:
    assert is_loopback("spark://127.0.0.2:7077")
    assert is_loopback("spark://localhost:7077")
    assert not is_loopback("spark://127.example.com:7077")


def test_lines_come_over_as_they_were(tmp_path: Path) -> None:
    for name in ("ca", "key"):
        (tmp_path / name).write_text(name)
    options = replace(OPTIONS, ca=str(tmp_path / "ca"), key=str(tmp_path / "key"))
    assert SshOptions.decode([options.encode()]) == options
    assert Given.decode(options.given().encode()) == Given(plan=OPTIONS.plan, ca="ca", key="key")


def test_command_line_holds_no_secret_and_carries_the_brokers_port() -> None:
    words = SshOptions.decode([OPTIONS.encode()]).command()
    assert words[-3:] == ["--", "ann@other", "/opt/redoubt/bin/python3 -I -m redoubt.spark.cluster.ssh_worker"]
    assert "8443:127.0.0.1:8443" in words


@given(
    st.binary(max_size=64)
    | st.recursive(st.none() | st.text(), st.lists, max_leaves=4).map(lambda it: json.dumps(it).encode())
)
def test_malformed_words_are_refused(line: bytes) -> None:
    with pytest.raises(ClusterRefused):
        Given.decode(line)
    with pytest.raises(ClusterRefused):
        SshOptions.decode([line.decode(errors="replace")])


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\n",
        b"[]\n",
        b'{"role": "worker"}\n',
        b'{"role": 5, "facts": {}}\n',
        b'{"role": "master", "facts": {}}\n',
        b'{"role": "../worker", "facts": {}}\n',
        b'{"role": "executor-../../x", "facts": {}}\n',
        b'{"role": "worker", "facts": []}\n',
    ],
)
def test_other_machine_cannot_write_what_is_not_its_own_status(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "status").mkdir()
    statuses = Statuses(replace(OPTIONS, status=str(tmp_path / "status")))
    statuses.take(line)
    assert [it for it in tmp_path.rglob("*") if it.is_file()] == []


def test_statuses_say_whose_they_are_and_go_with_their_roles(tmp_path: Path) -> None:
    statuses = Statuses(replace(OPTIONS, status=str(tmp_path)))
    statuses.take(b'{"role": "worker", "facts": {"pid": 7, "host": "here"}}\n')
    statuses.take(b'{"role": "executor-app-20261126000000-0000-0", "facts": {"pid": 8}}\n')
    assert json.loads((tmp_path / "worker-3.json").read_bytes()) == {"pid": 7, "host": "10.0.0.7"}
    statuses.take(b'{"role": "executor-app-20261126000000-0000-0", "facts": null}\n')
    assert [it.name for it in tmp_path.iterdir()] == ["worker-3.json"]
    statuses.close()
    assert list(tmp_path.iterdir()) == []


def test_ssh_is_refused_where_evidence_is_not_simulated(tmp_path: Path) -> None:
    cluster = Cluster(Path(sys.executable), tmp_path)
    said = cluster.redoubt(
        *("cluster", "up", "--ssh", "other", "--broker", "https://127.0.0.1:1", "--ca", "ca.pem", "--broker-id", "x"),
        status=ExitStatus.USAGE,
    )
    assert "redoubt cluster join" in said


@pytest.fixture(scope="module")
def secure_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an `ssh` that reaches the machine "other", which is a sshd of the tests' own."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None or os.geteuid() != 0:
        pytest.skip("needs sshd (packages.txt) and root, as whom it lets in itself")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port("127.0.0.1", 0)
    shutil.copyfile(folder / "user.pub", folder / "authorized")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nStrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\n"
    )
    (folder / "ssh.conf").write_text(
        f"Host other\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking yes\n"
    )
    binaries = folder / "bin"
    binaries.mkdir()
    (binaries / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh.conf "$@"\n')
    (binaries / "ssh").chmod(0o700)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd drops its rights; its package makes it at boot
    with subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd.conf")], stderr=subprocess.DEVNULL) as server:
        try:
            yield binaries
        finally:
            server.terminate()


def worker_jvm(host: str) -> int:
    """The JVM of the worker that listens at *host*."""
    lines = processes("cmdline").items()
    (found,) = [it for it, line in lines if b"GuardedWorker" in line and host.encode() in line]
    return found


def ancestor(process: int, module: bytes) -> int:
    """The process above *process* that runs *module*."""
    while module not in Path(f"/proc/{process}/cmdline").read_bytes():
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process


@pytest.mark.spark
def test_workers_of_other_machines_compute_and_leave_nothing(
    secure_shell: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("others")
    environment = {**os.environ, "PATH": f"{secure_shell}:{os.environ['PATH']}"}
    cluster = Cluster(cluster_python(tmp_path_factory.mktemp("python") / "p"), folder, environment=environment)
    (folder / "app.py").write_text(APPLICATION)
    cluster.redoubt("init", ".")
    cluster.redoubt(
        *("cluster", "up", "--workers", "0", "--port", "0", "--cores", "2"),
        *("--host", "127.0.0.2", "--ssh", "other=127.0.0.3", "--ssh", "other=127.0.0.5"),
        *("--ssh-python", str(cluster.python)),
    )
    with ExitStack() as stack:
        stack.callback(cluster.redoubt, "cluster", "down")
        state = cluster.state
        assert state.master.startswith("spark://127.0.0.2:")
        roles = cluster.roles()
        assert roles["worker-1"]["host"] == "127.0.0.3"
        assert roles["worker-1"]["verdict"] == roles["master"]["verdict"]
        # By hand, as an agent of a machine with a TEE does it: no workspace there.
        agent = state.agent
        words = [
            *("cluster", "join", state.master, "--broker", agent.broker, "--broker-id", agent.broker_id),
            *("--ca", agent.ca, "--domain", state.domain, "--host", "127.0.0.4", "--tee", "simulated"),
        ]
        log = folder / "join.log"
        with log.open("w") as file:
            elsewhere = replace(cluster, folder=tmp_path_factory.mktemp("elsewhere"))
            elsewhere.environment["XDG_STATE_HOME"] = cluster.environment["XDG_STATE_HOME"]
            with elsewhere.start(*words, log=file) as joined:
                wait(lambda: "Successfully registered" in log.read_text(), what="registered", process=joined, log=log)
                assert "worker attested: " in log.read_text()
                # Each has an executor, since a master spreads an application out.
                submit = ("submit", "--master", state.master, "--executor-memory", "512m", "app.py")
                assert "sum 499500" in cluster.redoubt(*submit)
                assert "executor-app-" in log.read_text()
                # The only way to a worker is cut, and what holds another one is killed: both end by themselves.
                address = state.master.removeprefix("spark://").encode()
                own = [it for it in processes("cmdline").values() if address in it]
                folders = {Path(os.fsdecode(it)) for line in own for it in re.findall(rb"/[\w/]+/redoubt-c-\w+", line)}
                cut, held = worker_jvm("127.0.0.3"), worker_jvm("127.0.0.5")
                (first,) = [it for it in state.processes if it.name == "worker-1"]
                os.kill(first.pid, signal.SIGKILL)
                os.kill(ancestor(held, b"redoubt.spark.cluster.ssh_worker"), signal.SIGKILL)
                for jvm in (cut, held):
                    ended = Path(f"/proc/{jvm}")
                    wait(lambda ended=ended: not ended.exists(), what="the end of a worker that nobody holds")  # type: ignore[misc]
                joined.send_signal(signal.SIGTERM)
                assert joined.wait(30) == 128 + signal.SIGTERM
    assert len(folders) == 2 * 3  # of each worker, in memory and on disk
    remove_leftovers()  # as the next agent does, of what was killed
    assert [it for it in folders if it.exists()] == []
