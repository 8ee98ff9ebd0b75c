"""Which session `session()` gives back, and when its key endpoint ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from redoubt.keys.workspace import Workspace

pytestmark = pytest.mark.spark


def test_the_endpoint_ends_with_spark_and_a_plain_session_is_never_taken_for_a_sealed_one(workspace: Workspace) -> None:
    """In a process of its own: `spark.stop()` instead of `redoubt.spark.stop`, then a session of somebody else."""
    program = """
import sys, time
from pathlib import Path
from pyspark.sql import SparkSession
from redoubt.errors import SparkError
from redoubt.spark import session, stop
conf = {"spark.log.level": "OFF", "spark.driver.memory": "700m"}
spark = session("first", workspace=sys.argv[1], master="local[1]", conf=conf)
folder = Path(spark.sparkContext.getConf().get("spark.hadoop.redoubt.endpoint"))
assert folder.exists()
spark.stop()
end = time.monotonic() + 5
while folder.exists() and time.monotonic() < end:
    time.sleep(0.05)
assert not folder.exists(), "the endpoint serves on"
# The JVM keeps the settings of its first session, the folder of sockets that has gone with the job among them.
own = {"spark.master": "local[1]", "spark.python.unix.domain.socket.enabled": "false"}
plain = SparkSession.builder.config(map=own).getOrCreate()
try:
    session("second")
except SparkError as error:
    assert "without sealed data" in str(error), error
else:
    raise AssertionError("a plain session was taken for a sealed one")
plain.stop()
spark = session("third", workspace=sys.argv[1], master="local[1]", conf=conf)
folder = Path(spark.sparkContext.getConf().get("spark.hadoop.redoubt.endpoint"))
stop(spark)
assert not folder.exists()
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(workspace.folder)], capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.stdout.endswith("done\n"), ended.stderr[-3000:]
