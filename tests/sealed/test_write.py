"""Writers: races, lost answers, interrupted writes. One commit is all of a write or nothing."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from tests.sealed.samples import CONTENTS, read_dataset, write_dataset, write_parts

from redoubt.errors import AlreadyExists, CommitConflict, CommitInvalid, HeaderInvalid, NoCommit, StorageError
from redoubt.keys.workspace import Workspace
from redoubt.sealed import write as write_module
from redoubt.sealed.commit import Operation, commit_name
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import DatasetWrite, WriteMode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def begin(folder: Path, keys: Workspace, mode: WriteMode) -> DatasetWrite:
    return DatasetWrite.begin(str(folder), keys=keys, mode=mode)


def healthy(folder: Path, keys: Workspace) -> dict[str, bytes]:
    return read_dataset(verify_dataset(str(folder), keys=keys).check())


# --- modes ------------------------------------------------------------------------------------------------------------
def test_append_keeps_what_was_there(folder: Path, workspace: Workspace) -> None:
    one = write_dataset(folder, workspace, properties={"format": "csv"})
    two = write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"new": b"n"})
    assert two.head.commit.previous == one.commit_digest
    assert (two.id, two.head.commit.number, two.head.commit.operation) == (one.id, 2, Operation.APPEND)
    assert two.head.commit.properties == {"format": "csv"}
    assert healthy(folder, workspace) == {**CONTENTS, "new": b"n"}


def test_every_write_has_a_data_key_of_its_own(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    dataset = write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"new": b"n"})
    assert len({part.key for part in dataset.parts}) == 2


def test_overwrite_replaces_and_leaves_the_old_parts_as_orphans(folder: Path, workspace: Workspace) -> None:
    old = write_dataset(folder, workspace)
    new = write_dataset(folder, workspace, mode=WriteMode.OVERWRITE, contents={"new": b"n"}, properties={"a": "b"})
    assert (new.id, new.head.commit.operation, dict(new.head.commit.properties)) == (
        old.id,
        Operation.OVERWRITE,
        {"a": "b"},
    )
    assert healthy(folder, workspace) == {"new": b"n"}
    orphans = verify_dataset(str(folder), keys=workspace).orphans
    assert set(orphans) == {part.name for part in old.parts}


@pytest.mark.parametrize("mode", [WriteMode.APPEND, WriteMode.OVERWRITE])
def test_a_first_write_creates_in_every_mode(folder: Path, workspace: Workspace, mode: WriteMode) -> None:
    assert write_dataset(folder, workspace, mode=mode).head.commit.operation is Operation.CREATE


def test_create_refuses_an_existing_dataset(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    with pytest.raises(AlreadyExists):
        begin(folder, workspace, WriteMode.CREATE)
    assert healthy(folder, workspace) == dict(CONTENTS)


# --- races ------------------------------------------------------------------------------------------------------------
def test_two_appenders_at_once_both_commit(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace, contents={"first": b"1"})
    one, other = (begin(folder, workspace, WriteMode.APPEND) for _ in range(2))
    parts = [write_parts(one, {"one": b"1"}), write_parts(other, {"other": b"2"})]
    one.commit(parts[0])
    other.commit(parts[1])
    assert healthy(folder, workspace) == {"first": b"1", "one": b"1", "other": b"2"}
    assert Dataset.open(str(folder), keys=workspace).head.commit.number == 3


def test_many_appenders_at_once(folder: Path, workspace: Workspace) -> None:
    """All that commit are there whole; whoever lost too often is told so, and nothing of it is visible."""
    write_dataset(folder, workspace, contents={})
    start = Barrier(6)

    def append(number: int) -> bool:
        write = begin(folder, workspace, WriteMode.APPEND)
        parts = write_parts(write, {f"by-{number}-{i}": b"x" * number for i in range(3)})
        start.wait()
        try:
            write.commit(parts)
        except CommitConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        committed = list(pool.map(append, range(6)))
    expected = {f"by-{n}-{i}": b"x" * n for n in range(6) if committed[n] for i in range(3)}
    assert healthy(folder, workspace) == expected
    assert committed.count(True) == 6  # eight attempts are enough for six


@pytest.mark.parametrize("mode", [WriteMode.CREATE, WriteMode.APPEND, WriteMode.OVERWRITE])
def test_two_creators_at_once_one_is_refused(folder: Path, workspace: Workspace, mode: WriteMode) -> None:
    one, other = (begin(folder, workspace, mode) for _ in range(2))
    parts = [write_parts(one, {"one": b"1"}), write_parts(other, {"other": b"2"})]
    one.commit(parts[0])
    with pytest.raises(CommitConflict, match="nothing of this write is visible"):
        other.commit(parts[1])
    assert healthy(folder, workspace) == {"one": b"1"}


def test_two_overwriters_at_once_one_is_refused(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    one, other = (begin(folder, workspace, WriteMode.OVERWRITE) for _ in range(2))
    parts = [write_parts(one, {"one": b"1"}), write_parts(other, {"other": b"2"})]
    other.commit(parts[1])
    with pytest.raises(CommitConflict):
        one.commit(parts[0])
    assert healthy(folder, workspace) == {"other": b"2"}


def test_an_append_that_meets_an_overwrite_goes_on_top_of_it(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    append = begin(folder, workspace, WriteMode.APPEND)
    parts = write_parts(append, {"appended": b"a"})
    write_dataset(folder, workspace, mode=WriteMode.OVERWRITE, contents={"over": b"o"})
    append.commit(parts)
    assert healthy(folder, workspace) == {"over": b"o", "appended": b"a"}


def test_an_appender_that_always_loses_is_told(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(folder, workspace, contents={})
    write = begin(folder, workspace, WriteMode.APPEND)
    parts = write_parts(write, {"late": b"l"})
    real = LocalStorage.put_if_absent

    def put(self: LocalStorage, name: str, data: bytes) -> None:
        if name.startswith("_commits/") and name != commit_name(1):
            monkeypatch.setattr(LocalStorage, "put_if_absent", real)
            write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={f"f{name[-2:]}": b"f"})
            monkeypatch.setattr(LocalStorage, "put_if_absent", put)
        real(self, name, data)

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    monkeypatch.setattr(write_module, "COMMIT_ATTEMPTS", 3)
    with pytest.raises(CommitConflict, match="3 commits"):
        write.commit(parts)
    assert "late" not in healthy(folder, workspace)


# --- lost answers -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("answer", [AlreadyExists, StorageError])
@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, mode: WriteMode, answer: type[Exception]
) -> None:
    if mode is not WriteMode.CREATE:
        write_dataset(folder, workspace, contents={"first": b"1"})
    write = begin(folder, workspace, mode)
    parts = write_parts(write, {"mine": b"m"})
    real = LocalStorage.put_if_absent

    def put(self: LocalStorage, name: str, data: bytes) -> None:
        real(self, name, data)
        raise answer("the answer was lost")

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    dataset = write.commit(parts)
    monkeypatch.undo()
    assert healthy(folder, workspace) == read_dataset(dataset)
    assert dataset.head.commit.number == (1 if mode is WriteMode.CREATE else 2)


def test_an_upload_that_failed_is_an_error_and_nothing_is_visible(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = begin(folder, workspace, WriteMode.CREATE)
    parts = write_parts(write, {"mine": b"m"})

    def put(self: LocalStorage, name: str, data: bytes) -> None:
        raise StorageError("no connection")

    monkeypatch.setattr(LocalStorage, "put_if_absent", put)
    with pytest.raises(StorageError, match="no connection"):
        write.commit(parts)
    monkeypatch.undo()
    with pytest.raises(NoCommit):
        Dataset.open(str(folder), keys=workspace)
    write.commit(parts)
    assert healthy(folder, workspace) == {"mine": b"m"}


def test_committing_a_write_again_changes_nothing(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace, contents={"first": b"1"})
    write = begin(folder, workspace, WriteMode.APPEND)
    parts = write_parts(write, {"mine": b"m"})
    one = write.commit(parts)
    assert write.commit(parts).commit_digest == one.commit_digest
    resumed = DatasetWrite.resume(pickle.loads(pickle.dumps(write.ticket)), keys=workspace)
    assert resumed.commit(parts).commit_digest == one.commit_digest


def test_a_write_resumed_after_it_lost_and_won_is_not_made_twice(folder: Path, workspace: Workspace) -> None:
    """Its record is not at the number that the ticket started from, nor at the head."""
    write_dataset(folder, workspace, contents={"first": b"1"})
    write = begin(folder, workspace, WriteMode.APPEND)
    parts = write_parts(write, {"mine": b"m"})
    write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"between": b"b"})
    write.commit(parts)
    last = write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"after": b"a"})
    again = DatasetWrite.resume(write.ticket, keys=workspace).commit(parts)
    assert again.commit_digest == last.commit_digest
    assert healthy(folder, workspace) == {"first": b"1", "between": b"b", "mine": b"m", "after": b"a"}


# --- unfinished writes ------------------------------------------------------------------------------------------------
def test_a_write_that_was_never_committed_is_never_read(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    orphan = write_parts(begin(folder, workspace, WriteMode.APPEND), {"orphan": b"o"})
    assert healthy(folder, workspace) == dict(CONTENTS)
    assert verify_dataset(str(folder), keys=workspace).orphans == (orphan[0].name,)


def test_a_create_after_an_unfinished_create(folder: Path, workspace: Workspace) -> None:
    """The key file and parts of the dead write belong to a dataset that never came to be; verify must not mind."""
    write_parts(begin(folder, workspace, WriteMode.CREATE), {"dead": b"d"})
    with pytest.raises(NoCommit):
        Dataset.open(str(folder), keys=workspace)
    write_dataset(folder, workspace)
    assert healthy(folder, workspace) == dict(CONTENTS)


def test_an_aborted_part_is_gone(folder: Path, workspace: Workspace) -> None:
    write = begin(folder, workspace, WriteMode.CREATE)
    part = write.parts.part("x", media_type="text/csv")
    part.write(b"half")
    part.abort()
    assert not (folder / "data").exists() or not list((folder / "data").rglob("x"))


def test_a_part_name_is_taken_once(folder: Path, workspace: Workspace) -> None:
    write = begin(folder, workspace, WriteMode.CREATE)
    write_parts(write, {"x": b"1"})
    with pytest.raises(AlreadyExists):
        write.parts.part("x", media_type="text/csv")


@pytest.mark.parametrize("name", ["../x", "/x", "", "a\\b", "x\n"])
def test_part_names_cannot_leave_the_dataset(folder: Path, workspace: Workspace, name: str) -> None:
    with pytest.raises(HeaderInvalid):
        begin(folder, workspace, WriteMode.CREATE).parts.part(name, media_type="text/csv")


def test_a_record_that_no_reader_would_take_is_not_written(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_module, "MAX_COMMIT_BYTES", 100)
    with pytest.raises(CommitInvalid, match="at most 100"):
        write_dataset(folder, workspace)
    assert not (folder / "_commits").exists()


# --- other processes --------------------------------------------------------------------------------------------------
def test_tickets_carry_no_secret_and_open_elsewhere(folder: Path, workspace: Workspace) -> None:
    write = begin(folder, workspace, WriteMode.CREATE)
    pickled = pickle.dumps(write.ticket)
    assert write._data_key.secret not in pickled
    factory = pickle.loads(pickled).open(keys=workspace)
    part = factory.part("from-a-worker", media_type="text/csv")
    part.write(b"w")
    entry = pickle.loads(pickle.dumps(part.finish()))
    DatasetWrite.resume(pickle.loads(pickled), keys=workspace).commit([entry])
    assert healthy(folder, workspace) == {"from-a-worker": b"w"}
