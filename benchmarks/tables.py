"""Spark on plain and sealed TPC-H tables: csv readers, Parquet, and the 22 queries four ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measure import Case, Result, interleave
from redoubt.workloads.tpch.demo import Data
from redoubt.workloads.tpch.run import run_query
from redoubt.workloads.tpch.schema import TABLES, spark_read_options
from redoubt.workloads.tpch.seal import load_sealed
from redoubt.workloads.tpch.sql import QUERY_NUMBERS
from redoubt.workloads.tpch.tables import Tables, load_plain

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def scan(frame: DataFrame) -> None:
    """Read every row and column."""
    frame.write.format("noop").mode("overwrite").save()


def csv(spark: SparkSession, data: Data, *, rounds: int) -> list[Result]:
    """Spark's reader on plain, our reader on plain, our reader on sealed: full scan of lineitem, and Q1."""
    plain, sealed = load_plain(spark, data.generated_csv), load_sealed(spark, data.sealed_csv)
    ours = _our_reader_on_plain(spark, data)
    scans = [
        Case("Spark's reader, plain", lambda: scan(plain.lineitem)),
        Case("our reader, plain", lambda: scan(ours.lineitem)),
        Case("our reader, sealed", lambda: scan(sealed.lineitem)),
    ]
    first = [
        Case("Spark's reader, plain", lambda: run_query(spark, plain, 1, api="sql")),
        Case("our reader, plain", lambda: run_query(spark, ours, 1, api="sql")),
        Case("our reader, sealed", lambda: run_query(spark, sealed, 1, api="sql")),
    ]
    return [
        interleave("csv: full scan of lineitem", scans, rounds=rounds),
        interleave("csv: Q1", first, rounds=rounds),
    ]


def parquet(spark: SparkSession, data: Data, *, rounds: int) -> list[Result]:
    """Full scan of lineitem from plain and sealed Parquet."""
    plain, sealed = load_plain(spark, data.plain), load_sealed(spark, data.sealed)
    cases = [Case("plain", lambda: scan(plain.lineitem)), Case("sealed", lambda: scan(sealed.lineitem))]
    return [interleave("Parquet: full scan of lineitem", cases, rounds=rounds)]


def queries(spark: SparkSession, data: Data, *, rounds: int) -> list[Result]:
    """The 22 queries on plain and sealed Parquet."""
    plain, sealed = load_plain(spark, data.plain), load_sealed(spark, data.sealed)
    return [_all_queries(spark, "TPC-H, 22 queries, Parquet", plain, sealed, rounds)]


def csv_queries(spark: SparkSession, data: Data, *, rounds: int) -> list[Result]:
    """The 22 queries on plain and sealed csv."""
    plain, sealed = load_plain(spark, data.generated_csv), load_sealed(spark, data.sealed_csv)
    return [_all_queries(spark, "TPC-H, 22 queries, csv", plain, sealed, rounds)]


def _all_queries(spark: SparkSession, title: str, plain: Tables, sealed: Tables, rounds: int) -> Result:
    def run(tables: Tables) -> None:
        for number in QUERY_NUMBERS:
            run_query(spark, tables, number, api="sql")

    return interleave(title, [Case("plain", lambda: run(plain)), Case("sealed", lambda: run(sealed))], rounds=rounds)


def _our_reader_on_plain(spark: SparkSession, data: Data) -> Tables:
    """The tables through our Data Source's parser on the plain files: what sealing alone costs is told from it."""
    from benchmarks.plain_source import PlainDataSource

    spark.dataSource.register(PlainDataSource)
    options = {**spark_read_options("csv"), "format": "csv", "bench.plain": "yes"}
    frames = {
        name: spark.read.format("sealed")
        .options(**options)
        .schema(schema.ddl("csv"))
        .load(str(data.generated_csv.table_directory(name)))
        for name, schema in TABLES.items()
    }
    return Tables(scale=data.generated_csv.scale, **frames)
