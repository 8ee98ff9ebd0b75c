"""Primary keys that Redoubt itself holds: bytes wrapped under a root key, lives and references in books.

The workspace's keystore and the broker's store differ in their books and in what protects their root key; what a
primary key may do is the same in both, and stands in :mod:`redoubt.keys.held`. A primary key is 32 random bytes,
stored wrapped (AES-256-GCM) with {key name, version, id of the books} as associated data: a row copied to another
name, version or database does not open.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.wrap import unwrap_key, wrap_key
from redoubt.errors import WrapRefused
from redoubt.keys.books import BookKeeper
from redoubt.keys.held import BookFacts, HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped
from redoubt.limits import DATA_KEY_BYTES

MECHANISM: Final = "aes-256-gcm"
_PRIMARY_LABEL = b"redoubt/primary-key/v1"
_VERSION = struct.Struct(">I")


class BookedProvider(HeldProvider):
    """Primary keys in books; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(
        self,
        books: BookKeeper,
        facts: BookFacts,
        *,
        wrapping_key: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use *books*; *wrapping_key* is asked for when key bytes are needed, so that listing asks no passphrase."""
        super().__init__(books, facts, RootKeyHolder(facts, wrapping_key), clock=clock)


class RootKeyHolder:
    """Holds primary keys in the entries themselves, wrapped under a root key; see KeyHolder."""

    def __init__(self, facts: BookFacts, wrapping_key: Callable[[], bytes]) -> None:
        self._facts = facts
        self._wrapping_key = wrapping_key

    def ready(self) -> None:
        """Ask for the root key."""
        self._wrapping_key()

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return the one mechanism there is."""
        return MECHANISM

    def create(self, version: KeyVersion) -> bytes:
        """Make a primary key and return it wrapped."""
        key = os.urandom(DATA_KEY_BYTES)
        return wrap_key(key, wrapping_key=self._wrapping_key(), associated_data=_associated_data(version))

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order."""
        primary = self._primary(version, entry)
        return [wrap_key(it.secret, wrapping_key=primary, associated_data=it.associated_data) for it in keys]

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order."""
        primary = self._primary(version, entry)
        return [unwrap_key(it.ciphertext, wrapping_key=primary, associated_data=it.associated_data) for it in keys]

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Do nothing: the key is the entry, which the books erase."""

    def probe(self) -> str:
        """Name the place; asks for no passphrase."""
        return self._facts.place

    def _primary(self, version: KeyVersion, entry: bytes) -> bytes:
        try:
            return unwrap_key(entry, wrapping_key=self._wrapping_key(), associated_data=_associated_data(version))
        except WrapRefused:
            raise self._facts.damaged(f"the entry of {version} in {self._facts.place} does not belong there") from None


def _associated_data(version: KeyVersion) -> bytes:
    return encode_fields(_PRIMARY_LABEL, str(version.name).encode(), _VERSION.pack(version.number), version.books)
