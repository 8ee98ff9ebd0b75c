"""Watching a running program from outside: its processes' command lines, environments and listening sockets, its files.

Temporary files live for milliseconds to seconds. Each is hard-linked into the collection as soon as it is seen, which
keeps its bytes, those still to be written included, after the program has removed the name. Files that are open without
a name, or lie outside the program's own folder, are copied through ``/proc/PID/fd``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

_FILES_SECONDS: Final = 0.02
#: Reading processes and their open files costs more and has less haste: one round in so many does it.
_PROCESS_ROUNDS: Final = 25
_TCP_LISTEN: Final = "0A"


class Watch:
    """Watches the processes in ``/proc`` that *belongs* is true for, and the folder *folder*, until :meth:`stop`."""

    def __init__(self, belongs: Callable[[Path], bool], folder: Path, collection: Path) -> None:
        collection.mkdir()
        self.command_lines: dict[bytes, str] = {}
        self.environments: dict[bytes, str] = {}
        self.listening: set[str] = set()
        self._belongs = belongs
        self._folder = folder
        self._collection = collection
        self._names: dict[Path, str] = {}
        self._inodes: set[int] = set()
        self._open_files: set[tuple[int, int, int]] = set()
        self._faults: list[BaseException] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end; raises what the watching itself failed with."""
        self._ended.set()
        self._thread.join()
        if self._faults:
            raise self._faults[0]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name in the program's folder, content) of every file that was seen."""
        for kept, name in self._names.items():
            yield name, kept.read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        rounds = 0
        try:
            while not self._ended.wait(_FILES_SECONDS):
                self._link_files(self._folder)
                if rounds % _PROCESS_ROUNDS == 0:
                    self._read_processes()
                rounds += 1
            self._link_files(self._folder)
        except BaseException as error:  # noqa: BLE001  (handed to the test by stop)
            self._faults.append(error)

    # --- files --------------------------------------------------------------------------------------------------------
    def _link_files(self, folder: Path) -> None:
        try:
            entries = list(os.scandir(folder))
        except OSError:  # removed since
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._link_files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and entry.inode() not in self._inodes:
                kept = self._collection / str(len(self._names))
                with contextlib.suppress(FileNotFoundError):
                    kept.hardlink_to(entry.path)
                    self._inodes.add(entry.inode())
                    self._names[kept] = str(Path(entry.path).relative_to(self._folder))

    def _copy_open_files(self, process: Path) -> None:
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if not target.startswith("/") or target.startswith(("/dev/", "/proc/")) or self._is_beside(target):
                    continue
                status = link.stat()
                known = (status.st_dev, status.st_ino, status.st_size)
                if status.st_ino in self._inodes or known in self._open_files:
                    continue
                self._open_files.add(known)
                if stat.S_ISREG(status.st_mode) and _is_written(link):
                    kept = self._collection / str(len(self._names))
                    shutil.copyfile(link, kept)
                    self._names[kept] = f"open: {target}"

    def _is_beside(self, target: str) -> bool:
        """Logs and event logs lie beside the folder, and are looked at as what they are."""
        return target.startswith(f"{self._folder.parent}/") and not target.startswith(f"{self._folder}/")

    # --- processes ----------------------------------------------------------------------------------------------------
    def _read_processes(self) -> None:
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):  # it has ended
                if not self._belongs(process):
                    continue
                name = _name_and_session(process)[0]
                self.command_lines[(process / "cmdline").read_bytes()] = name
                self.environments[(process / "environ").read_bytes()] = name
                self.listening |= set(_listening(process))
                self._copy_open_files(process)
                self._copy_jvm_statistics(process.name)

    def _copy_jvm_statistics(self, process: str) -> None:
        """Keep what a JVM tells ``jps`` and ``jstat``: a file in ``/tmp`` whatever the temporary folder is."""
        for source in Path("/tmp").glob(f"hsperfdata_*/{process}"):
            kept = self._collection / f"hsperfdata-{process}"
            shutil.copyfile(source, kept)
            self._names[kept] = f"hsperfdata: {process}"


def of_session(session: int) -> Callable[[Path], bool]:
    """Return what is true for the processes of *session*."""
    return lambda process: _name_and_session(process)[1] == session


def that_name(folder: Path) -> Callable[[Path], bool]:
    """Return what is true for processes with *folder* in their environment or command line, but not for this one's."""
    text = os.fsencode(folder)
    files = ("environ", "cmdline")
    return lambda process: process.name != str(os.getpid()) and any(text in (process / it).read_bytes() for it in files)


def _name_and_session(process: Path) -> tuple[str, int]:
    text = (process / "stat").read_text(errors="replace")
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    return name, int(rest.split()[3])


def _is_written(link: Path) -> bool:
    flags = re.search(r"flags:\s*(\d+)", (link.parent.parent / "fdinfo" / link.name).read_text())
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _listening(process: Path) -> Iterator[str]:
    """Yield the addresses at which *process* accepts TCP connections, read in its own network namespace."""
    own = {str(link.readlink()) for link in (process / "fd").iterdir() if os.path.lexists(link)}
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _TCP_LISTEN and f"socket:[{fields[9]}]" in own:
                words = bytes.fromhex(fields[1].rpartition(":")[0])
                address = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
                yield socket.inet_ntop(family, address)
