"""Spark's command line of an executor: read strictly, since an application had its say in it.

Taken over are the executor's identity and address, the size of its heap, and the settings and JVM options that cannot
load code. What is about authentication, TLS or files is the executor's own and dropped; the class path is the image's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redoubt.agent.jvm_options import check_java_option
from redoubt.errors import ClusterRefused, ProgramFailed

EXECUTOR: Final = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
_ARGUMENTS: Final = {
    "--driver-url": re.compile(r"spark://CoarseGrainedScheduler@[A-Za-z0-9.-]+:[0-9]{1,5}"),
    "--executor-id": re.compile(r"[0-9]{1,9}"),
    "--hostname": re.compile(r"[A-Za-z0-9.-]{1,255}"),
    "--cores": re.compile(r"[0-9]{1,5}"),
    "--app-id": re.compile(r"app-[0-9]{14}-[0-9]{4,9}"),
    "--worker-url": re.compile(r"spark://Worker@[A-Za-z0-9.-]+:[0-9]{1,5}"),
    "--resourceProfileId": re.compile(r"[0-9]{1,9}"),
}
_HEAP: Final = re.compile(r"-Xmx([0-9]{1,9}[mMgG])")
_SETTING: Final = re.compile(r"-D(spark\.[A-Za-z0-9.]+)=(.*)", re.DOTALL)
#: Startup settings that an executor takes from its application: ports, timeouts and sizes of RPC.
_TAKEN: Final = re.compile(
    r"spark\.(driver\.port|port\.maxRetries|rpc\.[A-Za-z0-9.]+|network\.(timeout|timeoutInterval))"
)
_VALUE: Final = re.compile(r"[A-Za-z0-9.]{1,32}")
#: Of the worker's or the driver's identity: an executor has its own.
_DROPPED: Final = re.compile(r"spark\.(ssl|auth|network\.crypto)[A-Za-z0-9.]*")
_IGNORED: Final = re.compile(r"--add-modules=jdk\.incubator\.vector|--sun-misc-unsafe-memory-access=allow")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorCommand:
    """What is taken over."""

    heap: str
    options: tuple[str, ...]
    #: Of CoarseGrainedExecutorBackend, name before value.
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name for the executor: application and number."""
        named = dict(zip(self.arguments[::2], self.arguments[1::2], strict=True))
        return f"{named['--app-id']}-{named['--executor-id']}"

    def encode(self) -> str:
        """Return the one argument that the attested executor program gets."""
        return json.dumps({"heap": self.heap, "options": self.options, "arguments": self.arguments})

    @classmethod
    def decode(cls, text: str) -> ExecutorCommand:
        """Return the command that *text* is; raises ClusterRefused."""
        try:
            found = json.loads(text)
            heap, options, arguments = (found.pop(it) for it in ("heap", "options", "arguments"))
            words = [f"-Xmx{heap}", *options, EXECUTOR, *arguments]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ClusterRefused("the executor's command is malformed") from None
        if found or not all(isinstance(it, str) for it in words):
            raise ClusterRefused("the executor's command is malformed")
        return cls.read(words)

    @classmethod
    def read(cls, words: Sequence[str]) -> ExecutorCommand:
        """Return what is taken over of a worker's command line, without the executable.

        Raises:
            ClusterRefused: it starts something else, or has an option that loads code.
        """
        if EXECUTOR not in words:
            raise ClusterRefused("the command does not start an executor")
        place = list(words).index(EXECUTOR)
        heap, options = "", []
        rest = list(words[:place])
        while rest:
            word = rest.pop(0)
            if word in ("-cp", "-classpath"):
                rest[:1] = []
            elif found := _HEAP.fullmatch(word):
                heap = found[1]
            elif found := _SETTING.fullmatch(word):
                options += _setting(found[1], found[2], word)
            elif not _IGNORED.fullmatch(word):
                options.append(_checked(word))
        if not heap:
            raise ClusterRefused("the executor's command gives no size of its heap")
        return cls(heap=heap, options=tuple(options), arguments=_arguments(words[place + 1 :]))


def _setting(name: str, value: str, word: str) -> list[str]:
    if _TAKEN.fullmatch(name) and _VALUE.fullmatch(value):
        return [word]
    if _DROPPED.fullmatch(name):
        return []
    raise ClusterRefused(f"the setting {name[:64]!r} is not one that an executor takes from its application")


def _checked(word: str) -> str:
    try:
        return check_java_option(word)
    except ProgramFailed as error:
        raise ClusterRefused(f"an executor's JVM: {error.what}") from None


def _arguments(words: Sequence[str]) -> tuple[str, ...]:
    if len(words) != 2 * len(_ARGUMENTS) or set(words[::2]) != set(_ARGUMENTS):
        raise ClusterRefused("the executor's arguments are others than a standalone worker gives")
    for name, value in zip(words[::2], words[1::2], strict=True):
        if not _ARGUMENTS[name].fullmatch(value):
            raise ClusterRefused(f"the executor's argument {name} is malformed")
    return tuple(words)
