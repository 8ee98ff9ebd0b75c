"""The program whose wire, files and processes are watched on a cluster: ``wire_job.py FOLDER``, for ``spark-submit``.

Ordinary PySpark, the same with and without security. FOLDER holds the input ``data``, a column for each way that data
takes. A file, a module and a jar are shipped with it. When the work is done the program waits until FOLDER/release
exists; then it tells Spark's own secrets.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import SparkConf, SparkContext, SparkFiles, StorageLevel
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812  (as the PySpark documentation does)
from spark_secrets import tell_secrets  # type: ignore[import-not-found]  # given with --py-files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

EXECUTORS = 2
SCHEMA = "id int, shuffled string, joined string, turned string, told string"


def main(folder: Path) -> None:
    if "REDOUBT_SECRETS" in os.environ:
        (folder / "refused").write_text(weakened())
    spark = SparkSession.builder.appName("wire").getOrCreate()
    (folder / "ui").write_text(spark.sparkContext.uiWebUrl or "")
    while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= EXECUTORS:
        time.sleep(0.05)
    frame = spark.read.csv(str(folder / "data"), schema=SCHEMA, header=True)
    shuffle(frame)
    broadcast(spark, frame)
    python_function(frame)
    use_shipped(spark)
    (folder / "held").touch()
    watcher = os.getppid()
    while not (folder / "release").exists() and os.getppid() == watcher:
        time.sleep(0.02)
    tell_secrets(spark, folder / "spark-secrets.json")
    spark.stop()


def weakened() -> str:
    """Return why an application that turns disk encryption off in code is not let do so."""
    try:
        SparkContext(conf=SparkConf().setAppName("weak").set("spark.io.encryption.enabled", "false")).stop()
    except Exception as error:  # noqa: BLE001 - whichever way Spark wraps it
        return str(error)
    return ""


def done(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()


def shuffle(frame: DataFrame) -> None:
    """Rows between executors: by a sort-merge join, a sort, and pairs of an RDD; and on their disks."""
    rows = frame.select("id", "shuffled")
    done(rows.join(rows.withColumnRenamed("shuffled", "again"), "id").sort(F.desc("shuffled")))
    rows.persist(StorageLevel.DISK_ONLY).count()
    rows.rdd.map(lambda row: (row.id % 7, row.shuffled)).groupByKey(EXECUTORS).count()


def broadcast(spark: SparkSession, frame: DataFrame) -> None:
    """A table by Spark SQL, and Python's objects, made of rows that executors told the driver."""
    done(frame.select("id").join(F.broadcast(frame.select("id", "joined")), "id"))
    told = [row.told[::-1] for row in frame.select("told").collect()]
    shared = spark.sparkContext.broadcast(told)
    spark.sparkContext.parallelize(range(4), 4).map(lambda _: len(shared.value)).sum()


def python_function(frame: DataFrame) -> None:
    turned = F.udf(lambda text: text[::-1], "string")
    done(frame.select("id", turned("turned").alias("denrut")))


def use_shipped(spark: SparkSession) -> None:
    def use(_: object) -> Iterator[int]:
        import shipped as module  # type: ignore[import-not-found]

        yield len(Path(SparkFiles.get("file.txt")).read_text())
        yield len(module.MARKER)

    assert len(set(spark.sparkContext.parallelize(range(4), 4).mapPartitions(use).collect())) == 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
