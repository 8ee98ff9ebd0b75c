"""Every TPC-H query gives DuckDB's answer, in SQL and in the DataFrame API, whatever the file format."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from redoubt.errors import UsageError
from redoubt.workloads.tpch.check import ORDER_BY, check_frame, compare, expected_answer, spark_answer
from redoubt.workloads.tpch.dataframe import QUERIES, query_frame
from redoubt.workloads.tpch.generate import Dataset
from redoubt.workloads.tpch.sql import QUERY_NUMBERS, ROW_LIMITS, q11_fraction, query_text
from redoubt.workloads.tpch.tables import Tables


@pytest.mark.spark
@pytest.mark.parametrize("number", QUERY_NUMBERS)
def test_sql_and_dataframe_give_the_answer_of_duckdb(
    spark: SparkSession, tables: Tables, tpch_plain: Dataset, number: int
) -> None:
    expected = expected_answer(tpch_plain, number)
    from_sql = spark.sql(query_text(number, scale=tpch_plain.scale))
    from_api = query_frame(number, tables)
    sql_answer, api_answer = spark_answer(from_sql), spark_answer(from_api)

    assert compare(number, actual=sql_answer, expected=expected).rows == len(sql_answer.rows) > 0
    assert compare(number, actual=api_answer, expected=expected).rows == len(api_answer.rows)
    # Against each other to the last digit: both are Spark's, so no rounding stands between them.
    assert [field.dataType for field in from_api.schema] == [field.dataType for field in from_sql.schema]
    assert sorted(api_answer.rows, key=repr) == sorted(sql_answer.rows, key=repr)


@pytest.mark.spark
def test_check_frame_runs_and_compares(tables: Tables, tpch_plain: Dataset) -> None:
    checked = check_frame(tpch_plain, 1, query_frame(1, tables))
    assert (checked.number, checked.rows) == (1, 4)


@pytest.mark.parametrize("number", QUERY_NUMBERS)
def test_expected_answer_does_not_depend_on_the_format(
    tpch_plain: Dataset, tpch_csv: Dataset, tpch_tbl: Dataset, number: int
) -> None:
    expected = expected_answer(tpch_plain, number)
    for other in (tpch_csv, tpch_tbl):
        # The limit may cut between equals and DuckDB may order those as it likes: compare all rows, in both directions.
        answer = expected_answer(other, number)
        assert answer.columns == expected.columns
        assert sorted(answer.rows, key=repr) == sorted(expected.rows, key=repr)


def test_registries_cover_the_same_queries() -> None:
    assert tuple(QUERIES) == tuple(ORDER_BY) == QUERY_NUMBERS == tuple(range(1, 23))


@pytest.mark.parametrize("number", QUERY_NUMBERS)
def test_every_text_states_its_order(number: int) -> None:
    text = query_text(number)
    last = text.splitlines()[-1 - (number in ROW_LIMITS)]
    stated = last.removeprefix("order by ").replace(" desc", "").split(", ") if last.startswith("order by") else []
    assert tuple(stated) == ORDER_BY[number]


@pytest.mark.parametrize(("number", "rows"), sorted(ROW_LIMITS.items()))
def test_row_limit_can_be_left_out(number: int, rows: int) -> None:
    assert query_text(number) == query_text(number, limited=False) + f"limit {rows}\n"


@pytest.mark.parametrize(
    ("scale", "fraction"),
    [
        (1, "0.0001"),
        (0.01, "0.01"),
        (0.1, "0.001"),
        (3, "0.00003333333333"),
        (300, "0.00000033333333"),
        (100_000, "0.000000001"),
    ],
)
def test_q11_fraction_is_divided_by_the_scale(scale: float, fraction: str) -> None:
    assert f"{q11_fraction(scale):f}" == fraction
    assert f" * {fraction}\n" in query_text(11, scale=scale)


@pytest.mark.parametrize("scale", [0, -1, 1e6, float("nan"), float("inf")])
def test_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="scale factor"):
        query_text(11, scale=scale)


@pytest.mark.parametrize("number", [0, 23, -1])
def test_unknown_query_is_refused(tpch_plain: Dataset, number: int) -> None:
    with pytest.raises(UsageError, match="queries 1 to 22"):
        query_text(number)
    with pytest.raises(UsageError, match="queries 1 to 22"):
        expected_answer(tpch_plain, number)
