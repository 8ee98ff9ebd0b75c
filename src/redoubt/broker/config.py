"""``broker.toml``: what an operator decides about a production broker. Paths are relative to the file's folder.

::

    format = 1
    name = "redoubt-broker"              # in the results that it issues
    listen = "127.0.0.1:8443"
    certificate = "server.pem"           # with its chain, PEM
    key = "server.key"                   # PKCS #8, a 0600 file
    store = "store.sqlite"               # or postgresql://…, without a password
    bootstrap_owners = ["ed25519:…"]     # until the first manifest

    [root_key]                           # exactly one of:
    file = "root.key"
    passphrase_file = "…"
    workspace_key = "key:hsm/broker.hw"  # a key of the workspace that is given when the broker starts

    [collateral]                         # each optional
    pccs = "https://…"                   # Intel: without it SGX and TDX evidence is refused
    pccs_ca = "pccs.pem"                 # the CA that certified it; without it the system's
    cache = "collateral"
    amd_certificates = ["ask.pem"]
    amd_revocations = "crl.der"
    tpm_keys = "ak.pem"

    [anchor]                             # optional: notice at the start that an older store was put in place
    tpm_index = "0x01800002"             # an NV index of this machine's TPM
    name = "tpm"                         # in the audit log; brokers on one store have each their own

    [limits]                             # each optional
    requests_per_second = 200
    burst = 1000

Pure but for :func:`read_config`. Unknown settings are errors: one that is passed over is one that somebody relies on.
The RCAR version is no setting: one is served (ADR 0010). There is no setting for simulated evidence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redoubt.broker.server import Address
from redoubt.broker.tpm_counter import FIRST_INDEX, LAST_INDEX
from redoubt.errors import BrokerConfigInvalid, ManifestField, NotFound
from redoubt.keys.private import read_private_file
from redoubt.limits import (
    MAX_CONFIG_BYTES,
    MIN_ROLE_CERTIFICATE_SECONDS,
    PEER_BURST,
    PEER_REQUESTS_PER_SECOND,
    ROLE_CERTIFICATE_SECONDS,
)
from redoubt.trust.public_key import parse_public_key

CONFIG_FORMAT: Final = 1
CONFIG_FILE: Final = "broker.toml"
_TOP: Final = frozenset({"name", "listen", "certificate", "key", "store", "root_key"})
_TOP_OPTIONAL: Final = frozenset({"bootstrap_owners", "collateral", "limits", "anchor"})
_ROOTS: Final = frozenset({"file", "passphrase_file", "workspace_key"})
_COLLATERAL: Final = frozenset({"pccs", "pccs_ca", "cache", "amd_certificates", "amd_revocations", "tpm_keys"})
_LIMITS: Final = frozenset({"requests_per_second", "burst", "certificate_seconds"})
_ANCHOR: Final = frozenset({"tpm_index", "name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeySetting:
    """Where the root key comes from: exactly one of these is set."""

    file: Path | None
    passphrase_file: Path | None
    workspace_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralSetting:
    """What evidence is verified with, beside what it brings along."""

    pccs: str | None
    #: The CA that certified the PCCS, PEM; None for the system's.
    pccs_ca: Path | None
    cache: Path
    amd_certificates: tuple[Path, ...]
    amd_revocations: Path | None
    tpm_keys: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorSetting:
    """The counter that the store is anchored in."""

    tpm_index: int
    #: The counter's name in the audit log: brokers on one store have each their own.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """The content of a ``broker.toml``."""

    name: str
    listen: Address
    certificate: Path
    key: Path
    store: str
    bootstrap_owners: frozenset[bytes]
    root_key: RootKeySetting
    collateral: CollateralSetting
    anchor: AnchorSetting | None
    requests_per_second: float
    burst: float
    #: How long certificates of roles hold.
    certificate_seconds: int


def read_config(path: Path) -> BrokerConfig:
    """Return the configuration in the file *path*, or in the folder *path*.

    Raises:
        BrokerConfigInvalid: it is missing, open to others, or says something that is no setting.
        StorageError: it cannot be read.
    """
    file = path / CONFIG_FILE if path.is_dir() else path
    try:
        text = read_private_file(
            file, limit_bytes=MAX_CONFIG_BYTES, what="the broker's configuration", refusal=BrokerConfigInvalid
        )
    except NotFound as error:
        raise BrokerConfigInvalid(error.what) from None
    return parse_config(text, folder=file.absolute().parent)


def parse_config(text: bytes, *, folder: Path) -> BrokerConfig:
    """Return the configuration that *text* is; raises BrokerConfigInvalid."""
    try:
        found = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BrokerConfigInvalid("the configuration is not TOML") from None
    if found.pop("format", CONFIG_FORMAT) != CONFIG_FORMAT:
        raise BrokerConfigInvalid(f"the configuration's format is not {CONFIG_FORMAT}")
    _check_names(found, _TOP, _TOP_OPTIONAL, "the configuration")
    limits = _table(found, "limits", _LIMITS)
    return BrokerConfig(
        name=_text(found, "name"),
        listen=_address(_text(found, "listen")),
        certificate=folder / _text(found, "certificate"),
        key=folder / _text(found, "key"),
        store=_store(_text(found, "store"), folder),
        bootstrap_owners=frozenset(map(_owner, _texts(found, "bootstrap_owners"))),
        root_key=_root_key(_table(found, "root_key", _ROOTS), folder),
        collateral=_collateral(_table(found, "collateral", _COLLATERAL), folder),
        anchor=_anchor(_table(found, "anchor", _ANCHOR)) if "anchor" in found else None,
        requests_per_second=_rate(limits, "requests_per_second", PEER_REQUESTS_PER_SECOND),
        burst=_rate(limits, "burst", PEER_BURST),
        certificate_seconds=_lifetime(limits),
    )


def new_config(*, name: str, listen: Address, bootstrap_owners: tuple[str, ...]) -> bytes:
    """Return the file that `redoubt broker setup` writes beside the files that it names."""
    owners = ", ".join(f'"{it}"' for it in bootstrap_owners)
    return f"""\
# A Redoubt broker. Start it: redoubt broker serve {CONFIG_FILE}
format = {CONFIG_FORMAT}
name = "{name}"
listen = "{listen.host}:{listen.port}"
certificate = "server.pem"
key = "server.key"
store = "store.sqlite"
# May create keys and set the first manifest; without power afterwards.
bootstrap_owners = [{owners}]

[root_key]
file = "root.key"

[collateral]
# pccs = "https://pccs.example"     # or Intel's own service; without it SGX and TDX evidence is refused
# pccs_ca = "pccs.pem"              # the CA of its certificate, if it is none of the system's
cache = "collateral"
""".encode()


def _root_key(table: Mapping[str, Any], folder: Path) -> RootKeySetting:
    if len(table) != 1:
        raise BrokerConfigInvalid(f"root_key names exactly one of {', '.join(sorted(_ROOTS))}")
    return RootKeySetting(
        file=_path(table, "file", folder),
        passphrase_file=_path(table, "passphrase_file", folder),
        workspace_key=_text(table, "workspace_key") if "workspace_key" in table else None,
    )


def _collateral(table: Mapping[str, Any], folder: Path) -> CollateralSetting:
    pccs = _text(table, "pccs") if "pccs" in table else None
    if pccs is not None and not pccs.startswith("https://"):
        raise BrokerConfigInvalid("collateral.pccs is no https:// address")
    return CollateralSetting(
        pccs=pccs,
        pccs_ca=_path(table, "pccs_ca", folder),
        cache=_path(table, "cache", folder) or folder / "collateral",
        amd_certificates=tuple(folder / it for it in _texts(table, "amd_certificates")),
        amd_revocations=_path(table, "amd_revocations", folder),
        tpm_keys=_path(table, "tpm_keys", folder),
    )


def _anchor(table: Mapping[str, Any]) -> AnchorSetting:
    text = _text(table, "tpm_index")
    try:
        index = int(text, 16) if len(text) <= len("0x01800000") else 0
    except ValueError:
        index = 0
    if not FIRST_INDEX <= index <= LAST_INDEX:
        raise BrokerConfigInvalid(f"anchor.tpm_index is no NV index of an owner, {FIRST_INDEX:#010x} or more: {text!r}")
    return AnchorSetting(tpm_index=index, name=_text(table, "name") if "name" in table else "tpm")


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # Its length first: Python refuses to convert thousands of digits.
    if not colon or not host or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise BrokerConfigInvalid(f"listen is not HOST:PORT: {text[:64]!r}")
    return Address(host, int(port))


def _store(text: str, folder: Path) -> str:
    return text if "://" in text else str(folder / text)


def _owner(text: str) -> bytes:
    try:
        return parse_public_key(text)
    except ManifestField as error:
        raise BrokerConfigInvalid(f"a key in bootstrap_owners {error.what}") from None


def _check_names(table: Mapping[str, Any], needed: frozenset[str], optional: frozenset[str], what: str) -> None:
    if strange := sorted(set(table) - needed - optional):
        raise BrokerConfigInvalid(f"{what} has the unknown setting {strange[0][:64]!r}")
    if missing := sorted(needed - set(table)):
        raise BrokerConfigInvalid(f"{what} lacks the setting {missing[0]!r}")


def _table(found: Mapping[str, Any], name: str, known: frozenset[str]) -> Mapping[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise BrokerConfigInvalid(f"{name} is no table")
    _check_names(table, frozenset(), known, name)
    return table


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BrokerConfigInvalid(f"{name} is no text")
    return value


def _texts(table: Mapping[str, Any], name: str) -> list[str]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(it, str) and it for it in value):
        raise BrokerConfigInvalid(f"{name} is no list of texts")
    return value


def _path(table: Mapping[str, Any], name: str, folder: Path) -> Path | None:
    return folder / _text(table, name) if name in table else None


def _lifetime(limits: Mapping[str, Any]) -> int:
    found = limits.get("certificate_seconds", ROLE_CERTIFICATE_SECONDS)
    if type(found) is not int or not MIN_ROLE_CERTIFICATE_SECONDS <= found <= ROLE_CERTIFICATE_SECONDS:
        raise BrokerConfigInvalid(
            f"certificate_seconds is no whole number from {MIN_ROLE_CERTIFICATE_SECONDS} to {ROLE_CERTIFICATE_SECONDS}"
        )
    return found


def _rate(table: Mapping[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1e6:
        raise BrokerConfigInvalid(f"{name} is no number from 1 to a million")
    return float(value)
