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

from redoubt.errors import KeystoreDamaged, ProviderSettingsInvalid, WorkspaceMissing
from redoubt.keys.bookfile import KeystoreBooks, open_books
from redoubt.keys.held import BookFacts, HeldProvider
from redoubt.keys.holder import KeyHolder
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.local import LocalProvider
from redoubt.keys.names import Assurance
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
    """A kind of provider: the names of its settings, which of them it needs, and how one is opened."""

    settings: frozenset[str]
    open: Callable[[Mapping[str, str], ProviderPlace], Provider]
    required: frozenset[str] = frozenset()


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


def held_provider(
    kind: str,
    settings: Mapping[str, str],
    place: ProviderPlace,
    holder: KeyHolder,
    *,
    assurances: frozenset[Assurance],
) -> HeldProvider:
    """Return a provider of this *kind* whose keys *holder* holds, with its books in the workspace.

    The books are those of the workspace itself, or of the one at ``path`` (relative to the workspace's folder).

    Raises:
        WorkspaceError: the books cannot be used.
    """
    books = open_books(state_folder(place.folder / settings.get("path", ".")), kind)
    facts = BookFacts(
        identity=books.header.id,
        assurances=assurances,
        place=f"this provider, {kind}",
        damaged=KeystoreDamaged,
    )
    return HeldProvider(KeystoreBooks(books), facts, holder)


def _open_pkcs11(settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    from redoubt.keys.pkcs11 import open_pkcs11

    return open_pkcs11(settings, place)


def _open_vault(settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    from redoubt.keys.vault import open_vault

    return open_vault(settings, place)


def _open_azure(settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    from redoubt.keys.azure import open_azure

    return open_azure(settings, place)


def _open_ehsm(settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    from redoubt.keys.ehsm import open_ehsm

    return open_ehsm(settings, place)


def _open_broker(settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    # The one import upwards (pyproject.toml): a broker is spoken to in its protocol, which is built of keys.
    from redoubt.protocol.owner_provider import open_broker

    return open_broker(settings, place)


def _kind(
    opener: Callable[[Mapping[str, str], ProviderPlace], Provider], *, required: str, optional: str
) -> ProviderKind:
    needed = frozenset(required.split())
    return ProviderKind(settings=needed | {"path", *optional.split()}, open=opener, required=needed)


#: Their modules are imported when one is opened: most workspaces need one.
PROVIDERS: Final[Mapping[str, ProviderKind]] = MappingProxyType(
    {
        "local": ProviderKind(settings=frozenset({"path"}), open=open_local),
        "pkcs11": _kind(_open_pkcs11, required="module token", optional="pin_file pin_fd mechanism assurance"),
        "vault": _kind(
            _open_vault,
            required="url",
            optional="ca mount vault_namespace token_file role_id_file secret_id_file auth_mount"
            " kubernetes_role jwt_file",
        ),
        "azure": _kind(
            _open_azure,
            required="url",
            optional="ca domain service api_version client_id tenant authority secret_file",
        ),
        "ehsm": _kind(_open_ehsm, required="url appid apikey_file", optional="ca"),
        # Without books here: the broker keeps them.
        "broker": ProviderKind(
            settings=frozenset({"url", "ca", "owner_key", "broker_id"}),
            open=_open_broker,
            required=frozenset({"url", "ca", "owner_key"}),
        ),
    }
)


def open_provider(kind: str, settings: Mapping[str, str], place: ProviderPlace) -> Provider:
    """Open the provider *kind* with *settings* from a ``config.toml``, in which each is one that the kind takes.

    Raises:
        ProviderSettingsInvalid: it needs one that is not there, or one of them cannot be used.
        WorkspaceError: its books or keystore cannot be used.
    """
    if missing := sorted(PROVIDERS[kind].required - set(settings)):
        raise ProviderSettingsInvalid(f"the provider {kind!r} lacks the setting {missing[0]!r}")
    return PROVIDERS[kind].open(settings, place)
