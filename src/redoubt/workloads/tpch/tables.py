"""The eight TPC-H tables as Spark DataFrames.

Decides: how plain generated files become DataFrames (strictly, with the schema of :mod:`schema`, never inferred), and
under which names SQL sees the tables. Tables read in any other way, such as decrypted ones, are passed to
:class:`Tables` directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redoubt.workloads.tpch.generate import Dataset
from redoubt.workloads.tpch.schema import TABLES, TBL_TRAILER, spark_read_options, spark_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The eight tables, and the scale factor of the data in them, on which Q11 depends."""

    scale: float
    region: DataFrame
    nation: DataFrame
    supplier: DataFrame
    customer: DataFrame
    part: DataFrame
    partsupp: DataFrame
    orders: DataFrame
    lineitem: DataFrame

    def create_views(self) -> None:
        """Make the tables visible to SQL of their session as temporary views, replacing views of the same names."""
        for name in TABLES:
            frame: DataFrame = getattr(self, name)
            frame.createOrReplaceTempView(name)


def load_plain(spark: SparkSession, dataset: Dataset) -> Tables:
    """Return the tables of ``dataset``, read lazily from its unencrypted files.

    Raises:
        pyspark.errors.AnalysisException: files of a table do not exist.
    """
    frames = {name: _load_plain_table(spark, dataset, name) for name in TABLES}
    return Tables(scale=dataset.scale, **frames)


def _load_plain_table(spark: SparkSession, dataset: Dataset, name: str) -> DataFrame:
    reader = spark.read.format(spark_source(dataset.format)).schema(TABLES[name].ddl(dataset.format))
    if dataset.format == "parquet":
        # Sessions of Redoubt refuse plaintext Parquet unless a read asks for it; others ignore the option.
        reader = reader.option("redoubt.plaintext", "allow")
    frame = reader.options(**spark_read_options(dataset.format)).load(str(dataset.table_directory(name)))
    return frame.drop(TBL_TRAILER) if dataset.format == "tbl" else frame
