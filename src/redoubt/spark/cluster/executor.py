"""The attested program of an executor: ``python -m redoubt.spark.cluster.executor COMMAND``.

Its TLS identity and the secret of the trust domain come from its own agent; the driver's and the worker's are not used.
"""

from __future__ import annotations

import sys

from redoubt.errors import ClusterRefused
from redoubt.spark.cluster.command import EXECUTOR, ExecutorCommand
from redoubt.spark.cluster.conf import member_settings
from redoubt.spark.cluster.files import member_files
from redoubt.spark.cluster.launch import become_java, java_home


def main(arguments: list[str]) -> None:
    """Become Spark's executor."""
    if len(arguments) != 1:
        raise ClusterRefused("an executor gets one argument")
    command = ExecutorCommand.decode(arguments[0])
    files = member_files(java_home())
    own = [f"-D{it.key}={it.value}" for it in member_settings(files)]
    sockets = files.folder / "s"  # of Python workers; a short name, since the path of a socket has at most 107 bytes
    sockets.mkdir(mode=0o700)
    own.append(f"-Dspark.python.unix.domain.socket.dir={sockets}")
    become_java(
        EXECUTOR,
        command.arguments,
        files=files,
        memory=command.heap,
        options=[*command.options, *own],
        environment={"SPARK_LOCAL_IP": command.arguments[command.arguments.index("--hostname") + 1]},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
