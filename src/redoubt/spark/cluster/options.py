"""What the programs of a cluster are told: how an agent of it is started, and what master and worker listen at.

Each program gets one argument, a JSON object, since its manifest entry gives one pattern an argument.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from redoubt.errors import ClusterRefused

MASTER_MODULE: Final = "redoubt.spark.cluster.master"
WORKER_MODULE: Final = "redoubt.spark.cluster.worker"
EXECUTOR_MODULE: Final = "redoubt.spark.cluster.executor"
T = TypeVar("T", bound="MasterOptions | WorkerOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How every agent of a cluster reaches its broker, and where it keeps what."""

    python: str
    java_home: str
    broker: str
    ca: str
    broker_id: str
    tee: str
    domain: str
    #: A folder in memory and one for temporary files: whoever ends the cluster removes both.
    memory: str
    scratch: str
    #: Where agents say what they attested.
    status: str
    #: Where the simulated machine's key lies; development only.
    state_home: str

    def command(self, role: str, name: str, module: str, argument: str) -> list[str]:
        """Return the command line of an agent that runs *module* as *role*; *name* is its status file's."""
        return [
            *(self.python, "-I", "-m", "redoubt.cli.main", "agent", "exec"),
            *("--broker", self.broker, "--ca", self.ca, "--broker-id", self.broker_id, "--tee", self.tee),
            *("--role", f"{self.domain}/{role}", "--status", str(Path(self.status) / f"{name}.json")),
            *("--", self.python, "-m", module, argument),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of an agent: programs get another one from it."""
        return {
            "PATH": f"{self.java_home}/bin:/usr/bin:/bin",
            "JAVA_HOME": self.java_home,
            "HOME": self.scratch,
            "TMPDIR": self.scratch,
            "XDG_RUNTIME_DIR": self.memory,
            "XDG_STATE_HOME": self.state_home,
            "LANG": "C.UTF-8",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterOptions:
    """What a master is told."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker is told. With what is in ``agent`` it starts the agents of its executors."""

    master: str
    host: str
    cores: int
    memory: str
    agent: AgentOptions


def encode(options: MasterOptions | WorkerOptions) -> str:
    """Return the argument."""
    return json.dumps(asdict(options), sort_keys=True)


def decode(kind: type[T], arguments: Sequence[str]) -> T:
    """Return the options that the one argument is; raises ClusterRefused."""
    try:
        (text,) = arguments
        found: Any = json.loads(text)
        if kind is WorkerOptions:
            found = {**found, "agent": agent_options(found["agent"])}
        return kind(**found)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ClusterRefused(f"{Path(sys.argv[0]).stem}: the argument is not what `redoubt cluster` gives") from None


def agent_options(found: Mapping[str, str]) -> AgentOptions:
    """Return the options that *found* is; raises TypeError or ValueError."""
    options = AgentOptions(**found)
    if not all(isinstance(it, str) for it in asdict(options).values()):
        raise ValueError("not texts")
    return options
