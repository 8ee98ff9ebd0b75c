"""Unmodified applications on a cluster, through ``redoubt submit``, as people type it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.spark.cluster.running import Cluster, files_below
from tests.spark.cluster.small import cluster_python

pytestmark = pytest.mark.spark

APPLICATION = """
import json, os, sys
from pyspark.sql import SparkSession, functions as F
from helper import grown

source, target = sys.argv[1:]
spark = SparkSession.builder.appName("ages").getOrCreate()
people = spark.read.csv(source, header=True, inferSchema=True)
people.groupBy("city").agg(F.sum("age").alias("age")).write.parquet(target)
older = F.udf(grown, "long")
rows = spark.read.parquet(target).select("city", older("age").alias("age")).orderBy("city").collect()
where = spark.sparkContext.parallelize(range(8), 4).map(lambda _: os.environ["REDOUBT_ENDPOINT"]).distinct().collect()
print(json.dumps({"rows": [list(it) for it in rows], "own": os.environ["REDOUBT_ENDPOINT"], "executors": where}))
spark.stop()
sys.exit(7)
"""
HELPER = "def grown(age):\n    return age + 1\n"
PEOPLE: list[tuple[str, str, int]] = [(f"name-{it}", ("Bergen", "Malmö")[it % 2], 20 + it % 30) for it in range(400)]
ROWS = [[city, sum(age for _, its, age in PEOPLE if its == city) + 1] for city in ("Bergen", "Malmö")]
STATUS = 7
OPTIONS = ("--executor-memory", "512m", "--conf", "spark.sql.shuffle.partitions=2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("joined")
    made = Cluster(cluster_python(tmp_path_factory.mktemp("python") / "p"), folder)
    made.redoubt("init", ".")
    (folder / "ages.py").write_text(APPLICATION)
    (folder / "helper.py").write_text(HELPER)
    for part in range(2):
        (folder / "people").mkdir(exist_ok=True)
        lines = [f"{name},{city},{age}" for name, city, age in PEOPLE[part * 200 :][:200]]
        (folder / f"people/{part}.csv").write_text("\n".join(["name,city,age", *lines, ""]))
    made.redoubt("seal", "people", "people.sealed")
    made.redoubt("cluster", "up", "--workers", "2", "--port", "0")
    try:
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.redoubt("cluster", "down")


def test_unmodified_application_reads_and_writes_sealed_data_on_the_cluster(cluster: Cluster) -> None:
    folder = cluster.folder
    words = ("submit", "--master", cluster.state.master, *OPTIONS, "--py-files", "helper.py")
    said = cluster.redoubt(*words, "ages.py", str(folder / "people.sealed"), str(folder / "ages"), status=STATUS)
    found = json.loads(next(it for it in said.splitlines() if it.startswith('{"rows"')))
    assert found["rows"] == ROWS
    assert len(found["executors"]) == 2
    assert found["own"] not in found["executors"]  # data keys come from the executors' own agents
    assert "SIMULATED receipt" in said
    for path, content in files_below(folder / "ages"):
        assert b"Bergen" not in content, path
