"""Small TPC-H data sets, generated once a session."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from redoubt.workloads.tpch.generate import Dataset, generate
from redoubt.workloads.tpch.schema import Format
from redoubt.workloads.tpch.tables import Tables, load_plain

SCALE = 0.01


def _generated(factory: pytest.TempPathFactory, file_format: Format) -> Dataset:
    return generate(factory.mktemp("tpch") / file_format, scale=SCALE, format=file_format, parts=2)


@pytest.fixture(scope="session")
def tpch_plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The eight tables as plain parquet, two files each."""
    return _generated(tmp_path_factory, "parquet")


@pytest.fixture(scope="session")
def tpch_csv(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return _generated(tmp_path_factory, "csv")


@pytest.fixture(scope="session")
def tpch_tbl(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return _generated(tmp_path_factory, "tbl")


@pytest.fixture(scope="session")
def tables(spark: SparkSession, tpch_plain: Dataset) -> Tables:
    """The plain parquet tables, also visible to SQL."""
    tables = load_plain(spark, tpch_plain)
    tables.create_views()
    return tables
