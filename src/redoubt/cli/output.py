"""What the command prints: results on stdout, talk on stderr.

With ``--json`` stdout carries exactly one JSON object, be it the result or the error. Tables are drawn by Rich only on
a terminal; elsewhere they are tab-separated lines with a header. Nothing but a terminal ever gets a colour, and no
control character of a file name or error reaches one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from redoubt.errors import KeyError_, RedoubtError, SealedError

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class Output:
    """The two streams of one command."""

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def result(self, data: Mapping[str, Json], *, text: str = "") -> None:
        """Print the result of the command: *data* with ``--json``, else *text* unless it is empty."""
        if self.json:
            print(json.dumps(data))
        elif text:
            print(printable(text))

    def table(
        self, data: Mapping[str, Json], *, columns: Sequence[str], rows: Sequence[Sequence[object]], heading: str = ""
    ) -> None:
        """Print a result that is a table: *data* with ``--json``, else *heading*, and *rows* under *columns*."""
        self.result(data, text=heading)
        if self.json:
            return
        cells = [[printable(str(cell), keep="") for cell in row] for row in rows]
        if not is_terminal(sys.stdout):
            for line in (list(columns), *cells):
                print("\t".join(line))
            return
        from rich import box  # Rich costs a tenth of a second, which only a table on a terminal is worth
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD)
        for column in columns:
            table.add_column(column, overflow="fold")  # never cut: a half-shown key name is a wrong one
        for line in cells:
            table.add_row(*line)
        Console(markup=False, highlight=False, emoji=False).print(table)

    def clear(self) -> None:
        """Make room on a terminal for a result that takes the place of the last one."""
        if not self.json and is_terminal(sys.stdout):
            print("\x1b[H\x1b[2J", end="", flush=True)

    def say(self, text: str) -> None:
        """Tell the person at the terminal something that is not the result."""
        print(printable(text), file=sys.stderr)

    def error(self, error: RedoubtError) -> None:
        """Explain *error* on stderr, and with ``--json`` also as the one object on stdout."""
        self.failure(failure_of(error), text=error.explain())

    def failure(self, failure: Mapping[str, Json], *, text: str) -> None:
        """Print a failure as :meth:`error` does, from its parts."""
        self.say(f"redoubt: {text}")
        if self.json:
            print(json.dumps({"error": failure}))


def failure_of(error: RedoubtError) -> dict[str, Json]:
    """Return *error* as the object that ``--json`` prints."""
    return {"code": error.code, "what": error.what, "cause": error.why, "next": error.hint or error.next_step}


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put *path* before what is wrong with sealed data or its key, unless the error begins with it already."""
    try:
        yield
    except (SealedError, KeyError_) as error:
        if error.what.startswith((f"{path}:", f"{path} ")):
            raise
        raise type(error)(f"{path}: {error.what}", hint=error.hint, why=error.why) from error


def counted(count: int, noun: str) -> str:
    """Return ``1 part``, ``2 parts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person reads *stream*, and colours and moving bars are welcome."""
    return stream.isatty()


def printable(text: str, *, keep: str = "\n") -> str:
    """Return *text* with every control or undecodable character but those in *keep* as a backslash escape."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )
