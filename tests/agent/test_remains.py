"""What is left of a job on this machine, whichever way its agent ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from redoubt.agent import undertaker
from redoubt.agent.remains import Remains

SECONDS = 20.0
AGENT = """
import os, signal, sys
from pathlib import Path
from redoubt.agent import undertaker
from redoubt.agent.remains import Remains

with Remains() as remains:
    for name in sys.argv[2:]:
        folder = remains.own(Path(name))
        (folder / "inner").mkdir(parents=True)
        (folder / "inner/key").write_text("secret")
        (folder / "inner").chmod(0o500)
    print("ready", flush=True)
    sys.stdin.read()
    if sys.argv[1] == "killed":
        os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_secrets_do_not_outlive_their_agent(tmp_path: Path, how: str) -> None:
    folders = [tmp_path / "memory", tmp_path / "a name\nof two lines"]
    words = [sys.executable, "-c", AGENT, how, *map(str, folders)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"ready\n"
        assert all((it / "inner/key").read_text() == "secret" for it in folders)  # the positive control
        agent.communicate()
    assert agent.returncode == (0 if how == "ended" else -signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while any(it.exists() for it in folders):
        assert how == "killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_program_started_does_not_outlive_its_agent(tmp_path: Path) -> None:
    """The kernel kills the program with its agent, and nobody else of its group."""
    words = "import subprocess; print(subprocess.Popen(['sleep', '300']).pid, flush=True); input()"
    code = f"""
import os, signal, subprocess, sys
from redoubt.agent import undertaker
from redoubt.agent.remains import Remains

with Remains() as remains:
    program = subprocess.Popen([sys.executable, "-c", {words!r}], process_group=0, stdin=subprocess.PIPE)
    remains.program(program.pid)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        child = Path("/proc", agent.stdout.readline().decode().strip(), "cmdline")
        deadline = time.monotonic() + SECONDS
        while b"sleep" not in child.read_bytes():  # the positive control; empty for a moment while it is started
            assert time.monotonic() < deadline
            time.sleep(0.02)
        agent.communicate(b"\n")
    deadline = time.monotonic() + SECONDS
    while child.exists() and child.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_somebody_else_removes_stays_after_an_ordinary_end(tmp_path: Path) -> None:
    kept, own = tmp_path / "bundle", tmp_path / "memory"
    with Remains() as remains:
        for folder in (remains.after_a_kill(kept), remains.own(own)):
            folder.mkdir()
    assert (kept.exists(), own.exists()) == (True, False)


def test_the_pipe_is_the_agents_alone(tmp_path: Path) -> None:
    """A program that inherited it would keep the undertaker waiting after its agent's end."""
    with Remains() as remains:
        remains.own(tmp_path / "memory")
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(len(os.listdir('/proc/self/fd')))"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(child.stdout) == 4  # three standard ones, and the listing's own
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's agents remove folders of other users")
def test_link_that_a_program_lays_during_the_removal_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of another user may still run, and owns its folders: root would open or shut what it chooses."""
    folder, elsewhere, victim = tmp_path / "scratch", tmp_path / "elsewhere", tmp_path / "victim"
    (folder / "inner").mkdir(parents=True)
    (victim / "deeper").mkdir(parents=True)
    for place, mode in ((victim, 0o755), (victim / "deeper", 0o711)):
        place.chmod(mode)
    (victim / "file").write_text("of somebody else")
    listed = os.scandir

    def scandir(path: Any = ".") -> Any:
        found = listed(path)
        if not isinstance(path, int) and Path(path) == folder / "inner" and not elsewhere.exists():
            (folder / "inner").rename(elsewhere)
            (folder / "inner").symlink_to(victim)
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    undertaker.remove(folder)
    monkeypatch.undo()
    assert [stat.S_IMODE(it.stat().st_mode) for it in (victim, victim / "deeper")] == [0o755, 0o711]
    assert (victim / "file").read_text() == "of somebody else"
    undertaker.remove(folder)
    assert not folder.exists()
