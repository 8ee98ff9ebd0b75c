"""Spark's configuration as part of a program: checked, and written as Java reads it.

Decides that no setting of a caller names code that lies outside of what is measured: jars, packages, Python
interpreters, JVM agents. Jars and modules are given as such, and are copied and hashed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redoubt.agent.jvm_options import check_java_option, refuse_mark
from redoubt.errors import ProgramFailed

_LOADS_CODE: Final = re.compile(
    r"spark\.(jars(\..*)?|files|archives|submit\.pyFiles|pyspark\.(driver\.)?python|r\..*|executorEnv\..*"
    r"|(driver|executor)\.(extraClassPath|defaultExtraClassPath|extraLibraryPath|userClassPathFirst)"
    r"|(driver|executor|yarn\.am)\.defaultJavaOptions|repl\..*|driver\.libraryPath|yarn\.(dist|jars|archive).*"
    r"|sql\.hive\.metastore\.jars(\..*)?|sql\.execution\.pyspark\.python|python\.(daemon|worker)\.module"
    r"|.*[sS]cript.*)"
)
_JAVA_OPTIONS: Final = re.compile(r"spark\.(driver|executor|yarn\.am)\.extraJavaOptions")
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def check_conf(conf: Mapping[str, str]) -> None:
    """Check a caller's settings.

    Raises:
        ProgramFailed: one would load code that nothing measures.
    """
    for name, value in conf.items():
        refuse_mark(value)
        if not name.startswith("spark.") or _LOADS_CODE.fullmatch(name):
            raise ProgramFailed(
                f"the setting {name[:64]!r} is not one of Spark's, or names code that nothing measures",
                hint="Give jars with --jars and modules with --py-files: those are copied and measured.",
            )
        if _JAVA_OPTIONS.fullmatch(name):
            if re.search(r"[\"'\\]", value):
                raise ProgramFailed(f"the setting {name} holds a quote or backslash, which Spark takes away")
            for option in value.split():
                check_java_option(option)


def properties(conf: Mapping[str, str]) -> bytes:
    """Return *conf* as ``spark-defaults.conf``, in the syntax of java.util.Properties."""
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in sorted(conf.items())).encode()


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(it) or (f"\\{it}" if it in "\\ =:#!" else it) for it in text)
