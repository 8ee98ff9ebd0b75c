"""Generate TPC-H tables with ``tpchgen-cli``.

Decides: where the generator is looked for, how its files are laid out (``<directory>/<table>/<table>.<part>.<format>``
whatever the number of parts, so that a table is always one directory), and that a data set is all or nothing: it is
generated beside its destination and moved there when complete. Parquet is written with Snappy, Spark's own default,
so that sizes and times compare with what Spark writes.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from redoubt.errors import AlreadyExists, UsageError, WorkloadError
from redoubt.workloads.tpch.schema import FORMATS, TABLES, Format, require_scale

_DISTRIBUTION: Final = "tpchgen-cli"
_PARQUET_COMPRESSION: Final = "SNAPPY"
# Enough for the largest scale factor at 10 GB a file; a typing error must not make millions of files.
_MAX_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """Generated TPC-H tables: where they are and what they are. Creating one touches no file."""

    directory: Path
    scale: float
    format: Format

    def table_directory(self, table: str) -> Path:
        """Return the directory that holds the files of ``table`` and nothing else.

        Raises:
            UsageError: TPC-H has no such table.
        """
        if table not in TABLES:
            raise UsageError(f"TPC-H has no table {table!r}; its tables are {', '.join(TABLES)}")
        return self.directory / table

    def table_files(self, table: str) -> tuple[Path, ...]:
        """Return the files of ``table`` that exist now, in no particular order of rows.

        Raises:
            UsageError: TPC-H has no such table.
        """
        return tuple(sorted(self.table_directory(table).glob(f"{table}.*.{self.format}")))

    def size(self) -> int:
        """Return the bytes that all tables take."""
        return sum(file.stat().st_size for table in TABLES for file in self.table_files(table))


def find_generator() -> Path:
    """Return the ``tpchgen-cli`` program.

    The one installed with the running interpreter is preferred: its directory is often not on PATH, and another one
    on PATH may be a version that writes other types.

    Raises:
        WorkloadError: it is not installed.
    """
    for candidate in (*_installed_programs(), _scripts_program()):
        if candidate.is_file():
            return candidate
    on_path = shutil.which(_DISTRIBUTION)
    if on_path is not None:
        return Path(on_path)
    raise WorkloadError(f"the TPC-H generator, {_DISTRIBUTION}, is not installed")


def generate(
    directory: Path,
    *,
    scale: float,
    format: Format,  # noqa: A002 -- Spark's readers and writers call it format as well
    parts: int = 1,
    threads: int | None = None,
) -> Dataset:
    """Generate the eight tables below ``directory``, each as ``parts`` files, and return what was generated.

    ``directory`` must be absent or empty. The same arguments always give the same rows. nation and region are always
    one file. ``threads`` is how many processors to use, all of them if None.

    Raises:
        UsageError: an argument is out of range.
        AlreadyExists: ``directory`` is a file, or holds something.
        WorkloadError: the generator is missing or failed, or ``directory`` cannot be written. Nothing is left behind.
    """
    _require_arguments(scale=scale, file_format=format, parts=parts, threads=threads)
    generator = find_generator()
    try:
        # The generator itself skips files that exist and reports success, so a second run with another scale would
        # leave tables of two scales behind.
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise AlreadyExists(
                f"{directory} is not an empty directory", hint="Name a directory that is empty or does not exist yet."
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as staging:
            staged = Dataset(Path(staging) / "tables", scale, format)
            _run(generator, staged, parts=parts, threads=threads)
            if directory.exists():
                directory.rmdir()
            staged.directory.rename(directory)
    except OSError as error:
        raise WorkloadError(f"cannot generate TPC-H tables in {directory}: {error}") from error
    return Dataset(directory, scale, format)


def _require_arguments(*, scale: float, file_format: str, parts: int, threads: int | None) -> None:
    require_scale(scale)
    if file_format not in FORMATS:
        raise UsageError(f"unknown format {file_format!r}; the formats are {', '.join(FORMATS)}")
    if not 1 <= parts <= _MAX_PARTS:
        raise UsageError(f"the number of parts must be between 1 and {_MAX_PARTS}, not {parts}")
    if threads is not None and threads < 1:
        raise UsageError(f"the number of threads must be at least 1, not {threads}")


def _installed_programs() -> list[Path]:
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.stem == _DISTRIBUTION]


def _scripts_program() -> Path:
    return Path(sysconfig.get_path("scripts")) / f"{_DISTRIBUTION}{sysconfig.get_config_var('EXE') or ''}"


def _run(generator: Path, staged: Dataset, *, parts: int, threads: int | None) -> None:
    command = [str(generator), staged.format, f"--scale-factor={staged.scale}", f"--output-dir={staged.directory}"]
    command += [f"--parts={parts}", "--quiet"]
    if threads is not None:
        command.append(f"--num-threads={threads}")
    if staged.format == "parquet":
        command.append(f"--compression={_PARQUET_COMPRESSION}")
    outcome = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if outcome.returncode != 0:
        said = outcome.stderr.strip() or "it said nothing"
        raise WorkloadError(f"{generator} failed with exit status {outcome.returncode}: {said}")
    missing = [table for table in TABLES if not staged.table_files(table)]
    if missing:
        raise WorkloadError(f"{generator} reported success but wrote no file for {', '.join(missing)}")
