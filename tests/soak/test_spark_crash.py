"""50 kills of Spark applications at random points of their writes (issue B, "Must show": crash)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.soak.spark_crash import SCENARIOS, SparkCrashMachine

from redoubt.keys.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.soak, pytest.mark.spark]
KILLS = int(os.environ.get("REDOUBT_SOAK_KILLS", "50"))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: Spark takes 60 bytes for that of its sockets, which lie below it."""
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        yield Path(folder)


def test_50_killed_spark_writes_leave_the_old_state_or_the_new(
    spark: SparkSession, workspace: Workspace, short_folder: Path
) -> None:
    machine = SparkCrashMachine(short_folder, spark, workspace, seed=1)
    runs = 0
    names = list(SCENARIOS)
    try:
        machine.control()
        while sum(machine.killed.values()) < KILLS:
            machine.crash(names[runs % len(names)])
            runs += 1
    finally:
        machine.close()
    print(
        f"killed {machine.killed}, {machine.committed} of them after the commit; {machine.survived} had ended before; "
        f"{machine.leftovers} files left behind were removed"
    )
    assert machine.survived - len(names) < runs / 2, "the kills come too late to mean much"
    assert machine.leftovers, "no kill left a part behind: they come too early to mean much"
