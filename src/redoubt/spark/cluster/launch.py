"""Becoming a JVM of the cluster: its class path, options and environment, none of which come from outside.

Runs inside an attested program, which is the Python module of the role; the JVM takes its place in the same process.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from redoubt.errors import JavaMissing, SparkError
from redoubt.spark.cluster.conf import jvm_options, member_settings
from redoubt.spark.cluster.files import MemberFiles
from redoubt.spark.jar import jar_path

#: What Spark's own launcher gives to every JVM (``JavaModuleOptions``), and what H29 asks for.
_OPTIONS: Final = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    "--add-modules=jdk.incubator.vector",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.invoke=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED",
    "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
    "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED",
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    "-XX:+DisableAttachMechanism",
    "-XX:-HeapDumpOnOutOfMemoryError",
    "-XX:-UsePerfData",
)


_SCALA: Final = "2.13"


def java_home() -> Path:
    """Return the JDK that the agent measured; raises JavaMissing."""
    home = os.environ.get("JAVA_HOME")
    if not home:
        raise JavaMissing("the agent measured no JDK")
    return Path(home)


def properties(files: MemberFiles, more: Mapping[str, str]) -> str:
    """Return the member's settings and *more* as Java reads them."""
    every = {**{it.key: it.value for it in member_settings(files)}, **more}
    return "".join(f"{name} {value}\n" for name, value in sorted(every.items()))


def become_java(
    main_class: str,
    arguments: Sequence[str],
    *,
    files: MemberFiles,
    memory: str,
    options: Sequence[str] = (),
    environment: Mapping[str, str],
) -> NoReturn:
    """Execute the JDK's java with *main_class*; *environment* is added to the agent's."""
    home = _spark_home()
    scratch = os.environ["TMPDIR"]
    words = [
        str(java_home() / "bin/java"),
        "-cp",
        f"{jar_path()}:{home}/jars/*",
        f"-Xmx{memory}",
        *_OPTIONS,
        f"-XX:ErrorFile={scratch}/hs_err.log",
        f"-Djava.io.tmpdir={scratch}",
        *jvm_options(files),
        *options,
        main_class,
        *arguments,
    ]
    # Spark's launcher, in a worker, looks for a build tree unless it is told which Scala its jars are for.
    own = {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": _SCALA, "MALLOC_ARENA_MAX": "4"}
    os.execve(words[0], words, {**os.environ, **own, **environment})  # noqa: S606 - no shell


def _spark_home() -> Path:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise SparkError("pyspark is not installed")
    return Path(found.origin).parent
