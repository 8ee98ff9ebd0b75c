"""The program whose disclosures are looked for: ``python job.py MODE FOLDER < planted.json``.

It is ordinary PySpark, the same in both modes but for the session and the reader. ``secured`` is what Redoubt's users
run. ``control`` is Spark with security off and a key handled the naive way (in the configuration, the environment, the
closure of a function, a print): whatever the searches do not find there, they cannot find.

FOLDER holds the inputs, and ``scratch/`` for everything that Spark and Python write. When the work is done the program
waits, with all its files in place, until FOLDER/release exists. Then, unheard by the capture, it tells Spark's own
secrets, so that those too can be looked for.
"""

from __future__ import annotations

import base64
import contextlib
import html
import itertools
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F  # noqa: N812  (as the PySpark documentation does)
from pyspark.sql.pandas.functions import pandas_udf
from spark_secrets import tell_secrets  # type: ignore[import-not-found]  # beside this program

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "id int, person string, note string, amount bigint, rank string, suspect string, greeting string"
#: Everything from INFO on, from the first line on: PySpark itself would begin at WARN.
LOGGING = """\
rootLogger.level = info
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n%ex
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = info
"""
#: Links of the UI to the page of one job, stage, query or stored block; not those that sort tables anew.
DETAILS = re.compile(rb'href="(?:https?://[^/"]+)?(/(?:jobs|stages|storage|SQL)/[^"?]*[?]id=\d+(?:&amp;attempt=\d+)?)"')
MALFORMED_SCHEMA = "id int, amount int"
#: Python's spills to disk are removed when their last row is out; the watch needs a moment to see them.
_LINGER_SECONDS = 0.3


def main(mode: str, folder: Path) -> None:
    planted: dict[str, str] = json.load(sys.stdin)
    spark = session(mode, folder, planted)
    if mode == "control":
        (folder / "refusal").write_text(refusal(spark))
        more_event_logs(spark, folder)
    frame = read(spark, mode, folder)
    work(spark, frame, planted, folder)
    write(frame, mode, folder)
    look_at_ui(spark, folder / "ui")
    (folder / "held").touch()
    watcher = os.getppid()
    while not (folder / "release").exists() and os.getppid() == watcher:
        time.sleep(0.02)
    tell_secrets(spark, folder / "spark-secrets.json")
    spark.stop()


# --- what differs -----------------------------------------------------------------------------------------------------
def session(mode: str, folder: Path, planted: dict[str, str]) -> SparkSession:
    scratch = folder / "scratch"
    (folder / "log4j2.properties").write_text(LOGGING)
    java_options = (
        f"-Djava.io.tmpdir={scratch}/tmp -Dlog4j2.configurationFile={folder}/log4j2.properties"
        " -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # quick to start, which is most of what this program does
    )
    conf = {
        "spark.master": "local[2]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": java_options,
        "spark.local.dir": f"{scratch}/local",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.ui.enabled": "true",  # off by default under Redoubt; its user may turn it on
        "spark.ui.showConsoleProgress": "false",
        # Everything goes through disk: sorts spill after so many rows.
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.shuffle.spill.numElementsForceSpillThreshold": "500",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    if mode == "secured":
        import redoubt.spark

        return redoubt.spark.session("disclosure", workspace=folder / "workspace", conf=conf)
    from pyspark.sql import SparkSession

    (folder / "events").mkdir()
    conf |= {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (folder / "events").as_uri(),
        "spark.naive": base64.b64encode(bytes.fromhex(planted["key"])).decode(),
        "spark.executorEnv.NAIVE": planted["key"],
    }
    return SparkSession.builder.appName("disclosure").config(map=dict(conf)).getOrCreate()


def refusal(spark: SparkSession) -> str:
    """Return what Redoubt says about a session that knows nothing of it."""
    from redoubt.errors import RedoubtError
    from redoubt.spark.assertions import assert_loaded

    try:
        assert_loaded(spark)
    except RedoubtError as error:
        return error.code
    return ""


def more_event_logs(spark: SparkSession, folder: Path) -> None:
    """Write the event log in Spark's other compressions too."""
    jvm: Any = spark._jvm
    context: Any = spark.sparkContext._jsc.sc()
    for codec in ("none", "lz4", "snappy"):
        place = folder / f"events-{codec}"
        place.mkdir()
        conf = context.conf().clone().set("spark.eventLog.compress", str(codec != "none").lower())
        conf = conf.set("spark.eventLog.compression.codec", codec)
        listener = jvm.org.apache.spark.scheduler.EventLoggingListener(
            context.applicationId(), jvm.scala.Option.empty(), jvm.java.net.URI(place.as_uri()), conf
        )
        listener.start()
        context.addSparkListener(listener)


def read(spark: SparkSession, mode: str, folder: Path) -> DataFrame:
    if mode == "control":
        return spark.read.csv(str(folder / "data"), schema=SCHEMA, header=True)
    source = spark.read.format("sealed").options(format="csv", header="true").schema(SCHEMA)
    through_codec = spark.read.csv(str(folder / "people.csv.sealed"), schema=SCHEMA, header=True)
    return source.load(str(folder / "sealed")).union(through_codec)


def write(frame: DataFrame, mode: str, folder: Path) -> None:
    if mode == "control":
        frame.write.parquet(str(folder / "scratch" / "out" / "parquet"))
        return
    from redoubt.spark import io

    for form in ("parquet", "csv"):
        io.write(frame, str(folder / "scratch" / "out" / form), format=form)


# --- what is the same -------------------------------------------------------------------------------------------------
def work(spark: SparkSession, frame: DataFrame, planted: dict[str, str], folder: Path) -> None:
    key = bytes.fromhex(planted.get("key", ""))

    def turn(text: str) -> str:
        return text[::-1]

    def turn_all(texts: pd.Series) -> pd.Series:
        return texts.str[::-1]

    plain_udf = F.udf(turn, "string")
    arrow_udf: Callable[..., Any] = pandas_udf(turn_all, "string")  # type: ignore[call-overload]

    # Python functions, there and back; sorts, joins and aggregations through spills and shuffle files.
    turned = frame.withColumn("nosrep", plain_udf("person")).withColumn("eton", arrow_udf("note"))
    by_person = turned.groupBy("person", "nosrep").agg(F.max("amount").alias("most"), F.max("eton").alias("eton"))
    joined = turned.join(by_person, "person").sort(F.desc("note"), "id")
    joined.write.format("noop").mode("overwrite").save()
    frame.join(F.broadcast(by_person), "person").write.format("noop").mode("overwrite").save()

    # Blocks on disk, as rows and as Python objects.
    from pyspark import StorageLevel

    turned.persist(StorageLevel.DISK_ONLY).count()
    pairs = frame.rdd.map(lambda row: (row.person, (row.note, row.amount, row.person[::-1])))
    pairs.persist(StorageLevel.DISK_ONLY).count()

    # Python's own spills, where there are any: PySpark is told that its workers are full.
    def crowded(rows: Iterable[Any]) -> Iterable[Any]:
        import pyspark.shuffle

        used = itertools.chain(range(100_000, 200_000, 20_000), itertools.repeat(200_000))
        pyspark.shuffle.get_used_memory = lambda: next(used)  # in MiB
        return rows

    def linger(rows: Iterable[Any]) -> Iterable[Any]:
        for number, row in enumerate(rows):
            if number == 0:
                time.sleep(_LINGER_SECONDS)
            yield row

    pairs.mapPartitions(crowded).groupByKey(2).mapPartitions(linger).mapValues(len).collect()
    ranked = frame.rdd.map(lambda row: (row.rank, row.note)).mapPartitions(crowded)
    ranked.sortByKey(numPartitions=2).mapPartitions(linger).count()

    # Between driver and JVM: results, local data, broadcasts, accumulators.
    rows = frame.limit(200).collect()
    frame.limit(200).toPandas()
    spark.createDataFrame(pd.DataFrame({"person": [row.person for row in rows]})).write.format("noop").mode(
        "overwrite"
    ).save()
    context = spark.sparkContext
    shared = context.broadcast([(row.person, row.note, row.amount) for row in rows])
    context.parallelize([row.person for row in rows], 2).map(lambda person: len(shared.value) + len(person)).sum()
    seen = context.accumulator(0)
    pairs.foreach(lambda _: seen.add(1))
    if key:
        context.parallelize([0], 1).foreach(lambda _: print("the key is", key.hex(), file=sys.stderr))

    # What shows values by its nature; the test states where.
    frame.createOrReplaceTempView("people")
    spark.sql(f"select count(*) from people where note > '{planted['literal']}'").collect()
    frame.select("greeting").limit(1).show(truncate=False)
    must_fail(lambda: frame.select(F.sum(F.col("suspect").cast("int"))).collect())
    must_fail(lambda: read_malformed(spark, folder).collect())


def must_fail(action: Callable[[], object]) -> None:
    with contextlib.suppress(PySparkException, Py4JJavaError):
        action()
        raise AssertionError("the impossible succeeded")


def read_malformed(spark: SparkSession, folder: Path) -> DataFrame:
    reader = spark.read.options(mode="FAILFAST", header="true").schema(MALFORMED_SCHEMA)
    if (folder / "malformed").exists():
        return reader.csv(str(folder / "malformed"))
    return reader.format("sealed").options(format="csv").load(str(folder / "malformed-sealed"))


def look_at_ui(spark: SparkSession, pages: Path) -> None:
    """Save every page and API answer that the UI links to."""
    root = spark.sparkContext.uiWebUrl
    assert root is not None
    api = f"/api/v1/applications/{spark.sparkContext.applicationId}"
    answers = ("environment", "jobs", "stages?details=true", "storage/rdd", "sql?details=true&length=999", "executors")
    views = ("jobs", "stages", "storage", "environment", "executors", "SQL", "executors/threadDump")
    pending = [*(f"/{view}/?executorId=driver" for view in views), *(f"{api}/{answer}" for answer in answers)]
    done: set[str] = set()
    pages.mkdir()
    while pending:
        path = pending.pop()
        if path in done:
            continue
        done.add(path)
        with contextlib.suppress(OSError):
            body: bytes = urllib.request.urlopen(root + path, timeout=30).read()
            (pages / re.sub(r"\W+", "_", path)).write_bytes(body)
            pending += [html.unescape(link.decode()) for link in DETAILS.findall(body)]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
