"""The JVM and the register of heads (H6, H24): what unmodified Parquet reads refuse, what native writes register."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: A session of its own, whose keys come from a source with a register. Prints what became of each step as JSON.
PROGRAM = """
import json, shutil, sys
from pathlib import Path
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from tests.sealed.test_freshness import Registering, forge
import redoubt.spark
from redoubt.keys.register import CommitHead
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset

folder = Path(sys.argv[1])
workspace = Workspace.init(folder)
keys = Registering(workspace)
spark = redoubt.spark.session("register", keys=keys, master="local[2]", conf={"spark.log.level": "OFF"})
table, first, second = folder / "table", folder / "first", folder / "second"

def outcome(step):
    try:
        return step()
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        return text[text.index("[broker."):].partition("]")[0] + "]" if "[broker." in text else text[:2000]

def count():
    return spark.read.parquet(str(table)).count()

def append(rows):
    spark.range(rows).write.mode("append").parquet(str(table))

def put_back(saved):
    shutil.rmtree(table)
    shutil.copytree(saved, table)

def dataset_head():
    newest = Dataset.open(str(table), keys=workspace)
    return CommitHead(newest.head.commit.number, newest.commit_digest)

found = {}
append(10)
dataset = Dataset.open(str(table), keys=keys)
known = keys.registered_head(dataset.id)
found["created"] = [known.number, known.digest == dataset.commit_digest]
shutil.copytree(table, first)
append(5)
found["appended"] = [keys.registered_head(dataset.id).number, count()]
shutil.copytree(table, second)
put_back(first)
found["rolled back, read"] = outcome(count)
found["rolled back, appended to"] = outcome(lambda: append(1))
newest = keys._heads.pop(dataset.id)
append(7)
keys._heads[dataset.id] = newest
found["forked, read"] = outcome(count)
put_back(second)
keys._heads[dataset.id] = known
found["register behind"] = outcome(count)
append(1)
found["caught up"] = [keys.registered_head(dataset.id).number, outcome(count)]
keys._heads[dataset.id] = type(newest)(9, newest.digest)
found["rolled back, read after it was read"] = outcome(count)
keys._heads[dataset.id] = dataset_head()
saved = dataset_head()
for name, number in (("beside", 1), ("before", 0)):  # what storage showed another writer, who registered it meanwhile
    shutil.rmtree(second)
    shutil.copytree(table, second)
    announce = type(keys).announce_head
    def meanwhile(dataset_id, head):
        announce(keys, dataset_id, head)
        keys._heads[dataset_id] = CommitHead(saved.number + number, "sha256:" + 64 * "0")
    keys.announce_head = meanwhile
    found[f"another history, {name}"] = outcome(lambda: append(1))
    del keys.announce_head
    found[f"another history, {name}, registered"] = keys.registered_head(dataset.id).digest == "sha256:" + 64 * "0"
    put_back(second)
    keys._heads[dataset.id] = saved
forge(table, workspace)
found["forged, read"] = outcome(count)
found["forged, appended to"] = outcome(lambda: append(1))
found["forged, registered"] = keys.registered_head(dataset.id).number
redoubt.spark.stop(spark)
print("found", json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("register"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(it for it in done.stdout.splitlines() if it.startswith("found "))
    result: dict[str, object] = json.loads(line.removeprefix("found "))
    return result


pytestmark = pytest.mark.spark


def test_native_writes_register_their_commits(found: dict[str, object]) -> None:
    assert found["created"] == [1, True]
    assert found["appended"] == [2, 15]


def test_rolled_back_table_is_refused_by_an_unmodified_read(found: dict[str, object]) -> None:
    assert found["rolled back, read"] == "[broker.rollback]"


def test_rolled_back_table_is_refused_although_this_jvm_read_it_before(found: dict[str, object]) -> None:
    assert found["rolled back, read after it was read"] == "[broker.rollback]"


def test_rolled_back_table_is_not_appended_to(found: dict[str, object]) -> None:
    assert found["rolled back, appended to"] == "[broker.rollback]"


def test_forked_table_is_refused_by_an_unmodified_read(found: dict[str, object]) -> None:
    assert found["forked, read"] == "[broker.rollback]"


def test_register_that_lags_behind_is_no_rollback_and_catches_up(found: dict[str, object]) -> None:
    assert found["register behind"] == 15
    assert found["caught up"] == [3, 16]


@pytest.mark.parametrize("name", ["beside", "before"])
def test_commit_beside_what_others_were_shown_and_registered_is_not_acknowledged(
    found: dict[str, object], name: str
) -> None:
    assert found[f"another history, {name}"] == "[broker.rollback]"
    assert found[f"another history, {name}, registered"] is True


def test_commit_forged_by_a_reader_is_refused(found: dict[str, object]) -> None:
    assert found["forged, read"] == "[broker.unannounced]"
    assert found["forged, appended to"] == "[broker.unannounced]"
    assert found["forged, registered"] == 3
