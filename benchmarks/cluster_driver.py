"""A driver that runs the TPC-H queries whenever it is asked: ``python cluster_driver.py MODE MASTER FOLDER SCALE``.

It reads ``run`` (all 22 queries) or ``check`` (the same, each answer compared with DuckDB's) from standard input, and
answers with one line, the seconds of each query. MODE is ``plain``, ``agents`` (the program was started by an agent, as
a driver of a cluster) or ``crypto`` (keys of the workspace in FOLDER, and Spark's own encryption on the wire).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from redoubt.workloads.tpch.check import Answer, compare, expected_answer
from redoubt.workloads.tpch.demo import Data
from redoubt.workloads.tpch.run import run_query
from redoubt.workloads.tpch.seal import load_sealed
from redoubt.workloads.tpch.sql import QUERY_NUMBERS
from redoubt.workloads.tpch.tables import load_plain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Of the comparison's own clusters, which end with it.
CRYPTO_SECRET = "of-a-benchmark"
CONF = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1536m",
    "spark.sql.shuffle.partitions": "8",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def session(mode: str, master: str, folder: Path) -> SparkSession:
    """Return the session of a mode."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    if mode == "crypto":
        from redoubt.spark import session as local_session

        return local_session(
            "bench", workspace=folder, master=master, conf={**CONF, "spark.authenticate.secret": CRYPTO_SECRET}
        )
    from pyspark.sql import SparkSession

    conf = {**CONF, "spark.master": master}
    if mode == "agents":
        from redoubt.spark.cluster import driver_conf

        conf = driver_conf(master, conf)
    return SparkSession.builder.appName("bench").config(map=dict(conf)).getOrCreate()


def main(mode: str, master: str, folder: Path, scale: float) -> None:
    spark = session(mode, master, folder)
    data = Data.below(folder, scale)
    tables = load_plain(spark, data.plain) if mode == "plain" else load_sealed(spark, data.sealed)
    for line in sys.stdin:
        seconds = {}
        for number in QUERY_NUMBERS:
            found = run_query(spark, tables, number, api="sql")
            seconds[number] = round(found.seconds, 4)
            if line.strip() == "check":
                answer = Answer(tuple(found.frame.columns), found.rows)
                compare(number, actual=answer, expected=expected_answer(data.generated, number))
        print(json.dumps(seconds), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
