"""Fixtures of the Java side: a running key endpoint, and a Spark session that finds it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import SparkSession

from redoubt.agent.endpoint import KeyEndpoint
from redoubt.keys.workspace import Workspace
from redoubt.spark.jar import jar_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def jvm_build() -> ModuleType:
    """The program ``jvm/build.py``, which is not part of the package."""
    spec = importlib.util.spec_from_file_location("redoubt_jvm_build", ROOT / "jvm" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def endpoint(workspace: Workspace) -> Iterator[KeyEndpoint]:
    with KeyEndpoint(workspace) as running:
        yield running


# TEMPORARY: until redoubt.spark.session exists, on which the session of tests/conftest.py stands; then this fixture goes.
@pytest.fixture(scope="session")
def spark(jvm_build: ModuleType) -> Iterator[SparkSession]:
    jvm_build.build()
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.extraClassPath", str(jar_path()))
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def sealed_spark(spark: SparkSession, endpoint: KeyEndpoint) -> Iterator[SparkSession]:
    """The session with the endpoint in its Hadoop configuration."""
    configuration = hadoop_configuration(spark)
    configuration.set("redoubt.endpoint", str(endpoint.folder))
    yield spark
    configuration.unset("redoubt.endpoint")
    spark._jvm.io.redoubt.keys.EndpointClient.clear()


def hadoop_configuration(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.hadoopConfiguration()
