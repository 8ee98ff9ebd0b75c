"""A cluster's folder in its workspace: which processes it has, what they attested, what they say.

``.redoubt/clusters/NAME/`` is 0700 and holds ``cluster.json``, ``ca.pem``, ``status/ROLE.json`` (the agents') and
``logs/ROLE.log``. Processes are named by pid and start time, so that a pid that was given out again is not one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from redoubt.agent.bundle import private_memory_folder
from redoubt.errors import ClusterExists, ClusterMissing, StorageError
from redoubt.keys.private import DIRECTORY_MODE, replace_private_file
from redoubt.pki.spiffe import LABEL
from redoubt.spark.cluster.options import AgentOptions, agent_options

MASTER: Final = "master"
BROKER: Final = "broker"
_FILE: Final = "cluster.json"
_POLL_SECONDS: Final = 0.05
_EXECUTOR: Final = re.compile(r"executor-(app-[0-9]{14}-[0-9]{4,9})-([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a cluster that runs in a session of its own."""

    name: str
    pid: int
    #: In clock ticks since the machine started, as /proc says.
    started: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """Return the process *pid*, which runs."""
        return cls(name=name, pid=pid, started=_started(pid) or 0)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return _started(self.pid) == self.started

    def end(self, *, seconds: float) -> None:
        """Ask it to end, and kill it and its group when it does not in *seconds*."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.runs:
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if number is signal.SIGKILL else os.kill)(self.pid, number)
            deadline = time.monotonic() + seconds
            while self.runs and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """What is known of one cluster."""

    folder: Path
    domain: str
    master: str
    host: str
    cores: int
    worker_memory: str
    agent: AgentOptions
    #: The command of its own development broker, up to its port and CA; none if its broker is another's.
    development: tuple[str, ...] = ()
    processes: tuple[Process, ...] = field(default=())

    @property
    def is_development(self) -> bool:
        """Whether it has a development broker of its own, so that its user decides what may join."""
        return bool(self.development)

    def runs(self, name: str) -> bool:
        """Whether the process of this name runs."""
        return any(it.name == name and it.runs for it in self.processes)

    @property
    def logs(self) -> Path:
        """Where the processes' output is."""
        return self.folder / "logs"

    def log(self, role: str) -> Path | None:
        """Return the file with what a role has said, an executor that was refused or has ended included."""
        executor = _EXECUTOR.fullmatch(role)
        if executor is not None:  # below its worker's temporary files, while that runs
            files = Path(self.agent.scratch).glob(f"worker-*/*/*/{executor[1]}/{executor[2]}/stderr")
            return next(files, None)
        path = self.logs / f"{role}.log"
        return path if LABEL.fullmatch(role) and path.is_file() else None

    def save(self) -> None:
        """Write it down."""
        facts = {**asdict(self), "folder": str(self.folder)}
        replace_private_file(self.folder / _FILE, json.dumps(facts, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> ClusterState:
        """Return the cluster in *folder*; raises ClusterMissing or StorageError."""
        try:
            facts: dict[str, Any] = json.loads((folder / _FILE).read_bytes())
            processes = tuple(Process(**it) for it in facts.pop("processes"))
            agent = agent_options(facts.pop("agent"))
            development = tuple(facts.pop("development"))
            own = {"folder": folder, "agent": agent, "development": development, "processes": processes}
            return cls(**{**facts, **own})
        except FileNotFoundError:
            raise ClusterMissing(f"there is no cluster {folder.name!r} in this workspace") from None
        except (ValueError, TypeError, KeyError):
            raise StorageError(f"{folder / _FILE} is damaged") from None

    def statuses(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield role and what its agent says, of every agent that runs."""
        for path in sorted(Path(self.agent.status).glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                yield path.stem, json.loads(path.read_bytes())

    def remove(self) -> None:
        """Remove everything that the cluster has on this machine."""
        for folder in (Path(self.agent.memory), Path(self.agent.scratch), self.folder):
            _unlock(folder)
            shutil.rmtree(folder, ignore_errors=True)


def make_folders() -> tuple[str, str]:
    """Return new private folders for what a cluster has in memory, and for its temporary files."""
    return str(private_memory_folder("redoubt-c-")), tempfile.mkdtemp(prefix="redoubt-c-")


def make_folder(state_folder: Path, name: str) -> Path:
    """Make the folder of a new cluster; raises ClusterExists or StorageError."""
    folder = cluster_folder(state_folder, name)
    try:
        folder.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        folder.mkdir(mode=DIRECTORY_MODE)
        for inner in ("logs", "status"):
            (folder / inner).mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        raise ClusterExists(f"there is a cluster {name!r} in this workspace already") from None
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from None
    return folder


def cluster_folder(state_folder: Path, name: str) -> Path:
    """Return where the cluster *name* is; raises ClusterMissing if that is no name."""
    if not LABEL.fullmatch(name):
        raise ClusterMissing(f"{name[:64]!r} is no name of a cluster: use a-z, 0-9, '-' and '_'")
    return state_folder / "clusters" / name


def all_clusters(state_folder: Path) -> Iterator[ClusterState]:
    """Yield every cluster of a workspace; raises StorageError."""
    for file in sorted((state_folder / "clusters").glob(f"*/{_FILE}")):
        with contextlib.suppress(ClusterMissing):  # taken down meanwhile
            yield ClusterState.load(file.parent)


def _started(pid: int) -> int | None:
    """Return when the process started; None if there is none, or if it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _unlock(folder: Path) -> None:
    # Copies of programs are kept in folders that nobody may write: a killed agent leaves them behind.
    for inner, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(inner).chmod(DIRECTORY_MODE)
