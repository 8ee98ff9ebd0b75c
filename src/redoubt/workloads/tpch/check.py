"""Check the answers of Spark against DuckDB, which runs the same SQL on the same plain files.

Decides: when two answers are the same. Integers, strings, dates and decimals have to be equal. A value that either
engine gives as a floating-point number has to agree within :data:`RELATIVE_TOLERANCE`, plus half a unit in the last
digit where the other engine gives it as a rounded decimal (Spark rounds averages and quotients of decimals to six
digits, DuckDB returns them as DOUBLE). Rows are compared as a multiset, and the values of the ORDER BY columns row by
row, so that rows which compare equal in the ORDER BY may come in any order, and a row limit may cut between them at
any point, but nothing else may differ. A mismatch shows the rows, as no other error of Redoubt would: TPC-H data is no
secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from redoubt.errors import AnswerMismatch, UsageError, WorkloadError
from redoubt.workloads.tpch.generate import Dataset
from redoubt.workloads.tpch.schema import TABLES, TableSchema
from redoubt.workloads.tpch.sql import ROW_LIMITS, query_text

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import DataFrame

Row = tuple[Any, ...]

# DuckDB divides an exact integer sum once, an error of about 1e-16; a sum of n doubles could be off by n times that.
# 1e-9 leaves room for either up to millions of rows per group, and is less than one wrong cent in a sum of 10^7.
RELATIVE_TOLERANCE: Final = Decimal("1e-9")

ORDER_BY: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        1: ("l_returnflag", "l_linestatus"),
        2: ("s_acctbal", "n_name", "s_name", "p_partkey"),
        3: ("revenue", "o_orderdate"),
        4: ("o_orderpriority",),
        5: ("revenue",),
        6: (),
        7: ("supp_nation", "cust_nation", "l_year"),
        8: ("o_year",),
        9: ("nation", "o_year"),
        10: ("revenue",),
        11: ("value",),
        12: ("l_shipmode",),
        13: ("custdist", "c_count"),
        14: (),
        15: ("s_suppkey",),
        16: ("supplier_cnt", "p_brand", "p_type", "p_size"),
        17: (),
        18: ("o_totalprice", "o_orderdate"),
        19: (),
        20: ("s_name",),
        21: ("numwait", "s_name"),
        22: ("cntrycode",),
    }
)
"""The columns in the ORDER BY of each query. None of them is ever a floating-point number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query: its column names and its rows in order."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found equal."""

    number: int
    rows: int


def expected_answer(dataset: Dataset, number: int) -> Answer:
    """Return DuckDB's answer to a query on the files of ``dataset``, all of its rows whatever the row limit.

    Raises:
        UsageError: there is no such query.
        WorkloadError: DuckDB is not installed, or the files are missing or not of the dataset's format.
    """
    try:
        import duckdb
    except ImportError as error:
        raise WorkloadError("DuckDB, which computes the expected answers, is not installed") from error

    text = query_text(number, scale=dataset.scale, limited=False)
    try:
        with duckdb.connect() as connection:
            for schema in TABLES.values():
                _relation(connection, dataset, schema).create_view(schema.name)
            cursor = connection.execute(text)
            columns = tuple(description[0] for description in cursor.description or ())
            return Answer(columns, tuple(cursor.fetchall()))
    except duckdb.Error as error:
        raise WorkloadError(f"DuckDB cannot answer query {number} on {dataset.directory}: {error}") from error


def spark_answer(frame: DataFrame) -> Answer:
    """Run ``frame`` and return its rows."""
    return Answer(tuple(frame.columns), tuple(tuple(row) for row in frame.collect()))


def compare(number: int, *, actual: Answer, expected: Answer) -> Checked:
    """Compare an engine's answer to a query with :func:`expected_answer`, and return how many rows were compared.

    ``expected`` holds all rows, ``actual`` at most as many as the query's row limit.

    Raises:
        AnswerMismatch: they differ in columns, number of rows, order or values.
        UsageError: there is no such query.
    """
    if number not in ORDER_BY:
        raise UsageError(f"TPC-H has queries 1 to 22; there is no query {number!r}")
    if actual.columns != expected.columns:
        raise AnswerMismatch(f"query {number}: the columns are {actual.columns}, expected {expected.columns}")
    wanted = min(len(expected.rows), ROW_LIMITS.get(number, len(expected.rows)))
    if len(actual.rows) != wanted:
        raise AnswerMismatch(f"query {number}: there are {len(actual.rows)} rows, expected {wanted}")
    _compare_order(number, actual, expected)
    _compare_rows(number, actual, expected)
    return Checked(number, wanted)


def check_frame(dataset: Dataset, number: int, frame: DataFrame) -> Checked:
    """Run ``frame`` as the answer to a query on ``dataset``, and compare it with DuckDB's.

    Raises:
        AnswerMismatch: they differ in columns, number of rows, order or values.
        UsageError: there is no such query.
        WorkloadError: DuckDB cannot compute the expected answer.
    """
    return compare(number, actual=spark_answer(frame), expected=expected_answer(dataset, number))


def _relation(connection: duckdb.DuckDBPyConnection, dataset: Dataset, schema: TableSchema) -> duckdb.DuckDBPyRelation:
    files = [str(file) for file in dataset.table_files(schema.name)]
    if not files:
        raise WorkloadError(f"there are no {dataset.format} files in {dataset.table_directory(schema.name)}")
    if dataset.format == "parquet":
        return connection.read_parquet(files)
    text = dataset.format == "tbl"
    return connection.read_csv(
        files,  # type: ignore[arg-type]  # duckdb's stub knows one file only; the function takes a list
        auto_detect=False,
        columns=schema.duckdb_columns(dataset.format),
        header=not text,
        sep="|" if text else ",",
        quotechar="" if text else '"',
        escapechar="" if text else '"',
        date_format="%Y-%m-%d",
    )


def _compare_order(number: int, actual: Answer, expected: Answer) -> None:
    positions = [expected.columns.index(name) for name in ORDER_BY[number]]
    for index, (got, want) in enumerate(zip(actual.rows, expected.rows, strict=False)):
        for position in positions:
            if not _same(got[position], want[position]):
                raise AnswerMismatch(
                    f"query {number}: row {index} is {got}, expected {expected.columns[position]} to be "
                    f"{want[position]!r} there, as in {want}"
                )


def _compare_rows(number: int, actual: Answer, expected: Answer) -> None:
    approximate = _approximate_columns(actual) | _approximate_columns(expected)
    exact = [position for position in range(len(expected.columns)) if position not in approximate]
    # Rows that agree in everything exact are told apart by their approximate values only.
    remaining: dict[Row, list[Row]] = {}
    for row in expected.rows:
        remaining.setdefault(tuple(row[position] for position in exact), []).append(row)
    for index, got in enumerate(actual.rows):
        candidates = remaining.get(tuple(got[position] for position in exact), [])
        match = next((row for row in candidates if all(map(_same, got, row))), None)
        if match is None:
            near = candidates[0] if candidates else expected.rows[index]
            raise AnswerMismatch(f"query {number}: row {index} is {got}, expected {near}")
        candidates.remove(match)


def _approximate_columns(answer: Answer) -> set[int]:
    return {position for row in answer.rows for position, value in enumerate(row) if isinstance(value, float)}


def _same(left: object, right: object) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        return _close(left, right)
    # The class is compared as well because Python finds 1, True, 1.0 and Decimal(1) equal.
    return type(left) is type(right) and left == right


def _close(left: object, right: object) -> bool:
    if not isinstance(left, (float, Decimal)) or not isinstance(right, (float, Decimal)):
        return False
    exact_left, exact_right = Decimal(left), Decimal(right)
    if not (exact_left.is_finite() and exact_right.is_finite()):
        return False
    allowed = RELATIVE_TOLERANCE * max(abs(exact_left), abs(exact_right)) + _rounding(left) + _rounding(right)
    return abs(exact_left - exact_right) <= allowed


def _rounding(value: float | Decimal) -> Decimal:
    """Return by how much ``value`` may differ from the number that it was rounded from to be a decimal."""
    if isinstance(value, float):
        return Decimal(0)
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "only NaN and infinity have none, and they were refused"
    return Decimal(5).scaleb(exponent - 1)
