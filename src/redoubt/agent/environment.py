"""The environment of an attested program: an empty one, with what the agent decides and what is asked for by name.

Nothing of the agent's own environment reaches the program by accident. What would load code that nothing measures
(``LD_PRELOAD``, ``PYTHONPATH``, ``JAVA_TOOL_OPTIONS`` …) cannot be asked for either. All of it is measured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from redoubt.agent.command import BUNDLE, Command
from redoubt.agent.image import Installation
from redoubt.agent.jvm_options import refuse_mark
from redoubt.errors import ProgramFailed
from redoubt.protocol.endpoint import ENDPOINT_VARIABLE

SCRATCH: Final = "{redoubt:scratch}"
CACHE: Final = "{redoubt:cache}"
ENDPOINT: Final = "{redoubt:endpoint}"
SECRETS: Final = "{redoubt:secrets}"
#: Where Spark's settings are written when the program starts: some name folders of that run.
CONF: Final = "{redoubt:conf}"
#: For unix sockets of the program's own processes.
SOCKETS: Final = "{redoubt:sockets}"
SECRETS_VARIABLE: Final = "REDOUBT_SECRETS"
FILES_VARIABLE: Final = "REDOUBT_FILES"
_LOADS_CODE: Final = re.compile(
    r"LD_.*|GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH|PYTHON.*|JAVA_.*|_JAVA_OPTIONS|JDK_.*|CLASSPATH|BASH_ENV|ENV|IFS"
    r"|ARROW_LIBHDFS_DIR|LIBHDFS.*|OMP_TOOL.*|CUDA_.*PATH|NUMBA_CACHE_DIR|TRITON_CACHE_DIR|TORCH.*_DIR|SASL_PATH|KRB5_CONFIG|SSLKEYLOGFILE"
    r"|PATH|HOME|TMPDIR|PERL5?.*|RUBY.*|NODE_.*|OPENSSL_.*|SSL_CERT.*|SPARK_.*|PYSPARK_.*|HADOOP_.*|YARN_.*|REDOUBT_.*"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def program_environment(
    command: Command,
    *,
    asked: Mapping[str, str],
    java: Installation | None,
    jars: bool,
    conf: bool,
    files: bool,
    archives: Sequence[str],
    jvm_options: Sequence[str],
) -> dict[str, str]:
    """Return the whole environment, with placeholders for the folders of the agent.

    *archives* are the names of zipped Python packages in the bundle.

    Raises:
        ProgramFailed: *asked* names a variable that the agent decides, or that loads code.
    """
    for name, value in asked.items():
        refuse_mark(value)
        if not _NAME.fullmatch(name) or _LOADS_CODE.fullmatch(name):
            raise ProgramFailed(f"the variable {name[:64]!r} cannot be given to an attested program")
    folders = [it for it in (command.python, java) if it is not None]
    environment = {
        **asked,
        "PATH": ":".join([*(str(it.executable.parent) for it in folders), "/usr/bin", "/bin"]),
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": asked.get("LANG", "C.UTF-8"),
        ENDPOINT_VARIABLE: ENDPOINT,
        SECRETS_VARIABLE: SECRETS,
    }
    if files:
        environment[FILES_VARIABLE] = f"{BUNDLE}/files"
    if command.python is not None:
        places = [f"{BUNDLE}/app", f"{BUNDLE}/lib", *(f"{BUNDLE}/{it}" for it in archives)]
        # Safe path: neither the working folder nor a script's folder is searched, in the program and its children.
        environment |= {
            "PYTHONPATH": ":".join(places),
            "PYTHONSAFEPATH": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONPYCACHEPREFIX": CACHE,
        }
    if java is not None:
        environment["JAVA_HOME"] = str(java.executable.parent.parent)
        if jvm_options and command.java is None:
            environment["JDK_JAVA_OPTIONS"] = " ".join(jvm_options)
    if jars:
        environment["SPARK_DIST_CLASSPATH"] = f"{BUNDLE}/jars/*"
    if conf:
        environment["SPARK_CONF_DIR"] = CONF
    return environment


def dropped_names(caller: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of the *caller* that would have changed what code runs, and do not reach the program."""
    usual = {"PATH", "HOME", "TMPDIR", "JAVA_HOME"}
    return tuple(sorted(it for it in caller if _LOADS_CODE.fullmatch(it) and it not in usual))


def resolve(text: str, folders: Mapping[str, Path]) -> str:
    """Return *text* with each placeholder replaced by its folder."""
    for placeholder, folder in folders.items():
        text = text.replace(placeholder, os.fspath(folder))
    return text
