"""How long a program takes to start, run and end under Redoubt: ``pi.py`` of Spark's examples, and a Python program.

Each run is a command of its own, as a user types it, in a workspace whose manifest trusts the program. What is measured
is an environment as a user installs it (:mod:`benchmarks.user_environment`), every package of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Case, Result, interleave
from benchmarks.user_environment import user_environment

_MASTER = ("--master", "local[2]")


def run(folder: Path, *, rounds: int) -> list[Result]:
    """Return the results for ``redoubt submit`` and ``redoubt run``, from a workspace made in *folder*."""
    python = str(user_environment(folder / "python"))
    (home,) = folder.glob("python/lib/python3*/site-packages/pyspark")
    pi = str(home / "examples/src/main/python/pi.py")
    hello = folder / "hello.py"
    hello.write_text("print('hello')\n")

    def command(*words: str) -> None:
        _command(words, python=python, folder=folder)

    redoubt = (python, "-m", "redoubt.cli.main")
    command(*redoubt, "init")
    command(*redoubt, "submit", "--trust", *_MASTER, pi, "2")
    command(*redoubt, "agent", "trust", "--", python, str(hello))
    spark = [
        Case("spark-submit pi.py", partial(command, str(home / "bin/spark-submit"), *_MASTER, pi, "2")),
        Case("redoubt submit pi.py", partial(command, *redoubt, "submit", *_MASTER, pi, "2")),
    ]
    plain = [
        Case("python hello.py", partial(command, python, str(hello))),
        Case("redoubt run -- python hello.py", partial(command, *redoubt, "run", "--", python, str(hello))),
    ]
    return [
        interleave("start-up: a Spark application", spark, rounds=rounds),
        interleave("start-up: a Python program", plain, rounds=rounds),
    ]


def _command(words: Sequence[str], *, python: str, folder: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYSPARK_PYTHON": python,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "XDG_STATE_HOME": str(folder / "state"),
        "REDOUBT_WORKSPACE": str(folder),
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stderr.decode()[-4000:]}")
