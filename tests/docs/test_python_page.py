"""The example of docs/python.md runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from redoubt.keys.workspace import Workspace

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_example_runs(tmp_path: Path) -> None:
    Workspace.init(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    checks = (
        "assert parquet.read_pandas('people/', keys=keys)['id'].tolist() == [1, 2, 3]\n"
        "assert parquet.duckdb_relation('people/', keys=keys).filter('id > 1').fetchall() == [(2, 'bob'), (3, 'eve')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", example + checks], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_table_names_every_function() -> None:
    from redoubt.sealed import parquet

    assert set(re.findall(r"^\| `(\w+)\(", PAGE.read_text(), re.MULTILINE)) == set(parquet.__all__)
