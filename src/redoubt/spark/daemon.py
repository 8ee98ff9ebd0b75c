"""The parent of a session's Python workers: PySpark's daemon, with two things less.

Workers do not inherit the application secret that executors of a standalone cluster have in their environment
(hardening H11): user code runs in them. And a worker whose JVM has gone ends without a traceback: Spark closes the
sockets of idle workers when an application stops, and nobody is left to be told.
"""

from __future__ import annotations

import os
import socket

import pyspark.daemon

#: Where Spark's standalone workers put the secret (``SecurityManager.ENV_AUTH_SECRET``).
SECRET_VARIABLE = "_SPARK_AUTH_SECRET"  # noqa: S105  (a name)

_pyspark_worker = pyspark.daemon.worker


def worker(sock: socket.socket, authenticated: bool) -> int:  # noqa: FBT001  (PySpark's signature)
    """Run one worker; see :func:`pyspark.daemon.worker`."""
    try:
        return _pyspark_worker(sock, authenticated)
    except BrokenPipeError:
        return 1


def main() -> None:
    """Serve the JVM that started this process until it ends."""
    os.environ.pop(SECRET_VARIABLE, None)
    pyspark.daemon.worker = worker
    pyspark.daemon.manager()


if __name__ == "__main__":
    main()
