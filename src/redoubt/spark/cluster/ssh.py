"""A worker on another machine, over ssh: for simulated evidence only (hardening H8).

``python -m redoubt.spark.cluster.ssh OPTIONS`` stays as long as the worker does, and stands for it on this machine.
ssh carries the broker's port, what the other machine needs to simulate evidence, and what its agents say; Spark's own
connections go straight. Whoever controls the other machine could run anything there: with evidence from hardware an
agent of that machine starts the worker instead (``redoubt cluster join``), and proves it.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from redoubt.errors import ClusterRefused, UsageError
from redoubt.keys.private import replace_private_file
from redoubt.limits import CLUSTER_END_SECONDS
from redoubt.pki.spiffe import LABEL
from redoubt.spark.cluster.conf import member_host
from redoubt.spark.cluster.join import WORKER, WorkerPlan
from redoubt.spark.cluster.ssh_worker import Given

_SSH: Final = ("ssh", "-T", *("-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"))
_OTHER_END: Final = ("-I", "-m", "redoubt.spark.cluster.ssh_worker")
_EXECUTOR: Final = "executor-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """Another machine."""

    #: As ssh takes it: ``[USER@]HOST``, or a name of its configuration.
    target: str
    #: Where the cluster's other members reach it.
    host: str

    @classmethod
    def parse(cls, text: str) -> SshTarget:
        """Return what ``[USER@]HOST[=ADDRESS]`` names; raises UsageError."""
        target, _, address = text.partition("=")
        if not target or target.startswith("-") or any(it.isspace() or not it.isprintable() for it in target):
            raise UsageError(f"{text[:64]!r} is not [USER@]HOST[=ADDRESS]")
        return cls(target=target, host=member_host(address or target.rpartition("@")[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """What one such process is told."""

    target: str
    #: The interpreter there.
    python: str
    plan: WorkerPlan
    ca: str
    #: The file with the simulated machine's key.
    key: str
    #: Where the status files are, and what the worker is called here.
    status: str
    name: str

    def encode(self) -> str:
        """Return the one argument."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, arguments: Sequence[str]) -> SshOptions:
        """Return the options that the one argument is; raises ClusterRefused."""
        try:
            (text,) = arguments
            found = json.loads(text)
            return cls(**{**found, "plan": WorkerPlan(**found["plan"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ClusterRefused("the argument is not what `redoubt cluster` gives") from None

    def command(self) -> list[str]:
        """Return ssh's command line, in which nothing is secret."""
        port = urlsplit(self.plan.broker).port
        return [*_SSH, "-R", f"{port}:127.0.0.1:{port}", "--", self.target, shlex.join([self.python, *_OTHER_END])]

    def given(self) -> Given:
        """Return what the other machine is told, where no command line shows it."""
        ca, key = (Path(it).read_text(encoding="ascii") for it in (self.ca, self.key))
        return Given(plan=self.plan, ca=ca, key=key)


class Statuses:
    """The other machine's roles, as files among this machine's; for people: nothing is decided by them."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._roles: set[str] = set()

    def take(self, line: bytes) -> None:
        """Keep what *line* says of one role; what is no such line is nothing."""
        try:
            said: Mapping[str, Any] = json.loads(line)
            role, facts = said["role"], said["facts"]
            known = LABEL.fullmatch(role) is not None and (role == WORKER or role.startswith(_EXECUTOR))
        except (ValueError, KeyError, TypeError):
            return
        if not known:
            return
        path = self._path(role)
        if facts is None:
            path.unlink(missing_ok=True)
            self._roles.discard(role)
        elif isinstance(facts, dict):
            replace_private_file(path, json.dumps({**facts, "host": self._options.plan.host}, indent=1).encode())
            self._roles.add(role)

    def close(self) -> None:
        """Remove them."""
        for role in self._roles:
            self._path(role).unlink(missing_ok=True)

    def _path(self, role: str) -> Path:
        return Path(self._options.status) / f"{self._options.name if role == WORKER else role}.json"


def main(arguments: Sequence[str]) -> int:
    """Start the worker, write down what its machine says of it, and end with it."""
    options = SshOptions.decode(arguments)
    ssh = subprocess.Popen(options.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert ssh.stdin is not None
    assert ssh.stdout is not None
    given, told = ssh.stdin, ssh.stdout
    for number in (signal.SIGTERM, signal.SIGINT):  # the other end stops when its input does
        signal.signal(number, lambda *_: given.close())
    statuses = Statuses(options)
    try:
        with suppress(BrokenPipeError):  # ssh says why on stderr
            given.write(options.given().encode())
            given.flush()
        for line in told:
            statuses.take(line)
        return ssh.wait(CLUSTER_END_SECONDS)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        statuses.close()
        ssh.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
