"""Sealing and unsealing files, folders and streams: atomic, refusing what it should, leaving no plaintext behind."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from tests.sealed.samples import files_below, flip, put_files, read_file

from redoubt.errors import AlreadyExists, NotFound, RedoubtError, SealedError, StorageError, UsageError
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.transfer import (
    StreamSink,
    folder_files,
    media_type_of,
    open_output,
    seal_file,
    seal_folder,
    seal_stream,
    unseal_file,
    unseal_folder,
    unseal_stream,
)
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import WriteMode

MIB = 1024 * 1024
SIZES = [0, 1, 16384, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 5]
#: High entropy, so that it can be nowhere by chance.
MARKER = b"PLAINTEXT-" + uuid4().hex.encode()


def quiet(_: int) -> None: ...


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.csv"
    path.write_bytes(MARKER * 1000)
    return path


def seal(source: Path, target: Path, keys: Workspace, *, replace: bool = False) -> Path:
    seal_file(source, AtomicFile(target, replace=replace), keys=keys)
    return target


def unseal(source: Path, target: Path, keys: Workspace, *, replace: bool = False) -> Path:
    file = LocalFile(source)
    try:
        unseal_file(file, AtomicFile(target, replace=replace), keys=keys, where=str(source), progress=quiet)
    finally:
        file.close()
    return target


# --- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_a_file_there_and_back(tmp_path: Path, workspace: Workspace, size: int) -> None:
    source = tmp_path / "x.bin"
    source.write_bytes(os.urandom(size))
    done = [0]
    seal_file(source, AtomicFile(tmp_path / "x.sealed", replace=False), keys=workspace, progress=done.append)
    assert sum(done) == size
    unseal(tmp_path / "x.sealed", tmp_path / "again", workspace)
    assert (tmp_path / "again").read_bytes() == source.read_bytes()


def test_a_sealed_file_is_not_sealed_again(tmp_path: Path, plain: Path, workspace: Workspace) -> None:
    sealed = seal(plain, tmp_path / "x.sealed", workspace)
    with pytest.raises(UsageError, match="sealed already"):
        seal(sealed, tmp_path / "y.sealed", workspace)
    with pytest.raises(UsageError, match="sealed already"):
        seal_stream(sealed.open("rb"), AtomicFile(tmp_path / "y", replace=False), keys=workspace, progress=quiet)
    with pytest.raises(UsageError, match="sealed already"):
        seal_folder([(sealed, "x")], str(tmp_path / "dataset"), keys=workspace)
    assert {path.name for path in tmp_path.iterdir()} == {"plain.csv", "x.sealed"}


def test_an_existing_destination_is_kept_unless_told_so(tmp_path: Path, plain: Path, workspace: Workspace) -> None:
    target = tmp_path / "x.sealed"
    target.write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        seal(plain, target, workspace)
    assert target.read_bytes() == b"mine"
    seal(plain, target, workspace, replace=True)
    assert read_file(target, workspace) == plain.read_bytes()


def test_a_source_that_is_missing_leaves_no_destination(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        seal(tmp_path / "none", tmp_path / "x.sealed", workspace)
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("position", [9, 100, 5000, 8200, 9000, -1])
def test_a_damaged_file_is_never_unsealed_in_part(
    tmp_path: Path, plain: Path, workspace: Workspace, position: int
) -> None:
    sealed = seal(plain, tmp_path / "x.sealed", workspace)
    plain.unlink()
    flip(sealed, position)
    for replace in (False, True):
        with pytest.raises(RedoubtError):
            unseal(sealed, tmp_path / "again", workspace, replace=replace)
        target = AtomicFile(tmp_path / "again", replace=replace)
        with sealed.open("rb") as stream, pytest.raises(RedoubtError):
            unseal_stream(stream, target, keys=workspace, progress=quiet)
    assert [name for name, content in files_below(tmp_path).items() if MARKER in content] == []
    assert set(files_below(tmp_path)) == {"x.sealed"}


def test_a_truncated_file_is_refused_before_its_first_byte_is_written(tmp_path: Path, workspace: Workspace) -> None:
    source = tmp_path / "x"
    source.write_bytes(bytes(9 * MIB))
    sealed = seal(source, tmp_path / "x.sealed", workspace)
    os.truncate(sealed, 5 * MIB)
    out = io.BytesIO()
    file = LocalFile(sealed)
    with pytest.raises(SealedError):
        unseal_file(file, StreamSink(out), keys=workspace, where="x", progress=quiet)
    file.close()
    assert out.getvalue() == b""


def limited(command: str, *arguments: str, max_file_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that may not write files longer than that: as on a disk that fills up."""

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    return subprocess.run(
        [sys.executable, "-c", command, *arguments],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


UNSEAL = """
import sys
from pathlib import Path
from redoubt.keys.workspace import Workspace
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.transfer import unseal_file
keys = Workspace.open(Path(sys.argv[1]))
sink = AtomicFile(Path(sys.argv[3]), replace=sys.argv[4] == "replace")
unseal_file(LocalFile(Path(sys.argv[2])), sink, keys=keys, where="it", progress=lambda _: None)
"""


@pytest.mark.parametrize("replace", ["replace", "new"])
def test_a_disk_that_fills_up_leaves_no_plaintext(tmp_path: Path, workspace: Workspace, replace: str) -> None:
    source = tmp_path / "x"
    source.write_bytes((MARKER * (9 * MIB // len(MARKER)))[: 9 * MIB])
    sealed = seal(source, tmp_path / "x.sealed", workspace)
    source.unlink()
    (tmp_path / "out").mkdir()
    target = str(tmp_path / "out/again")
    ended = limited(UNSEAL, str(workspace.folder), str(sealed), target, replace, max_file_bytes=5 * MIB)
    assert "StorageError" in ended.stderr, ended.stderr
    assert files_below(tmp_path / "out") == {}
    ended = limited(UNSEAL, str(workspace.folder), str(sealed), target, replace, max_file_bytes=50 * MIB)
    assert ended.returncode == 0, ended.stderr
    assert MARKER in (tmp_path / "out/again").read_bytes()


# --- streams ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
def test_a_stream_there_and_back(workspace: Workspace, size: int) -> None:
    content, sealed, plain = os.urandom(size), io.BytesIO(), io.BytesIO()
    seal_stream(io.BytesIO(content), StreamSink(sealed), keys=workspace, progress=quiet)
    sealed.seek(0)
    unseal_stream(sealed, StreamSink(plain), keys=workspace, progress=quiet)
    assert plain.getvalue() == content


class Trickle(io.RawIOBase):
    """A pipe: it gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece, self._rest = self._rest[: min(1000, size)], self._rest[min(1000, size) :]
        return piece


def test_pipes_may_give_less_than_was_asked_for(workspace: Workspace) -> None:
    sealed, plain = io.BytesIO(), io.BytesIO()
    seal_stream(Trickle(MARKER * 100), StreamSink(sealed), keys=workspace, progress=quiet)  # type: ignore[arg-type]
    unseal_stream(Trickle(sealed.getvalue()), StreamSink(plain), keys=workspace, progress=quiet)  # type: ignore[arg-type]
    assert plain.getvalue() == MARKER * 100


@pytest.mark.parametrize("cut", [0, 5, 8191, 8192, 8200, 8250, -17, -1])
def test_a_truncated_stream_is_an_error(workspace: Workspace, cut: int) -> None:
    sealed = io.BytesIO()
    seal_stream(io.BytesIO(MARKER), StreamSink(sealed), keys=workspace, progress=quiet)
    with pytest.raises(SealedError):
        unseal_stream(io.BytesIO(sealed.getvalue()[:cut]), StreamSink(io.BytesIO()), keys=workspace, progress=quiet)


def test_a_sink_that_fails_ends_it(tmp_path: Path, plain: Path, workspace: Workspace) -> None:
    class Failing:
        aborted = False

        def write(self, data: object) -> None:
            raise StorageError("full")

        def finish(self) -> None:
            raise AssertionError

        def abort(self) -> None:
            self.aborted = True

    sink = Failing()
    with pytest.raises(StorageError, match="full"):
        seal_file(plain, sink, keys=workspace)
    assert sink.aborted


# --- folders ----------------------------------------------------------------------------------------------------------
FOLDER = {"a.csv": b"1,2\n", "sub/b.json": b"{}", ".hidden": b"h", "empty": b"", "big.bin": bytes(5 * MIB)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    put_files(tmp_path / "source", FOLDER)
    return tmp_path / "source"


@pytest.mark.parametrize("workers", [1, 4])
def test_a_folder_there_and_back(tmp_path: Path, source: Path, workspace: Workspace, workers: int) -> None:
    files = folder_files(source)
    dataset = seal_folder(files, str(tmp_path / "sealed"), keys=workspace, workers=workers)
    unseal_folder(dataset, tmp_path / "again", replace=False, progress=quiet, workers=workers)
    assert files_below(tmp_path / "again") == FOLDER
    assert {part.media_type for part in dataset.parts} >= {"text/csv", "application/json"}


def test_folders_are_appended_and_overwritten(tmp_path: Path, source: Path, workspace: Workspace) -> None:
    location = str(tmp_path / "sealed")
    seal_folder(folder_files(source), location, keys=workspace)
    with pytest.raises(AlreadyExists):
        seal_folder(folder_files(source), location, keys=workspace)
    both = seal_folder(folder_files(source), location, keys=workspace, mode=WriteMode.APPEND)
    assert len(both.parts) == 2 * len(FOLDER)
    with pytest.raises(UsageError, match="same file name"):
        unseal_folder(both, tmp_path / "again", replace=False, progress=quiet)
    unseal_folder(both, tmp_path / "again", replace=False, progress=quiet, by_write=True)
    writes = list((tmp_path / "again").iterdir())
    assert {it.name for it in writes} == {str(part.commit) for part in both.parts}
    assert [files_below(it) for it in writes] == [FOLDER, FOLDER]
    over = seal_folder([(source / "a.csv", "a.csv")], location, keys=workspace, mode=WriteMode.OVERWRITE)
    assert len(over.parts) == 1


def test_files_that_exist_are_kept_when_a_folder_is_unsealed(
    tmp_path: Path, source: Path, workspace: Workspace
) -> None:
    dataset = seal_folder(folder_files(source), str(tmp_path / "sealed"), keys=workspace)
    put_files(tmp_path / "again", {"a.csv": b"mine"})
    with pytest.raises(AlreadyExists):
        unseal_folder(dataset, tmp_path / "again", replace=False, progress=quiet)
    assert (tmp_path / "again/a.csv").read_bytes() == b"mine"
    unseal_folder(dataset, tmp_path / "again", replace=True, progress=quiet)
    assert files_below(tmp_path / "again") == FOLDER


def test_a_folder_that_cannot_be_read_whole_is_not_committed(
    tmp_path: Path, source: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [*folder_files(source), (source / "vanished", "vanished")]
    monkeypatch.setattr("redoubt.sealed.transfer.refuse_sealed", lambda _: None)
    with pytest.raises(NotFound):
        seal_folder(files, str(tmp_path / "sealed"), keys=workspace)
    assert not (tmp_path / "sealed/_commits").exists()


@pytest.mark.parametrize("name", ["back\\slash", "new\nline", "ko\u0308ln"])
def test_names_that_parts_cannot_have_are_refused_before_anything_is_written(
    tmp_path: Path, workspace: Workspace, name: str
) -> None:
    put_files(tmp_path / "source", {name: b"x", "a": b"x"})
    with pytest.raises(UsageError, match="cannot be sealed under its name"):
        seal_folder(folder_files(tmp_path / "source"), str(tmp_path / "sealed"), keys=workspace)
    assert not (tmp_path / "sealed").exists()


def test_what_would_be_left_out_is_refused(tmp_path: Path, source: Path) -> None:
    for target in (source / "a.csv", tmp_path, tmp_path / "nowhere"):
        (source / "link").symlink_to(target)
        with pytest.raises(UsageError, match="link is a symbolic link") as caught:
            folder_files(source)
        assert caught.value.hint
        (source / "link").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        folder_files(source)


def test_an_empty_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        folder_files(tmp_path)


def test_a_damaged_part_is_never_unsealed(tmp_path: Path, source: Path, workspace: Workspace) -> None:
    dataset = seal_folder(folder_files(source), str(tmp_path / "sealed"), keys=workspace)
    (part,) = (part for part in dataset.parts if "big.bin" in part.name)
    flip(tmp_path / "sealed" / part.name, -1)
    with pytest.raises(SealedError):
        unseal_folder(dataset, tmp_path / "again", replace=False, progress=quiet)
    assert "big.bin" not in files_below(tmp_path / "again")


# --- object stores ----------------------------------------------------------------------------------------------------
def test_files_and_folders_on_s3(tmp_path: Path, source: Path, s3_location: str, workspace: Workspace) -> None:
    dataset = seal_folder(folder_files(source), s3_location, keys=workspace)
    unseal_folder(Dataset.open(s3_location, keys=workspace), tmp_path / "again", replace=False, progress=quiet)
    assert files_below(tmp_path / "again") == FOLDER
    assert verify_dataset(s3_location, keys=workspace).check().commit_digest == dataset.commit_digest


def test_outputs(tmp_path: Path) -> None:
    assert isinstance(open_output(str(tmp_path / "x"), replace=False), AtomicFile)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.CSV", "text/csv"),
        ("a.jsonl", "application/jsonl"),
        ("a.txt", "text/plain"),
        ("a", "application/octet-stream"),
    ],
)
def test_media_types(name: str, media_type: str) -> None:
    assert media_type_of(name) == media_type
