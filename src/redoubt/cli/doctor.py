"""``redoubt doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from redoubt.cli.output import Json
from redoubt.cli.session import Session, command
from redoubt.errors import EnvironmentIncomplete, RedoubtError

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was found, and whether everyone needs it (else it is an extra)."""

    name: str
    found: str
    good: bool
    needed: bool


@command(app, example="redoubt doctor --json")
def doctor(session: Session) -> None:
    """Check the installation: workspace, key providers, Java, libraries, file system.

    Exit status 7 if something needed is missing.
    """
    findings = [
        _check("workspace", lambda: str(session.workspace.state_folder), needed=False),
        *_providers(session),
        Finding("python", platform.python_version(), good=True, needed=True),
        _package("cryptography", needed=True),
        _check("java", _java, needed=False),
        _check("redoubt jar", _jar, needed=False),
        *(_package(name, needed=False) for name in ("pyspark", "pyarrow", "pandas", "duckdb", "polars", "boto3")),
        _check("unnamed temporary files", _tmpfile, needed=False),
    ]
    rows = [(it.name, "ok" if it.good else "MISSING" if it.needed else "not available", it.found) for it in findings]
    data: dict[str, Json] = {it.name: {"ok": it.good, "found": it.found, "needed": it.needed} for it in findings}
    session.output.table(data, columns=("CHECK", "STATE", "DETAIL"), rows=rows)
    missing = [it.name for it in findings if it.needed and not it.good]
    if missing:
        raise EnvironmentIncomplete(f"needed and missing: {', '.join(missing)}")


def _providers(session: Session) -> Sequence[Finding]:
    """Reach the provider of every namespace that the workspace maps."""
    try:
        workspace = session.workspace
    except RedoubtError:
        return ()  # what the check of the workspace says
    return [
        _check(f"keys of {name}: {mapping.provider}", functools.partial(workspace.probe, name), needed=True)
        for name, mapping in sorted(workspace.config.namespaces.items())
    ]


def _check(name: str, look: Callable[[], str], *, needed: bool) -> Finding:
    try:
        return Finding(name, look(), good=True, needed=needed)
    except RedoubtError as error:
        return Finding(name, f"{error.what}. {error.hint or error.next_step}", good=False, needed=needed)
    except OSError as error:
        return Finding(name, str(error), good=False, needed=needed)


def _package(name: str, *, needed: bool) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name), good=True, needed=needed)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", good=False, needed=needed)


def _java() -> str:
    from redoubt.spark.java import require_java

    return f"version {require_java()}"


def _jar() -> str:
    from redoubt.spark.jar import jar_path

    return str(jar_path())


def _tmpfile() -> str:
    os.close(os.open(Path.cwd(), os.O_TMPFILE | os.O_WRONLY, 0o600))
    return "supported here: an interrupted command leaves nothing behind"
