"""The processes of a program that was started in a session of its own: which they are, their memory, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Self


def processes_of(session: int) -> list[int]:
    """Return the live processes of a session: driver, JVM, and Python workers, whose process group is another one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The command's name may hold blanks and brackets; what follows it are state, parent, group, session.
                state, _, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(of) == session and state not in "ZX":
                    found.append(int(entry.name))
    return found


def kill_session(session: int, *, timeout: float = 30) -> None:
    """Kill every process of a session with SIGKILL, and return when none is left."""
    end = time.monotonic() + timeout
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
    while left := processes_of(session):
        assert time.monotonic() < end, f"processes {left} do not end"
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def resident_bytes(process: int) -> int:
    """Return the proportional set size of a process: pages that forked workers share count once over all of them."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """Samples the memory of a session until the end of the ``with`` block; see :attr:`total` and :attr:`by_kind`."""

    def __init__(self, session: int, *, interval: float = 0.2) -> None:
        #: The highest sum over all processes at one time, in bytes, and how it was made up.
        self.total = 0
        self.by_kind: dict[str, int] = {}
        self.samples = 0
        self._session = session
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            kinds: dict[str, int] = {}
            for process in processes_of(self._session):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    kind = "JVM" if Path(f"/proc/{process}/comm").read_text().strip() == "java" else "Python"
                    kinds[kind] = kinds.get(kind, 0) + resident_bytes(process)
            self.samples += 1
            if sum(kinds.values()) > self.total:
                self.total, self.by_kind = sum(kinds.values()), kinds
