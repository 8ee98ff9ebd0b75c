"""Becomes ``spark-submit`` of the Spark in this Python's packages: the first process of a submitted program.

Run by the agent from the program's private copy, in the program's environment, as

    python launch.py [--loopback] [--verbose] [--class NAME] APP ARGUMENTS…

It imports the standard library only. Settings come from ``$SPARK_CONF_DIR``, which the agent wrote.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys

#: What a driver in Python imports until it has its session, and its workers.
_AHEAD = ("pyspark.sql", "pandas", "pyspark.daemon")
#: Of the JVM that only puts the command line of Spark's together, half a second in which it compiles what runs once.
_LAUNCHER_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"


def main(words: list[str]) -> None:
    """Execute; returns only if there is no Spark."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        sys.exit("redoubt: this Python has no package pyspark")
    home = os.path.dirname(found.origin)
    os.environ["SPARK_HOME"] = home
    os.environ["SPARK_LAUNCHER_OPTS"] = _LAUNCHER_OPTIONS
    if words and words[0] == "--loopback":
        # What the driver opens beside its RPC (a UI that a user turns on) would listen on every interface.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        words = words[1:]
    if any(it.endswith(".py") for it in words):
        compile_ahead()
    submit = f"{home}/bin/spark-submit"
    os.execv(submit, [submit, *words])  # noqa: S606 - no shell


def compile_ahead() -> None:
    """Let PySpark be compiled while the JVM starts: a program finds no compiled code that was there before it."""
    if os.fork() != 0:
        os.wait()
        return
    try:
        if os.fork() == 0:  # of nobody who waits for it
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            for name in _AHEAD:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
