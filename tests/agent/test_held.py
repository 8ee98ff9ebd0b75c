"""Folders with secrets outlive no agent for long: what a killed one left goes when the next one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from redoubt.agent.bundle import Bundle
from redoubt.agent.held import HeldFolder, held, remove_leftovers
from redoubt.agent.measure import ProgramSpec, measure

#: Makes the folders of an agent with a program, puts a secret there, and waits.
AGENT = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from redoubt.agent.bundle import Bundle
from redoubt.agent.environment import SCRATCH, SECRETS
from redoubt.agent.exec import _folders
bundle = Bundle()
bundle.write("app/job.py", b"marker-2b7e")
bundle.seal()
class Nobody:  # the undertaker was killed too
    def after_a_kill(self, folder):
        return folder
with ExitStack() as stack:
    folders = _folders(stack, Nobody())
    (folders[SECRETS] / "password").write_bytes(b"marker-2b7e")
    (folders[SCRATCH] / "spill").write_bytes(b"marker-2b7e")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Where this test's agents have their folders: in memory, and for temporary files."""
    with tempfile.TemporaryDirectory(prefix="held-test-", dir="/dev/shm") as memory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", memory)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        yield Path(memory), tmp_path


def left(bases: tuple[Path, Path]) -> set[str]:
    return {it.name.rpartition("-")[0] for base in bases for it in base.iterdir() if it.name.startswith("redoubt-")}


def agent() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_killed_agent_left_is_removed_by_the_next_one_and_a_living_ones_is_not(bases: tuple[Path, Path]) -> None:
    killed, living = agent(), agent()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        names = {"redoubt-bundle", "redoubt-run", "redoubt-scratch", "redoubt-py"}
        assert left(bases) == names
        assert len(secrets(bases)) == 6  # the control: a secret, a spill and a program of each
        with measure(ProgramSpec(command=("/usr/bin/true",)), caller={}):
            assert len(secrets(bases)) == 3
        assert left(bases) == names
        living.send_signal(signal.SIGKILL)
        living.wait(10)
        remove_leftovers()
        assert left(bases) == set()
    finally:
        for process in (killed, living):
            process.kill()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()


def secrets(bases: tuple[Path, Path]) -> list[Path]:
    files = [it for base in bases for it in base.rglob("*") if it.is_file()]
    return [it for it in files if it.read_bytes() == b"marker-2b7e"]


def test_folders_of_others_and_of_other_versions_stay(
    bases: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, temporary = bases
    (memory / "redoubt-run-unlocked").mkdir()
    (memory / "redoubt-file").write_bytes(b"x")
    (memory / "other").mkdir()
    (memory / "other" / ".held").touch()
    (memory / "redoubt-link").symlink_to(memory / "other")
    pipe = temporary / "redoubt-pipe"
    pipe.mkdir()
    os.mkfifo(pipe / ".held")
    (temporary / "redoubt-linked").mkdir()
    (temporary / "redoubt-linked" / ".held").symlink_to(memory / "other" / ".held")
    gone = temporary / "redoubt-gone"
    gone.mkdir()
    (gone / ".held").touch()
    with monkeypatch.context() as patched:
        patched.setattr("os.geteuid", lambda: os.getuid() + 1)
        remove_leftovers()
    before = {it for base in bases for it in base.rglob("*")}
    assert gone in before
    remove_leftovers()
    assert {it for base in bases for it in base.rglob("*")} == before - {gone, gone / ".held"}


def test_lock_that_somebody_lays_into_a_shared_folder_has_nothing_removed(bases: tuple[Path, Path]) -> None:
    """Agents' folders are open to nobody else; one that happens to have such a name and is shared is no agent's."""
    shared = bases[1] / "redoubt-data"
    shared.mkdir()
    (shared / "work").write_text("of a year")
    (shared / ".held").touch()
    for mode in (0o777, 0o1777, 0o775):
        shared.chmod(mode)
        remove_leftovers()
        assert (shared / "work").read_text() == "of a year"


def test_folder_is_locked_when_it_can_be_found(tmp_path: Path) -> None:
    path = tmp_path / "redoubt-x"
    path.mkdir()
    with held(path) as folder:
        remove_leftovers()
        assert [it.name for it in folder.iterdir()] == [".held"]
    assert not path.exists()


def test_threads_may_close_it_at_the_same_time(tmp_path: Path) -> None:
    """A session's own watch and the program's stop do; the second used to close a descriptor that was not its own."""
    both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            path = tmp_path / f"redoubt-{number}"
            (path / "much").mkdir(parents=True)
            folder = HeldFolder(path)

            def close(folder: HeldFolder = folder) -> bool:
                both.wait(10)
                folder.close()
                return folder.path.exists()

            assert [it.result() for it in [pool.submit(close), pool.submit(close)]] == [False, False]


def test_sealed_copy_is_removed_as_a_whole(bases: tuple[Path, Path]) -> None:
    bundle = Bundle()
    bundle.write("app/deep/er/job.py", b"x")
    bundle.seal()
    bundle.close()
    bundle.close()
    assert left(bases) == set()
