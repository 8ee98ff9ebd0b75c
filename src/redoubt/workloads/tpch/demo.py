"""The demonstration behind ``make demo``: TPC-H on sealed data, every answer checked by another engine.

Generates tables, makes a workspace with keys, seals the tables as Parquet and as csv, runs all 22 queries on sealed and
on plain Parquet in turn and a few on sealed csv, and compares every answer with DuckDB's on the plain files. Plain and
sealed Parquet are both written by Spark, so that they differ in nothing but the sealing; which of the two runs first
alternates from query to query.

Preparing and running are two programs. The second one gets its keys from an agent, and so from a broker that attested
it, for data that the first one sealed with the keys of a workspace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redoubt.keys.workspace import Workspace
from redoubt.workloads.tpch.check import Answer, compare, expected_answer
from redoubt.workloads.tpch.generate import Dataset, generate
from redoubt.workloads.tpch.run import Timed, run_query
from redoubt.workloads.tpch.schema import TABLES
from redoubt.workloads.tpch.seal import load_sealed, seal_parquet, seal_text
from redoubt.workloads.tpch.sql import QUERY_NUMBERS
from redoubt.workloads.tpch.tables import Tables, load_plain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Queries that also run on sealed csv: a scan, a join with a scan, and the one with LIKE and an outer join.
CSV_QUERIES = (1, 6, 13)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the demonstration's table. Seconds are wall time; ``rows`` were all compared with DuckDB's."""

    number: int
    source: str
    plain_seconds: float
    sealed_seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Data:
    """The tables of a demonstration: as generated, and the folders of what Spark wrote from them."""

    generated: Dataset
    generated_csv: Dataset
    plain: Dataset
    sealed: Dataset
    sealed_csv: Dataset

    @classmethod
    def below(cls, folder: Path, scale: float) -> Data:
        """Return where the tables of a demonstration lie below *folder*."""
        return cls(
            generated=Dataset(folder / "parquet", scale, "parquet"),
            generated_csv=Dataset(folder / "csv", scale, "csv"),
            plain=Dataset(folder / "plain", scale, "parquet"),
            sealed=Dataset(folder / "sealed", scale, "parquet"),
            sealed_csv=Dataset(folder / "sealed-csv", scale, "csv"),
        )


def prepare(
    spark: SparkSession, workspace: Workspace, folder: Path, *, scale: float, say: Callable[[str], None]
) -> Data:
    """Generate and seal the tables below *folder*, which must be empty."""
    say(f"generating TPC-H at scale {scale:g} (csv and Parquet)")
    data = Data.below(folder, scale)
    for made in (data.generated_csv, data.generated):
        generate(made.directory, scale=scale, format=made.format, parts=2)
    seal_text(data.generated_csv, data.sealed_csv.directory, keys=workspace, say=say)
    say("writing plain Parquet, to compare with")
    tables = load_plain(spark, data.generated_csv)
    for table in TABLES:
        frame = getattr(tables, table)
        frame.write.option("redoubt.plaintext", "allow").parquet(str(data.plain.table_directory(table)))
    seal_parquet(lambda table: getattr(tables, table), data.sealed.directory, say=say)
    return data


def run(
    spark: SparkSession, data: Data, *, numbers: Sequence[int] = QUERY_NUMBERS, csv_numbers: Sequence[int] = CSV_QUERIES
) -> Iterator[Line]:
    """Run the queries and yield a line for each, after its answers were found equal to DuckDB's.

    Raises:
        AnswerMismatch: an answer differs.
    """
    plain, sealed = load_plain(spark, data.plain), load_sealed(spark, data.sealed)
    run_query(spark, plain, 6, api="sql")  # starts what the first query would otherwise pay for
    for number in numbers:
        yield _line(spark, number, "parquet", plain, sealed, reference=data.generated)
    plain_csv, sealed_csv = load_plain(spark, data.generated_csv), load_sealed(spark, data.sealed_csv)
    if csv_numbers:
        run_query(
            spark, sealed_csv, 6, api="sql"
        )  # Python workers, whose modules are compiled anew in each attested run
    for number in csv_numbers:
        yield _line(spark, number, "csv", plain_csv, sealed_csv, reference=data.generated_csv)


def _line(spark: SparkSession, number: int, source: str, plain: Tables, sealed: Tables, *, reference: Dataset) -> Line:
    expected = expected_answer(reference, number)
    order = (("plain", plain), ("sealed", sealed)) if number % 2 else (("sealed", sealed), ("plain", plain))
    timed = {name: run_query(spark, tables, number, api="sql") for name, tables in order}
    for answer in timed.values():
        checked = compare(number, actual=_answer(answer), expected=expected)
    return Line(number, source, timed["plain"].seconds, timed["sealed"].seconds, checked.rows)


def _answer(timed: Timed) -> Answer:
    return Answer(tuple(timed.frame.columns), timed.rows)
