"""The file system's view of a dataset: every part is shown under one name, and can be read from anywhere."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from tests.jvm.conftest import java_of
from tests.jvm.samples import write_dataset

from redoubt.keys.workspace import Workspace
from redoubt.sealed.write import WriteMode

pytestmark = pytest.mark.spark

CHUNK = 16384
CONTENT = random.Random(20261126).randbytes(3 * CHUNK + 777)
_QUICK = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Names that lose their ends in the view, and then collide with each other, with folders, and with their marks.
NAMES = st.sampled_from(
    [
        "a.sealed",
        "a",
        "a~1.sealed",
        "a~2.sealed",
        "a/b.sealed",
        "a/b",
        "a/b~3.sealed",
        ".sealed",
        "~1.sealed",
        "c.csv.sealed",
    ]
)


def system_of(spark: SparkSession, path: Path) -> Any:
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    return hadoop_path(spark, path).getFileSystem(conf)


def hadoop_path(spark: SparkSession, path: Path) -> Any:
    return java_of(spark).org.apache.hadoop.fs.Path(str(path))


@_QUICK
@given(commits=st.lists(st.sets(NAMES, min_size=1, max_size=6), min_size=1, max_size=3))
@example(commits=[{"a", "a.sealed", "a~1.sealed"}])
@example(commits=[{"a.sealed"}, {"a/b.sealed"}])
def test_every_part_is_shown_once(
    spark: SparkSession, tmp_path: Path, workspace: Workspace, commits: list[set[str]]
) -> None:
    folder = tmp_path / "view"
    shutil.rmtree(folder, ignore_errors=True)
    expected: list[bytes] = []
    for number, names in enumerate(commits):
        # On the disk, "a" cannot be a file and a folder of one commit.
        kept = sorted(name for name in names if not any(other.startswith(name + "/") for other in names))
        parts = {name: f"{number} {name}".encode() for name in kept}
        write_dataset(folder, parts, keys=workspace, mode=WriteMode.APPEND if number else WriteMode.CREATE)
        expected += parts.values()
    system = system_of(spark, folder)
    found, files = [], system.listFiles(hadoop_path(spark, folder), True)
    while files.hasNext():
        status = files.next()
        content = bytes(system.open(status.getPath()).readAllBytes())
        assert len(content) == status.getLen()
        found.append(content)
    assert sorted(found) == sorted(expected)


@pytest.fixture(scope="module")
def part(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Any:
    """A part of four chunks, opened by the file system."""
    folder = tmp_path_factory.mktemp("part")
    write_dataset(folder, {"p.bin.sealed": CONTENT}, keys=workspace)
    return system_of(spark, folder).open(hadoop_path(spark, folder / "p.bin"))


POSITIONS = st.one_of(
    st.integers(0, len(CONTENT)),
    st.builds(lambda chunk, shift: chunk * CHUNK + shift, st.integers(1, 3), st.integers(-2, 2)),
)


@_QUICK
@given(reads=st.lists(st.tuples(POSITIONS, st.integers(0, 2 * CHUNK)), min_size=1, max_size=8))
def test_a_part_is_read_from_anywhere(part: Any, reads: list[tuple[int, int]]) -> None:
    for position, length in reads:
        part.seek(position)
        assert bytes(part.readNBytes(length)) == CONTENT[position : position + length]
        assert part.getPos() == min(len(CONTENT), position + length)


def test_a_position_beyond_the_end_is_refused(part: Any) -> None:
    with pytest.raises(Exception, match="is not in a file of"):
        part.seek(len(CONTENT) + 1)
    part.seek(len(CONTENT))
    assert part.read() == -1
