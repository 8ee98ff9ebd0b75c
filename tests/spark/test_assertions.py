"""A session without one of Redoubt's parts is refused at its start, not found out by its plaintext (H15)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from redoubt.errors import JarMissing, SparkError
from redoubt.keys.workspace import Workspace
from redoubt.spark import assertions
from redoubt.spark.assertions import assert_loaded

pytestmark = pytest.mark.spark


def test_the_session_of_redoubt_is_whole(spark: SparkSession) -> None:
    assert_loaded(spark)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("parquet.crypto.factory.class", "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory"),
        ("parquet.crypto.factory.class", ""),
        ("parquet.encryption.kms.client.class", "org.example.Kms"),
        ("spark.sql.parquet.output.committer.class", "org.apache.parquet.hadoop.ParquetOutputCommitter"),
        ("spark.sql.sources.commitProtocolClass", "org.apache.spark.internal.io.HadoopMapReduceCommitProtocol"),
        ("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem"),
        ("mapred.output.committer.class", "org.apache.hadoop.mapred.FileOutputCommitter"),
        ("io.compression.codecs", "org.apache.hadoop.io.compress.GzipCodec"),
    ],
)
def test_a_part_configured_away_is_missed(spark: SparkSession, setting: str, value: str) -> None:
    other = spark.newSession()
    other.conf.set(setting, value)
    with pytest.raises(SparkError, match=setting.replace(".", r"\.")):
        assert_loaded(other)


def test_a_file_system_that_hadoop_would_take_from_its_cache_is_missed(spark: SparkSession) -> None:
    """Hadoop keeps instances by scheme, whatever they were configured as."""
    other = spark.newSession()
    other.conf.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem")
    other.conf.set("fs.file.impl.disable.cache", "false")
    jvm: Any = spark._jvm
    jvm.org.apache.hadoop.fs.Path("/").getFileSystem(other._jsparkSession.sessionState().newHadoopConf())
    other.conf.set("fs.file.impl", "io.redoubt.fs.SealedFileSystem")
    with pytest.raises(SparkError, match="LocalFileSystem"):
        assert_loaded(other)


def test_a_session_that_lacks_a_part_is_not_handed_out(workspace: Workspace) -> None:
    """In a process of its own, because a process has one JVM: the jar that the JVM loads is not this installation's."""
    program = """
import sys
from pathlib import Path
import redoubt.spark.assertions as assertions
from redoubt.spark import session
assertions.jar_path = lambda: Path("another.jar")
session("lacks", workspace=sys.argv[1], master="local[1]")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(workspace.folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert "JarMissing" in ended.stderr


def test_an_unregistered_data_source_is_missed(spark: SparkSession) -> None:
    with pytest.raises(SparkError, match="Data Source `sealed`"):
        assert_loaded(spark.newSession())


def test_another_installations_jar_is_noticed(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assertions, "jar_path", lambda: tmp_path / "redoubt-jvm.jar")
    with pytest.raises(JarMissing, match="comes from"):
        assert_loaded(spark)
