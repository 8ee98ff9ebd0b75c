"""The main job, as ``make demo`` runs it: an attested program answers the 22 queries from sealed data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.cli.main import main
from redoubt.errors import ExitStatus

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]  # two JVMs of their own


def test_main_job_is_attested_and_every_answer_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-m", "redoubt.cli.main", "--json", "tpch", "demo"]
    ran = subprocess.run(
        [*words, "--scale", "0.001", "--keep", str(tmp_path / "kept")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["verified"] == 22
    assert [line["query"] for line in found["lines"] if line["from"] == "parquet"] == list(range(1, 23))
    assert [line["query"] for line in found["lines"] if line["from"] == "csv"] == [1, 6, 13]
    assert ran.stderr.endswith("22 of 22 verified\n")
    assert "SIMULATED evidence" in ran.stderr
    assert re.search(r"attested by urn:redoubt:simulated:\S+: .* manifest sha256:[0-9a-f]{64}, until", ran.stderr)
    assert "the broker released 16 data keys of 16 datasets" in ran.stderr

    for sealed in ("sealed-csv", "sealed"):
        for table in sorted((tmp_path / "kept" / sealed).iterdir()):
            assert main(["--workspace", str(tmp_path / "kept"), "verify", str(table)]) == ExitStatus.OK, table
    capsys.readouterr()
