"""Runs examples under ``spark-submit`` and under ``redoubt submit``, in batches that share a JVM or one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyspark
from tests.examples.folder import prepare
from tests.examples.table import Example

BATCH = Path(__file__).with_name("batch.py")
#: The same for both: small machines, small data. A UI would only take a port, code that runs once need not be compiled
#: twice, and what is compiled once needs larger stacks.
_CONF = {
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss8m",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.log.level": "ERROR",
}
#: Examples write to datasets that do not exist yet, and read Parquet files that Redoubt did not write.
_PLAINTEXT = "spark.hadoop.redoubt.plaintext"
#: For one example; the slowest takes half a minute on a quiet machine.
SECONDS = 600.0


class Way(StrEnum):
    """What an example is started with."""

    PLAIN = "spark-submit"
    REDOUBT = "redoubt submit"


@dataclass(frozen=True, slots=True)
class Result:
    """How an example ended."""

    status: int
    stdout: str
    seconds: float


Both = Mapping[Way, Result]


def command(way: Way, *, options: Sequence[str] = ()) -> list[str]:
    """Return the command line up to the application."""
    conf = _CONF | ({_PLAINTEXT: "allow"} if way is Way.REDOUBT else {})
    settings = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    if way is Way.REDOUBT:
        start = [sys.executable, "-m", "redoubt.cli.main", "submit", "--allow", _PLAINTEXT]
    else:
        start = [str(Path(pyspark.__file__).parent / "bin/spark-submit")]
    return [*start, "--master", "local[2]", *settings, *options]


def run(way: Way, words: Sequence[str], *, folder: Path, seconds: float = SECONDS) -> Result:
    """Run one application in *folder*, which is prepared unless it exists."""
    if not folder.exists():
        folder.mkdir(parents=True)
        prepare(folder)
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    environment.pop("REDOUBT_WORKSPACE", None)
    environment["XDG_STATE_HOME"] = str(folder.parent / "state")
    began = time.monotonic()
    done = subprocess.run(
        [*command(way), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    took = time.monotonic() - began
    (folder.parent / f"{folder.name}.log").write_bytes(done.stderr)
    return Result(done.returncode, done.stdout.decode(errors="replace"), took)


def run_alone(example: Example, *, folder: Path) -> Both:
    """Run one example as a program of its own, both ways: the commands that a user types."""
    words = [str(example.path), *example.arguments]
    with ThreadPoolExecutor(len(Way)) as pool:
        return dict(zip(Way, pool.map(lambda way: run(way, words, folder=folder / way.name.lower()), Way), strict=True))


def run_batch(examples: Sequence[Example], *, folder: Path) -> dict[str, Both]:
    """Run *examples* on one JVM for each way, and return their results by name, without those whose JVM ended early."""
    with ThreadPoolExecutor(len(Way)) as pool:
        found = dict(zip(Way, pool.map(lambda way: _batch(way, examples, folder=folder), Way), strict=True))
    names = [it.name for it in examples if all(it.name in found[way] for way in Way)]
    return {name: {way: found[way][name] for way in Way} for name in names}


def _batch(way: Way, examples: Sequence[Example], *, folder: Path) -> dict[str, Result]:
    place = folder / way.name.lower()
    folder.mkdir(parents=True, exist_ok=True)
    tasks, results = (folder / f"{place.name}.{it}" for it in ("tasks", "results"))
    tasks.write_text(json.dumps({it.name: [str(it.path), *it.arguments] for it in examples}))
    results.unlink(missing_ok=True)
    words = [str(BATCH), str(tasks), str(results), str(SECONDS)]
    whole = run(way, words, folder=place, seconds=SECONDS * len(examples))
    lines = results.read_text().splitlines() if results.exists() else []
    found = {it["name"]: Result(it["status"], it["stdout"], it["seconds"]) for it in map(json.loads, lines)}
    if len(found) != len(examples):
        print(f"{way}: a batch ended with {whole.status} after {len(found)} examples:\n{whole.stdout[-2000:]}")
    return found
