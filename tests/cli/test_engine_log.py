"""An engine's own messages stay out of a command's, and are kept when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.cli.engine_log import engine_log

SHOUT = [sys.executable, "-c", "import sys; print('shout', file=sys.stderr)"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_started_process_writes_to_the_log_which_goes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with engine_log(said.append) as captured:
        with captured():
            process = subprocess.Popen([*SHOUT[:2], "input(); " + SHOUT[2]], stdin=subprocess.PIPE)
        subprocess.run(SHOUT, check=True)
        process.communicate(b"\n")
        (log,) = folder.iterdir()
        assert log.read_text() == "shout\n"
        assert log.stat().st_mode & 0o077 == 0
    assert not list(folder.iterdir())
    assert not said
    assert capfd.readouterr().err == "shout\n"


def test_a_failure_keeps_the_log_and_tells_where_it_is(folder: Path) -> None:
    said: list[str] = []

    def fail() -> None:
        with engine_log(said.append) as captured:
            with captured():
                subprocess.run(SHOUT, check=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (log,) = folder.iterdir()
    assert log.read_text() == "shout\n"
    assert str(log) in said[0]
