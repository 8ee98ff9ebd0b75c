"""Sealing generated TPC-H tables, and loading sealed ones.

A sealed data set is a folder with one sealed dataset a table. csv and tbl files are sealed as they are (``redoubt
seal`` would do the same); Parquet is written anew by Spark, because Parquet seals its own pages and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from redoubt.keys.provider import KeySource
from redoubt.sealed.transfer import seal_folder
from redoubt.spark import io
from redoubt.workloads.tpch.generate import Dataset
from redoubt.workloads.tpch.schema import TABLES, TBL_TRAILER, spark_read_options
from redoubt.workloads.tpch.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def _silent(_: str) -> None:
    """Say nothing."""


def seal_text(
    plain: Dataset, target: Path, *, keys: KeySource, key: str | None = None, say: Callable[[str], None] = _silent
) -> None:
    """Seal the csv or tbl files of *plain* below *target*; errors as :func:`redoubt.sealed.transfer.seal_folder`."""
    for table in TABLES:
        say(f"sealing {table} ({plain.format})")
        files = [(file, file.name) for file in plain.table_files(table)]
        seal_folder(files, str(target / table), keys=keys, key=key)


def seal_parquet(
    frames: Callable[[str], DataFrame],
    target: Path,
    *,
    key: str | None = None,
    say: Callable[[str], None] = _silent,
) -> None:
    """Write the tables that *frames* returns by name as sealed Parquet below *target*."""
    for table in TABLES:
        say(f"sealing {table} (parquet)")
        io.write(frames(table), str(target / table), format="parquet", key=key)


def load_sealed(spark: SparkSession, sealed: Dataset) -> Tables:
    """Return the tables of the sealed data set *sealed*, read lazily and strictly.

    Raises:
        NoCommit, SealedError, KeyError_: a table is not there, not authentic, or its key is not released.
    """
    return Tables(scale=sealed.scale, **{table: _load(spark, sealed, table) for table in TABLES})


def _load(spark: SparkSession, sealed: Dataset, table: str) -> DataFrame:
    path = str(sealed.table_directory(table))
    if sealed.format == "parquet":
        return io.read(spark, path, format="parquet")
    frame = io.read(
        spark, path, format="csv", schema=TABLES[table].ddl(sealed.format), options=spark_read_options(sealed.format)
    )
    return frame.drop(TBL_TRAILER) if sealed.format == "tbl" else frame
