"""Tasks that die and are retried leave no wrong row in what an unmodified program writes (must show 7).

One session of its own, with an executor in a process of its own: parts of RDDs are reported to another JVM there. Two
attempts that both end, as speculation has them, are in ``test_filesystem.py``: Spark does not speculate where the first
attempt runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Prints what became of each write as JSON: rows and distinct rows by Spark's own reader, and the parts.
PROGRAM = """
import json, secrets, sys
from pathlib import Path
import redoubt.spark
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.verify import verify_dataset
from pyspark import TaskContext

folder = Path(sys.argv[1])
keys = Workspace.init(folder)
conf = {
    "spark.log.level": "OFF", "spark.executor.memory": "512m", "spark.driver.memory": "512m",
    "spark.authenticate.secret": secrets.token_hex(32),
}
spark = redoubt.spark.session("tasks", keys=keys, master="local-cluster[1,2,512]", conf=conf)

def failing(index, rows):
    # The first attempt of partition 1 dies after it has written a part of its rows.
    first = TaskContext.get().attemptNumber() == 0
    for number, row in enumerate(rows):
        if index == 1 and first and number == 700:
            raise RuntimeError("killed")
        yield row

found = {}
lines = spark.sparkContext.parallelize([f"{i},row" for i in range(2000)], 2).mapPartitionsWithIndex(failing)
for kind in ("csv", "rdd", "parquet"):
    path = folder / kind
    if kind == "rdd":
        lines.saveAsTextFile(str(path))
        rows = spark.read.schema("id bigint, name string").csv(str(path))
    else:
        frame = lines.map(lambda line: (int(line.split(",")[0]), "row")).toDF("id bigint, name string")
        frame.write.format(kind).save(str(path))
        rows = spark.read.schema("id bigint, name string").format(kind).load(str(path))
    answer = rows.selectExpr("count(*)", "count(distinct id)", "sum(id)").collect()[0]
    names = [part.name.rsplit("/", 1)[-1] for part in Dataset.open(str(path), keys=keys).parts]
    found[kind] = {"answer": list(answer), "names": names, "faults": len(verify_dataset(str(path), keys=keys).faults)}
redoubt.spark.stop(spark)
print("found", json.dumps(found))
"""


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
def test_an_attempt_that_dies_leaves_no_row(found: dict[str, dict[str, object]], kind: str) -> None:
    assert found[kind]["answer"] == [2000, 2000, sum(range(2000))]
    assert found[kind]["faults"] == 0


def test_the_second_attempt_is_the_one_that_is_listed(found: dict[str, dict[str, object]]) -> None:
    """Else nothing was disturbed, and the test above shows nothing."""
    assert found["rdd"]["names"] == ["part-00000.sealed", "part-00001~1.sealed"]
