"""Which session `session()` gives back, and when its key endpoint ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from redoubt.errors import OptionRefused, SparkError, WorkspaceMissing
from redoubt.keys.workspace import Workspace
from redoubt.spark import session

pytestmark = pytest.mark.spark


def test_the_running_session_is_given_again(spark: SparkSession, workspace: Workspace) -> None:
    assert session("again") is spark
    assert session("again", keys=workspace, master="local[2]", conf={"spark.driver.memory": "2g"}) is spark
    assert session("again", workspace=workspace.folder, conf={}) is spark
    assert session("again", workspace=str(workspace.state_folder)) is spark
    spark.newSession()
    assert session("again") is spark


def test_a_session_with_other_keys_is_not_passed_off_as_the_one_asked_for(
    spark: SparkSession, workspace: Workspace, tmp_path: Path
) -> None:
    other = Workspace.init(tmp_path)
    with pytest.raises(SparkError, match="another keys"):
        session("other", keys=other)
    with pytest.raises(SparkError, match="another workspace"):
        session("other", workspace=other.folder)
    with pytest.raises(WorkspaceMissing):
        session("other", workspace=tmp_path / "none")


@pytest.mark.parametrize(
    "conf", [{"spark.master": "local[1]"}, {"spark.driver.memory": "1g"}, {"spark.sql.ansi.enabled": "false"}]
)
def test_a_session_with_another_configuration_is_not_passed_off_as_the_one_asked_for(
    spark: SparkSession, conf: dict[str, str]
) -> None:
    with pytest.raises(SparkError, match=f"another {next(iter(conf))}"):
        session("other", conf=conf)
    with pytest.raises(SparkError, match=r"another spark\.master"):
        session("other", master="local[7]", conf={"spark.driver.memory": "2g"})
    with pytest.raises(OptionRefused):
        session("other", conf={"spark.authenticate": "false"})


def test_a_session_that_lost_a_part_is_not_given_again(spark: SparkSession) -> None:
    name = "parquet.crypto.factory.class"
    spark.conf.set(name, "org.example.Other")
    try:
        with pytest.raises(SparkError, match="crypto"):
            session("again")
    finally:
        spark.conf.unset(name)
    assert session("again") is spark


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
