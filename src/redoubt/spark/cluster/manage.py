"""Starting, growing, shrinking and ending a cluster, from the machine with its master.

Each process is an agent in a session of its own, with its log; nothing of this program stays. A process counts as
started when its agent has attested it and it does its work (the master listens, a worker is registered); when one does
not, or this program is interrupted, everything that was started is ended and removed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from redoubt.errors import ClusterError
from redoubt.limits import CLUSTER_END_SECONDS, CLUSTER_START_SECONDS, MAX_CLUSTER_WORKERS
from redoubt.spark.cluster.join import WorkerPlan
from redoubt.spark.cluster.options import (
    MASTER_MODULE,
    WORKER_MODULE,
    AgentOptions,
    MasterOptions,
    WorkerOptions,
    encode,
)
from redoubt.spark.cluster.ssh import SshOptions, SshTarget
from redoubt.spark.cluster.state import BROKER, MASTER, ClusterState, Process, make_folders

Say = Callable[[str], None]
_REGISTERED: Final = "Successfully registered with master"
_MASTER_PORT: Final = 7077
_POLL_SECONDS: Final = 0.1
_TAIL_LINES: Final = 12
_BROKER_LINE: Final = re.compile(r"broker (\S+) serves (https://\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where a cluster's agents attest."""

    url: str
    id: str
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a new cluster shall be."""

    folder: Path
    domain: str
    host: str
    #: The master's; None for Spark's own, or another one if that is taken.
    port: int | None
    workers: int
    cores: int
    worker_memory: str
    python: str
    java_home: str
    tee: str
    state_home: str
    #: Other machines that get a worker each, the interpreter there, and the key with which they simulate evidence.
    others: tuple[SshTarget, ...] = ()
    others_python: str = ""
    development_key: Path | None = None


@contextlib.contextmanager
def _or_nothing(state: ClusterState) -> Iterator[None]:
    """End and remove what was started if the block fails: the newest state is the one on disk."""
    try:
        yield
    except BaseException:
        down(ClusterState.load(state.folder), say=lambda _: None)
        raise


def free_port(host: str, port: int | None = None) -> int:
    """Return *port*; without one Spark's own for a master, or any one of *host* if something listens there.

    Raises:
        ClusterError: *port* is taken.
    """
    for wanted in (_MASTER_PORT, 0) if port is None else (port,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, wanted))
            return int(probe.getsockname()[1])
    raise ClusterError(f"something listens at port {port} of {host}", hint="Name another one with --port.")


def start_broker(state: ClusterState, environment: Mapping[str, str], *, say: Say) -> ClusterState:
    """Start the development broker of this cluster, where it was if it has ended; raises ClusterError."""
    say("starting a development broker")
    port = urlsplit(state.agent.broker).port if state.agent.broker else None
    command = [*state.development, "--port", str(port or 0), "--ca", state.agent.ca]
    state = replace(state, processes=tuple(it for it in state.processes if it.name != BROKER))
    process = _spawn(state, BROKER, command, environment)
    state = replace(state, processes=(*state.processes, process))
    state.save()
    log = state.logs / f"{BROKER}.log"
    _wait(state, process, lambda: _BROKER_LINE.search(_text(log)) is not None)
    found = _BROKER_LINE.search(_text(log))
    assert found is not None
    state = replace(state, agent=replace(state.agent, broker_id=found[1], broker=found[2]))
    state.save()
    return state


def start_master(state: ClusterState, port: int, *, say: Say) -> ClusterState:
    """Start the master; raises ClusterError."""
    say(f"starting the master, {state.master}")
    options = encode(MasterOptions(host=state.host, port=port))
    state, process = _start(state, "master", MASTER, MASTER_MODULE, options)
    _wait(state, process, lambda: _attested(state, MASTER) and _listens(state.host, port))
    return state


def start_workers(state: ClusterState, count: int, *, say: Say) -> ClusterState:
    """Start *count* more workers, at the same time; raises ClusterError."""
    started = []
    for name in _free_names(state, count):
        say(f"starting {name}")
        scratch = Path(state.agent.scratch) / name
        scratch.mkdir(mode=0o700)
        agent = replace(state.agent, scratch=str(scratch))
        options = WorkerOptions(
            master=state.master, host=state.host, cores=state.cores, memory=state.worker_memory, agent=agent
        )
        state, process = _start(state, "worker", name, WORKER_MODULE, encode(options), agent=agent)
        started.append(process)
    return _registered(state, started, say=say)


def start_others(state: ClusterState, plan: Plan, environment: Mapping[str, str], *, say: Say) -> ClusterState:
    """Start a worker on each of the other machines, over ssh; raises ClusterError."""
    started = []
    for name, other in zip(_free_names(state, len(plan.others)), plan.others, strict=True):
        say(f"starting {name} on {other.target}")
        options = SshOptions(
            target=other.target,
            python=plan.others_python,
            plan=WorkerPlan(
                master=state.master,
                domain=state.domain,
                host=other.host,
                cores=state.cores,
                memory=state.worker_memory,
                broker=state.agent.broker,
                broker_id=state.agent.broker_id,
            ),
            ca=state.agent.ca,
            key=str(plan.development_key),
            status=state.agent.status,
            name=name,
        )
        command = [sys.executable, "-I", "-m", "redoubt.spark.cluster.ssh", options.encode()]
        process = _spawn(state, name, command, environment)  # ssh has its user's keys and configuration
        state = replace(state, processes=(*state.processes, process))
        state.save()
        started.append(process)
    return _registered(state, started, say=say)


def _free_names(state: ClusterState, count: int) -> list[str]:
    used = {it.name for it in state.processes}
    free = (name for it in range(1, MAX_CLUSTER_WORKERS + 1) if (name := f"worker-{it}") not in used)
    return [next(free) for _ in range(count)]


def _registered(state: ClusterState, started: Sequence[Process], *, say: Say) -> ClusterState:
    for process in started:
        log = state.logs / f"{process.name}.log"
        _wait(state, process, partial(_says, log, _REGISTERED))
        say(f"{process.name} is registered")
    return state


def scale(state: ClusterState, workers: int, environment: Mapping[str, str], *, say: Say) -> ClusterState:
    """Start or end workers until there are so many, and the cluster's own broker if that has ended.

    Raises:
        ClusterError: one did not start, or the master has ended, which knows the applications.
    """
    if not state.runs(MASTER):
        raise ClusterError(
            "the master has ended, and with it every application",
            hint="`redoubt cluster down`, then `redoubt cluster up`.",
        )
    if state.is_development and not state.runs(BROKER):
        state = start_broker(state, environment, say=say)
    alive = [it for it in state.processes if it.name.startswith("worker-") and it.runs]
    gone = [it for it in state.processes if it.name.startswith("worker-") and not it.runs]
    state = _without(state, gone)
    if workers > len(alive):
        return start_workers(state, workers - len(alive), say=say)
    surplus = alive[workers:]
    for process in surplus:
        say(f"ending {process.name}")
        process.end(seconds=CLUSTER_END_SECONDS)
    return _without(state, surplus)


def down(state: ClusterState, *, say: Say) -> None:
    """End every process, workers first, and remove everything."""
    for process in reversed(state.processes):
        if process.runs:
            say(f"ending {process.name}")
        process.end(seconds=CLUSTER_END_SECONDS)
    state.remove()


def tail(path: Path, *, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log."""
    return "\n".join(_text(path).splitlines()[-lines:])


def _without(state: ClusterState, processes: Sequence[Process]) -> ClusterState:
    for process in processes:
        shutil.rmtree(Path(state.agent.scratch) / process.name, ignore_errors=True)
    state = replace(state, processes=tuple(it for it in state.processes if it not in processes))
    state.save()
    return state


def _start(
    state: ClusterState, role: str, name: str, module: str, options: str, *, agent: AgentOptions | None = None
) -> tuple[ClusterState, Process]:
    agent = agent or state.agent
    process = _spawn(state, name, agent.command(role, name, module, options), agent.environment)
    state = replace(state, processes=(*state.processes, process))
    state.save()  # before anything can fail: what is not written down is not ended
    return state, process


def _spawn(state: ClusterState, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Process:
    with (state.logs / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=state.agent.scratch,
            start_new_session=True,
        )
    return Process.of(name, child.pid)


def _wait(state: ClusterState, process: Process, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CLUSTER_START_SECONDS
    while not ready():
        if not process.runs:
            raise ClusterError(
                f"{process.name} has ended; the end of its log:\n{tail(state.logs / f'{process.name}.log')}"
            )
        if time.monotonic() > deadline:
            raise ClusterError(f"{process.name} did not start in {CLUSTER_START_SECONDS:.0f} seconds")
        time.sleep(_POLL_SECONDS)


def _attested(state: ClusterState, name: str) -> bool:
    return (Path(state.agent.status) / f"{name}.json").exists()


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _says(log: Path, text: str) -> bool:
    return text in _text(log)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def up(
    plan: Plan,
    *,
    broker: BrokerAddress | None,
    development: Sequence[str],
    environment: Mapping[str, str],
    say: Say,
) -> ClusterState:
    """Start a cluster in the new folder of *plan*, whole or not at all.

    *broker* is where its agents attest; without one a development broker is started by the command *development*,
    which takes ``--port`` and ``--ca``.

    Raises:
        ClusterError: a process was refused or did not start; nothing is left.
    """
    port = free_port(plan.host, plan.port)
    memory, scratch = make_folders()
    ca = plan.folder / "ca.pem"
    if broker is not None:
        shutil.copyfile(broker.ca, ca)
    state = ClusterState(
        folder=plan.folder,
        domain=plan.domain,
        master=f"spark://{plan.host}:{port}",
        host=plan.host,
        cores=plan.cores,
        worker_memory=plan.worker_memory,
        development=() if broker is not None else tuple(development),
        agent=AgentOptions(
            python=plan.python,
            java_home=plan.java_home,
            broker=broker.url if broker is not None else "",
            ca=str(ca),
            broker_id=broker.id if broker is not None else "",
            tee=plan.tee,
            domain=plan.domain,
            memory=memory,
            scratch=scratch,
            status=str(plan.folder / "status"),
            state_home=plan.state_home,
        ),
    )
    state.save()
    with _or_nothing(state):
        if broker is None:
            state = start_broker(state, environment, say=say)
        state = start_master(state, port, say=say)
        state = start_workers(state, plan.workers, say=say)
        return start_others(state, plan, environment, say=say)
