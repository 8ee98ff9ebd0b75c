"""Sockets lie in short, private folders, whatever TMPDIR says."""

from __future__ import annotations

from pathlib import Path

import pytest

from redoubt.agent.runtime import make_socket_folder
from redoubt.errors import EndpointError


@pytest.fixture(autouse=True)
def no_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


def test_a_deep_temporary_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    made = make_socket_folder("redoubt-py-")
    try:
        assert len(str(made)) <= 60
        assert made.stat().st_mode & 0o777 == 0o700
    finally:
        made.rmdir()


def test_the_users_own_tmpfs_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path("/dev/shm")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    made = make_socket_folder("redoubt-py-")
    made.rmdir()
    assert made.parent == short


def test_without_a_short_folder_the_error_names_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(EndpointError, match="unix sockets") as caught:
        make_socket_folder("redoubt-py-")
    assert "TMPDIR" in caught.value.explain()
