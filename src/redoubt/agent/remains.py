"""What a program's agent has on disk and in memory file systems, removed at its end whichever way it ends.

    with Remains() as remains:
        folder = remains.own(make_folder())

At an ordinary end this process removes everything. If it is killed, a child that waits for that does
(:mod:`redoubt.agent.undertaker`): secrets of a job must not outlive their agent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from redoubt.agent import undertaker


class Remains:
    """Folders that end with this process."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        reading, writing = os.pipe()  # no other child inherits the end that is written to
        words = [sys.executable, "-I", "-S", undertaker.__file__, str(reading)]
        nowhere = subprocess.DEVNULL
        try:
            self._child = subprocess.Popen(
                words, pass_fds=(reading,), stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._told = os.fdopen(writing, "wb", buffering=0)

    def own(self, folder: Path) -> Path:
        """Return *folder*, which will be removed."""
        self._folders.append(folder.absolute())
        return self.after_a_kill(folder)

    def after_a_kill(self, folder: Path) -> Path:
        """Return *folder*, which somebody else removes unless this process is killed."""
        self._told.write(os.fsencode(folder.absolute()) + b"\0")
        return folder

    def program(self, group: int) -> None:
        """Have a process group killed if this process is."""
        self._told.write(b"%d\0" % group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in reversed(self._folders):
            undertaker.remove(folder)
        self._told.write(undertaker.DONE)
        self._told.close()
        self._child.wait()
