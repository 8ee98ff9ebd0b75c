"""A running cluster in a workspace, as people start it, for the tests that need one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redoubt.errors import ExitStatus
from redoubt.spark.cluster.state import ClusterState, cluster_folder

SECONDS: Final = 240.0
NAME: Final = "local"


@dataclass
class Cluster:
    """A running cluster in a workspace, and the Python that everything of it runs with."""

    python: Path
    folder: Path
    #: Begins every command line: of a network of its own, where it has one.
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.environment = {**self.environment, "XDG_STATE_HOME": str(self.folder / "state")}
        self.environment.pop("PYTHONPATH", None)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.prefix, str(self.python), "-m", "redoubt.cli.main", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def redoubt(self, *words: str, status: int = ExitStatus.OK) -> str:
        """Run a command and return what it printed, stderr last."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == status, (words, process.returncode, out, err[-4000:])
        return out + err

    @property
    def state(self) -> ClusterState:
        return ClusterState.load(cluster_folder(self.folder / ".redoubt", NAME))

    def roles(self) -> dict[str, dict[str, Any]]:
        shown = json.loads(self.redoubt("cluster", "status", "--json").splitlines()[0])
        return {it["role"]: it for it in shown["roles"]}

    def driver(self, *words: str, given: tuple[str, ...] = ()) -> list[str]:
        """Return the words that run the program *words* as a driver; *given* are options of its agent."""
        agent = self.state.agent
        return [
            *("agent", "exec", "--broker", agent.broker, "--ca", agent.ca, "--broker-id", agent.broker_id),
            *("--tee", "simulated", "--role", f"{NAME}/driver", *given, "--", str(self.python), *words),
        ]

    def identity(self, role: str) -> Path:
        """The folder of secrets of a running role."""
        memory = Path(self.state.agent.memory)
        found = [it.parent for it in memory.glob("*/secrets/membership.json") if f'"{role}"' in it.read_text()]
        return found[0]


def wait(ready: Callable[[], Any], *, what: str, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        ended = process is not None and process.poll() is not None
        assert not ended, (what, process.communicate()[1][-4000:] if process is not None else "")
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
