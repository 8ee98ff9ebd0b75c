"""An application as users write them: it knows nothing of Redoubt, and tells what it sees."""

import json
import os
import sys
from pathlib import Path

from helper import double  # type: ignore[import-not-found]  # given with --py-files
from pyspark import SparkConf, SparkContext, SparkFiles
from pyspark.sql import SparkSession

try:
    SparkContext(conf=SparkConf().set("spark.io.encryption.enabled", "false"))
    refused = ""
except Exception as error:  # noqa: BLE001 - whichever way Spark wraps it
    refused = str(error)

spark = SparkSession.builder.appName("unmodified").getOrCreate()


def of_worker(number: int) -> tuple[int, dict[str, str], str]:
    return double(number), dict(os.environ), Path(SparkFiles.get("data.txt")).read_text()


workers = spark.sparkContext.parallelize([1, 2], 2).map(of_worker).collect()
sources = spark._jsparkSession.sessionState().dataSourceManager()
commands = [
    (it / "cmdline").read_bytes().decode(errors="replace").split("\0")
    for it in Path("/proc").iterdir()
    if it.name.isdigit() and (it / "cmdline").exists()
]
seen = {
    "refused": refused,
    "conf": dict(spark.sparkContext.getConf().getAll()),
    "secret": spark.sparkContext.getConf().get("spark.authenticate.secret"),
    "doubled": [it[0] for it in workers],
    "environments": [dict(os.environ), *(it[1] for it in workers)],
    "files": [it[2] for it in workers],
    "sealed": sources.dataSourceExists("redoubt_sealed"),
    "local": spark.sparkContext._jvm.java.lang.System.getProperty("java.io.tmpdir"),  # type: ignore[union-attr]
    "commands": commands,
    "arguments": sys.argv[1:],
}
print(json.dumps(seen))
spark.stop()
sys.exit(7)
