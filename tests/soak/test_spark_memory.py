"""Flat memory: the Data Source over a large sealed csv against Spark's own reader over the plain one.

Compared is the peak of the sum, over the driver's Python, its JVM and the Python workers, of the proportional set size
(``Pss`` of ``/proc/PID/smaps_rollup``): resident memory in which pages that forked workers share are counted once. Both
programs have the same ``-Xmx``. ``REDOUBT_SOAK_GIB`` (default 10) is the size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.soak.processes import PeakMemory, kill_session

from redoubt.keys.workspace import Workspace
from redoubt.sealed.transfer import seal_folder

pytestmark = pytest.mark.soak

GIB = 1024**3
MIB = 1024**2
SIZE = int(os.environ.get("REDOUBT_SOAK_GIB", "10")) * GIB
ALLOWED = 512 * MIB
HEAP = "2g"
BLOCK_LINES = 200_000
DDL = "id bigint, name string, amount decimal(12,2), day date, share double, valid boolean, note string"
#: Every column is parsed and goes into the answer, which both programs must agree on.
AGGREGATE = (
    "count(*)",
    "sum(id)",
    "sum(length(name))",
    "sum(amount)",
    "max(day)",
    "max(share)",
    "count_if(valid)",
    "sum(length(note))",
    "count(note)",
)

#: Prints the answer. A session without sealed data is made as anyone makes one.
PROGRAM = f"""
import sys
kind, path, workspace = sys.argv[1:]
conf = {{
    "spark.driver.memory": "{HEAP}",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}}
if kind == "sealed":
    import redoubt.spark
    spark = redoubt.spark.session("memory", workspace=workspace, master="local[2]", conf=conf)
    reader = spark.read.format("sealed").option("format", "csv")
else:
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.master("local[2]").config(map=conf).getOrCreate()
    reader = spark.read.format("csv")
frame = reader.option("header", "true").schema({DDL!r}).load(path)
print("answer", *frame.selectExpr(*{AGGREGATE!r}).collect()[0])
spark.stop()
"""


def block() -> bytes:
    """Lines of every type, with quotes and nulls."""
    return b"".join(
        b'%d,"name, %d",%d.%02d,2026-%02d-%02d,%d.5e-3,%s,%s\n'
        % (
            number,
            number * 7919,
            number % 90_000,
            number % 100,
            number % 12 + 1,
            number % 28 + 1,
            number % 999,
            b"true" if number % 3 else b"false",
            b"text %x " % (number * 2654435761 % 2**32) * (number % 5),
        )
        for number in range(BLOCK_LINES)
    )


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plain csv: one file of SIZE bytes or a little more."""
    path = tmp_path_factory.mktemp("large") / "rows.csv"
    lines = block()
    with path.open("wb") as file:
        file.write(b"id,name,amount,day,share,valid,note\n")
        while file.tell() < SIZE:
            file.write(lines)
    return path


def measured(kind: str, path: Path, keys: Workspace) -> tuple[str, PeakMemory]:
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(path), str(keys.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with PeakMemory(process.pid) as peak:
            output, errors = process.communicate(timeout=3600)
    finally:
        kill_session(process.pid)
    assert process.returncode == 0, errors[-5000:]
    made_up = ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in sorted(peak.by_kind.items()))
    print(
        f"{kind} csv of {SIZE / GIB:.0f} GiB: peak {peak.total / MIB:.0f} MiB ({made_up}), "
        f"{time.monotonic() - start:.0f} s, {peak.samples} samples"
    )
    (answer,) = [line for line in output.splitlines() if line.startswith("answer")]
    return answer, peak


def test_sealed_csv_takes_no_more_memory_than_plain_and_512_mib(csv: Path, workspace: Workspace) -> None:
    sealed = csv.parent / "sealed"
    seal_folder([(csv, csv.name)], str(sealed), keys=workspace)
    expected, plain_peak = measured("plain", csv, workspace)
    csv.unlink()
    answer, sealed_peak = measured("sealed", sealed, workspace)
    assert answer == expected
    assert min(plain_peak.samples, sealed_peak.samples) > 20, "too few samples to see a peak"
    assert sealed_peak.by_kind["Python"] > 50 * MIB, "no worker was seen"
    assert sealed_peak.total <= plain_peak.total + ALLOWED
