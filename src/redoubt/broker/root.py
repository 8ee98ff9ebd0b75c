"""Where the root key of a broker's store comes from.

The root key is 32 random bytes, made with the store. It lies in the store's own header, wrapped under what a
:class:`RootSource` has: a key file, a passphrase, or a key of any provider (PKCS#11, a cloud's key vault, Vault). So
the source can be exchanged, and shares recover the root key, without touching another row.

A wrap by file or passphrase authenticates the store's identity and its own kind; a provider's does so by the wrap's
context. A store whose root key is in no hardware holds no keys of class hw, and such a root key is never put under a
weaker source (hardening H25).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from redoubt.broker.sealing import StoreIdentity
from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.wrap import unwrap_key, wrap_key
from redoubt.errors import (
    BrokerRootKey,
    HeaderInvalid,
    KeyError_,
    KeystoreDamaged,
    RootKeyError,
    StoreDamaged,
    WrapRefused,
)
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import Provider
from redoubt.keys.rootkey import ARGON2_SALT_BYTES, Argon2Parameters, PassphraseSource, RootKey, read_root_key_file
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey

_WRAP_LABEL: Final = b"redoubt/broker-root/v1"
_ARGON2: Final = struct.Struct(f">{ARGON2_SALT_BYTES}sIII")


class RootKind(StrEnum):
    """How a root key is wrapped."""

    FILE = "file"
    PASSPHRASE = "passphrase"  # noqa: S105 - the name of a kind
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedRoot:
    """A wrapped root key as the store's header holds it. ``facts`` are the public parameters of the kind."""

    kind: RootKind
    facts: bytes
    wrapped: bytes


class RootSource(Protocol):
    """Wraps and opens root keys."""

    @property
    def assurance(self) -> Assurance:
        """The best class of keys that a store with such a root key may hold."""

    def wrap(self, root: RootKey, identity: StoreIdentity) -> WrappedRoot:
        """Return *root* wrapped for one store; raises BrokerRootKey."""

    def open(self, stored: WrappedRoot, identity: StoreIdentity) -> RootKey:
        """Return the root key of a store; raises BrokerRootKey if it is not this source's to open."""


class FileRoot:
    """A 0600 file with 32 random bytes."""

    assurance: Final = Assurance.DEV

    def __init__(self, path: Path) -> None:
        self._path = path

    def wrap(self, root: RootKey, identity: StoreIdentity) -> WrappedRoot:
        """Return *root* wrapped under the file's key."""
        return _wrap(root, under=self._key(), kind=RootKind.FILE, facts=b"", identity=identity)

    def open(self, stored: WrappedRoot, identity: StoreIdentity) -> RootKey:
        """Return the root key that the file's key opens."""
        _check_kind(stored, RootKind.FILE)
        return _open(stored, under=self._key(), identity=identity, what=f"the key in {self._path}")

    def _key(self) -> RootKey:
        try:
            return read_root_key_file(self._path)
        except RootKeyError as error:
            raise BrokerRootKey(error.what, hint=error.hint) from None


class PassphraseRoot:
    """A passphrase, by Argon2id."""

    assurance: Final = Assurance.DEV

    def __init__(self, passphrase: PassphraseSource) -> None:
        self._passphrase = passphrase

    def wrap(self, root: RootKey, identity: StoreIdentity) -> WrappedRoot:
        """Return *root* wrapped under a new salt; a prompt asks twice."""
        argon2 = Argon2Parameters()
        facts = _ARGON2.pack(argon2.salt, argon2.time_cost, argon2.memory_kib, argon2.lanes)
        key = argon2.derive(self._passphrase.read(confirm=True))
        return _wrap(root, under=key, kind=RootKind.PASSPHRASE, facts=facts, identity=identity)

    def open(self, stored: WrappedRoot, identity: StoreIdentity) -> RootKey:
        """Return the root key that the passphrase opens."""
        _check_kind(stored, RootKind.PASSPHRASE)
        key = parse_argon2(stored.facts).derive(self._passphrase.read())
        return _open(stored, under=key, identity=identity, what="the passphrase")


class ProviderRoot:
    """A primary key of a provider, which may be in hardware. The provider counts the wrap as a reference to it."""

    def __init__(self, provider: Provider, key: KeyName) -> None:
        self._provider = provider
        self._key = key

    @property
    def assurance(self) -> Assurance:
        """The class of the wrapping key, which its provider vouches for."""
        return self._key.assurance

    def wrap(self, root: RootKey, identity: StoreIdentity) -> WrappedRoot:
        """Return *root* wrapped by the provider, for this store only."""
        root_key = DataKey(context=_context(identity), secret=root.secret)
        try:
            (record,) = self._provider.wrap(self._key, [root_key])
        except KeyError_ as error:
            raise BrokerRootKey(f"{self._key} does not wrap the root key: {error.what}") from error
        return WrappedRoot(kind=RootKind.PROVIDER, facts=b"", wrapped=record.encode())

    def open(self, stored: WrappedRoot, identity: StoreIdentity) -> RootKey:
        """Return the root key; the provider is asked, and refuses what was not wrapped for this store."""
        _check_kind(stored, RootKind.PROVIDER)
        record = parse_provider_root(stored.wrapped)
        if record.key != self._key or record.context != _context(identity):
            raise BrokerRootKey(f"the root key is wrapped by {record.key}, not by {self._key}, or for another store")
        try:
            (root_key,) = self._provider.unwrap([record])
        except KeyError_ as error:
            raise BrokerRootKey(f"{self._key} does not open the root key: {error.what}") from error
        return RootKey(root_key.secret)


def parse_argon2(facts: bytes) -> Argon2Parameters:
    """Return the parameters of a passphrase; raises StoreDamaged."""
    if len(facts) != _ARGON2.size:
        raise StoreDamaged("the store's Argon2id parameters have an impossible length")
    try:
        return Argon2Parameters(*_ARGON2.unpack(facts))
    except KeystoreDamaged as error:
        raise StoreDamaged(error.what) from None


def parse_provider_root(wrapped: bytes) -> WrappedKey:
    """Return the wrapped-key record of a root key; raises StoreDamaged."""
    try:
        return WrappedKey.decode(wrapped)
    except HeaderInvalid as error:
        raise StoreDamaged(f"the store's wrapped root key: {error.what}") from None


def _context(identity: StoreIdentity) -> WrapContext:
    return WrapContext(identity.id, identity.id, Purpose.ROOT)


def _check_kind(stored: WrappedRoot, kind: RootKind) -> None:
    if stored.kind is not kind:
        raise BrokerRootKey(f"the store's root key comes from a {stored.kind}, not from a {kind}")


def _wrap(root: RootKey, *, under: RootKey, kind: RootKind, facts: bytes, identity: StoreIdentity) -> WrappedRoot:
    wrapped = wrap_key(
        root.secret,
        wrapping_key=under.wrapping_key(identity.encode()),
        associated_data=encode_fields(_WRAP_LABEL, identity.encode(), kind.encode(), facts),
    )
    return WrappedRoot(kind=kind, facts=facts, wrapped=wrapped)


def _open(stored: WrappedRoot, *, under: RootKey, identity: StoreIdentity, what: str) -> RootKey:
    try:
        secret = unwrap_key(
            stored.wrapped,
            wrapping_key=under.wrapping_key(identity.encode()),
            associated_data=encode_fields(_WRAP_LABEL, identity.encode(), stored.kind.encode(), stored.facts),
        )
    except WrapRefused:
        raise BrokerRootKey(f"{what} does not open the root key of this store") from None
    return RootKey(secret)
