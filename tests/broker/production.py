"""A production broker as a process of its own, in a Python that cannot import redoubt-dev."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redoubt

SOURCES = Path(redoubt.__file__).parents[1]


def environment() -> dict[str, str]:
    """Without site's .pth files, which is how the development package is installed beside the sources."""
    libraries = os.pathsep.join([str(SOURCES), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {**kept, "PYTHONPATH": libraries, "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-S", *arguments]


@contextmanager
def served(folder: Path, port: int, *, variables: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run `redoubt broker serve` until the context ends."""
    process = subprocess.Popen(
        python("-m", "redoubt.cli.main", "broker", "serve", str(folder)),
        env={**environment(), **(variables or {})},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _wait(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the broker did not start")
