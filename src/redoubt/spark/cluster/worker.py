"""The attested program of a worker: ``python -m redoubt.spark.cluster.worker OPTIONS``.

Its JVM is ``io.redoubt.cluster.GuardedWorker``. What that starts for an executor is the ``java`` that is written here,
whose only word of its own is the path of the file that says how an agent is started.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from redoubt.keys.private import create_private_file, replace_private_file
from redoubt.spark.cluster.files import member_files
from redoubt.spark.cluster.launch import become_java, java_home, properties
from redoubt.spark.cluster.options import AgentOptions, WorkerOptions, decode


def main(arguments: list[str]) -> None:
    """Become Spark's worker, behind the guard."""
    options = decode(WorkerOptions, arguments)
    files = member_files(java_home())
    settings = files.folder / "worker.properties"
    replace_private_file(settings, properties(files, {"spark.worker.cleanup.enabled": "true"}).encode())
    work = Path(os.environ["TMPDIR"]) / "work"
    work.mkdir(mode=0o700)
    words = ["--host", options.host, "--port", "0", "--webui-port", "0", "--cores", str(options.cores)]
    words += ["--memory", options.memory, "--work-dir", str(work), "--properties-file", str(settings), options.master]
    become_java(
        "io.redoubt.cluster.GuardedWorker",
        words,
        files=files,
        memory="512m",
        options=[
            "-XX:TieredStopAtLevel=1",  # it moves messages, not data
            "-XX:+UseSerialGC",
            f"-Dredoubt.cluster.status={options.agent.status}",
        ],
        environment={
            "SPARK_LOCAL_IP": "127.0.0.1",  # where its web page is; it has its own host besides
            "JAVA_HOME": str(write_java(files.folder, options.agent, scratch=os.environ["TMPDIR"])),
        },
    )


def write_java(folder: Path, agent: AgentOptions, *, scratch: str) -> Path:
    """Write the ``java`` that starts an executor's agent, and return the ``JAVA_HOME`` that it is in.

    Executors keep their temporary files in the worker's *scratch*, so they end with it.
    """
    binaries = folder / "java/bin"
    binaries.mkdir(mode=0o700, parents=True)
    options = folder / "executors.json"
    create_private_file(options, json.dumps({**asdict(agent), "scratch": scratch}).encode())
    words = ["/usr/bin/env", "-i", agent.python, "-I", "-m", "redoubt.spark.cluster.shim", str(options)]
    script = binaries / "java"
    create_private_file(script, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'.encode())
    script.chmod(0o500)
    return folder / "java"


if __name__ == "__main__":
    main(sys.argv[1:])
