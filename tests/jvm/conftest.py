"""Fixtures of the Java side."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from redoubt.agent.endpoint import KeyEndpoint
from redoubt.keys.workspace import Workspace

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


@pytest.fixture
def sealed_spark(spark: SparkSession) -> Iterator[SparkSession]:
    """The shared session; afterwards its JVM has forgotten every data key."""
    yield spark
    java_of(spark).io.redoubt.keys.EndpointClient.clear()


def java_of(spark: SparkSession) -> Any:
    """The root of the Java packages."""
    assert spark._jvm is not None
    return spark._jvm


def hadoop_configuration(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.hadoopConfiguration()


def code_of(error: Py4JJavaError) -> str:
    """The code of the exception that Java threw."""
    return str(error.java_exception.code())
