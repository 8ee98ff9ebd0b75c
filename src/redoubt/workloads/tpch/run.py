"""Running TPC-H queries: one answer and one time a query, written and printed.

An output folder holds one result dataset a query (``Q01`` … ``Q22``: CSV with a header, or sealed Parquet) and
``TIMES.txt`` with a line ``Q01<tab>seconds`` each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from redoubt.errors import AlreadyExists
from redoubt.spark import io
from redoubt.workloads.tpch.dataframe import query_frame
from redoubt.workloads.tpch.sql import query_text
from redoubt.workloads.tpch.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Api = Literal["sql", "dataframe"]


@dataclass(frozen=True, slots=True)
class Timed:
    """One query's run: wall seconds from the query text to all rows on the driver."""

    number: int
    seconds: float
    rows: tuple[tuple[object, ...], ...]
    frame: DataFrame


def query(spark: SparkSession, tables: Tables, number: int, *, api: Api) -> DataFrame:
    """Return query *number* over *tables*, unexecuted; for SQL the tables become temporary views."""
    if api == "dataframe":
        return query_frame(number, tables)
    tables.create_views()
    return spark.sql(query_text(number, scale=tables.scale))


def run_query(spark: SparkSession, tables: Tables, number: int, *, api: Api) -> Timed:
    """Run query *number* once and collect its rows."""
    start = time.perf_counter()
    frame = query(spark, tables, number, api=api)
    rows = tuple(tuple(row) for row in frame.collect())
    return Timed(number, time.perf_counter() - start, rows, frame)


def run_queries(
    spark: SparkSession,
    tables: Tables,
    numbers: Sequence[int],
    *,
    api: Api,
    done: Callable[[Timed], None] = lambda _: None,
) -> list[Timed]:
    """Run *numbers* in order; *done* is told of each."""
    answers = []
    for number in numbers:
        answers.append(run_query(spark, tables, number, api=api))
        done(answers[-1])
    return answers


def write_answers(spark: SparkSession, answers: Sequence[Timed], output: Path, *, sealed: bool) -> None:
    """Write one result dataset a query and ``TIMES.txt`` below *output*.

    Raises:
        AlreadyExists: *output* holds something.
    """
    if output.exists() and any(output.iterdir()):
        raise AlreadyExists(f"{output} is not an empty folder")
    output.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        target = str(output / f"Q{answer.number:02d}")
        frame = spark.createDataFrame(list(answer.rows), answer.frame.schema).coalesce(1)
        if sealed:
            io.write(frame, target, format="parquet")
        else:
            frame.write.option("header", "true").option("redoubt.plaintext", "allow").csv(target)
    lines = [f"Q{answer.number:02d}\t{answer.seconds:.3f}\n" for answer in answers]
    (output / "TIMES.txt").write_text("".join(lines), encoding="utf-8")
