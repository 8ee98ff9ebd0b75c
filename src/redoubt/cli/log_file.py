"""A copy of stderr in a private file: the engine's log, which may hold what the program computes with."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redoubt.errors import StorageError
from redoubt.keys.private import FILE_MODE

_BLOCK = 64 * 1024


@contextmanager
def copied_to(path: Path) -> Iterator[None]:
    """Write what this process and its children write to stderr to *path* too, which is made anew with mode 0600.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise StorageError(f"the log {path} cannot be written: {error.strerror}") from None
    kept = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    thread = threading.Thread(target=_copy, args=(reading, (kept, log)), name="redoubt-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(kept, 2)  # the last of our own that writes into the pipe
        thread.join(timeout=5.0)  # what a child left running holds it open
        for descriptor in (kept, log):
            os.close(descriptor)


def _copy(reading: int, targets: tuple[int, int]) -> None:
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while block := pipe.read(_BLOCK):
            for target in targets:
                view = memoryview(block)
                while view:
                    view = view[os.write(target, view) :]
