"""Settings that a program cannot take away."""

from __future__ import annotations

from pathlib import Path

import pytest

from redoubt.errors import OptionRefused
from redoubt.spark.conf import settings
from redoubt.spark.conf_merge import merge


@pytest.mark.parametrize("name", ["ignoreCorruptFiles", "ignoreMissingFiles"])
@pytest.mark.parametrize("scope", ["spark.files", "spark.sql.files"])
def test_tampered_and_removed_files_cannot_be_skipped(tmp_path: Path, scope: str, name: str) -> None:
    """`sc.textFile` and the like ask `spark.files.*`, DataFrames `spark.sql.files.*`."""
    base = settings(endpoint=tmp_path, jar=tmp_path, sockets=tmp_path)
    assert merge(base, {})[f"{scope}.{name}"] == "false"
    with pytest.raises(OptionRefused):
        merge(base, {f"{scope}.{name}": "true"})
