"""The tour of the README, command by command, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- tour -->\n```(console|python)\n(.*?)```", re.DOTALL)
SKIPPED = ("source ", "mkdir /tmp/tour")  # the environment is active and the folder is pytest's


def script() -> list[tuple[str, str]]:
    steps = []
    for kind, text in BLOCK.findall(README.read_text()):
        if kind == "python":
            steps.append(("python", text))
            continue
        commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        steps += [("bash", line) for line in commands if not line.startswith(SKIPPED)]
    return steps


@pytest.mark.spark
def test_the_tour_works_as_written(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    environment.pop("REDOUBT_ENDPOINT", None)
    printed = ""
    steps = script()
    assert len(steps) >= 14
    for kind, text in steps:
        command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    assert "name,age,job" in printed
    assert "2 parts" in printed
    assert "Eve" in printed
