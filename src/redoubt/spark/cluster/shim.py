"""What a worker starts instead of ``java``: an agent for one executor, which attests before a JVM starts.

It runs with an empty environment and gives the agent one of the cluster's own: what an application or the worker set is
not even looked at.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from redoubt.errors import RedoubtError
from redoubt.spark.cluster.command import ExecutorCommand
from redoubt.spark.cluster.options import EXECUTOR_MODULE, agent_options


def main(arguments: list[str]) -> NoReturn:
    """Become the executor's agent, or end with an exit status if that is refused."""
    options = agent_options(json.loads(Path(arguments[0]).read_bytes()))
    try:
        command = ExecutorCommand.read(arguments[1:])
    except RedoubtError as error:
        sys.stderr.write(f"redoubt: {error}\n")
        sys.exit(int(error.exit_status))
    words = options.command("executor", f"executor-{command.name}", EXECUTOR_MODULE, command.encode())
    os.execve(words[0], words, options.environment)  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
