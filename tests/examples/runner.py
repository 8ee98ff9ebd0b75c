"""Runs examples under ``spark-submit`` and under ``redoubt submit``, in batches that share a JVM or one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyspark
from tests.examples.folder import prepare
from tests.examples.table import Example

BATCH = Path(__file__).with_name("batch.py")
#: The same for both: small machines, small data. A UI would only take a port.
_CONF = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.log.level": "ERROR",
}
#: Examples write to datasets that do not exist yet, and read Parquet files that Redoubt did not write.
_PLAINTEXT = {"spark.hadoop.redoubt.plaintext": "allow"}
SECONDS = 4 * 3600.0


class Way(StrEnum):
    """What an example is started with."""

    PLAIN = "spark-submit"
    REDOUBT = "redoubt submit"


@dataclass(frozen=True, slots=True)
class Result:
    """How an example ended."""

    status: int
    stdout: str


def command(way: Way, *, options: Sequence[str] = ()) -> list[str]:
    """Return the command line up to the application."""
    conf = _CONF | (_PLAINTEXT if way is Way.REDOUBT else {})
    settings = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    start = [str(Path(pyspark.__file__).parent / "bin/spark-submit")]
    if way is Way.REDOUBT:
        start = [sys.executable, "-m", "redoubt.cli.main", "submit"]
    return [*start, "--master", "local[2]", *settings, *options]


def run(way: Way, words: Sequence[str], *, folder: Path, options: Sequence[str] = ()) -> Result:
    """Run one application in *folder*, which is prepared unless it exists."""
    if not folder.exists():
        folder.mkdir(parents=True)
        prepare(folder)
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("REDOUBT_WORKSPACE", None)
    environment["XDG_STATE_HOME"] = str(folder.parent / "state")
    done = subprocess.run(
        [*command(way, options=options), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    (folder.parent / f"{folder.name}.log").write_bytes(done.stderr)
    return Result(done.returncode, done.stdout.decode(errors="replace"))


def run_batch(way: Way, examples: Sequence[Example], *, folder: Path) -> dict[str, Result]:
    """Run *examples* on one JVM and return their results by name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    tasks, results = (folder.parent / f"{folder.name}.{it}" for it in ("tasks", "results"))
    tasks.write_text(json.dumps({it.name: [str(it.path), *it.arguments] for it in examples}))
    whole = run(way, [str(BATCH), str(tasks), str(results)], folder=folder)
    found = {}
    for line in results.read_text().splitlines() if results.exists() else ():
        one = json.loads(line)
        found[one["name"]] = Result(one["status"], one["stdout"])
    if len(found) != len(examples):
        raise AssertionError(
            f"the batch ended with {whole.status} after {len(found)} examples:\n{whole.stdout[-2000:]}"
        )
    return found
