"""Local and object storage run one contract; what is particular to each follows."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from tests.sealed.storage_contract import StorageContract

from redoubt.errors import AlreadyExists, NotFound, StorageError, StorageUnsupported, UsageError
from redoubt.sealed import local as local_module
from redoubt.sealed.local import AtomicFile, LocalFile, LocalStorage
from redoubt.sealed.objects import ObjectStorage, is_folder, open_object, storage_for
from redoubt.sealed.storage import Storage


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "dataset")


class TestS3Storage(StorageContract):
    @pytest.fixture
    def storage(self, s3_location: str) -> Storage:
        storage = storage_for(s3_location)
        assert isinstance(storage, ObjectStorage)
        assert storage.conditional
        return storage


# --- local files ------------------------------------------------------------------------------------------------------
def test_a_named_pipe_in_a_files_place_does_not_block_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        LocalFile(tmp_path / "pipe")


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        LocalFile(tmp_path)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "_commits").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        list(LocalStorage(tmp_path).list("_commits"))


def test_linked_folders_are_not_walked_into(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(b"")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/link").symlink_to(tmp_path / "elsewhere")
    assert list(LocalStorage(tmp_path / "dataset").list()) == []


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(local_module, "sync_folder", synced.append)
    LocalStorage(tmp_path).put_if_absent("_keys/a/1", b"x")
    assert synced == [tmp_path, tmp_path / "_keys", tmp_path / "_keys/a"]


@pytest.fixture(params=["O_TMPFILE", "named"])
def atomic_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With unnamed files, and as on file systems that have none."""
    if request.param == "named":
        real = os.open

        def without(path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "Operation not supported")
            return real(path, flags, mode, **more)

        monkeypatch.setattr(os, "open", without)
    return str(request.param)


@pytest.mark.usefixtures("atomic_kind")
class TestAtomicFile:
    def test_nothing_is_visible_before_the_end(self, tmp_path: Path, atomic_kind: str) -> None:
        file = AtomicFile(tmp_path / "x", replace=False)
        file.write(b"secret")
        visible = list(tmp_path.iterdir())
        if atomic_kind == "O_TMPFILE":
            assert visible == []
        else:
            assert [stat.S_IMODE(path.stat().st_mode) for path in visible] == [0o600]
        file.finish()
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
        assert (tmp_path / "x").read_bytes() == b"secret"

    def test_abort_leaves_nothing(self, tmp_path: Path) -> None:
        file = AtomicFile(tmp_path / "x", replace=True)
        file.write(b"secret")
        file.abort()
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_file_is_kept_unless_told_so(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"old")
        with pytest.raises(AlreadyExists):
            AtomicFile(tmp_path / "x", replace=False)
        assert (tmp_path / "x").read_bytes() == b"old"
        file = AtomicFile(tmp_path / "x", replace=True)
        file.write(b"new")
        assert (tmp_path / "x").read_bytes() == b"old"
        file.finish()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x": b"new"}

    def test_a_file_that_appeared_meanwhile_is_kept(self, tmp_path: Path) -> None:
        file = AtomicFile(tmp_path / "x", replace=False)
        file.write(b"new")
        (tmp_path / "x").write_bytes(b"other")
        with pytest.raises(AlreadyExists):
            file.finish()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x": b"other"}

    def test_no_descriptor_is_closed_twice(self, tmp_path: Path) -> None:
        """A second close would hit whatever file got the number meanwhile: here the test's own."""
        for sink in (AtomicFile(tmp_path / "x", replace=False), LocalStorage(tmp_path).create("y")):
            sink.finish()
            mine = [os.open(tmp_path, os.O_RDONLY) for _ in range(8)]
            sink.abort()
            for descriptor in mine:
                os.fstat(descriptor)
                os.close(descriptor)


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    file = AtomicFile(tmp_path / "x", replace=False)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        file.write(b"x")
    file.abort()
    assert list(tmp_path.iterdir()) == []


def test_large_files_are_flushed_in_the_background(tmp_path: Path) -> None:
    before = threading.active_count()
    file = AtomicFile(tmp_path / "x", replace=False)
    for _ in range(5):
        file.write(bytes(16 * 1024 * 1024))
    assert threading.active_count() == before + 1
    file.finish()
    assert threading.active_count() == before
    assert (tmp_path / "x").stat().st_size == 80 * 1024 * 1024


# --- locations --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["{}/a b:c", "file://{}/a%20b:c"])
def test_local_paths_and_file_uris(tmp_path: Path, form: str) -> None:
    LocalStorage(tmp_path / "a b:c").put_if_absent("x", b"1")
    location = form.format(tmp_path)
    assert storage_for(location).read("x", limit=1) == b"1"
    assert is_folder(location)
    assert not is_folder(location + "/x")


def test_a_relative_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage_for("day:monday").put_if_absent("x", b"1")
    assert (tmp_path / "day:monday/x").exists()


def test_a_location_with_credentials_is_refused_without_naming_them() -> None:
    with pytest.raises(UsageError) as caught:
        storage_for("s3://access:hunter2@bucket/x")
    assert "hunter2" not in caught.value.explain()


def test_an_unknown_scheme_is_unsupported() -> None:
    with pytest.raises(StorageUnsupported):
        storage_for("gopher://host/x")


def test_objects_are_told_from_prefixes(s3_location: str) -> None:
    folder, _, query = s3_location.partition("?")
    storage_for(s3_location).put_if_absent("a/b", b"1")
    assert is_folder(s3_location)
    file = open_object(f"{folder}/a/b?{query}")
    assert file is not None
    assert file.size == 1
    file.close()
    with pytest.raises(NotFound):
        open_object(f"{folder}/nothing?{query}")


def test_a_store_that_does_not_answer_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    storage = storage_for("s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1")
    with pytest.raises(StorageError):
        storage.put_if_absent("x", b"1")


def test_an_upload_that_met_another_one_is_tried_again(s3_location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    storage = storage_for(s3_location)
    assert isinstance(storage, ObjectStorage)
    assert storage._s3 is not None
    monkeypatch.setattr("redoubt.sealed.objects._CONFLICT_PAUSE_SECONDS", 0)
    real, answers = storage._s3.put_object, ["ConditionalRequestConflict", "409"]

    def put(**request: object) -> object:
        if answers:
            raise ClientError({"Error": {"Code": answers.pop()}}, "PutObject")
        return real(**request)

    monkeypatch.setattr(storage._s3, "put_object", put)
    storage.put_if_absent("x", b"1")
    assert storage.read("x", limit=1) == b"1"
