"""Where a path of the Data Source ``sealed`` leads, before it is sent to executors in other working folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql.types import StructType

from redoubt.spark.source import read_request


@pytest.mark.parametrize(
    ("given", "meant"),
    [("people", "{here}/people"), ("./a/../people", "{here}/a/../people"), ("/data/people", "/data/people")],
)
def test_a_relative_path_is_the_drivers(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options, _ = read_request({"path": given}, StructType())
    assert options.path == meant.format(here=tmp_path)


@pytest.mark.parametrize("given", ["s3://bucket/people", "file:///data/people"])
def test_a_uri_stays_as_it_is(given: str) -> None:
    options, _ = read_request({"path": given}, StructType())
    assert options.path == given
