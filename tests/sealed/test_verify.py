"""Verify finds every fault, not only the first, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sealed.samples import CONTENTS, files_below, flip, write_dataset

from redoubt.errors import CommitUnexpected, RedoubtError
from redoubt.keys.workspace import Workspace
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import WriteMode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def test_every_fault_is_found(folder: Path, workspace: Workspace) -> None:
    for number in range(3):
        mode = WriteMode.APPEND if number else WriteMode.CREATE
        dataset = write_dataset(folder, workspace, mode=mode, contents={f"{number}-{i}": b"x" * 50 for i in range(3)})
    changed, cut, gone, *_ = dataset.parts
    flip(folder / changed.name, -3)
    (folder / cut.name).write_bytes((folder / cut.name).read_bytes()[:-1])
    (folder / gone.name).unlink()
    flip(folder / "_commits/00000001", -1)
    (folder / "data/foreign").write_bytes(b"x")
    report = verify_dataset(str(folder), keys=workspace)
    found = {fault.name: fault.error.code for fault in report.faults}
    assert found == {
        "_commits/00000001": "sealed.chunk",
        changed.name: "sealed.chunk",
        cut.name: "sealed.part_changed",
        gone.name: "sealed.part_missing",
    }
    assert report.orphans == ("data/foreign",)
    assert (report.commits, report.parts) == (3, 9)
    with pytest.raises(RedoubtError):
        report.check()


@pytest.mark.parametrize("workers", [1, 3, None])
def test_progress_adds_up_to_all_bytes(folder: Path, workspace: Workspace, workers: int | None) -> None:
    dataset = write_dataset(folder, workspace)
    done: list[int] = []
    report = verify_dataset(str(folder), keys=workspace, progress=done.append, workers=workers)
    assert sum(done) == report.bytes == sum(part.length for part in dataset.parts)


def test_nothing_is_written(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    before = files_below(folder)
    verify_dataset(str(folder), keys=workspace)
    assert files_below(folder) == before
    assert len(before) == len(CONTENTS) + 2


def test_a_pinned_commit_is_compared(folder: Path, workspace: Workspace) -> None:
    dataset = write_dataset(folder, workspace)
    assert verify_dataset(str(folder), keys=workspace, at_commit=dataset.commit_digest).check().freshness == "pinned"
    with pytest.raises(CommitUnexpected):
        verify_dataset(str(folder), keys=workspace, at_commit="sha256:" + "0" * 64)


def test_a_key_file_of_the_parts_that_is_damaged_is_a_fault_not_the_end(folder: Path, workspace: Workspace) -> None:
    first = write_dataset(folder, workspace)
    write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"new": b"n"})
    key_file = folder / f"_keys/{first.parts[0].key}/00000001"
    flip(key_file, -1)
    report = verify_dataset(str(folder), keys=workspace)
    assert {fault.error.code for fault in report.faults} == {"key.context"}
    assert len(report.faults) == 1 + 1 + len(CONTENTS)  # the old record, the key, every part under it
