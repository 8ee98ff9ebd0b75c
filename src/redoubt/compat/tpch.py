"""TPC-H tables as dbgen names them, ``lineitem.tbl`` and so on in one folder, plain or as one sealed dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from redoubt.errors import NotFound
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.transfer import plain_name
from redoubt.spark.application import keys_of
from redoubt.workloads.tpch.schema import TABLES, TBL_TRAILER, spark_read_options
from redoubt.workloads.tpch.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def load_tables(spark: SparkSession, folder: Path, *, sealed: bool, scale: float) -> Tables:
    """Return the tables below *folder*; *sealed* refuses anything but a sealed dataset, read at the head it has now.

    Raises:
        NotFound: a table is missing.
        NoCommit, SealedError, KeyError_: it is no sealed dataset, not authentic, or not released.
    """
    options = {}
    if sealed:
        dataset = Dataset.open(str(folder), keys=keys_of(spark))
        options["redoubt.read.commit"] = dataset.commit_digest
        names = {plain_name(it) for it in dataset.parts}
    else:
        names = {it.name for it in folder.glob("*.tbl")}
    if missing := sorted(it for it in TABLES if f"{it}.tbl" not in names):
        raise NotFound(f"{folder} has no {missing[0]}.tbl")
    return Tables(scale=scale, **{name: _table(spark, folder, name, options) for name in TABLES})


def _table(spark: SparkSession, folder: Path, name: str, options: dict[str, str]) -> DataFrame:
    reader = spark.read.schema(TABLES[name].ddl("tbl")).options(**spark_read_options("tbl"), **options)
    return reader.csv(str(folder / f"{name}.tbl")).drop(TBL_TRAILER)
