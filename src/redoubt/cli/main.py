"""The ``redoubt`` command: its groups, and what its errors look like.

A :class:`RedoubtError` is explained in three lines on stderr and becomes its exit status; a usage error is one of
them. Anything else is a fault of Redoubt and becomes one line that names where it happened, without the error's text,
which could carry data; ``--debug`` or ``REDOUBT_DEBUG=1`` shows the traceback.

Command groups are loaded when they are named: a new one is one line in :data:`COMMANDS`.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from redoubt import __version__
from redoubt.cli.output import Output
from redoubt.cli.session import (
    DebugOption,
    JsonOption,
    PassphraseDescriptorOption,
    PassphraseFileOption,
    SharedOptions,
    help_hint,
)
from redoubt.errors import ExitStatus, RedoubtError, StorageError, UsageError

#: Command or group → the module (and the name in it, if not ``app``) of its Typer app. Heavy imports belong inside the
#: commands' functions.
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "init": "redoubt.cli.init",
        "keys": "redoubt.cli.keys",
        "seal": "redoubt.cli.seal",
        "unseal": "redoubt.cli.unseal",
        "verify": "redoubt.cli.verify:verify_app",
        "inspect": "redoubt.cli.verify:inspect_app",
        "rewrap": "redoubt.cli.verify:rewrap_app",
        "gc": "redoubt.cli.verify:gc_app",
        "register": "redoubt.cli.register:app",
        "evidence": "redoubt.cli.evidence",
        "attest": "redoubt.cli.attest",
        "run": "redoubt.cli.run",
        "submit": "redoubt.cli.submit",
        "conf": "redoubt.cli.conf",
        "agent": "redoubt.cli.agent",
        "manifest": "redoubt.cli.manifest",
        "explain": "redoubt.cli.explain",
        "broker": "redoubt.cli.broker",
        "audit": "redoubt.cli.audit",
        "receipt": "redoubt.cli.receipt",
        "cluster": "redoubt.cli.cluster",
        "certs": "redoubt.cli.certs",
        "tee": "redoubt.cli.tee",
        "doctor": "redoubt.cli.doctor",
        "tpch": "redoubt.cli.tpch",
        "import-ppml": "redoubt.cli.import_ppml",
        "compat": "redoubt.cli.compat",
    }
)


#: Typer's names for numbers, and what people call them.
_NUMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a valid int range": "a whole number",
        "a valid integer": "a whole number",
        "a valid float range": "a number",
        "a valid float": "a number",
    }
)


class _LazyGroup(TyperGroup):
    # Typer has no public names for the types of contexts and commands.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name].partition(":")
            loaded = get_command(getattr(importlib.import_module(module), name or "app"))
            loaded.name = cmd_name
            self.commands[cmd_name] = loaded
        return self.commands.get(cmd_name)


app = typer.Typer(
    name="redoubt",
    cls=_LazyGroup,
    help="Run unmodified Spark, Python and ML programs on machines you do not trust.",
    epilog="Example: redoubt init && redoubt seal data/ sealed/ && redoubt verify sealed/",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"redoubt {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    context: typer.Context,
    *,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", metavar="DIR", envvar="REDOUBT_WORKSPACE", help="The workspace."),
    ] = None,
    json: JsonOption = False,
    passphrase_file: PassphraseFileOption = None,
    passphrase_fd: PassphraseDescriptorOption = None,
    debug: DebugOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    context.obj = SharedOptions(workspace, json, passphrase_file, passphrase_fd, debug)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line *arguments* (default: the process's) and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(json=_has_flag(given, "--json"))
    debug = _has_flag(given, "--debug") or os.environ.get("REDOUBT_DEBUG", "") not in ("", "0")
    _open_streams()
    try:
        status = _run(given)
        _flush_stdout()
    except BrokenPipeError:
        _silence_stdout()
        return ExitStatus.BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        output.say("redoubt: interrupted")
        return ExitStatus.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing may end in a raw traceback
        if debug:
            traceback.print_exc()
        try:
            status = _report(output, error)
            _flush_stdout()
        except BrokenPipeError:
            _silence_stdout()
            return ExitStatus.BROKEN_PIPE
        except (OSError, StorageError):  # a full disk behind stdout: stderr has the error, unless it is there too
            _silence_stdout()
            return ExitStatus.STORAGE
    return status


def _run(arguments: list[str]) -> int:
    root = get_command(app)
    if "_REDOUBT_COMPLETE" in os.environ:
        root.main(prog_name="redoubt")  # the shell asks for completions: typer answers and exits
    # Not `root.main(...)`: it would answer some errors itself, each in its own way.
    try:
        with root.make_context("redoubt", arguments or ["--help"]) as context:
            root.invoke(context)
    except typer.Exit as finished:
        return finished.exit_code
    return ExitStatus.OK


def _report(output: Output, error: Exception) -> int:
    """Print *error* and return the exit status for it."""
    if isinstance(error, typer.TyperException):
        context: Any = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "redoubt"
        text = re.sub(r"\s*\n\s*", " ", error.format_message())
        for typers, ours in _NUMBERS.items():
            text = text.replace(typers, ours)
        error = UsageError(text, hint=help_hint(path))
    elif isinstance(error, OSError):
        error = StorageError(str(error))
    if isinstance(error, RedoubtError):
        output.error(error)
        return error.exit_status
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "an unknown place"
    what = f"internal error: {type(error).__name__} in {where}"
    next_step = "Run it again with --debug and report the traceback."
    failure = {"code": "internal", "what": what, "cause": "A fault of Redoubt.", "next": next_step}
    output.failure(failure, text=f"{what}. {next_step}")
    return ExitStatus.INTERNAL


def _has_flag(arguments: list[str], flag: str) -> bool:
    return flag in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _open_streams() -> None:
    """Make both streams take any text, and a closed one (``>&-``) the null device, as cat and grep do."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"stdout cannot be written: {error.strerror}") from error


def _silence_stdout() -> None:
    # The interpreter flushes stdout once more on its way out, and would complain about the pipe or the disk.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
