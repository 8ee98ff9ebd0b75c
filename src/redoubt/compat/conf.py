"""The configuration keys of BigDL PPML, both generations: what each becomes, or why it is refused.

``<NAME>`` stands for the name of a primary key. ``docs/from-ppml.md`` is generated from this table. What is secret in a
value is never used: Redoubt's keys have names, and their providers log in with files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Becomes(StrEnum):
    """What a key becomes."""

    MAPPED = "mapped"
    #: Read, and without effect: what it asked for is decided elsewhere.
    IGNORED = "ignored"
    #: A secret: never used, told once.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """One configuration key."""

    name: str
    becomes: Becomes
    #: What of Redoubt's it is mapped to, or what to use instead.
    to: str
    reason: str

    def matches(self, key: str) -> bool:
        """Return whether *key* is this one, whatever its primary key is called."""
        return re.fullmatch(re.escape(self.name).replace("<NAME>", r"[^.]+"), key) is not None


_PROVIDER: Final = "the provider of the key's namespace (`redoubt keys map`)"
_TYPED: Final = "a secret in a setting is seen by whoever lists processes or opens the UI"
_FILES: Final = "providers log in with 0600 files"
_MATERIAL: Final = "a file with the name of a Redoubt key, as `redoubt compat generate-keys` writes it, or a legacy key"


def _material(name: str) -> LegacyKey:
    return LegacyKey(name, Becomes.MAPPED, "the primary key", _MATERIAL)


def _data_key(name: str) -> LegacyKey:
    return LegacyKey(name, Becomes.MAPPED, "the data key of legacy input", "sealed data has a fresh data key a write")


def _type(name: str) -> LegacyKey:
    return LegacyKey(name, Becomes.MAPPED, "the service that opens legacy keys", "Redoubt's keys name their provider")


def _address(name: str) -> LegacyKey:
    return LegacyKey(name, Becomes.IGNORED, _PROVIDER, "where keys live is the workspace's, not the program's")


def _secret(name: str) -> LegacyKey:
    return LegacyKey(name, Becomes.REFUSED, _FILES, _TYPED)


CONF_KEYS: Final = (
    _type("spark.bigdl.kms.type"),
    _material("spark.bigdl.kms.key.primary"),
    _data_key("spark.bigdl.kms.key.data"),
    _address("spark.bigdl.kms.azure.vault"),
    _address("spark.bigdl.kms.azure.clientId"),
    _address("spark.bigdl.kms.ehs.ip"),
    _address("spark.bigdl.kms.ehs.port"),
    _secret("spark.bigdl.kms.ehs.id"),
    _secret("spark.bigdl.kms.ehs.key"),
    _secret("spark.bigdl.kms.simple.id"),
    _secret("spark.bigdl.kms.simple.key"),
    _address("spark.bigdl.enableMultiKms"),
    _type("spark.bigdl.primaryKey.<NAME>.kms.type"),
    _material("spark.bigdl.primaryKey.<NAME>.material"),
    _secret("spark.bigdl.primaryKey.<NAME>.plainText"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.ip"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.port"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.vault"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.clientId"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.user"),
    _address("spark.bigdl.primaryKey.<NAME>.kms.appId"),
    _secret("spark.bigdl.primaryKey.<NAME>.kms.id"),
    _secret("spark.bigdl.primaryKey.<NAME>.kms.apiKey"),
    _secret("spark.bigdl.primaryKey.<NAME>.kms.token"),
    LegacyKey(
        "spark.bigdl.encryter.type",
        Becomes.MAPPED,
        "the layout of legacy input",
        "`nativeaescbc` has no MAC and is imported on purpose only: `redoubt import-ppml --format native-cbc`",
    ),
)
#: What the predecessor had set for its codec; ours is set by Redoubt.
CODEC: Final = "com.intel.analytics.bigdl.ppml.crypto.CryptoCodec"
_CODECS: Final = "spark.hadoop.io.compression.codecs"


def find(key: str) -> LegacyKey | None:
    """Return the entry of *key*; None if it is none of BigDL PPML's."""
    return next((it for it in CONF_KEYS if it.matches(key)), None)


def without_legacy(conf: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return *conf* without the predecessor's keys, and one notice for each secret and for each unknown one."""
    kept, notices = {}, []
    for key, value in conf.items():
        entry = find(key)
        if key == _CODECS and value == CODEC:
            continue
        if entry is None and not key.startswith("spark.bigdl."):
            kept[key] = value
        elif entry is None:
            notices.append(f"{key} is not known and has no effect")
        elif entry.becomes is Becomes.REFUSED:
            notices.append(f"{key} is not used, and what was typed is known to others: {entry.to}")
    return kept, notices
