"""The providers that a namespace can be mapped to, by the name that ``config.toml`` uses.

A new provider is one entry of :data:`PROVIDERS`. There is no plug-in discovery: what may hold keys is decided by the
code that was installed, not by what else is importable (hardening H25).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from redoubt.errors import WorkspaceMissing
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.local import LocalProvider
from redoubt.keys.private import check_private
from redoubt.keys.provider import Provider
from redoubt.keys.rootkey import PassphraseSource, RootKey, read_root_key_file

STATE_FOLDER: Final = ".redoubt"
ROOT_KEY_FILE: Final = "root.key"
KEYSTORE_FILE: Final = "keystore.sqlite"
CONFIG_FILE: Final = "config.toml"


@dataclass(frozen=True, slots=True)
class ProviderPlace:
    """What a provider may need of the workspace that maps a namespace to it."""

    folder: Path
    passphrase: PassphraseSource | None


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A kind of provider: the names of its settings, and how one is opened."""

    settings: frozenset[str]
    open: Callable[[Mapping[str, str], ProviderPlace], Provider]


def state_folder(folder: Path) -> Path:
    """Return the ``.redoubt`` folder of *folder*, which may be that folder itself; checked to be private.

    Raises:
        WorkspaceMissing: there is none.
        WorkspaceError: it is a link, belongs to another user, or is open to others: whoever can write it chooses
            which keys this user's data is sealed under.
    """
    state = folder if folder.name == STATE_FOLDER else folder / STATE_FOLDER
    try:
        status = state.lstat()
    except OSError:
        raise WorkspaceMissing(f"{folder} holds no workspace") from None
    check_private(state, status, what="the workspace", directory=True)
    return state


def open_local(settings: Mapping[str, str], place: ProviderPlace) -> LocalProvider:
    """Open the keystore of the workspace itself, or of the one at ``path`` (relative to the workspace's folder)."""
    state = state_folder(place.folder / settings["path"] if "path" in settings else place.folder)

    def unlock(header: KeystoreHeader) -> RootKey:
        if header.argon2 is None:
            return read_root_key_file(state / ROOT_KEY_FILE)
        return header.argon2.derive((place.passphrase or PassphraseSource()).read())

    return LocalProvider(Keystore(state / KEYSTORE_FILE), unlock=unlock)


PROVIDERS: Final[Mapping[str, ProviderKind]] = MappingProxyType(
    {
        "local": ProviderKind(settings=frozenset({"path"}), open=open_local),
    }
)
