"""The two seams of key management.

:class:`Provider` is what holds primary keys: the local keystore now; a broker, Vault, PKCS#11 or a cloud later. One
contract test suite (``tests/keys/provider_contract.py``) runs against every implementation.

:class:`KeySource` is what a reader or writer of sealed data needs, and all it gets: data keys by wrapped record. The
workspace implements it in process, the key endpoint's client over a socket, so nothing in ``sealed/`` knows where
primary keys live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.types import DataKey, WrapContext, WrappedKey


class KeyState(StrEnum):
    """The life of a primary key version."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class KeyVersionInfo:
    """Public facts of one version of a primary key. ``created`` is seconds since the epoch, UTC."""

    version: int
    state: KeyState
    created: int
    wraps: int
    references: int


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Public facts of a primary key; the newest version wraps."""

    name: KeyName
    versions: tuple[KeyVersionInfo, ...]

    @property
    def current(self) -> KeyVersionInfo:
        """The newest version."""
        return self.versions[-1]


class Provider(Protocol):
    """Holds primary keys and wraps data keys under them. Primary keys never leave it.

    Every method raises a :class:`redoubt.errors.KeyError_` when it refuses. Batches are all or nothing. Implementations
    are safe for use by several threads and several processes at once.
    """

    @property
    def assurances(self) -> frozenset[Assurance]:
        """The assurance classes whose keys may exist here."""

    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key with version 1; KeyExists if there is one, AssuranceRefused for a foreign class."""

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key, ordered by name."""

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key; KeyUnknown if there is none."""

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version, which wraps from now on; older versions keep unwrapping."""

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable one version, or all that are not destroyed. DESTROYED is refused: use :meth:`destroy`."""

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Destroy a version for ever; KeyReferenced while it still wraps data keys, unless told so."""

    def wrap(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        """Wrap *keys*, each in its own context, under the newest version; KeyDisabled or KeyDestroyed if it is."""

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap; WrapRefused if a record was changed or belongs to another context."""

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Unwrap and wrap again under the newest version of the same key, without releasing the data keys."""

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references that these wraps hold, after their records were replaced or deleted; idempotent."""

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references of the same keys and contexts by older versions than *wrapped*, which the data carries.

        Run after a re-wrap is durable: it also drops what an interrupted re-wrap of the same data left behind.
        """

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return the contexts still wrapped by a version, or by any version, of the key."""


class KeySource(Protocol):
    """Gives data keys to readers and writers of sealed data."""

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        """Make a fresh data key wrapped under the primary key that the text *key* names (None: the default key)."""

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap data keys, in order."""
