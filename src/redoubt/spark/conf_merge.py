"""A user's own settings against Redoubt's: kept where they are as strong, refused where they weaken.

    merge(settings(…), {"spark.io.encryption.keySizeBits": "128"})     # OptionRefused
    merge(settings(…), {"spark.executor.memory": "4g"})                # kept: none of ours

Decides only about the keys of the settings; every other key is the user's. What ``allow`` names is the user's too,
and whoever reads the program's descriptor sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from typing import Final

from redoubt.errors import OptionRefused, UsageError
from redoubt.spark.conf import Compare, Setting

_DURATION: Final = re.compile(r"([0-9]{1,18})\s*(us|ms|s|m|min|h|d)?")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WEAKENS_JVM: Final = re.compile(
    r"-XX:-DisableAttachMechanism|-XX:\+(HeapDump\w+|CreateCoredumpOnCrash|UsePerfData|FlightRecorder|StartAttachListener)"
    r"|-XX:(ErrorFile|HeapDumpPath|OnError|OnOutOfMemoryError|FlightRecorderOptions|StartFlightRecording)\b.*"
    r"|-Djava\.io\.tmpdir=.*"
)
#: Settings of Redoubt's JVM options → where Spark takes a user's from, which it reads after ours.
_USERS_JAVA: Final = {
    "spark.driver.defaultJavaOptions": "spark.driver.extraJavaOptions",
    "spark.executor.defaultJavaOptions": "spark.executor.extraJavaOptions",
}


def merge(base: Iterable[Setting], user: Mapping[str, str], *, allow: Set[str] = frozenset()) -> dict[str, str]:
    """Return the effective configuration: the user's, with *base* on top.

    Values that are as strong as ours are kept, lists are joined. *allow* names keys whose setting the user gives up.

    Raises:
        OptionRefused: *user* weakens a setting.
        UsageError: *allow* names what is no setting of *base*.
    """
    merged = dict(user)
    base = tuple(base)
    if unknown := allow - {it.key for it in base} - set(_USERS_JAVA.values()):
        raise UsageError(
            f"--allow {min(unknown)[:64]}: that is none of Redoubt's settings, so there is nothing to give up",
            hint="`redoubt conf explain` lists them.",
        )
    for setting in base:
        given = user.get(setting.key)
        if setting.key in allow and given is not None:
            continue
        merged[setting.key] = setting.value if given is None else _decide(setting, given)
        options = _USERS_JAVA.get(setting.key)
        if options is not None and options not in allow:
            _check_java(options, user.get(options, ""), setting)
    return merged


def _decide(setting: Setting, given: str) -> str:
    ours = setting.value
    if given == ours:
        return given
    match setting.compare:
        case Compare.FREE:
            return given
        case Compare.AT_LEAST if given.isascii() and given.isdigit() and int(given) >= int(ours):
            return given
        case Compare.SECONDS | Compare.MILLISECONDS as unit:
            if seconds(given, unit) <= seconds(setting.bound, unit):
                return given
        case Compare.PATH:
            return f"{ours}:{given}"
        case Compare.LIST:
            return ",".join(dict.fromkeys([*ours.split(","), *given.split(",")]))
        case Compare.PATTERN:
            return f"{ours}|(?:{given})"
    limit = f", nor is it {setting.compare} ({setting.bound or ours})" if setting.compare is not Compare.EXACT else ""
    raise OptionRefused(
        f"{setting.key}={given} would replace {ours}{limit}: {setting.reason}",
        hint=f"Leave the setting out: Redoubt sets it. `redoubt submit --allow {setting.key}` gives it up.",
    )


def seconds(text: str, unit: Compare) -> float:
    """Return the duration *text* as Spark reads it; what Spark cannot read is endless."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        return float("inf")
    return int(match[1]) * _SECONDS[match[2] or ("s" if unit is Compare.SECONDS else "ms")]


def _check_java(key: str, options: str, setting: Setting) -> None:
    for option in options.split():
        if _WEAKENS_JVM.fullmatch(option.strip("\"'")):
            raise OptionRefused(
                f"{option[:64]} in {key} would undo Redoubt's own JVM options: {setting.reason}",
                hint=f"Leave it out. `redoubt submit --allow {key}` gives the setting up.",
            )
