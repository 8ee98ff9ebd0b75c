"""Finding a Java runtime that Spark 4 can use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from redoubt.errors import JavaMissing

MINIMUM_JAVA = 17


def java_home() -> str:
    """Return the folder of the Java runtime that Spark will start; raises JavaMissing as :func:`require_java`."""
    require_java()
    found = os.environ.get("JAVA_HOME")
    return found or str(Path(os.path.realpath(shutil.which("java") or "/usr/bin/java")).parent.parent)


@lru_cache(maxsize=1)
def require_java() -> int:
    """Return the major version of the Java runtime that Spark will start.

    Raises:
        JavaMissing: there is none, it is too old, or it lacks the module that Spark adds (trimmed runtimes do).
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if not java or not Path(java).exists():
        raise JavaMissing("no Java runtime was found" + (f" in JAVA_HOME={home}" if home else " on the PATH"))
    try:
        answer = subprocess.run(
            [java, "--add-modules", "jdk.incubator.vector", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError as error:
        raise JavaMissing(f"{java} cannot be run: {error.strerror}") from None
    match = re.search(r'version "(\d+)', answer.stderr)
    if answer.returncode != 0 or match is None:
        raise JavaMissing(f"{java} does not start with the module jdk.incubator.vector")
    if int(match[1]) < MINIMUM_JAVA:
        raise JavaMissing(f"{java} is version {match[1]}; Spark 4 needs {MINIMUM_JAVA} or newer")
    return int(match[1])
