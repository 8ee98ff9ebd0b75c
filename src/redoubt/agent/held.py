"""Private folders that an agent holds while it lives, and the removal of those that a killed one left.

An agent that gets SIGKILL removes nothing: secrets in memory file systems would stay until the machine is switched
off. So each folder has a lock file, locked (flock) as long as its agent lives: the kernel
lets go of the lock with the process, however it ends. The next agent of the same user removes the folders whose lock it
can take. A folder without one is nobody's to remove: it may be of another version, or be made right now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from redoubt.agent import undertaker

PREFIX: Final = "redoubt-"
_LOCK: Final = ".held"
#: Memory file systems in the order of preference; the first that can be written is used.
MEMORY: Final = ("/dev/shm", "/run")  # noqa: S108 - folders made below them are private


class HeldFolder:
    """A private folder that exists, until :meth:`close`."""

    def __init__(self, path: Path) -> None:
        """Lock *path*; raises OSError."""
        self.path = path
        self._closing = threading.Lock()
        # Locked before it has its name: whoever finds it by that finds it locked.
        new = path / f"{_LOCK}.new"
        self._descriptor = os.open(new, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(path / _LOCK)

    def close(self) -> None:
        """Remove the folder. May be called twice, by threads at the same time: it is gone when any of them goes on."""
        with self._closing:
            if self._descriptor >= 0:
                undertaker.remove(self.path)
                os.close(self._descriptor)
                self._descriptor = -1


@contextlib.contextmanager
def held(path: Path) -> Iterator[Path]:
    """Hold the folder *path* for the length of a block, and remove it then."""
    folder = HeldFolder(path)
    try:
        yield path
    finally:
        folder.close()


def remove_leftovers() -> None:
    """Remove the folders of agents that have ended without removing them; what cannot be removed stays."""
    bases = (os.environ.get("XDG_RUNTIME_DIR", ""), *MEMORY, tempfile.gettempdir(), "/tmp")  # noqa: S108 - only read
    for base in dict.fromkeys(os.path.realpath(it) for it in bases if it):
        with contextlib.suppress(OSError):
            found = [Path(it.path) for it in os.scandir(base) if it.name.startswith(PREFIX)]
            for folder in found:
                with contextlib.suppress(OSError):
                    _remove_left(folder)


def _remove_left(folder: Path) -> None:
    status = folder.lstat()
    # Root's agents give folders to the users under whom programs run.
    if not stat.S_ISDIR(status.st_mode) or os.geteuid() not in (0, status.st_uid):
        return
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # no agent's: anybody could have put a lock file there
        return
    descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its agent lives
            undertaker.remove(folder)
    finally:
        os.close(descriptor)
