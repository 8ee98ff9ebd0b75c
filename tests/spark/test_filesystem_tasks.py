"""Tasks that die, are retried or run twice leave no wrong row in what an unmodified program writes (must show 7).

One session of its own: tasks may fail here (``local[2,3]``), and speculation is on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Prints what became of each write as JSON: rows and distinct rows by Spark's own reader, parts and attempts in the folder.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
import redoubt.spark
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.verify import verify_dataset
from pyspark import TaskContext

folder = Path(sys.argv[1])
keys = Workspace.init(folder)
conf = {
    "spark.log.level": "OFF", "spark.speculation": "true", "spark.speculation.interval": "50ms",
    "spark.speculation.multiplier": "1.01", "spark.speculation.quantile": "0.1",
    "spark.speculation.minTaskRuntime": "50ms",
}
spark = redoubt.spark.session("tasks", keys=keys, master="local[3,3]", conf=conf)
ROWS = 3000

def failing(index, rows):
    # The first attempt of partition 1 dies after it has written a part of its rows.
    first = TaskContext.get().attemptNumber() == 0
    for number, row in enumerate(rows):
        if index == 1 and first and number == 700:
            raise RuntimeError("killed")
        yield row

def slow(index, rows):
    # The first attempt of partition 1 is outrun by its speculative copy, which Spark then kills the first for.
    first = TaskContext.get().attemptNumber() == 0
    for number, row in enumerate(rows):
        if index == 1 and first and number == 700:
            time.sleep(20)
        yield row

found = {}
for name, disturb in {"failed": failing, "speculated": slow}.items():
    lines = spark.sparkContext.parallelize([f"{i},row" for i in range(ROWS)], 3).mapPartitionsWithIndex(disturb)
    for kind in ("csv", "rdd", "parquet"):
        path = folder / name / kind
        frame = lines.map(lambda line: (int(line.split(",")[0]), "row")).toDF("id bigint, name string")
        if kind == "rdd":
            lines.saveAsTextFile(str(path))
            rows = spark.sparkContext.textFile(str(path)).map(lambda line: (int(line.split(",")[0]),)).toDF("id bigint")
        else:
            frame.write.format(kind).save(str(path))
            rows = spark.read.schema("id bigint, name string").format(kind).load(str(path))
        answer = rows.selectExpr("count(*)", "count(distinct id)", "sum(id)").collect()[0]
        names = [part.name.rsplit("/", 1)[-1] for part in Dataset.open(str(path), keys=keys).parts]
        found[name + " " + kind] = {
            "answer": list(answer), "names": names, "faults": len(verify_dataset(str(path), keys=keys).faults)
        }
redoubt.spark.stop(spark)
print("found", json.dumps(found))
"""
ANSWER = [3000, 3000, sum(range(3000))]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("tasks"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    line = next(it for it in done.stdout.splitlines() if it.startswith("found "))
    result: dict[str, dict[str, object]] = json.loads(line.removeprefix("found "))
    return result


pytestmark = pytest.mark.spark


@pytest.mark.parametrize("kind", ["csv", "rdd", "parquet"])
@pytest.mark.parametrize("name", ["failed", "speculated"])
def test_an_attempt_that_dies_or_loses_leaves_no_row(found: dict[str, dict[str, object]], name: str, kind: str) -> None:
    outcome = found[f"{name} {kind}"]
    assert outcome["answer"] == ANSWER
    assert outcome["faults"] == 0


def test_the_second_attempt_is_the_one_that_is_listed(found: dict[str, dict[str, object]]) -> None:
    """Else nothing was disturbed, and the test above shows nothing."""
    for name in ("failed rdd", "speculated rdd"):
        assert found[name]["names"] == ["part-00000.sealed", "part-00001~1.sealed", "part-00002.sealed"]
