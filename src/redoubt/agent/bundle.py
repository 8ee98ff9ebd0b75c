"""The private copy of a program's files: what is hashed is what is executed, whatever happens to the originals (H13).

A bundle is a 0700 folder on tmpfs, if this machine has one. Every file is copied into it through a descriptor that was
opened without following a link, hashed on its way, and left readable only. Symbolic links are refused, since what they
name could change between two looks. The copy is good until :meth:`Bundle.close` removes it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from redoubt.agent.held import MEMORY, HeldFolder
from redoubt.errors import ProgramFailed
from redoubt.limits import MAX_BUNDLE_BYTES, MAX_PROGRAM_FILES

_BLOCK: Final = 1024 * 1024
_CACHES: Final = "__pycache__"


def private_memory_folder(prefix: str) -> Path:
    """Make and return a folder of mode 0700 on tmpfs, or else in the system's folder for temporary files."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), *MEMORY):
        if base and os.access(base, os.W_OK | os.X_OK) and _is_memory(base):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    return Path(tempfile.mkdtemp(prefix=prefix))


class Bundle:
    """A private copy of files, by their names in the program descriptor."""

    def __init__(self) -> None:
        self.folder = private_memory_folder("redoubt-bundle-")
        self._held = HeldFolder(self.folder)
        if os.pathsep in str(self.folder):
            self.close()
            raise ProgramFailed(f"{self.folder} would be two entries of a path", hint="Set XDG_RUNTIME_DIR anew.")
        self._digests: dict[str, str] = {}
        self._bytes = 0

    @property
    def files(self) -> Mapping[str, str]:
        """Name → SHA-256 in hex of the copy."""
        return dict(self._digests)

    def add(self, name: str, source: Path) -> None:
        """Copy the file or folder *source* as *name*; a folder's files get names below it.

        Raises:
            ProgramFailed: it is missing or a link, holds a link or something else than files, or is too large.
        """
        try:
            kind = source.lstat().st_mode
            if not stat.S_ISDIR(kind):
                self._copy(name, source)
                return
            for inner in _files(source):
                self._copy(f"{name}/{inner}", source / inner)
        except OSError as error:
            raise ProgramFailed(f"{error.filename or source} cannot be read: {error.strerror}") from None

    def write(self, name: str, content: bytes) -> None:
        """Put *content*, made by the agent, under *name*; raises ProgramFailed if the name is taken."""
        self._store(name, iter([content]), executable=False)

    def seal(self) -> None:
        """Take the right to write from every folder of the copy."""
        for folder, _, _ in os.walk(self.folder, topdown=False):
            Path(folder).chmod(0o500)

    def let_read(self, gid: int) -> None:
        """Let a group read and run the copy, which stays the agent's own; for programs that run as another user."""
        for folder, _, files in os.walk(self.folder):
            for path in (Path(folder), *(Path(folder, it) for it in files)):
                mode = stat.S_IMODE(path.lstat().st_mode)
                os.chown(path, -1, gid, follow_symlinks=False)
                path.chmod(mode | mode >> 3 & 0o050)

    def close(self) -> None:
        """Remove the copy. May be called twice."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _copy(self, name: str, source: Path) -> None:
        # O_NONBLOCK: a FIFO must fail the check, not wait for a writer.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ProgramFailed(f"{source} is not a regular file")
            blocks = iter(lambda: file.read(_BLOCK), b"")
            self._store(name, blocks, executable=bool(status.st_mode & 0o100))

    def _store(self, name: str, blocks: Iterator[bytes], *, executable: bool) -> None:
        if name in self._digests:
            raise ProgramFailed(f"two files of the program would be {name} in its private copy")
        if len(self._digests) >= MAX_PROGRAM_FILES:
            raise ProgramFailed(f"the program has more than {MAX_PROGRAM_FILES} files")
        target = self.folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        mode = 0o500 if executable else 0o400
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as copy:
            for block in blocks:
                self._bytes += len(block)
                if self._bytes > MAX_BUNDLE_BYTES:
                    raise ProgramFailed(f"the program's files are larger than {MAX_BUNDLE_BYTES} bytes")
                digest.update(block)
                copy.write(block)
        self._digests[name] = digest.hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of the files below *folder*, sorted, without compiled Python, which is never read."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(it for it in folders if it != _CACHES)
        for it in folders:
            if Path(place, it).is_symlink():
                raise ProgramFailed(f"{Path(place, it)} is a symbolic link", hint="Put the folder itself there.")
        for it in sorted(files):
            if Path(place, it).is_symlink():
                raise ProgramFailed(f"{Path(place, it)} is a symbolic link", hint="Put the file itself there.")
            yield str(Path(place, it).relative_to(folder))


def _raise(error: OSError) -> None:
    raise error


def _is_memory(base: str) -> bool:
    mounts = Path("/proc/self/mounts")
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = {fields[1]: fields[2] for line in lines if len(fields := line.split()) > 2}
    place = Path(os.path.realpath(base))
    nearest = next((str(it) for it in (place, *place.parents) if str(it) in kinds), "")
    return kinds.get(nearest) in ("tmpfs", "ramfs")
