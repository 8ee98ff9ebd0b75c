"""A TPM 2.0 in software, as a process of its own, for tests that need a real one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which tpm2-tools speak to a new TPM whose state is in *folder*."""
    port = free_ports()
    state = folder.resolve()  # a relative path fails every command of the TPM
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"]
    command += ["--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield {**os.environ, "TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"}
    finally:
        process.kill()
        process.wait()


def free_ports() -> int:
    """Return a port such that it and the next one are free: the TCTI takes the next for control."""
    for _ in range(50):
        with ExitStack() as stack:
            first, second = (stack.enter_context(socket.socket()) for _ in range(2))
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two neighbouring free ports")


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise AssertionError(f"swtpm ended at once: exit status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port + 1)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("swtpm did not listen in ten seconds")
