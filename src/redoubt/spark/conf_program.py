"""What programs that ``redoubt submit`` starts have beside a session's settings: the JVM is Redoubt's from its start.

The placeholders ``{redoubt:…}`` are folders of the run (:mod:`redoubt.agent.environment`), so that the configuration of
a program, and its digest, is the same in each run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from redoubt.agent.command import BUNDLE
from redoubt.agent.environment import ENDPOINT, SCRATCH, SECRETS, SOCKETS
from redoubt.errors import OptionRefused
from redoubt.spark.cluster.conf import driver_settings, is_loopback, jvm_options
from redoubt.spark.cluster.files import MemberFiles
from redoubt.spark.conf import Compare, Group, Setting, settings

GUARD: Final = "io.redoubt.spark.ConfigurationGuard"
#: What the guard compares a started application with.
GUARDED: Final = "spark.redoubt.guarded"
#: Name in the bundle of Redoubt's own jar.
JAR: Final = "redoubt/redoubt-jvm.jar"
ARENAS: Final = "MALLOC_ARENA_MAX"
#: What the driver has in its environment, beside what the agent gives it.
ENVIRONMENT: Final = {ARENAS: "2"}
_JAVA: Final = (
    "-XX:+DisableAttachMechanism",
    "-XX:-HeapDumpOnOutOfMemoryError",
    "-XX:-CreateCoredumpOnCrash",
    "-XX:-UsePerfData",
    f"-XX:ErrorFile={SCRATCH}/hs_err_%p.log",
    f"-Djava.io.tmpdir={SCRATCH}",
)


def submit_settings(master: str) -> tuple[Setting, ...]:
    """Return every setting of a submitted program with this *master*, ``local[n]`` or ``spark://``."""
    made = settings(endpoint=Path(ENDPOINT), jar=Path(BUNDLE, JAR), sockets=Path(SOCKETS))
    every = (*made, *_program_settings())
    if not is_local(master):
        every = _cluster_settings(every)
    if stays_here(master):
        every = (*every, *_loopback_settings())
    guarded = sorted(it.key for it in every if it.compare is Compare.EXACT)
    return (
        *every,
        Setting(GUARDED, ",".join(guarded), Group.SERVICES, "settings that the guard compares before the first task"),
    )


def is_local(master: str) -> bool:
    """Return whether *master* keeps all executors in the driver's process."""
    return re.fullmatch(r"local(\[.*\])?", master) is not None


def stays_here(master: str) -> bool:
    """Return whether nobody on another machine needs to reach the driver."""
    return is_local(master) or is_loopback(master)


def _cluster_settings(every: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Return the settings of a driver whose agent puts its identity into the folder of secrets."""
    files = MemberFiles(folder=Path(SECRETS), domain="", role="driver")
    options = " ".join(jvm_options(files))
    return tuple(
        replace(it, value=f"{it.value} {options}") if it.key == "spark.driver.defaultJavaOptions" else it
        for it in driver_settings(every, files)
    )


def _program_settings() -> tuple[Setting, ...]:
    java = (
        "no attach, heap dump, core file or shared statistics; what Java and Spark write on disk is in private scratch"
    )
    shown = "would show, from outside, what the program computes with"
    return (
        Setting("spark.network.crypto.keyLength", "256", Group.WIRE, "the default is 128", Compare.AT_LEAST),
        Setting("spark.python.use.daemon", "true", Group.PYTHON, "without it Python workers keep Spark's secret"),
        Setting("spark.python.worker.reuse", "true", Group.PYTHON, "a worker a task costs a start each", Compare.FREE),
        Setting(
            f"spark.executorEnv.{ARENAS}",
            ENVIRONMENT[ARENAS],
            Group.PYTHON,
            "glibc's arenas, one a thread, use up an enclave's memory",
        ),
        Setting("spark.driver.defaultJavaOptions", " ".join(_JAVA), Group.JVM, java, Compare.JAVA),
        Setting("spark.executor.defaultJavaOptions", " ".join(_JAVA), Group.JVM, java, Compare.JAVA),
        Setting("spark.network.timeout", "120s", Group.TIMEOUTS, "a lost peer is noticed", Compare.SECONDS, bound="1h"),
        Setting(
            "spark.executor.heartbeatInterval",
            "10s",
            Group.TIMEOUTS,
            "a lost executor is noticed",
            Compare.MILLISECONDS,
            bound="10min",
        ),
        Setting(
            "spark.hadoop.redoubt.plaintext",
            "refuse",
            Group.SEALED,
            "output is sealed: who lets all of a program's writes be plaintext says so, and its descriptor shows it",
        ),
        Setting("spark.ui.killEnabled", "false", Group.DISCLOSURE, "nobody ends jobs through the UI, where it is on"),
        Setting("spark.ui.threadDumpsEnabled", "false", Group.DISCLOSURE, f"thread dumps {shown}"),
        Setting("spark.ui.heapHistogramEnabled", "false", Group.DISCLOSURE, f"heap histograms {shown}"),
        Setting("spark.ui.prometheus.enabled", "false", Group.DISCLOSURE, f"metrics {shown}"),
        Setting(
            "spark.plugins",
            GUARD,
            Group.SERVICES,
            "before the first task, the application's own configuration is compared with this one",
            Compare.LIST,
        ),
        Setting("spark.shuffle.service.enabled", "false", Group.SERVICES, "it would hold data outside of the TEE"),
        Setting("spark.master.rest.enabled", "false", Group.SERVICES, "REST submission knows no evidence"),
        Setting(
            "spark.sql.catalogImplementation",
            "in-memory",
            Group.SERVICES,
            "a Hive metastore would hold names, statistics and places outside of the TEE",
        ),
        Setting("spark.api.mode", "classic", Group.SERVICES, "Spark Connect would be one more server"),
    )


def _loopback_settings() -> tuple[Setting, ...]:
    reason = "everything is on this machine: nobody else needs to reach it"
    return (
        Setting("spark.driver.host", "127.0.0.1", Group.WIRE, reason, Compare.FREE),
        Setting("spark.driver.bindAddress", "127.0.0.1", Group.WIRE, reason, Compare.FREE),
    )


@dataclass(frozen=True, slots=True)
class RefusedKeys:
    """Keys, by their beginning, that no program may set, and why."""

    prefix: str
    reason: str


REFUSED: Final = (
    RefusedKeys("spark.jars.packages", "packages fetched at run time are measured by nobody (H12)"),
    RefusedKeys("spark.jars.repositories", "packages fetched at run time are measured by nobody (H12)"),
    RefusedKeys("spark.jars.excludes", "packages fetched at run time are measured by nobody (H12)"),
    RefusedKeys("spark.jars.ivy", "packages fetched at run time are measured by nobody (H12)"),
    RefusedKeys("spark.local.dir", "spills and shuffle files lie in the agent's private scratch, below its TMPDIR"),
    RefusedKeys("spark.remote", "Spark Connect is off (H31)"),
    RefusedKeys("spark.connect.", "Spark Connect is off (H31)"),
    RefusedKeys("spark.sql.hive.metastore.", "the Hive metastore is off (H31)"),
    RefusedKeys("spark.sql.hive.thriftServer.", "the Thrift server is off (H31)"),
    RefusedKeys("spark.hadoop.hive.", "the Hive metastore is off (H31)"),
    RefusedKeys("spark.kubernetes.", "Kubernetes is not there yet"),
    RefusedKeys("spark.yarn.", "YARN knows no evidence"),
)


def refuse_services(user: dict[str, str], *, master: str) -> None:
    """Raise OptionRefused if *user* turns on what Redoubt leaves off as a whole, or has no effect with *master*."""
    if not is_local(master) and "spark.executor.extraClassPath" in user:
        raise OptionRefused(
            "spark.executor.extraClassPath is refused: executors of a cluster have the class path of their own image",
            hint="Give jars with --jars: executors fetch them from the driver.",
        )
    for key in user:
        for it in REFUSED:
            if key.startswith(it.prefix):
                raise OptionRefused(
                    f"{key} is refused: {it.reason}", hint="See docs/submit.md for what to use instead."
                )
