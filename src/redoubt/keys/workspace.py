"""The workspace: a ``.redoubt`` folder with a keystore, its root key and the map from key namespaces to providers.

A :class:`Workspace` is the :class:`redoubt.keys.provider.KeySource` of everything that runs in one process. Data names
keys logically; where they live is decided here alone, so mapping a namespace to another provider rewrites no data.

``.redoubt/`` (0700) holds ``config.toml``, ``keystore.sqlite``, ``root.key`` unless a passphrase was chosen, and a
``.gitignore`` that keeps all of it out of version control. It appears complete, by one rename, or not at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from redoubt.errors import (
    NamespaceUnmapped,
    NotFound,
    StorageError,
    UsageError,
    WorkspaceError,
    WorkspaceExists,
    WorkspaceMissing,
)
from redoubt.keys.config import Config, NamespaceMapping, check_namespace, edit_config, new_config, parse_config
from redoubt.keys.held import HeldProvider
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.local import LocalProvider
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.private import create_private_file, read_private_file, replace_private_file, sync_directory
from redoubt.keys.provider import KeyInfo, Provider
from redoubt.keys.registry import (
    CONFIG_FILE,
    KEYSTORE_FILE,
    PROVIDERS,
    ROOT_KEY_FILE,
    STATE_FOLDER,
    ProviderPlace,
    open_provider,
    state_folder,
)
from redoubt.keys.rootkey import Argon2Parameters, PassphraseSource, create_root_key_file
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import DATA_KEY_BYTES, MAX_CONFIG_BYTES, MAX_KEY_BATCH

DEFAULT_KEY: Final = KeyName("main", "default", Assurance.DEV)
_SETTINGS = {name: kind.settings for name, kind in PROVIDERS.items()}


class Workspace:
    """An open workspace. Safe for several threads; other processes may use the same folder at once."""

    def __init__(self, folder: Path, *, passphrase: PassphraseSource | None = None) -> None:
        """Use :meth:`open` or :meth:`init`."""
        self.state_folder = state_folder(folder)
        self.folder = self.state_folder.parent
        self.config = self._read_config()
        self._passphrase = passphrase
        self._providers: dict[NamespaceMapping, Provider] = {}
        self._lock = threading.Lock()

    # --- making and finding -------------------------------------------------------------------------------------------
    @classmethod
    def init(cls, folder: Path, *, passphrase: PassphraseSource | None = None) -> Self:
        """Make a workspace in *folder* with the primary key ``key:main/default.dev`` and open it.

        Without *passphrase* the root key is a file in the workspace.

        Raises:
            WorkspaceExists: there is a workspace already; it is not touched.
            StorageError: the file system refuses.
            UsageError, RootKeyError, NotFound: the passphrase cannot be had.
        """
        target = folder / STATE_FOLDER
        with _storage_errors(target):
            if os.path.lexists(target):
                raise WorkspaceExists(f"{target} exists")
            secret = passphrase.read(confirm=True) if passphrase is not None else None
            folder.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f"{STATE_FOLDER}.new-", dir=folder))  # mode 0700
            try:
                _fill(building, secret)
                try:
                    building.rename(target)  # refused by the system if a workspace appeared meanwhile
                except OSError:
                    if os.path.lexists(target):
                        raise WorkspaceExists(f"{target} exists") from None
                    raise
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
            sync_directory(folder)
        return cls(folder, passphrase=passphrase)

    @staticmethod
    def find(start: Path) -> Path:
        """Return the nearest folder from *start* upwards that holds a workspace.

        Raises:
            WorkspaceMissing: none does.
        """
        start = Path(os.path.realpath(start))  # `..` has to go: its lexical parent is not its parent
        for folder in (start, *start.parents):
            if os.path.lexists(folder / STATE_FOLDER):
                return folder
        raise WorkspaceMissing(f"no workspace in {start} or above it")

    @classmethod
    def open(cls, folder: Path | None = None, *, passphrase: PassphraseSource | None = None) -> Self:
        """Open the workspace in *folder* (or that *is* a ``.redoubt`` folder), or by default the nearest one.

        A workspace with a passphrase asks for it, from *passphrase* or else the terminal, when key bytes are first
        needed.

        Raises:
            WorkspaceMissing: there is none.
            WorkspaceError: it is open to others, or its configuration is malformed.
        """
        return cls(folder if folder is not None else cls.find(Path.cwd()), passphrase=passphrase)

    # --- names and providers ------------------------------------------------------------------------------------------
    def resolve(self, text: str | None) -> KeyName:
        """Return the key that a person means by *text*; None and what is left out come from the default key.

        Raises:
            KeyError_: *text* is no key name.
        """
        default = self.config.default_key
        if text is None:
            return default
        return KeyName.resolve(text, namespace=default.namespace, assurance=default.assurance)

    def provider_for(self, name: KeyName) -> Provider:
        """Return the provider that the namespace of *name* is mapped to.

        Raises:
            NamespaceUnmapped: it is mapped to none.
            WorkspaceError: the provider cannot be opened.
        """
        mapping = self.config.namespaces.get(name.namespace)
        if mapping is None:
            raise NamespaceUnmapped(
                f"the namespace {name.namespace!r} of {name} is mapped to no provider",
                hint=f"`redoubt keys map {name.namespace} local` keeps its keys in this workspace; "
                "docs/providers.md lists other providers.",
            )
        return self._provider(mapping)

    def list_keys(self, *, without: str | None = None) -> Sequence[KeyInfo]:
        """Return the facts of every key that this workspace's namespaces reach, ordered by name.

        Providers of the kind *without* are not asked.
        """
        found = []
        for mapping in {it for it in self.config.namespaces.values() if it.provider != without}:
            mapped_here = {name for name, it in self.config.namespaces.items() if it == mapping}
            found += [info for info in self._provider(mapping).list() if info.name.namespace in mapped_here]
        return tuple(sorted(found, key=lambda info: info.name))

    def map_namespace(
        self,
        namespace: str,
        provider: str,
        path: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Map *namespace* to a provider from now on, in ``config.toml``, whose comments stay; data is not touched.

        *path* is the folder of the workspace whose keystore, or books, the provider shall use; *settings* are its own.

        Raises:
            KeyError_: *namespace* cannot stand in a key name.
            UsageError: there is no such provider, or it does not take, or lacks, a setting.
            WorkspaceError: the provider cannot be opened; nothing was changed.
        """
        check_namespace(namespace)
        given = dict(settings or {})
        if path is not None:
            if "path" in given:
                raise UsageError("the path is given twice")
            given["path"] = str(path.absolute())
        _check_settings(provider, given)
        mapping = NamespaceMapping.of(provider, **given)
        self._provider(mapping)
        with _storage_errors(self.state_folder), _locked(self.state_folder):
            old = self._read_config_file()
            wanted = parse_config(old, providers=_SETTINGS).mapped(namespace, mapping)
            content = edit_config(old, namespace=namespace, mapping=mapping)
            config = parse_config(content, providers=_SETTINGS)
            if config != wanted:
                raise WorkspaceError("config.toml is laid out in a way that cannot be edited; add the mapping by hand")
            replace_private_file(self.state_folder / CONFIG_FILE, content)
        self.config = config

    def probe(self, namespace: str) -> str:
        """Reach the provider of *namespace*, prove its credential, and return one line on what answered.

        Raises:
            NamespaceUnmapped: it is mapped to none.
            WorkspaceError, KeyError_: what is wrong with the provider.
        """
        mapping = self.config.namespaces.get(namespace)
        if mapping is None:
            raise NamespaceUnmapped(f"the namespace {namespace!r} is mapped to no provider")
        provider = self._provider(mapping)
        return provider.probe() if isinstance(provider, HeldProvider) else f"{len(provider.list())} key(s)"

    # --- KeySource ----------------------------------------------------------------------------------------------------
    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        """Make a fresh data key for *context*, wrapped under the key that *key* names (None: the default key).

        Raises:
            KeyError_: the key does not exist or cannot wrap.
        """
        name = self.resolve(key)
        data_key = DataKey(context=context, secret=os.urandom(DATA_KEY_BYTES))
        (wrapped,) = self.provider_for(name).wrap(name, [data_key])
        return data_key, wrapped

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap data keys, in order, each provider asked in batches.

        Raises:
            KeyError_: one of them is refused; none is returned.
        """
        groups: dict[int, tuple[Provider, list[int]]] = {}
        for place, record in enumerate(wrapped):
            provider = self.provider_for(record.key)
            groups.setdefault(id(provider), (provider, []))[1].append(place)
        opened: dict[int, DataKey] = {}
        for provider, places in groups.values():
            for start in range(0, len(places), MAX_KEY_BATCH):
                batch = places[start : start + MAX_KEY_BATCH]
                opened.update(zip(batch, provider.unwrap([wrapped[place] for place in batch]), strict=True))
        return tuple(opened[place] for place in range(len(wrapped)))

    # --- inside -------------------------------------------------------------------------------------------------------
    def _provider(self, mapping: NamespaceMapping) -> Provider:
        with self._lock:
            if mapping not in self._providers:
                place = ProviderPlace(self.folder, self._passphrase)
                self._providers[mapping] = open_provider(mapping.provider, dict(mapping.settings), place)
            return self._providers[mapping]

    def _read_config(self) -> Config:
        return parse_config(self._read_config_file(), providers=_SETTINGS)

    def _read_config_file(self) -> bytes:
        try:
            return read_private_file(
                self.state_folder / CONFIG_FILE, limit_bytes=MAX_CONFIG_BYTES, what="the workspace's configuration"
            )
        except NotFound as error:
            raise WorkspaceError(error.what) from None


def _fill(state: Path, passphrase: bytes | None) -> None:
    """Write everything a workspace holds into the folder *state*, on disk when this returns."""
    argon2 = None if passphrase is None else Argon2Parameters()
    if argon2 is None or passphrase is None:
        root = create_root_key_file(state / ROOT_KEY_FILE)
    else:
        root = argon2.derive(passphrase)
    keystore = Keystore.create(state / KEYSTORE_FILE, KeystoreHeader.new(root, argon2))
    LocalProvider(keystore, unlock=lambda header: root).create(DEFAULT_KEY)
    create_private_file(state / CONFIG_FILE, new_config(DEFAULT_KEY))
    create_private_file(state / ".gitignore", b"*\n")
    sync_directory(state)


def _check_settings(provider: str, settings: Mapping[str, str]) -> None:
    if provider not in PROVIDERS:
        raise UsageError(f"there is no provider {provider!r}; known: {', '.join(sorted(PROVIDERS))}")
    kind = PROVIDERS[provider]
    if unknown := sorted(set(settings) - kind.settings):
        taken = ", ".join(sorted(kind.settings))
        raise UsageError(f"the provider {provider!r} takes no {unknown[0]!r}; it takes: {taken}")
    if missing := sorted(kind.required - set(settings)):
        raise UsageError(f"the provider {provider!r} needs {', '.join(missing)}", hint="Give each: --set NAME=VALUE.")
    for name, value in settings.items():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"the {name} is not UTF-8, which is all that config.toml can hold") from None
        if not value or "\0" in value:
            raise UsageError(f"the {name} is empty, or holds a character that no text has")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes' edits of *folder*'s configuration out."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
