"""Files and folders that only their owner may touch, and writes that a crash cannot tear.

Decides what counts as private: a regular file (or folder) that belongs to the effective user and gives its group and
others nothing. Reading refuses a symbolic link as the last component: whoever could plant one chooses what is read.
Folders before it may be links, since their owner is trusted with the path anyway.

Never creates a file wider than 0600, never follows a link when it writes, and never reads more than it was told to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from redoubt.errors import NotFound, RedoubtError, StorageError, WorkspaceError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_OTHERS = 0o077
_WHY_PRIVATE = "Whoever can read or change it could use your keys, so it must be yours and open to nobody else."


def read_private_file(
    path: Path, *, limit_bytes: int, what: str, refusal: type[RedoubtError] = WorkspaceError
) -> bytes:
    """Return the content of *path*, a private regular file of at most *limit_bytes* bytes; *what* names it in errors.

    Raises:
        NotFound: there is no such file.
        StorageError: the operating system refuses to read it.
        RedoubtError: of class *refusal*, if the file is not private, not regular, a link, or too large.
    """
    # O_NONBLOCK: opening a FIFO must fail the check below, not wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"{what} {path} does not exist") from None
        if error.errno == errno.ELOOP:
            raise refusal(f"{what} {path} is a symbolic link", hint="Put the file itself there, not a link.") from None
        raise StorageError(f"{what} {path} cannot be opened: {error.strerror}") from None
    try:
        check_private(path, os.fstat(descriptor), what=what, refusal=refusal)
    except BaseException:
        os.close(descriptor)
        raise
    return _read(descriptor, path, limit_bytes=limit_bytes, what=what, refusal=refusal)


def read_regular_file(
    path: Path, *, limit_bytes: int, what: str, refusal: type[RedoubtError] = WorkspaceError
) -> bytes:
    """Return the content of *path*, a regular file or a link to one, which others may read.

    Raises:
        NotFound: there is no such file.
        StorageError: the operating system refuses to read it.
        RedoubtError: of class *refusal*, if it is not regular or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"{what} {path} does not exist") from None
        raise StorageError(f"{what} {path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refusal(f"{what} {path} is not a regular file")
    return _read(descriptor, path, limit_bytes=limit_bytes, what=what, refusal=refusal)


def _read(descriptor: int, path: Path, *, limit_bytes: int, what: str, refusal: type[RedoubtError]) -> bytes:
    """Read the open file to its end, and close it."""
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise refusal(f"{what} {path} is longer than {limit_bytes} bytes")
    return content


def check_private(
    path: Path,
    status: os.stat_result,
    *,
    what: str,
    directory: bool = False,
    refusal: type[RedoubtError] = WorkspaceError,
) -> None:
    """Check the file status of *path*: kind, owner and mode.

    Raises:
        RedoubtError: of class *refusal*, naming what is wrong and how to mend it.
    """
    right_kind = stat.S_ISDIR(status.st_mode) if directory else stat.S_ISREG(status.st_mode)
    if not right_kind:
        raise refusal(f"{what} {path} is not a {'folder' if directory else 'regular file'}")
    if status.st_uid != os.geteuid():
        raise refusal(
            f"{what} {path} belongs to user {status.st_uid}, not to you (user {os.geteuid()})",
            why=_WHY_PRIVATE,
            hint="Run the command as the owner, or use a workspace of your own.",
        )
    if status.st_mode & _OTHERS:
        mode = DIRECTORY_MODE if directory else FILE_MODE
        raise refusal(
            f"{what} {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            why=_WHY_PRIVATE,
            hint=f"If nobody else could have used it: chmod {mode:o} {path}",
        )


def create_private_file(path: Path, content: bytes = b"") -> None:
    """Create *path* with mode 0600 and *content*, on disk before this returns.

    Raises:
        FileExistsError: something is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace_private_file(path: Path, content: bytes) -> None:
    """Put *content* in the place of *path*: a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        create_private_file(temporary, content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring the entries of folder *path* to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
