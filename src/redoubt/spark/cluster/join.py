"""A worker of a cluster whose master is on another machine: one agent here, in the foreground, with its executors'.

Nothing but addresses comes from the cluster: the agent attests this machine's worker to the broker, which certifies it
or does not. What it had in memory and on disk is removed at its end, or by the next agent if it was killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redoubt.agent.held import held
from redoubt.errors import ClusterError
from redoubt.limits import CLUSTER_END_SECONDS
from redoubt.spark.cluster.options import WORKER_MODULE, AgentOptions, WorkerOptions, encode
from redoubt.spark.cluster.state import Process, make_folders

WORKER: Final = "worker"
_LOOK_SECONDS: Final = 0.5
_PR_SET_PDEATHSIG: Final = 1

#: Hears a role of this machine and what its agent says of it; None when that has ended.
Told = Callable[[str, Mapping[str, Any] | None], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What this machine's worker shall be."""

    master: str
    domain: str
    #: Where the cluster's other members reach it.
    host: str
    cores: int
    memory: str
    broker: str
    broker_id: str


def join(
    plan: WorkerPlan,
    ca: bytes,
    *,
    tee: str,
    java_home: str,
    state_home: str,
    told: Told,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Run a worker until *wanted* is false; it ends with this process. Its output goes to stderr.

    *ca* is what its broker is known by, PEM; *state_home* is where the simulated machine's key lies.

    Raises:
        ClusterError: the worker ended by itself.
    """
    with ExitStack() as stack:
        memory, scratch = (stack.enter_context(held(Path(it))) for it in make_folders())
        status = memory / "status"
        status.mkdir(mode=0o700)
        (memory / "ca.pem").write_bytes(ca)
        agent = AgentOptions(
            python=sys.executable,
            java_home=java_home,
            broker=plan.broker,
            ca=str(memory / "ca.pem"),
            broker_id=plan.broker_id,
            tee=tee,
            domain=plan.domain,
            memory=str(memory),
            scratch=str(scratch),
            status=str(status),
            state_home=state_home,
        )
        options = WorkerOptions(master=plan.master, host=plan.host, cores=plan.cores, memory=plan.memory, agent=agent)
        child = subprocess.Popen(
            agent.command("worker", WORKER, WORKER_MODULE, encode(options)),
            env=agent.environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            cwd=scratch,
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),  # or a killed one would leave a worker whose folders anybody removes
        )
        process = Process.of(WORKER, child.pid)
        try:
            ended = _watch(child, status, told, wanted)
        finally:
            process.end(seconds=CLUSTER_END_SECONDS)
            child.wait()
    if ended is not None:
        raise ClusterError(f"the worker has ended with status {ended}; what it said is above")


def _end_with(parent: int) -> Callable[[], None]:
    """Return what has the kernel end a child with its *parent*; it runs between fork and exec, so it only calls."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _watch(child: subprocess.Popen[bytes], status: Path, told: Told, wanted: Callable[[], bool]) -> int | None:
    """Tell what agents say until the worker has ended, and return how; None if it is not wanted any more."""
    said: dict[str, Mapping[str, Any]] = {}
    while wanted():
        found = {}
        for path in status.glob("*.json"):
            with suppress(OSError, ValueError):
                found[path.stem] = json.loads(path.read_bytes())
        for role in sorted(said.keys() | found.keys()):
            if said.get(role) != found.get(role):
                told(role, found.get(role))
        said = found
        if (ended := child.poll()) is not None:
            return ended
        time.sleep(_LOOK_SECONDS)
    return None
