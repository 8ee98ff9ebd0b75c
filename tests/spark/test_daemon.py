"""Python workers: what they inherit, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redoubt.spark.daemon import SECRET_VARIABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: A session in a process of its own, as its executors' environment would be on a standalone cluster.
PROGRAM = """
import os, sys
import redoubt.spark
from pyspark.sql.functions import udf
spark = redoubt.spark.session("daemon", workspace=sys.argv[1], master="local[2]")
seen = udf(lambda _: os.environ.get("_SPARK_AUTH_SECRET", "none"))
print("driver", os.environ["_SPARK_AUTH_SECRET"])
print("worker", *{row[0] for row in spark.range(8).select(seen("id")).collect()})
redoubt.spark.stop(spark)
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    from redoubt.keys.workspace import Workspace

    folder: Path = tmp_path_factory.mktemp("daemon")
    Workspace.init(folder)
    environment = {**os.environ, SECRET_VARIABLE: "s3cret"}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


@pytest.mark.spark
def test_application_secret_does_not_reach_python_workers(output: subprocess.CompletedProcess[str]) -> None:
    assert "driver s3cret" in output.stdout
    assert "worker none" in output.stdout


@pytest.mark.spark
def test_stopping_prints_no_traceback(output: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in output.stderr
    assert "s3cret" not in output.stderr


@pytest.mark.spark
def test_sessions_use_it(spark: SparkSession) -> None:
    assert spark.sparkContext.getConf().get("spark.python.daemon.module") == "redoubt.spark.daemon"
