"""SoftHSM2 for the tests: tokens of their own in a temporary folder, never the machine's.

A PKCS#11 module reads its configuration once a process, so that all tests of a process share one folder; each takes
tokens under labels of its own.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "correct-horse"
TOKENS = 8


@dataclass(frozen=True, slots=True)
class SoftToken:
    label: str
    module: Path = MODULE
    pin: str = PIN


@functools.cache
def _tokens() -> list[SoftToken]:
    """Initialise a few tokens: SoftHSM shows a process those that are there when it begins."""
    folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    tokens = [SoftToken(f"redoubt-{uuid4().hex[:12]}") for _ in range(TOKENS)]
    for token in tokens:
        subprocess.run(
            [
                *("softhsm2-util", "--init-token", "--free", "--label", token.label),
                *("--pin", token.pin, "--so-pin", "security-officer"),
            ],
            check=True,
            capture_output=True,
        )
    return tokens


def new_token() -> SoftToken:
    """Return a token that no other test of this process uses."""
    return _tokens().pop()
