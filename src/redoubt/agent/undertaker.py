"""Removes what an agent leaves when it is killed: a process of its own that waits for the agent's end.

Run as a script with ``python -I -S undertaker.py FD``. The agent writes names of folders, and the number of its
program's process group, to the pipe FD, each with a NUL behind it, and last an empty one if it ended as it should. It
imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

#: The agent has removed everything itself.
DONE = b"\0"
#: What the kernel kills with the agent may still write for a moment.
_ATTEMPTS = 50
_PAUSE_SECONDS = 0.1


def main(arguments: list[str]) -> None:
    """Wait, and remove."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the agent, whose end is waited for
    with os.fdopen(int(arguments[0]), "rb") as agent:
        *names, _ = agent.read().split(b"\0")
    if not all(names):
        return
    folders = [Path(os.fsdecode(it)) for it in names if it.startswith(b"/")]
    for group in (int(it) for it in names if it.isdigit()):
        with contextlib.suppress(OSError):  # the kernel has killed its first process; others may run on
            os.killpg(group, signal.SIGKILL)
    for _ in range(_ATTEMPTS):
        for folder in folders:
            remove(folder)
        if not any(it.exists() for it in folders):
            return
        time.sleep(_PAUSE_SECONDS)


def remove(folder: Path) -> None:
    """Remove *folder* with what is in it, copies that nobody may write included."""
    if os.geteuid() != 0:  # who needs no right to write also follows no link that is put there meanwhile
        for inner, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                Path(inner).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
