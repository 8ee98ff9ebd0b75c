"""Progress on stderr: a bar with rate and time left, or a turning mark, on a terminal; elsewhere one line at most."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from redoubt.cli.output import is_terminal

#: What takes less is not worth a line.
_SILENT_SECONDS: Final = 2.0


@contextmanager
def waiting(what: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Show that *what* goes on: a turning mark on a terminal, elsewhere *say* one line if it takes long."""
    if is_terminal(sys.stderr):
        from rich.console import Console

        with Console(stderr=True, markup=False).status(f"{what}…"):
            yield
        return
    timer = threading.Timer(_SILENT_SECONDS, say, [f"{what}…"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def bytes_bar(what: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many bytes were done since its last call. *total* is None if unknown."""
    if quiet or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
