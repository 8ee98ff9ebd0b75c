"""The other machine's end of :mod:`redoubt.spark.cluster.ssh`: ``python -m redoubt.spark.cluster.ssh_worker``.

Standard input gives one line, and ends when the worker shall. Standard output tells, a line each time, what this
machine's agents say of themselves.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redoubt.agent.bundle import private_memory_folder
from redoubt.agent.held import held
from redoubt.errors import ClusterRefused, RedoubtError, TeeMissing
from redoubt.spark.cluster.join import WorkerPlan, join
from redoubt.spark.java import java_home


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the first machine sends: addresses, the CA, and the key of the machine that is simulated; both PEM."""

    plan: WorkerPlan
    ca: str
    key: str

    def encode(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Given:
        """Return what *line* gives; raises ClusterRefused."""
        try:
            found = json.loads(line)
            return cls(**{**found, "plan": WorkerPlan(**found["plan"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ClusterRefused("standard input does not begin with what `redoubt cluster up --ssh` gives") from None


def main() -> int:
    """Be a worker for as long as standard input lasts."""
    try:
        given = Given.decode(sys.stdin.buffer.readline())
        ended = threading.Event()
        threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
        with held(private_memory_folder("redoubt-s-")) as state:
            _simulate(state, given.key.encode())
            join(
                given.plan,
                given.ca.encode(),
                tee="simulated",
                java_home=java_home(),
                state_home=str(state),
                told=_tell,
                wanted=lambda: not ended.is_set(),
            )
    except RedoubtError as error:
        print(error.explain(), file=sys.stderr)
        return int(error.exit_status)
    return 0


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def _simulate(state: Path, key: bytes) -> None:
    try:
        development: Any = importlib.import_module("redoubt_dev.key")
    except ModuleNotFoundError:
        raise TeeMissing("redoubt-dev, which simulates evidence, is not installed on this machine") from None
    development.DevelopmentKey.install(state / "redoubt-dev", key)


def _tell(role: str, facts: Mapping[str, Any] | None) -> None:
    print(json.dumps({"role": role, "facts": facts}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
