"""A cluster as people run one, for tests: its commands, its roles, what lies about on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from redoubt.errors import ExitStatus
from redoubt.spark.cluster.state import ClusterState, cluster_folder

SECONDS = 240.0
NAME = "local"


class Started(subprocess.Popen[str]):
    """A command that a failed test does not wait for."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


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

    def start(self, *words: str, log: IO[str] | int = subprocess.PIPE) -> Started:
        """Start a command; a job that is waited for says more than a pipe holds, and needs a file as *log*."""
        return Started(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def command(self, *words: str) -> list[str]:
        """Return the command line of a `redoubt` command."""
        return [*self.prefix, str(self.python), "-m", "redoubt.cli.main", *words]

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

    def driver(self, *words: str) -> list[str]:
        agent = self.state.agent
        return [
            *("agent", "exec", "--broker", agent.broker, "--ca", agent.ca, "--broker-id", agent.broker_id),
            *("--tee", "simulated", "--role", f"{NAME}/driver", "--", str(self.python), *words),
        ]

    def identity(self, role: str) -> Path:
        """The folder of secrets of a running role."""
        memory = Path(self.state.agent.memory)
        found = [it.parent for it in memory.glob("*/secrets/membership.json") if f'"{role}"' in it.read_text()]
        return found[0]


def wait(
    ready: Callable[[], Any], *, what: str, process: subprocess.Popen[str] | None = None, log: Path | None = None
) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        ended = process is not None and process.poll() is not None
        said = log.read_text() if log is not None and ended else ""
        assert not ended, (
            what,
            said[-4000:] or (process.communicate()[1] or "")[-4000:] if process is not None else "",
        )
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def java_of(agent: int) -> int:
    """The JVM that an agent started."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    (found,) = [int(it) for it in children if b"/bin/java\0" in Path(f"/proc/{it}/cmdline").read_bytes()]
    return found


def processes(file: str) -> dict[int, bytes]:
    found = {}
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes()
    return found


def files_below(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.read_bytes()
