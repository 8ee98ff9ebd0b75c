"""Fixtures that every room shares: a workspace with keys, and the one Spark session of a test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from redoubt.keys.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Test sessions are small; two hundred shuffle partitions of nothing would dominate their time.
_TEST_CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.default.parallelism": "2",
    "spark.driver.memory": "2g",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


#: A busy machine is no failure of an example; pytest-timeout ends what hangs.
hypothesis.settings.register_profile("redoubt", deadline=None)
hypothesis.settings.load_profile("redoubt")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with its primary key ``default``, shared by the tests of a process."""
    return Workspace.init(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def spark(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The Spark session of this test process, made as users make it, with the workspace's keys."""
    from redoubt.spark import session, stop

    warehouse: Path = tmp_path_factory.mktemp("warehouse")
    conf = {**_TEST_CONF, "spark.sql.warehouse.dir": str(warehouse)}
    made = session("redoubt tests", keys=workspace, master="local[2]", conf=conf)
    yield made
    stop(made)
