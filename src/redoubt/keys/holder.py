"""The seam below a provider: who holds the bytes of primary key versions, and wraps under them.

:class:`redoubt.keys.held.HeldProvider` keeps the books of every provider (names, versions, states, counts, references);
a :class:`KeyHolder` is what differs between them: a root key, a token, a key service. A holder never decides whether a
version may be used: the books do, before it is asked, and they keep one opaque *entry* a version, which is how the
holder finds that version again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redoubt.errors import ProviderAnswerInvalid, WrapRefused
from redoubt.keys.names import KeyName
from redoubt.limits import DATA_KEY_BYTES


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of a primary key, as a holder knows it. ``books`` is the random id of the books it stands in."""

    name: KeyName
    number: int
    books: bytes

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A data key in clear with the associated data of its wrap: what a holder wraps. It prints without its secret."""

    secret: bytes
    associated_data: bytes

    def __repr__(self) -> str:
        return "Unwrapped(…)"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The ciphertext of a data key with the associated data that it must open with: what a holder unwraps."""

    ciphertext: bytes
    associated_data: bytes


class KeyHolder(Protocol):
    """Holds primary key versions, which never leave it. Safe for several threads, and across a fork.

    Batches are all or nothing. What is refused is raised as a :class:`redoubt.errors.KeyError_`, or as a
    :class:`redoubt.errors.WorkspaceError` if settings, files or credentials are at fault.
    """

    def ready(self) -> None:
        """Check that key bytes can be reached, before anything is written."""

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return how *version* wraps data keys: the ``mechanism`` of its wrapped-key records."""

    def create(self, version: KeyVersion) -> bytes:
        """Make the key of *version* and return its entry. Called once a version; a lost answer leaves a key unused."""

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Return the ciphertexts of *keys*, in order."""

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Return the secrets in *keys*, in order; WrapRefused if one was changed or belongs to another context."""

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Destroy the key of *version*; one that is gone already is fine."""

    def probe(self) -> str:
        """Reach the holder, prove the credential, and return one line on what answered, for ``redoubt doctor``."""


def check_binding(holder: KeyHolder, version: KeyVersion, entry: bytes) -> None:
    """Check that *holder* binds data keys of the new *version* to their associated data, rather than ignore it.

    An older service may not know the field and pass over it, and nobody would notice: everything opens.

    Raises:
        ProviderAnswerInvalid: a data key opens in a context that it was not wrapped for, or not in its own.
    """
    secret = os.urandom(DATA_KEY_BYTES)
    (ciphertext,) = holder.wrap(version, entry, [Unwrapped(secret, b"redoubt/binding/a")])
    if list(holder.unwrap(version, entry, [Wrapped(ciphertext, b"redoubt/binding/a")])) != [secret]:
        raise ProviderAnswerInvalid(f"the provider of {version} does not open what it wrapped")
    with contextlib.suppress(WrapRefused):
        holder.unwrap(version, entry, [Wrapped(ciphertext, b"redoubt/binding/b")])
        raise ProviderAnswerInvalid(f"the provider of {version} ignores associated data, so it cannot bind data keys")
