"""TPC-H on clusters of two workers: without any security, with both wires that can have it.

Three clusters stand at once, each with one driver that stays; a case is all 22 queries by one of them. The cluster of
``redoubt cluster`` has everything on: agents, certificates, mutual TLS, encrypted local disks, sealed Parquet. The one
with ``spark.network.crypto`` has no agents, which is all that Redoubt does not offer with it; the rest is the same.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.cluster_driver import CRYPTO_SECRET
from benchmarks.measure import Case, Result, interleave
from benchmarks.plain_cluster import PlainCluster
from redoubt.spark.cluster.state import ClusterState, cluster_folder

PLAIN = "no security at all, plain Parquet"
TLS = "redoubt cluster: agents, mutual TLS, sealed Parquet"
CRYPTO = "AES-GCM of spark.network.crypto, no agents, sealed Parquet"
_DRIVER = Path(__file__).with_name("cluster_driver.py")
_WORKER_MEMORY = "2g"  # six executors and three drivers fit into 24 GiB
_NAME = "local"


class Driver:
    """A running driver; see :mod:`benchmarks.cluster_driver`."""

    def __init__(self, words: list[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment), cwd=folder
        )
        #: Of every query, the seconds of each time that it was asked for.
        self.seconds: dict[str, list[float]] = {}

    def ask(self, what: str) -> None:
        """Have it run the queries; raises RuntimeError if it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the driver has ended")
        for number, seconds in json.loads(line).items():
            self.seconds.setdefault(number, []).append(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=120)


@contextmanager
def attested_driver(folder: Path, *, scale: float, python: str = sys.executable) -> Iterator[Driver]:
    """Start the cluster of the workspace in *folder*, which has the tables, and yield its driver."""
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}

    def redoubt(*words: str) -> list[str]:
        return [python, "-m", "redoubt.cli.main", *words]

    def run(*words: str) -> None:
        subprocess.run(redoubt(*words), cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    run("cluster", "up", "--workers", "2", "--memory", _WORKER_MEMORY)
    try:
        state = ClusterState.load(cluster_folder(folder / ".redoubt", _NAME))
        program = ["--", python, str(_DRIVER), "agents", state.master, str(folder), repr(scale)]
        run("cluster", "trust", *program)
        agent = state.agent
        # Not `redoubt submit`: a Python application that Spark starts has no standard input.
        words = redoubt(
            *("agent", "exec", "--broker", agent.broker, "--ca", agent.ca, "--broker-id", agent.broker_id),
            *("--tee", agent.tee, "--role", f"{state.domain}/driver", *program),
        )
        with Driver(words, environment=environment, folder=folder) as driver:
            yield driver
    finally:
        run("cluster", "down")


@contextmanager
def plain_driver(folder: Path, mode: str, *, scale: float) -> Iterator[Driver]:
    """Start a cluster without agents, and yield its driver."""
    secured = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": CRYPTO_SECRET,
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.network.crypto.authEngineVersion": "2",
        "spark.network.crypto.saslFallback": "false",
    }
    conf = {"spark.ui.enabled": "false", **(secured if mode == "crypto" else {})}
    cluster = PlainCluster(folder=folder / f"cluster-{mode}", conf=conf, memory=_WORKER_MEMORY)
    with cluster.running() as master:
        words = [sys.executable, str(_DRIVER), mode, master, str(folder), repr(scale)]
        with Driver(words, environment=os.environ, folder=folder) as driver:
            yield driver


def run(folder: Path, *, scale: float, rounds: int, python: str = sys.executable) -> list[Result]:
    """Compare the three on the tables in *folder*, the workspace that sealed them; agents run *python*."""
    with ExitStack() as stack:
        drivers = {
            PLAIN: stack.enter_context(plain_driver(folder, "plain", scale=scale)),
            TLS: stack.enter_context(attested_driver(folder, scale=scale, python=python)),
            CRYPTO: stack.enter_context(plain_driver(folder, "crypto", scale=scale)),
        }
        cases = [Case(name, partial(driver.ask, "run")) for name, driver in drivers.items()]
        result = interleave("TPC-H on a cluster of two workers, 22 queries", cases, rounds=rounds)
        _print_queries(drivers)
    return [result]


def _print_queries(drivers: Mapping[str, Driver]) -> None:
    """Print where the time went: medians without the first, which warms up."""
    for number in drivers[PLAIN].seconds:
        medians = [statistics.median(driver.seconds[number][1:]) for driver in drivers.values()]
        print(f"Q{int(number):02d} " + " ".join(f"{it:8.2f}" for it in medians), flush=True)
