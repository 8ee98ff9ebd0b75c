"""Hashing by forked processes: every file once, and nothing that was not hashed passes for it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.agent import hashing
from redoubt.agent.hashing import FileHashing
from redoubt.errors import ProgramFailed

_DUMPABLE = """
import ctypes
from redoubt.agent import hashing
from redoubt.agent.process import protect_agent
hashing._hash = lambda path, buffer: bytes([ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)]) * 32
for before in (lambda: None, protect_agent):
    before()
    with hashing.FileHashing({"a": 1}) as files:
        print(files.result()["a"][0])
"""


def write(folder: Path, contents: dict[str, bytes]) -> dict[str, int]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {str(folder / name): len(content) for name, content in contents.items()}


@pytest.mark.parametrize("count", [0, 1, 64, 65, 500])
def test_every_file_has_its_own_digest(tmp_path: Path, count: int) -> None:
    contents = {f"{it}": str(it).encode() * (it % 7) for it in range(count)}
    with FileHashing(write(tmp_path, contents)) as files:
        found = files.result()
    assert found == {str(tmp_path / name): hashlib.sha256(it).digest() for name, it in contents.items()}


def test_a_file_of_many_blocks_is_hashed_whole_whatever_its_size_was_said_to_be(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "large").write_bytes(content)
    with FileHashing({str(tmp_path / "large"): 0}) as files:
        assert files.result() == {str(tmp_path / "large"): hashlib.sha256(content).digest()}


def test_more_batches_than_a_pipe_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_BATCH_FILES", 1)
    write(tmp_path, {"one": b"1"})
    spelt = ("".join("/./" if bit == "1" else "//" for bit in f"{it:015b}") for it in range(17_000))
    with FileHashing({f"{tmp_path}{it}one": 1 for it in spelt}) as files:
        found = files.result()
    assert len(found) == 17_000
    assert set(found.values()) == {hashlib.sha256(b"1").digest()}


@pytest.mark.parametrize("kind", ["missing", "link", "folder"])
def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    sizes = write(tmp_path, {"good": b"good"})
    bad = tmp_path / "bad"
    if kind == "link":
        bad.symlink_to(tmp_path / "good")  # put there after the walk
    elif kind == "folder":
        bad.mkdir()
    with FileHashing({**sizes, str(bad): 1}) as files, pytest.raises(ProgramFailed, match=str(bad)):
        files.result()


def test_a_killed_process_is_an_error_and_no_digest(tmp_path: Path) -> None:
    with FileHashing(write(tmp_path, {"a": b"a" * 1_000_000})) as files:
        for pid, _ in files._workers:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ProgramFailed, match="interrupted"):
            files.result()


def test_what_was_given_up_leaves_no_process(tmp_path: Path) -> None:
    with FileHashing(write(tmp_path, {"a": b"a"})) as files:
        pids = [pid for pid, _ in files._workers]
    assert not [pid for pid in pids if Path("/proc", str(pid)).exists()]


def test_nobody_of_the_same_user_can_trace_the_processes() -> None:
    """A process that is dumpable can be traced by others of its user, who would decide what it tells."""
    done = subprocess.run([sys.executable, "-c", _DUMPABLE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "0"]
