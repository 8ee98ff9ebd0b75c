"""Datasets: what a reader may rely on, and every way to deceive it that must fail. Attacks name their tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.sealed.samples import (
    CONTENTS,
    files_below,
    flip,
    part_named,
    put_files,
    read_dataset,
    read_file,
    write_dataset,
    write_file,
)

from redoubt.crypto import chunked
from redoubt.errors import (
    CommitInvalid,
    CommitmentMismatch,
    CommitUnexpected,
    HeaderInvalid,
    IdentityMismatch,
    KeyError_,
    KeyFileMissing,
    KeyUnknown,
    NoCommit,
    NotADataset,
    NotSealed,
    PartChanged,
    PartMissing,
    RedoubtError,
    SealedError,
    WrapRefused,
)
from redoubt.keys.types import Purpose, WrapContext
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset, Freshness, commit_header, commit_numbers
from redoubt.sealed.header import MAGIC
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import DatasetWrite, WriteMode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.fixture
def dataset(folder: Path, workspace: Workspace) -> Dataset:
    return write_dataset(folder, workspace, properties={"format": "csv"})


def test_one_sealed_file_is_no_dataset(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "x.csv.sealed"
    write_file(path, b"1,2\n", workspace)
    with pytest.raises(NotADataset, match=r"x\.csv\.sealed is one file"):
        Dataset.open(str(path), keys=workspace)
    with pytest.raises(NotADataset):
        DatasetWrite.begin(str(path), keys=workspace, mode=WriteMode.OVERWRITE)
    assert read_file(path, workspace) == b"1,2\n"


def reopen(folder: Path, keys: Workspace, **pins: object) -> Dataset:
    return Dataset.open(str(folder), keys=keys, **pins)  # type: ignore[arg-type]


def refuses(folder: Path, keys: Workspace, error: type[RedoubtError]) -> None:
    """Reading everything raises *error*, and verify finds fault too."""
    with pytest.raises(error):
        read_dataset(reopen(folder, keys))
    with pytest.raises(RedoubtError):
        verify_dataset(str(folder), keys=keys).check()


def test_what_was_written_is_read(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    again = reopen(folder, workspace)
    assert read_dataset(again) == read_dataset(dataset) == dict(CONTENTS)
    assert again.head == dataset.head
    assert again.head.commit.properties == {"format": "csv"}
    assert again.freshness is Freshness.NOT_CHECKED
    again.check_lengths()
    report = verify_dataset(str(folder), keys=workspace)
    assert report.check().commit_digest == dataset.commit_digest
    assert (report.commits, report.parts, report.orphans) == (1, 4, ())


def test_nothing_on_disk_is_plaintext(folder: Path, workspace: Workspace) -> None:
    marker = b"MARKER-" + uuid4().hex.encode() * 20
    write_dataset(folder, workspace, contents={"x.csv": marker}, properties={"secret": marker.decode()})
    for name, content in files_below(folder).items():
        assert marker[:20] not in content, name
        assert uuid4().bytes not in content


def test_there_is_no_dataset(folder: Path, workspace: Workspace) -> None:
    with pytest.raises(NoCommit):
        reopen(folder, workspace)
    folder.mkdir()
    with pytest.raises(NoCommit):
        reopen(folder, workspace)


def test_a_dataset_without_parts(folder: Path, workspace: Workspace) -> None:
    assert read_dataset(write_dataset(folder, workspace, contents={})) == {}
    assert verify_dataset(str(folder), keys=workspace).check().parts == ()


# --- the head ---------------------------------------------------------------------------------------------------------
def test_rolled_back_dataset_is_refused_when_pinned(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    before = files_below(folder)
    newer = write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"new.csv": b"n"})
    pinned = reopen(folder, workspace, at_commit=newer.commit_digest)
    assert pinned.freshness is Freshness.PINNED
    put_files(folder, before)
    with pytest.raises(CommitUnexpected):
        reopen(folder, workspace, at_commit=newer.commit_digest)
    with pytest.raises(CommitUnexpected):
        verify_dataset(str(folder), keys=workspace, at_commit=newer.commit_digest)
    assert reopen(folder, workspace).freshness is Freshness.NOT_CHECKED


def test_another_dataset_in_its_place_is_refused_when_pinned(
    folder: Path, tmp_path: Path, dataset: Dataset, workspace: Workspace
) -> None:
    other = write_dataset(tmp_path / "other", workspace)
    assert other.id != dataset.id
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "other", folder)
    with pytest.raises(IdentityMismatch):
        reopen(folder, workspace, dataset_id=dataset.id)


def test_commit_record_renumbered_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    shutil.copy(folder / "_commits/00000001", folder / "_commits/00000002")
    refuses(folder, workspace, IdentityMismatch)


def test_commit_record_removed_from_the_middle_is_refused(folder: Path, workspace: Workspace) -> None:
    for mode in (WriteMode.CREATE, WriteMode.APPEND, WriteMode.APPEND):
        write_dataset(folder, workspace, mode=mode, contents={"x": mode.value.encode()})
    (folder / "_commits/00000002").unlink()
    refuses(folder, workspace, CommitInvalid)


def test_commit_record_of_another_dataset_is_refused(
    folder: Path, tmp_path: Path, dataset: Dataset, workspace: Workspace
) -> None:
    write_dataset(tmp_path / "other", workspace)
    shutil.copy(tmp_path / "other/_commits/00000001", folder / "_commits/00000001")
    refuses(folder, workspace, KeyFileMissing)
    shutil.copytree(tmp_path / "other/_keys", folder / "_keys", dirs_exist_ok=True)
    refuses(folder, workspace, PartMissing)


def test_history_rewritten_below_the_head_is_found_by_verify(folder: Path, workspace: Workspace) -> None:
    write_dataset(folder, workspace)
    fork = files_below(folder)
    write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"b": b"b"})
    write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"c": b"c"})
    whole = files_below(folder)
    put_files(folder, fork)
    write_dataset(folder, workspace, mode=WriteMode.APPEND, contents={"other": b"other"})
    forked = files_below(folder)
    put_files(folder, {**forked, **whole, "_commits/00000002": forked["_commits/00000002"]})
    assert len(read_dataset(reopen(folder, workspace))) == 6
    report = verify_dataset(str(folder), keys=workspace)
    assert [fault.name for fault in report.faults] == ["_commits/00000002"]
    with pytest.raises(CommitInvalid, match="predecessor"):
        report.check()


def test_commit_record_that_contradicts_its_header_is_refused(
    folder: Path, dataset: Dataset, workspace: Workspace
) -> None:
    """Written by someone who holds the data key: readers hold it too (until writers sign, hardening H6)."""
    commit = dataset.head.commit
    key_id = dataset.parts[0].key
    header = commit_header(key_id, dataset.id, uuid4(), number=1).encode()
    record = chunked.encrypt(commit.encode(), data_key=dataset.data_key(key_id).secret, context=header)
    (folder / "_commits/00000001").write_bytes(header + record)
    refuses(folder, workspace, CommitInvalid)


@pytest.mark.parametrize("position", [0, 9, 30, 200, 260, -1])
def test_commit_record_edited_is_refused(folder: Path, dataset: Dataset, workspace: Workspace, position: int) -> None:
    flip(folder / "_commits/00000001", position)
    refuses(folder, workspace, RedoubtError)


def test_plaintext_in_place_of_a_commit_record_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    (folder / "_commits/00000001").write_bytes(dataset.head.commit.encode())
    refuses(folder, workspace, NotSealed)


def test_part_in_place_of_a_commit_record_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    shutil.copy(folder / dataset.parts[0].name, folder / "_commits/00000001")
    refuses(folder, workspace, IdentityMismatch)


def test_what_only_looks_like_a_commit_record_is_passed_over_and_reported(
    folder: Path, dataset: Dataset, workspace: Workspace
) -> None:
    foreign = ["_commits/.00000002.tmp", "_commits/old/00000002", "_commits/2", "_keys/x", "README"]
    for name in foreign:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert commit_numbers(LocalStorage(folder)) == [1]
    report = verify_dataset(str(folder), keys=workspace)
    report.check()
    assert sorted(foreign) == list(report.orphans)


# --- parts ------------------------------------------------------------------------------------------------------------
def test_part_moved_to_another_name_is_refused(folder: Path, workspace: Workspace) -> None:
    dataset = write_dataset(folder, workspace, contents={"a": b"aaaa", "b": b"bbbb"})
    one, other = (folder / part.name for part in dataset.parts)
    spare = one.rename(folder.parent / "spare")
    other.rename(one)
    spare.rename(other)
    dataset.check_lengths()  # same lengths: planning sees nothing, opening does
    refuses(folder, workspace, IdentityMismatch)


def test_part_missing_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    (folder / dataset.parts[1].name).unlink()
    with pytest.raises(PartMissing):
        dataset.check_lengths()
    refuses(folder, workspace, PartMissing)


def test_part_truncated_or_extended_is_refused_when_planning(
    folder: Path, dataset: Dataset, workspace: Workspace
) -> None:
    path = folder / dataset.parts[0].name
    content = path.read_bytes()
    for changed in (content[:-1], content + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(PartChanged):
            dataset.check_lengths()
        refuses(folder, workspace, PartChanged)


def test_part_of_older_commit_put_back_is_refused(folder: Path, workspace: Workspace) -> None:
    """The same name within its commit, the same length, another commit."""
    old = write_dataset(folder, workspace, contents={"a": b"old!"})
    new = write_dataset(folder, workspace, mode=WriteMode.OVERWRITE, contents={"a": b"new!"})
    shutil.copy(folder / old.parts[0].name, folder / new.parts[0].name)
    refuses(folder, workspace, IdentityMismatch)


def test_part_of_another_dataset_is_refused(
    folder: Path, tmp_path: Path, dataset: Dataset, workspace: Workspace
) -> None:
    other = write_dataset(tmp_path / "other", workspace)
    for mine, theirs in zip(dataset.parts, other.parts, strict=True):
        shutil.copy(tmp_path / "other" / theirs.name, folder / mine.name)
    refuses(folder, workspace, IdentityMismatch)


def test_another_attempt_of_the_same_task_put_in_place_is_refused(folder: Path, workspace: Workspace) -> None:
    """An aborted attempt's part has the very same identity and key; only salt, prefix and digest differ."""
    from redoubt.sealed.write import DatasetWrite

    write = DatasetWrite.begin(str(folder), keys=workspace, mode=WriteMode.CREATE)
    first = write.parts.part("task-0", media_type="text/csv")
    first.write(b"attempt 1")
    listed = first.finish()
    lost = (folder / listed.name).read_bytes()
    (folder / listed.name).unlink()
    second = write.parts.part("task-0", media_type="text/csv")
    second.write(b"attempt 2")
    dataset = write.commit([second.finish()])
    assert read_dataset(dataset) == {"task-0": b"attempt 2"}
    (folder / listed.name).write_bytes(lost)
    refuses(folder, workspace, PartChanged)


def test_plaintext_in_place_of_a_part_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    part = part_named(dataset, "a.csv")
    (folder / part.name).write_bytes(b"x" * part.length)
    refuses(folder, workspace, NotSealed)


def test_part_added_beside_the_others_is_never_read(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    added = Path(dataset.parts[0].name).with_name("z.csv").as_posix()
    shutil.copy(folder / dataset.parts[0].name, folder / added)
    assert read_dataset(reopen(folder, workspace)) == dict(CONTENTS)
    assert verify_dataset(str(folder), keys=workspace).orphans == (added,)


def test_a_parts_header_edited_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    for position in (0, 8, 11, 20, 40, 100):
        flip(folder / dataset.parts[0].name, position)
        refuses(folder, workspace, SealedError)
        flip(folder / dataset.parts[0].name, position)
    assert read_dataset(reopen(folder, workspace)) == dict(CONTENTS)


def test_a_chunk_edited_is_refused_but_only_there(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    part = part_named(dataset, "köln.csv")
    flip(folder / part.name, -20_000)
    reader = dataset.open_part(part)
    assert reader.read(0, 100) == CONTENTS["deep/er/köln.csv"][:100]
    reader.close()
    refuses(folder, workspace, SealedError)


# --- keys -------------------------------------------------------------------------------------------------------------
def key_file(folder: Path) -> Path:
    (found,) = (folder / "_keys").glob("*/*")
    return found


def test_key_file_of_other_dataset_is_refused(
    folder: Path, tmp_path: Path, dataset: Dataset, workspace: Workspace
) -> None:
    write_dataset(tmp_path / "other", workspace)
    shutil.copy(key_file(tmp_path / "other"), key_file(folder))
    refuses(folder, workspace, IdentityMismatch)


def test_key_file_wrapped_for_another_dataset_under_the_same_ids_is_refused(
    folder: Path, dataset: Dataset, workspace: Workspace
) -> None:
    """The record claims this dataset, but was wrapped for another: the provider sees that."""
    from dataclasses import replace

    _, theirs = workspace.new_data_key(None, WrapContext(uuid4(), dataset.parts[0].key))
    mine = WrapContext(dataset.id, dataset.parts[0].key)
    key_file(folder).write_bytes(replace(theirs, context=mine).encode())
    refuses(folder, workspace, WrapRefused)


def test_key_file_for_another_purpose_is_refused(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    context = WrapContext(dataset.id, dataset.parts[0].key, Purpose.MODEL)
    key_file(folder).write_bytes(workspace.new_data_key(None, context)[1].encode())
    refuses(folder, workspace, IdentityMismatch)


def test_another_data_key_under_the_right_name_is_a_commitment_mismatch(
    folder: Path, dataset: Dataset, workspace: Workspace
) -> None:
    context = WrapContext(dataset.id, dataset.parts[0].key)
    key_file(folder).write_bytes(workspace.new_data_key(None, context)[1].encode())
    refuses(folder, workspace, CommitmentMismatch)


def test_key_file_missing_is_named(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    shutil.rmtree(folder / "_keys")
    refuses(folder, workspace, KeyFileMissing)


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda raw: raw[:-1], HeaderInvalid),
        (lambda raw: raw + b"\0", HeaderInvalid),
        (lambda raw: raw + bytes(5000), SealedError),
        (lambda raw: b"", HeaderInvalid),
        (lambda raw: MAGIC + raw, HeaderInvalid),
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), WrapRefused),
        (lambda raw: raw.replace(b"default.dev", b"defaulu.dev"), KeyUnknown),
        (lambda raw: raw.replace(b"aes-256-gcm", b"aes-256-gcn"), WrapRefused),
    ],
)
def test_key_file_edited_is_refused(
    folder: Path,
    dataset: Dataset,
    workspace: Workspace,
    edit: Callable[[bytes], bytes],
    error: type[RedoubtError],
) -> None:
    path = key_file(folder)
    path.write_bytes(edit(path.read_bytes()))
    refuses(folder, workspace, error)


def test_another_workspace_cannot_open_it(folder: Path, tmp_path: Path, dataset: Dataset) -> None:
    stranger = Workspace.init(tmp_path / "stranger")
    with pytest.raises(KeyError_):
        reopen(folder, stranger)


def test_data_keys_are_asked_for_once(folder: Path, dataset: Dataset, workspace: Workspace) -> None:
    asked: list[UUID] = []

    class Counting:
        def new_data_key(self, key: object, context: object) -> object:
            raise NotImplementedError

        def unwrap(self, wrapped: list[object]) -> object:
            asked.extend(item.context.data_key_id for item in wrapped)  # type: ignore[attr-defined]
            return workspace.unwrap(wrapped)  # type: ignore[arg-type]

    counted = Dataset.open(str(folder), keys=Counting())  # type: ignore[arg-type]
    read_dataset(counted)
    assert len(asked) == 2  # the head's record, the parts' key


def test_part_lengths_need_one_listing_a_folder(folder: Path, dataset: Dataset) -> None:
    listed: list[str] = []

    class Counting(LocalStorage):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            listed.append(prefix)
            return super().list(prefix)

    dataset.storage = Counting(folder)
    dataset.check_lengths()
    assert len(listed) == 2
