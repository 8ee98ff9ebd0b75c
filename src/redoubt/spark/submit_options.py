"""The options of ``spark-submit`` 4.3, all of them, as a table: what each becomes, or why it is refused.

A test compares the table with what the installed ``spark-submit --help`` prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Becomes(StrEnum):
    """What an option is turned into."""

    SETTING = "a setting of Spark"
    FILES = "files that are copied and measured"
    SWITCH = "a switch of the launcher"
    REFUSED = "nothing: it is refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOption:
    """One option."""

    name: str
    help: str
    becomes: Becomes = Becomes.SETTING
    #: The setting that it stands for.
    key: str = ""
    #: Empty for options without a value.
    metavar: str = ""
    short: str = ""
    #: Why it is refused.
    reason: str = ""

    @property
    def parameter(self) -> str:
        """Its name as a Python parameter."""
        name = self.name.removeprefix("--").replace("-", "_")
        return {"class": "main_class", "jars": "spark_jars", "files": "spark_files"}.get(name, name)


def _setting(name: str, key: str, metavar: str, text: str) -> SubmitOption:
    return SubmitOption(name=name, key=key, metavar=metavar, help=text)


def _files(name: str, key: str, text: str) -> SubmitOption:
    return SubmitOption(name=name, key=key, metavar="LIST", help=text, becomes=Becomes.FILES)


def _refused(name: str, metavar: str, reason: str) -> SubmitOption:
    return SubmitOption(name=name, metavar=metavar, help=f"Refused: {reason}.", becomes=Becomes.REFUSED, reason=reason)


_FETCHED: Final = "packages fetched at run time are measured by nobody; download the jars and give them with --jars"
_REST: Final = "REST submission knows no evidence"
_CLUSTER: Final = "it belongs to cluster deploy mode, where a driver starts without an agent"
_KERBEROS: Final = "Kerberos is not there yet"

JARS: Final = _files("--jars", "spark.jars", "Jars for the class paths of driver and executors, separated by commas.")
PY_FILES: Final = _files("--py-files", "spark.submit.pyFiles", "Python files, zip or egg archives, as --jars.")
FILES: Final = _files("--files", "spark.files", "Files that tasks find with SparkFiles.get, as --jars.")
ARCHIVES: Final = _files("--archives", "spark.archives", "Archives that are unpacked for tasks, as --jars.")
DRIVER_CLASS_PATH: Final = _files(
    "--driver-class-path", "spark.driver.extraClassPath", "Jars for the driver's class path, separated by colons."
)

OPTIONS: Final = (
    _setting("--master", "spark.master", "URL", "local[n] or spark://host:port (default: local[*])."),
    _setting("--deploy-mode", "spark.submit.deployMode", "MODE", "Only client."),
    SubmitOption(name="--class", metavar="NAME", help="Main class of a jar.", becomes=Becomes.SWITCH),
    _setting("--name", "spark.app.name", "NAME", "Name of the application."),
    JARS,
    _refused("--packages", "LIST", _FETCHED),
    _refused("--exclude-packages", "LIST", _FETCHED),
    _refused("--repositories", "LIST", _FETCHED),
    PY_FILES,
    FILES,
    ARCHIVES,
    SubmitOption(
        name="--conf", short="-c", metavar="K=V", help="A setting of Spark; repeatable.", becomes=Becomes.SWITCH
    ),
    SubmitOption(
        name="--properties-file", metavar="FILE", help="A file with settings of Spark.", becomes=Becomes.SWITCH
    ),
    SubmitOption(
        name="--load-spark-defaults",
        help="Read spark-defaults.conf of $SPARK_CONF_DIR too, beside --properties-file.",
        becomes=Becomes.SWITCH,
    ),
    _setting("--driver-memory", "spark.driver.memory", "MEM", "Memory of the driver (default: 1024M)."),
    _setting("--driver-java-options", "spark.driver.extraJavaOptions", "TEXT", "JVM options of the driver."),
    _refused("--driver-library-path", "PATH", "native libraries outside of the image are measured by nobody"),
    DRIVER_CLASS_PATH,
    _setting("--executor-memory", "spark.executor.memory", "MEM", "Memory of an executor (default: 1G)."),
    _refused("--proxy-user", "NAME", _KERBEROS),
    SubmitOption(name="--verbose", short="-v", help="Let Spark print what it understood.", becomes=Becomes.SWITCH),
    _refused("--remote", "URL", "Spark Connect is off"),
    _setting("--driver-cores", "spark.driver.cores", "N", "Cores of a driver in cluster mode."),
    _refused("--supervise", "", _CLUSTER),
    _refused("--kill", "ID", _REST),
    _refused("--status", "ID", _REST),
    _setting("--total-executor-cores", "spark.cores.max", "N", "Cores of all executors (spark://)."),
    _setting("--executor-cores", "spark.executor.cores", "N", "Cores of an executor."),
    _setting("--num-executors", "spark.executor.instances", "N", "Number of executors."),
    _refused("--principal", "NAME", _KERBEROS),
    _refused("--keytab", "FILE", _KERBEROS),
    _refused("--queue", "NAME", "YARN knows no evidence"),
)
#: What `spark-submit` answers itself. `--help` and `--version` of `redoubt submit` are Redoubt's.
ANSWERED: Final = ("--help", "-h", "--version")
