"""Re-wrap touches key files only; adoption authenticates; garbage collection spares what is not a writer's."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from tests.sealed.samples import (
    CONTENTS,
    files_below,
    flip,
    read_dataset,
    read_file,
    write_dataset,
    write_file,
    write_parts,
)

from redoubt.errors import (
    CommitConflict,
    IdentityMismatch,
    KeyReferenced,
    NoCommit,
    NotFound,
    NotSealed,
    PartChanged,
    RedoubtError,
    SealedError,
    SlotDamaged,
    StorageError,
    WrapRefused,
)
from redoubt.keys.names import KeyName
from redoubt.keys.types import WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.sealed import keyfiles
from redoubt.sealed import maintain as maintain_module
from redoubt.sealed.commit import Operation, PartKind
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import LocalFile, LocalStorage
from redoubt.sealed.maintain import adopt, collect_garbage, rewrap_dataset
from redoubt.sealed.standalone import Rewrapped, read_preamble, rewrap_standalone
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import DatasetWrite, WriteMode


@pytest.fixture
def keys(tmp_path: Path) -> Workspace:
    """A workspace of the test's own: it rotates and destroys."""
    return Workspace.init(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def rotate(keys: Workspace, name: KeyName | None = None) -> None:
    name = name or keys.resolve(None)
    keys.provider_for(name).rotate(name)


def stamps(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """mtime, inode and bytes of everything that is no key file."""
    return {
        name: ((folder / name).stat().st_mtime_ns, (folder / name).stat().st_ino, content)
        for name, content in files_below(folder).items()
        if not name.startswith("_keys/")
    }


# --- planted files ----------------------------------------------------------------------------------------------------
def planted(other: Dataset, *, version: int) -> WrappedKey:
    """A record that nobody wrapped, for the data key of another dataset: only its public ids are needed."""
    part = other.parts[0]
    name = other.keys.resolve(None) if isinstance(other.keys, Workspace) else None
    assert name is not None
    return WrappedKey(WrapContext(other.id, part.key), name, version, "aes-256-gcm", bytes(60))


def test_planted_key_file_of_another_dataset_does_not_free_its_key(
    folder: Path, keys: Workspace, tmp_path: Path
) -> None:
    write_dataset(folder, keys)
    other = write_dataset(tmp_path / "other", keys)
    rotate(keys)
    place = folder / "_keys" / str(other.parts[0].key)
    place.mkdir()
    (place / "00000001").write_bytes(planted(other, version=2).encode())
    with pytest.raises(IdentityMismatch, match="another dataset"):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    name = keys.resolve(None)
    rewrap_dataset(str(tmp_path / "other"), keys=keys, provider_for=keys.provider_for)
    assert read_dataset(Dataset.open(str(tmp_path / "other"), keys=keys)) == CONTENTS
    with pytest.raises(KeyReferenced):
        keys.provider_for(name).destroy(name, version=1)


def test_genuine_key_file_copied_from_another_dataset_does_not_free_its_key(
    folder: Path, keys: Workspace, tmp_path: Path
) -> None:
    write_dataset(folder, keys)
    other = write_dataset(tmp_path / "other", keys)
    rotate(keys)
    copied = f"_keys/{other.parts[0].key}"
    shutil.copytree(tmp_path / "other" / copied, folder / copied)
    with pytest.raises(IdentityMismatch):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    assert len(keys.provider_for(keys.resolve(None)).references(keys.resolve(None), version=1)) == 2


def test_forged_newer_generation_does_not_cost_the_genuine_key_file(folder: Path, keys: Workspace) -> None:
    dataset = write_dataset(folder, keys)
    rotate(keys)
    place = folder / "_keys" / str(dataset.parts[0].key)
    (place / "00000002").write_bytes(planted(dataset, version=2).encode())
    with pytest.raises(WrapRefused):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    assert (place / "00000001").exists()
    (place / "00000002").unlink()
    assert read_dataset(Dataset.open(str(folder), keys=keys)) == CONTENTS


def test_gc_does_not_follow_a_link_that_replaces_a_folder(
    folder: Path, keys: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(folder, keys)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.tex").write_text("mine")
    (folder / "data/zz").mkdir()
    (folder / "data/zz/thesis.tex").write_text("bait")
    os.utime(folder / "data/zz/thesis.tex", (0, 0))
    real = LocalStorage.delete

    def swapped(self: LocalStorage, name: str) -> None:
        shutil.rmtree(folder / "data/zz")
        (folder / "data/zz").symlink_to(outside)
        real(self, name)

    monkeypatch.setattr(LocalStorage, "delete", swapped)
    with pytest.raises(StorageError):
        collect_garbage(str(folder), keys=keys)
    assert (outside / "thesis.tex").read_text() == "mine"


def test_rewrap_does_not_list_through_a_link(folder: Path, keys: Workspace, tmp_path: Path) -> None:
    dataset = write_dataset(folder, keys)
    place = folder / "_keys" / str(dataset.parts[0].key)
    shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    rotate(keys)
    with pytest.raises(RedoubtError):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["00000001"]


def test_adopt_of_a_file_that_is_cut_while_it_is_read_commits_nothing_short(
    tmp_path: Path, keys: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "adopt"
    place.mkdir()
    plain = bytes(i * 7 & 255 for i in range(25 * 16384 + 9))
    path = place / "rows.csv.sealed"
    write_file(path, plain, keys)
    whole, real = path.stat().st_size, LocalFile.read_into
    ends = 0

    def cut(self: LocalFile, offset: int, out: memoryview) -> int:
        nonlocal ends
        if offset == 0 and ends == 2:  # authenticated to its end: now it is read again for its digest
            os.truncate(path, 8192 + 56 + 10 * 16400 + 16)
        count = real(self, offset, out)
        ends += offset + count == whole
        return count

    monkeypatch.setattr(LocalFile, "read_into", cut)
    with pytest.raises(PartChanged, match="length changed"):
        adopt(str(place), keys=keys)
    assert not (place / "_commits").exists()


# --- re-wrap of datasets ----------------------------------------------------------------------------------------------
def test_rewrap_touches_no_part(folder: Path, keys: Workspace) -> None:
    write_dataset(folder, keys)
    write_dataset(folder, keys, mode=WriteMode.APPEND, contents={"new": b"n"})
    before = stamps(folder)
    rotate(keys)
    assert rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for) == Rewrapped(replaced=2, current=0)
    assert stamps(folder) == before
    assert rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for) == Rewrapped(replaced=0, current=2)
    assert read_dataset(verify_dataset(str(folder), keys=keys).check()) == {**CONTENTS, "new": b"n"}
    assert {name[-8:] for name in files_below(folder / "_keys")} == {"00000002"}


def test_an_old_key_version_can_be_destroyed_once_nothing_needs_it(folder: Path, keys: Workspace) -> None:
    write_dataset(folder, keys)
    name = keys.resolve(None)
    provider = keys.provider_for(name)
    rotate(keys)
    with pytest.raises(KeyReferenced):
        provider.destroy(name, version=1)
    rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    provider.destroy(name, version=1)
    assert read_dataset(Dataset.open(str(folder), keys=keys)) == dict(CONTENTS)


@pytest.mark.parametrize("died_before", ["_settle", "remove_older", "settle"])
def test_an_interrupted_rewrap_is_finished_by_the_next(
    folder: Path, keys: Workspace, monkeypatch: pytest.MonkeyPatch, died_before: str
) -> None:
    write_dataset(folder, keys)
    name = keys.resolve(None)
    provider = keys.provider_for(name)
    rotate(keys)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    owner: object = {"_settle": maintain_module, "remove_older": keyfiles, "settle": type(provider)}[died_before]
    monkeypatch.setattr(owner, died_before, die)
    with pytest.raises(KeyboardInterrupt):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    monkeypatch.undo()
    assert read_dataset(Dataset.open(str(folder), keys=keys)) == dict(CONTENTS)
    rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    provider.destroy(name, version=1)
    assert len(files_below(folder / "_keys")) == 1
    assert verify_dataset(str(folder), keys=keys).check().parts


def test_old_and_new_readers_work_while_it_runs(folder: Path, keys: Workspace) -> None:
    old_reader = write_dataset(folder, keys)
    ended = threading.Event()
    failures: list[BaseException] = []
    reads = [0]

    def read() -> None:
        while not ended.is_set():
            try:
                assert read_dataset(Dataset.open(str(folder), keys=keys)) == dict(CONTENTS)
                assert read_dataset(old_reader) == dict(CONTENTS)
                reads[0] += 1
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(40):
        rotate(keys)
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    ended.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert reads[0] >= 2


def test_rewraps_at_once_leave_one_current_key(folder: Path, keys: Workspace) -> None:
    write_dataset(folder, keys)
    rotate(keys)
    done: list[Rewrapped] = []
    threads = [
        threading.Thread(
            target=lambda: done.append(rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert sum(it.replaced for it in done) >= 1
    assert read_dataset(Dataset.open(str(folder), keys=keys)) == dict(CONTENTS)
    name = keys.resolve(None)
    with pytest.raises(KeyReferenced):
        keys.provider_for(name).destroy(name, version=2)


def test_rewrap_that_always_loses_says_so(folder: Path, keys: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(folder, keys)
    rotate(keys)
    monkeypatch.setattr(keyfiles, "replace", lambda *_, **__: False)
    with pytest.raises(CommitConflict):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)


def test_rewrap_of_what_is_no_dataset(folder: Path, keys: Workspace) -> None:
    folder.mkdir()
    with pytest.raises(NoCommit):
        rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)


def test_mapping_a_namespace_to_another_provider_needs_no_rewrite(folder: Path, tmp_path: Path) -> None:
    """The keystore moves to another workspace; data and key names stay."""
    old = Workspace.init(tmp_path / "old")
    write_dataset(folder, old)
    before = files_below(folder)
    new = Workspace.init(tmp_path / "new")
    with pytest.raises(RedoubtError):
        read_dataset(Dataset.open(str(folder), keys=new))
    new.map_namespace("main", "local", tmp_path / "old")
    assert read_dataset(Dataset.open(str(folder), keys=new)) == dict(CONTENTS)
    assert files_below(folder) == before


# --- re-wrap of standalone files --------------------------------------------------------------------------------------
def test_rewrap_of_a_file_writes_one_slot(tmp_path: Path, keys: Workspace) -> None:
    path = tmp_path / "x.sealed"
    write_file(path, b"content", keys)
    before, inode = path.read_bytes(), path.stat().st_ino
    name = keys.resolve(None)
    for version in (2, 3, 4):
        rotate(keys)
        assert rewrap_standalone(path, provider_for=keys.provider_for) == Rewrapped(replaced=1, current=0)
        assert read_preamble(LocalFile(path)).slot.wrapped.version == version
        assert read_file(path, keys) == b"content"
        keys.provider_for(name).destroy(name, version=version - 1)
    after = path.read_bytes()
    assert path.stat().st_ino == inode
    assert after[:4096] == before[:4096]
    assert after[8192:] == before[8192:]


def test_rewrap_of_a_current_file_changes_nothing_and_adds_no_reference(tmp_path: Path, keys: Workspace) -> None:
    path = tmp_path / "x.sealed"
    write_file(path, b"content", keys)
    name = keys.resolve(None)
    rotate(keys)
    rewrap_standalone(path, provider_for=keys.provider_for)
    before, described = path.read_bytes(), keys.provider_for(name).describe(name)
    assert rewrap_standalone(path, provider_for=keys.provider_for) == Rewrapped(replaced=0, current=1)
    assert path.read_bytes() == before
    assert keys.provider_for(name).describe(name) == described
    assert [it.references for it in described.versions] == [0, 1]


def test_a_planted_slot_is_refused_before_references_are_settled(tmp_path: Path, keys: Workspace) -> None:
    path = tmp_path / "x.sealed"
    write_file(path, b"content", keys)
    rotate(keys)
    preamble = read_preamble(LocalFile(path))
    old = preamble.slot.wrapped
    offset, slot = preamble.replacement(WrappedKey(old.context, old.key, 2, old.mechanism, old.ciphertext))
    planted = bytearray(path.read_bytes())
    planted[offset : offset + len(slot)] = slot
    path.write_bytes(planted)
    with pytest.raises(WrapRefused):
        rewrap_standalone(path, provider_for=keys.provider_for)
    name = keys.resolve(None)
    assert keys.provider_for(name).describe(name).versions[0].references == 1


def test_rewrap_repairs_a_torn_slot(tmp_path: Path, keys: Workspace) -> None:
    path = tmp_path / "x.sealed"
    write_file(path, b"content", keys)
    flip(path, 6144 + 100)
    with pytest.raises(SlotDamaged):
        read_file(path, keys)
    assert rewrap_standalone(path, provider_for=keys.provider_for).replaced == 1
    assert read_file(path, keys) == b"content"
    assert keys.provider_for(keys.resolve(None)).describe(keys.resolve(None)).current.references == 1


def test_rewrap_refuses_what_it_cannot_change(tmp_path: Path, keys: Workspace) -> None:
    with pytest.raises(NotFound):
        rewrap_standalone(tmp_path / "none", provider_for=keys.provider_for)
    (tmp_path / "plain").write_bytes(b"x" * 9000)
    with pytest.raises(NotSealed):
        rewrap_standalone(tmp_path / "plain", provider_for=keys.provider_for)
    assert (tmp_path / "plain").read_bytes() == b"x" * 9000


def test_readers_and_rewraps_of_a_file_at_once(tmp_path: Path, keys: Workspace) -> None:
    path = tmp_path / "x.sealed"
    write_file(path, b"content", keys)
    ended = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not ended.is_set():
            try:
                assert read_file(path, keys) == b"content"
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()

    replaced: list[int] = []

    def rewrap() -> None:
        for _ in range(15):
            rotate(keys)
            replaced.append(rewrap_standalone(path, provider_for=keys.provider_for).replaced)

    rewraps = [threading.Thread(target=rewrap) for _ in range(2)]
    for thread in rewraps:
        thread.start()
    for thread in rewraps:
        thread.join()
    ended.set()
    reader.join()
    assert failures == []
    assert read_preamble(LocalFile(path)).slot.generation == 1 + sum(replaced) > 15


# --- adoption ---------------------------------------------------------------------------------------------------------
def spark_output(folder: Path, keys: Workspace) -> dict[str, bytes]:
    contents = {"part-00000.csv.sealed": b"a,b\n", "year=2026/part-00001.csv.sealed": b"c,d\n" * 9000}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, content, keys)
    for name in ("_SUCCESS", ".part-00000.csv.sealed.crc", "_temporary/0/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return contents


def test_adopted_files_are_a_dataset(folder: Path, keys: Workspace) -> None:
    contents = spark_output(folder, keys)
    dataset = adopt(str(folder), keys=keys)
    assert {part.kind for part in dataset.parts} == {PartKind.STANDALONE}
    assert dataset.head.commit.operation is Operation.ADOPT
    assert read_dataset(verify_dataset(str(folder), keys=keys).check()) == contents
    with pytest.raises(NotFound):
        adopt(str(folder), keys=keys)


def test_more_files_can_be_adopted_later(folder: Path, keys: Workspace) -> None:
    contents = spark_output(folder, keys)
    first = adopt(str(folder), keys=keys)
    write_file(folder / "later.sealed", b"later", keys)
    second = adopt(str(folder), keys=keys)
    assert (second.id, second.head.commit.number) == (first.id, 2)
    assert read_dataset(second) == {**contents, "later.sealed": b"later"}


def test_an_adopted_file_may_be_rewrapped_but_not_replaced(folder: Path, keys: Workspace) -> None:
    contents = spark_output(folder, keys)
    adopt(str(folder), keys=keys)
    path = folder / "part-00000.csv.sealed"
    rotate(keys)
    rewrap_standalone(path, provider_for=keys.provider_for)
    assert read_dataset(verify_dataset(str(folder), keys=keys).check()) == contents
    path.unlink()
    write_file(path, contents["part-00000.csv.sealed"], keys)
    with pytest.raises(IdentityMismatch):
        read_dataset(Dataset.open(str(folder), keys=keys))
    with pytest.raises(SealedError):
        verify_dataset(str(folder), keys=keys).check()


@pytest.mark.parametrize("position", [30, 5000, 8200, 8260, -1])
def test_a_damaged_file_is_not_adopted(folder: Path, keys: Workspace, position: int) -> None:
    spark_output(folder, keys)
    flip(folder / "part-00000.csv.sealed", position)
    with pytest.raises(RedoubtError):
        adopt(str(folder), keys=keys)
    assert not (folder / "_commits").exists()


def test_plaintext_is_not_adopted(folder: Path, keys: Workspace) -> None:
    spark_output(folder, keys)
    (folder / "plain.csv").write_bytes(b"a,b\n")
    with pytest.raises(NotSealed, match=r"plain\.csv"):
        adopt(str(folder), keys=keys)


# --- garbage ----------------------------------------------------------------------------------------------------------
def test_garbage_is_what_writers_left_and_old(folder: Path, keys: Workspace) -> None:
    old = write_dataset(folder, keys)
    write_dataset(folder, keys, mode=WriteMode.OVERWRITE, contents={"new": b"n"})
    (folder / "mine.txt").write_bytes(b"not a writer's")
    write_file(folder / "not-yet-adopted.sealed", b"x", keys)
    names = sorted(part.name for part in old.parts)
    later = time.time() + 25 * 3600
    assert collect_garbage(str(folder), keys=keys) == []
    assert collect_garbage(str(folder), keys=keys, dry_run=True, now=later) == names
    assert all((folder / name).exists() for name in names)
    assert collect_garbage(str(folder), keys=keys, now=later) == names
    assert not any((folder / name).exists() for name in names)
    assert (folder / "mine.txt").exists()
    assert (folder / "not-yet-adopted.sealed").exists()
    assert read_dataset(verify_dataset(str(folder), keys=keys).check()) == {"new": b"n"}


def test_a_long_write_that_commits_while_garbage_is_collected_is_spared(
    folder: Path, keys: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(folder, keys, contents={"a": b"a"})
    write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.APPEND)
    parts = write_parts(write, {"slow": b"s"})
    os.utime(folder / parts[0].name, (0, 0))
    real = LocalStorage.list

    def listing(self: LocalStorage, prefix: str = ""):  # type: ignore[no-untyped-def]
        entries = list(real(self, prefix))
        if prefix == "":
            monkeypatch.setattr(LocalStorage, "list", real)
            write.commit(parts)
        return iter(entries)

    monkeypatch.setattr(LocalStorage, "list", listing)
    assert collect_garbage(str(folder), keys=keys) == []
    assert read_dataset(Dataset.open(str(folder), keys=keys)) == {"a": b"a", "slow": b"s"}


def test_nothing_is_deleted_if_the_head_is_not_authentic(folder: Path, keys: Workspace) -> None:
    write_dataset(folder, keys)
    write_dataset(folder, keys, mode=WriteMode.OVERWRITE, contents={"new": b"n"})
    flip(folder / "_commits/00000002", -1)
    before = files_below(folder)
    with pytest.raises(RedoubtError):
        collect_garbage(str(folder), keys=keys, now=time.time() + 1e6)
    assert files_below(folder) == before
