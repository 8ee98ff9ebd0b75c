"""The 22 queries at scale on a cluster with everything on: sealed tables, every answer as DuckDB has it.

``REDOUBT_SOAK_SCALE`` (default 1) is the scale factor.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks.cluster import attested_driver

from redoubt.keys.workspace import Workspace
from redoubt.spark import session, stop
from redoubt.workloads.tpch.demo import prepare
from redoubt.workloads.tpch.sql import QUERY_NUMBERS

pytestmark = [pytest.mark.soak, pytest.mark.spark]

SCALE = float(os.environ.get("REDOUBT_SOAK_SCALE", "1"))
CONF = {"spark.sql.shuffle.partitions": "8", "spark.driver.memory": "6g", "spark.ui.showConsoleProgress": "false"}


def test_every_answer_of_a_cluster_is_right(tmp_path: Path) -> None:
    """The driver compares, and ends with an error if an answer differs."""
    tables = tmp_path / "tables"
    spark = session("redoubt soak", keys=Workspace.init(tables), conf=CONF)
    try:
        prepare(spark, Workspace.open(tables), tables, scale=SCALE, say=print)
    finally:
        stop(spark)
    with attested_driver(tables, scale=SCALE) as driver:
        driver.ask("check")
    assert {int(it) for it in driver.seconds} == set(QUERY_NUMBERS)
    print({number: seconds[0] for number, seconds in driver.seconds.items()})
