"""How long a program takes to start, run and end under Redoubt: ``pi.py`` of Spark's examples, and a Python program.

Each run is a command of its own, as a user types it, in a workspace whose manifest trusts the program. What is measured
is the environment that runs the benchmark, every package of it: one for development, so larger than a user's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyspark

from benchmarks.measure import Case, Result, interleave

_HOME = Path(pyspark.__file__).parent
_PI = str(_HOME / "examples/src/main/python/pi.py")
_MASTER = ("--master", "local[2]")


def run(folder: Path, *, rounds: int) -> list[Result]:
    """Return the results for ``redoubt submit`` and ``redoubt run``, from a workspace made in *folder*."""
    redoubt = [sys.executable, "-m", "redoubt.cli.main"]
    hello = folder / "hello.py"
    hello.write_text("print('hello')\n")
    _command([*redoubt, "init", str(folder)], folder)
    submit = [*redoubt, "submit", *_MASTER, _PI, "2"]
    started = [*redoubt, "run", "--", sys.executable, str(hello)]
    trust = [*redoubt, "submit", "--trust", *_MASTER, _PI, "2"]
    _command(trust, folder)
    _command([*redoubt, "agent", "trust", "--", sys.executable, str(hello)], folder)
    spark = [
        Case("spark-submit pi.py", lambda: _command([str(_HOME / "bin/spark-submit"), *_MASTER, _PI, "2"], folder)),
        Case("redoubt submit pi.py", lambda: _command(submit, folder)),
    ]
    python = [
        Case("python hello.py", lambda: _command([sys.executable, str(hello)], folder)),
        Case("redoubt run -- python hello.py", lambda: _command(started, folder)),
    ]
    return [
        interleave("start-up: a Spark application", spark, rounds=rounds),
        interleave("start-up: a Python program", python, rounds=rounds),
    ]


def _command(words: Sequence[str], folder: Path) -> None:
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "XDG_STATE_HOME": str(folder / "state"),
        "REDOUBT_WORKSPACE": str(folder),
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stderr.decode()[-4000:]}")
