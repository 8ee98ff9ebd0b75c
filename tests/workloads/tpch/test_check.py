"""The comparison of answers finds what is wrong, and allows rounding, ties and nothing else."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from redoubt.errors import AnswerMismatch, UsageError, WorkloadError
from redoubt.workloads.tpch.check import Answer, Row, compare, expected_answer
from redoubt.workloads.tpch.generate import Dataset

Q5 = ("n_name", "revenue")
Q8 = ("o_year", "mkt_share")
Q21 = ("s_name", "numwait")


def _compare(number: int, columns: tuple[str, ...], actual: list[Row], expected: list[Row]) -> int:
    return compare(number, actual=Answer(columns, tuple(actual)), expected=Answer(columns, tuple(expected))).rows


@pytest.mark.parametrize(
    ("columns", "number", "actual", "expected"),
    [
        (Q5, 5, [("A", Decimal("2.00")), ("B", Decimal("1"))], [("A", Decimal("2")), ("B", Decimal("1.000"))]),
        pytest.param(
            Q5,
            5,
            [("A", Decimal(1)), ("B", Decimal(1))],
            [("B", Decimal(1)), ("A", Decimal(1))],
            id="ties in any order",
        ),
        pytest.param(Q8, 8, [(1995, Decimal("0.333333"))], [(1995, 1 / 3)], id="rounded to six digits"),
        pytest.param(Q8, 8, [(1995, Decimal("0.666667"))], [(1995, 2 / 3)], id="rounded up"),
        pytest.param(Q8, 8, [(1995, 0.1 + 0.2)], [(1995, 0.3)], id="floats"),
        pytest.param(("avg_yearly",), 17, [(None,)], [(None,)], id="sum of no rows"),
        pytest.param(Q5, 5, [], [], id="no rows"),
    ],
)
def test_same_answers(columns: tuple[str, ...], number: int, actual: list[Row], expected: list[Row]) -> None:
    assert _compare(number, columns, actual, expected) == len(expected)


@pytest.mark.parametrize(
    ("columns", "number", "actual", "expected"),
    [
        pytest.param(Q5, 5, [("A", Decimal("2.01"))], [("A", Decimal("2.00"))], id="a cent"),
        pytest.param(Q5, 5, [("a", Decimal(2))], [("A", Decimal(2))], id="a letter"),
        pytest.param(Q5, 5, [("A", 2)], [("A", Decimal(2))], id="an integer for a decimal"),
        pytest.param(Q5, 5, [("A", None)], [("A", Decimal(2))], id="NULL for a value"),
        pytest.param(Q5, 5, [("A", Decimal(1)), ("B", Decimal(2))], [("B", Decimal(2)), ("A", Decimal(1))], id="order"),
        pytest.param(
            Q5, 5, [("A", Decimal(1)), ("A", Decimal(1))], [("A", Decimal(1)), ("B", Decimal(1))], id="a row twice"
        ),
        pytest.param(Q5, 5, [("A", Decimal(1))], [("A", Decimal(1)), ("B", Decimal(1))], id="a row missing"),
        pytest.param(Q5, 5, [("A", Decimal(1)), ("B", Decimal(1))], [("A", Decimal(1))], id="a row too many"),
        pytest.param(Q8, 8, [(1995, Decimal("0.333334"))], [(1995, 1 / 3)], id="rounded the wrong way"),
        pytest.param(Q8, 8, [(1995, 0.3 + 1e-9)], [(1995, 0.3)], id="floats apart"),
        pytest.param(Q8, 8, [(1995, float("nan"))], [(1995, 0.3)], id="NaN"),
        pytest.param(Q8, 8, [(1995, Decimal("NaN"))], [(1995, 0.3)], id="decimal NaN"),
        pytest.param(Q8, 8, [(1995, None)], [(1995, 0.3)], id="NULL for a float"),
        pytest.param(Q8, 8, [(1995, "0.3")], [(1995, 0.3)], id="text for a float"),
    ],
)
def test_different_answers(columns: tuple[str, ...], number: int, actual: list[Row], expected: list[Row]) -> None:
    with pytest.raises(AnswerMismatch, match=f"query {number}: "):
        _compare(number, columns, actual, expected)


def test_first_differing_row_is_shown() -> None:
    with pytest.raises(AnswerMismatch, match=r"row 1 is \('B', Decimal\('2'\)\), expected \('C', Decimal\('2'\)\)"):
        _compare(5, Q5, [("A", Decimal(3)), ("B", Decimal(2))], [("A", Decimal(3)), ("C", Decimal(2))])


def test_columns_are_compared() -> None:
    with pytest.raises(AnswerMismatch, match="columns"):
        compare(5, actual=Answer(("n_name", "total"), ()), expected=Answer(Q5, ()))


def test_row_limit_counts() -> None:
    everything: list[Row] = [(f"S{index:03}", 7) for index in range(120)]
    assert _compare(21, Q21, everything[:100], everything) == 100
    with pytest.raises(AnswerMismatch, match="there are 120 rows, expected 100"):
        _compare(21, Q21, everything, everything)
    with pytest.raises(AnswerMismatch, match="row 0"):
        _compare(21, Q21, everything[1:101], everything)


def test_row_limit_may_cut_ties_anywhere() -> None:
    # Q10 orders by revenue only: of three rows with the last revenue any may be the twentieth.
    columns = ("c_custkey", "revenue")
    everything: list[Row] = [(index, Decimal(100 - min(index, 19))) for index in range(22)]
    assert _compare(10, columns, [*everything[:19], everything[21]], everything) == 20
    with pytest.raises(AnswerMismatch, match="row 19"):
        _compare(10, columns, [*everything[:19], (22, Decimal(81))], everything)


def test_unknown_query_is_refused() -> None:
    with pytest.raises(UsageError, match="queries 1 to 22"):
        _compare(23, Q5, [], [])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"no parquet files in .*region"):
        expected_answer(Dataset(tmp_path, 1, "parquet"), 1)


def test_damaged_files_are_an_error(tmp_path: Path, tpch_plain: Dataset) -> None:
    for file in (file for table in ("region", "nation") for file in tpch_plain.table_files(table)):
        copy = tmp_path / file.parent.name / file.name
        copy.parent.mkdir()
        copy.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WorkloadError, match="DuckDB cannot answer query 6"):
        expected_answer(Dataset(tmp_path, 0.01, "parquet"), 6)
