"""Where an engine's own messages go while a command runs it: to a file, not between the command's lines."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def engine_log(say: Callable[[str], None]) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Yield a context manager in which processes that are started write their stderr to a private temporary file.

    Processes keep it: a JVM started inside writes there until it ends. The file is removed when the outer block ends
    well; otherwise *say* tells where it is.
    """
    descriptor, name = tempfile.mkstemp(prefix="redoubt-engine-", suffix=".log")
    try:
        yield lambda: _stderr_to(descriptor)
    except BaseException:
        say(f"the engine's own messages are in {name}")
        raise
    else:
        Path(name).unlink()
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
