"""Hardening H28: whatever the splits, a sealed file has the lines of the plain file, each once and in order.

The cases run in one JVM of their own, through Hadoop's line readers (``jvm/src/test``): a Spark job for each of some
thousand readings would take an hour.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from redoubt.agent.endpoint import KeyEndpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def class_path(jvm_build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    classes = tmp_path_factory.mktemp("classes")
    path = [str(jvm_build.build()), f"{jvm_build.spark_jars()}/*"]
    jvm_build.compile_java(sorted((ROOT / "jvm" / "src" / "test" / "java").rglob("*.java")), classes, class_path=path)
    return ":".join([str(classes), *path])


def readings(class_path: str, endpoint: KeyEndpoint, folder: Path, *, every: int) -> int:
    """Run every n-th case; return the number of readings that were compared."""
    command = ["java", "-Xmx512m", "-cp", class_path, "io.redoubt.hadoop.SplitCheck", str(endpoint.folder), str(folder)]
    done = subprocess.run([*command, str(every)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_no_line_is_lost_or_doubled(class_path: str, endpoint: KeyEndpoint, tmp_path: Path) -> None:
    # A stride without a common divisor with the 9 delimiters meets each of them.
    assert readings(class_path, endpoint, tmp_path, every=61) > 1000


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_no_line_is_lost_or_doubled_in_any_case(class_path: str, endpoint: KeyEndpoint, tmp_path: Path) -> None:
    assert readings(class_path, endpoint, tmp_path, every=1) > 70_000
