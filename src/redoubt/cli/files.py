"""Files that a command was told to read or write: bounded, and with errors that name them."""

from __future__ import annotations

from pathlib import Path

from redoubt.errors import NotFound, UsageError


def read_file(path: Path, *, limit: int, make: str | None = None) -> bytes:
    """Return the content of *path*; raises NotFound, or UsageError if it cannot be read or is longer than *limit*.

    *make* is the next step where there is no such file: how to make one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint=make) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes")
    return content


def write_file(path: Path, content: bytes, *, replace: bool, mode: int = 0o666) -> None:
    """Write *path* whole or not at all; raises AlreadyExists unless *replace*, or StorageError."""
    from redoubt.sealed.local import AtomicFile

    file = AtomicFile(path, replace=replace, mode=mode)
    try:
        file.write(content)
    except BaseException:
        file.abort()
        raise
    file.finish()
