"""A Spark application that runs others: ``batch.py TASKS RESULTS``.

Each example is a Python process of its own, started as ``spark-submit`` starts it, on the JVM of this application: a
start of a JVM for each of them would take hours. What an example leaves running in the JVM is stopped after it.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from pyspark.java_gateway import launch_gateway


def main(tasks: str, results: str, seconds: str) -> None:
    gateway = launch_gateway()  # type: ignore[no-untyped-call]  # of the JVM that started this process
    context = getattr(getattr(gateway.jvm.org.apache.spark, "SparkContext$"), "MODULE$")
    session = gateway.jvm.org.apache.spark.sql.classic.SparkSession
    wanted = json.loads(Path(tasks).read_text())
    with Path(results).open("w") as out:
        for name, words in wanted.items():
            began = time.monotonic()
            try:
                done = subprocess.run(
                    [sys.executable, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,  # as spark-submit does
                    timeout=float(seconds),
                    check=False,
                )
                status, output = done.returncode, done.stdout.decode(errors="replace")
            except subprocess.TimeoutExpired as late:
                status, output = -1, (late.stdout or b"").decode(errors="replace") + "\ntimeout"
            took = time.monotonic() - began
            out.write(json.dumps({"name": name, "status": status, "stdout": output, "seconds": took}) + "\n")
            out.flush()
            active = context.getActive()
            if active.isDefined():
                active.get().stop()
            session.clearActiveSession()
            session.clearDefaultSession()


main(*sys.argv[1:])
