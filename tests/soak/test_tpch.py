"""The 22 queries at scale: sealed, plain and DuckDB's answers are the same (issue A, "Must show" 2).

``REDOUBT_SOAK_SCALE`` (default 1) is the scale factor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import pytest
from pyspark.sql import SparkSession

from redoubt.keys.workspace import Workspace
from redoubt.spark import session, stop
from redoubt.workloads.tpch.check import Answer, compare, expected_answer
from redoubt.workloads.tpch.demo import Data, prepare
from redoubt.workloads.tpch.run import Api, run_query
from redoubt.workloads.tpch.seal import load_sealed
from redoubt.workloads.tpch.sql import QUERY_NUMBERS
from redoubt.workloads.tpch.tables import load_plain

pytestmark = [pytest.mark.soak, pytest.mark.spark]

SCALE = float(os.environ.get("REDOUBT_SOAK_SCALE", "1"))
CONF = {"spark.sql.shuffle.partitions": "8", "spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SparkSession, Data]]:
    """A session with memory for the scale, and the tables. ``make soak`` runs each module in a process of its own."""
    folder = tmp_path_factory.mktemp("tpch")
    keys = Workspace.init(folder)
    spark = session("redoubt soak", keys=keys, conf=CONF)
    yield spark, prepare(spark, keys, folder, scale=SCALE, say=print)
    stop(spark)


@pytest.mark.parametrize("api", ["sql", "dataframe"])
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_sealed_plain_and_duckdb_agree(
    large: tuple[SparkSession, Data], form: Literal["parquet", "csv"], api: Api
) -> None:
    spark, data = large
    if form == "parquet":
        reference, plain, sealed = data.generated, load_plain(spark, data.plain), load_sealed(spark, data.sealed)
    else:
        reference = data.generated_csv
        plain, sealed = load_plain(spark, reference), load_sealed(spark, data.sealed_csv)
    for number in QUERY_NUMBERS:
        from_sealed, from_plain = (run_query(spark, tables, number, api=api) for tables in (sealed, plain))
        assert sorted(from_sealed.rows, key=repr) == sorted(from_plain.rows, key=repr), number
        answer = Answer(tuple(from_sealed.frame.columns), from_sealed.rows)
        checked = compare(number, actual=answer, expected=expected_answer(reference, number))
        print(f"{form} {api} Q{number:02d}: {checked.rows} rows, sealed {from_sealed.seconds:.1f} s", flush=True)
