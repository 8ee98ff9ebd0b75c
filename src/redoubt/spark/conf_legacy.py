"""Settings of older instructions, and secrets that people type: taken out of a user's configuration, and said so once.

The values are those of BigDL PPML's scripts and manuals. They were meant as protection and are weaker than what Redoubt
sets, so they are raised instead of refused. A secret on a command line is known to whoever can list processes: it
is never used. No value of a secret is in a notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redoubt.spark.conf import REDACTION


@dataclass(frozen=True, slots=True)
class Legacy:
    """One setting of older instructions."""

    key: str
    #: The values that are raised.
    values: str
    #: What holds instead.
    instead: str


_ENDLESS: Final = "10{6,}(s|ms)?"
LEGACY: Final = (
    Legacy("spark.authenticate.enableSaslEncryption", "true|false", "AES-GCM with no SASL fallback"),
    Legacy("spark.network.sasl.serverAlwaysEncrypt", "true|false", "AES-GCM with no SASL fallback"),
    Legacy("spark.network.crypto.keyLength", "128|192", "256"),
    Legacy("spark.network.crypto.keyFactoryAlgorithm", "PBKDF2WithHmacSHA1", "authEngineVersion=2, which uses HKDF"),
    Legacy("spark.io.encryption.keySizeBits", "128|192", "256"),
    Legacy("spark.io.encryption.keygen.algorithm", "HmacSHA1", "HmacSHA256"),
    Legacy("spark.network.timeout", _ENDLESS, "120s: a peer that hangs is noticed"),
    Legacy("spark.executor.heartbeatInterval", _ENDLESS, "10s: an executor that hangs is noticed"),
    Legacy("spark.python.use.daemon", "false", "true: the daemon keeps Spark's secret from Python workers"),
    Legacy("spark.python.worker.reuse", "false", "true: a worker a task is slow and protects nothing"),
    Legacy("spark.ssl.enabled", "true", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.port", "[0-9]+", "no port: the UI is off"),
    Legacy("spark.ssl.protocol", ".*", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.enabledAlgorithms", ".*", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.keyStore", ".*", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.keyStoreType", ".*", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.trustStore", ".*", "AES-GCM between processes; the UI is off"),
    Legacy("spark.ssl.trustStoreType", ".*", "AES-GCM between processes; the UI is off"),
)
#: Knobs of enclaves, by their beginning, in lines that were written for Kubernetes and are run elsewhere.
_ENCLAVES: Final = "spark.kubernetes.sgx."
_AES_ON_THE_WIRE: Final = "spark.network.crypto.enabled"
_CLASS_PATH: Final = "spark.executor.extraClassPath"
_BY_KEY: Final = {it.key: it for it in LEGACY}
#: Beside what is redacted: keys of the predecessor.
_SECRET: Final = re.compile(rf"{REDACTION}|^spark\.bigdl\..*(plaintext|apikey|\.key$|\.id$)")
_SWITCH: Final = re.compile(r"true|false", re.IGNORECASE)
_NO_SECRET: Final = frozenset({"spark.authenticate.secretBitLength", "spark.redaction.regex"})
_OURS: Final = re.compile(r"spark\.authenticate\.secret|spark\.ssl\..*")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A user's configuration without what is not used, and one notice for each setting that was taken out."""

    conf: Mapping[str, str]
    notices: tuple[str, ...]


def clean(user: Mapping[str, str]) -> Cleaned:
    """Return *user* without legacy values and secrets."""
    kept, notices = {}, []
    for key, value in user.items():
        legacy = _BY_KEY.get(key)
        if is_secret(key, value):
            notices.append(_about_secret(key))
        elif legacy is not None and re.fullmatch(legacy.values, value):
            notices.append(f"{key}={value} is of older instructions: raised to {legacy.instead}")
        else:
            kept[key] = value
    return Cleaned(kept, tuple(notices))


def without_effect(user: Mapping[str, str], *, cluster: bool) -> Cleaned:
    """Return *user* without what lines for ``local`` and ``spark://`` carry along and does nothing there.

    The class path of a *cluster*'s executors is their image's; a jar that ``--jars`` names too reaches them anyway.
    """
    kept, notices = dict(user), []
    for key in [it for it in kept if it.startswith(_ENCLAVES)]:
        del kept[key]
        notices.append(f"{key} has no effect here: --tee chooses the TEE, and its size is the machine's")
    if cluster and kept.get(_AES_ON_THE_WIRE) == "true":
        del kept[_AES_ON_THE_WIRE]
        notices.append(f"{_AES_ON_THE_WIRE}=true is raised to TLS 1.3 with certificates at both ends")
    jars = set(kept.get("spark.jars", "").split(","))
    if cluster and _CLASS_PATH in kept and set(kept[_CLASS_PATH].split(":")) <= jars:
        del kept[_CLASS_PATH]
        notices.append(f"{_CLASS_PATH} is left out: --jars names the same jars, which executors get from the driver")
    return Cleaned(kept, tuple(notices))


def is_secret(key: str, value: str) -> bool:
    """Return whether a setting's name says that its value is a secret."""
    return key not in _NO_SECRET and _SECRET.search(key) is not None and not _SWITCH.fullmatch(value)


def _about_secret(key: str) -> str:
    if _OURS.fullmatch(key):
        instead = "Redoubt generates its own, in memory"
    else:
        instead = "give it to the broker, and ask for it with --secret NAME=REPO/TYPE/TAG"
    return f"the secret in {key} is ignored: {instead}. Who could see it where it was typed has it: change it"
