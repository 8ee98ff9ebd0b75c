"""Writes the pages that are derived from code: ``errors.md``, ``cli.md``, ``tee-tables.md``, ``openapi.json``.

python docs/generate.py            # write them
python docs/generate.py --check    # exit 1 if one is out of date (also a test)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from redoubt import errors
from redoubt.errors import ExitStatus, RedoubtError

DOCS = Path(__file__).parent
_STATUS_MEANING = {
    ExitStatus.OK: "done",
    ExitStatus.INTERNAL: "a fault of Redoubt; report it",
    ExitStatus.USAGE: "the command line is wrong, or names what does not exist or exists already",
    ExitStatus.REFUSED: "refused: not authentic, not complete, not the expected, or not allowed",
    ExitStatus.KEY: "a key is unknown, disabled, destroyed or still needed",
    ExitStatus.STORAGE: "the file system or object store failed",
    ExitStatus.CONFLICT: "someone else was first; run it again",
    ExitStatus.ENVIRONMENT: "workspace, Java, a library or the key endpoint is missing",
    ExitStatus.INTERRUPTED: "interrupted by Ctrl-C",
    ExitStatus.BROKEN_PIPE: "the reader of stdout went away",
}


def errors_page() -> str:
    """Return ``docs/errors.md``: every class of the exception tree, by code."""
    lines = [
        "# Errors",
        "",
        "Every error has a code. It stands in square brackets before the text, in Python, Java and on the command",
        "line, and as `urn:redoubt:error:<code>` in answers of the key endpoint. Written by `docs/generate.py`.",
    ]
    for code, cls in sorted(errors.by_code().items()):
        if cls is RedoubtError:
            continue
        lines += [
            "",
            f"## `{code}`",
            "",
            (cls.__doc__ or "").splitlines()[0],
            "",
            f"- **Why:** {cls.cause}",
            f"- **Next:** {cls.next_step}",
            f"- Exit status {cls.exit_status.value}, `redoubt.errors.{cls.__name__}`",
        ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return ``docs/cli.md``: exit statuses, and the help text of every command as the command prints it."""
    lines = [
        "# The `redoubt` command",
        "",
        "Results go to stdout, everything else to stderr. `--json` prints exactly one JSON object, also for errors.",
        "Where stdout belongs to something else, it carries no object but an error's: to the program of `agent exec`,",
        "`run` and `submit`, and to the data where DST of `seal` or `unseal` is `-`.",
        "Shell completion: `redoubt --install-completion`. Written by `docs/generate.py` from the commands' own help.",
        "",
        "| exit status | meaning |",
        "|---|---|",
        *(f"| {status.value} | {_STATUS_MEANING[status]} |" for status in ExitStatus),
        "",
        "`redoubt evidence verify` has a contract of its own, for comparison with other verifiers: 0 accepted,",
        "1 rejected, 2 usage.",
        "",
        "Environment: `REDOUBT_WORKSPACE` (default of `--workspace`), `REDOUBT_DEBUG=1` (tracebacks),",
        "`REDOUBT_ENDPOINT` (set by Redoubt for programs: where the key endpoint is).",
    ]
    for command in _commands():
        title = " ".join(("redoubt", *command))
        lines += ["", f"## {title}", "", "```text", help_of(command), "```"]
    return "\n".join(lines) + "\n"


def help_of(command: tuple[str, ...]) -> str:
    """Return what ``redoubt COMMAND --help`` prints, 100 columns wide, without trailing spaces."""
    environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    arguments = [sys.executable, "-m", "redoubt.cli.main", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def _commands() -> Iterator[tuple[str, ...]]:
    from typer.main import get_command

    from redoubt.cli.main import COMMANDS, app

    root = get_command(app)
    yield ()
    for name in COMMANDS:
        yield (name,)
        found = root.get_command(None, name)  # type: ignore[attr-defined]
        for child in getattr(found, "commands", {}):
            yield (name, child)


def openapi_page() -> str:
    """Return ``docs/openapi.json``: what a broker serves as ``/openapi.json``."""
    import json

    from redoubt.broker.metrics import Metrics
    from redoubt.broker.openapi import openapi_document
    from redoubt.broker.service import Service
    from redoubt.broker.table import make_routes

    routes = make_routes(Service(core=None, verifiers={}, metrics=Metrics()))  # type: ignore[arg-type]  # never called
    return json.dumps(openapi_document(routes), indent=1) + "\n"


def tee_page() -> str:
    """Return ``docs/tee-tables.md``: the seeds' sizes, and what becomes of each of their knobs."""
    from redoubt.tee import knobs, seed_sizes

    return "\n".join(
        [
            "# Sizes and settings of BigDL PPML's instructions",
            "",
            "Written by `docs/generate.py` from `redoubt.tee`; what the words mean stands in [tee.md](tee.md).",
            "",
            "## Sizes",
            "What the instructions give each role, whether it fits, and what `redoubt tee size` chooses. The heap is",
            "Spark's; *EPC* counts every enclave of the role on one machine. Estimates, not measured in an enclave.",
            "",
            seed_sizes.table(),
            "",
            "## Settings",
            "*Accepted*: `redoubt tee size` reads the name from the environment. *Mapped*: something else of Redoubt's",
            "does it. *Refused*: nothing does, on purpose.",
            "",
            knobs.table(),
            "",
        ]
    )


PAGES = {"errors.md": errors_page, "cli.md": cli_page, "tee-tables.md": tee_page, "openapi.json": openapi_page}


def main() -> int:
    """Write or check the pages; return the exit status."""
    stale = []
    for name, make in PAGES.items():
        path, content = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(content, encoding="utf-8")
    print("out of date: " + ", ".join(stale) if stale else "up to date")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
