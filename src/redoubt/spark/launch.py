"""Becomes ``spark-submit`` of the Spark in this Python's packages: the first process of a submitted program.

Run by the agent from the program's private copy, in the program's environment, as

    python launch.py [--loopback] [--verbose] [--class NAME] APP ARGUMENTS…

It imports the standard library only. Settings come from ``$SPARK_CONF_DIR``, which the agent wrote.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Execute; returns only if there is no Spark."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        sys.exit("redoubt: this Python has no package pyspark")
    home = Path(found.origin).parent
    os.environ["SPARK_HOME"] = str(home)
    if words and words[0] == "--loopback":
        # What the driver opens beside its RPC (a UI that a user turns on) would listen on every interface.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        words = words[1:]
    submit = home / "bin" / "spark-submit"
    os.execv(submit, [str(submit), *words])  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
