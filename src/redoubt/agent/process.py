"""The program as a child of the agent: started in a group of its own, given every signal, ended with the agent.

The agent ends with the program and with its status: 128 and the signal's number if a signal ended it, as shells say.
What the program left in its process group is killed then. If the agent itself is killed, the kernel kills the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from redoubt.errors import ProgramFailed, UsageError

_FORWARDED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGWINCH,
)
_PR_SET_DUMPABLE: Final = 4
_SIGNALLED: Final = 128


def protect_agent() -> None:
    """Let nobody of the same user read this process's memory, and write no core file of it (hardening H14, H29)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ProgramFailed("the agent cannot protect its memory: prctl failed")


def user_ids(name: str) -> tuple[int, int]:
    """Return the ids of the user *name*, under whom the program shall run; raises UsageError."""
    if os.geteuid() != 0:
        raise UsageError("--user needs an agent that runs as root", hint="Leave it out, or start the agent as root.")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"there is no user {name!r}") from None
    if entry.pw_uid == 0:
        raise UsageError("--user names root, who can read the agent's memory")
    return entry.pw_uid, entry.pw_gid


def run_program(
    executable: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    user: str | None = None,
    runs: Callable[[int], object] = lambda _: None,
) -> int:
    """Run the program to its end and return its exit status, from the main thread; *runs* is told its group.

    Raises:
        ProgramFailed: it cannot be started.
    """
    reading, writing = os.pipe()
    launcher = str(Path(__file__).with_name("launch.py"))
    command = [sys.executable, "-I", "-S", launcher, str(writing), user or "", executable, *argv]
    try:
        with _forwarding() as started:
            program = subprocess.Popen(command, env=dict(environment), pass_fds=(writing,), process_group=0)
            started(program.pid)
            runs(program.pid)
            os.close(writing)
            writing = -1
            try:
                with _terminal_of(program.pid):
                    with os.fdopen(reading, "rb") as report:
                        reading = -1
                        failure = report.read().decode(errors="replace")
                    status = program.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                program.wait()
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)
    if failure:
        raise ProgramFailed(f"{executable} cannot be started: {failure}")
    return status if status >= 0 else _SIGNALLED - status


@contextlib.contextmanager
def _forwarding() -> Iterator[_Forwarder]:
    """Give the signals that this process gets to the program's group; what comes before it starts, when it does."""
    forwarder = _Forwarder()
    before = {number: signal.signal(number, forwarder.handle) for number in _FORWARDED}
    try:
        yield forwarder
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Forwarder:
    def __init__(self) -> None:
        self._group: int | None = None
        self._early: list[int] = []

    def __call__(self, group: int) -> None:
        """Forward to *group* from now on."""
        self._group = group
        for number in self._early:
            self.handle(number, None)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Forward one signal."""
        if self._group is None:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, number)


@contextlib.contextmanager
def _terminal_of(group: int) -> Iterator[None]:
    """Make *group* the foreground of the terminal on stdin, if that is ours to give, and take it back."""
    try:
        ours = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        ours = False
    if not ours:
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(0, group)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
