"""Primary keys that Redoubt itself holds: bytes wrapped under a root key, lives and references in books.

The workspace's keystore and the broker's store differ in their books and in what protects their root key; what a
primary key may do is the same in both, and stands here. What it holds to:

* a primary key is 32 random bytes, stored wrapped (AES-256-GCM) with {key name, version, id of the books} as associated
  data: a row copied to another name, version or database does not open;
* keys exist only in the classes that the books may hold (hardening H25);
* every wrap is counted, and every live wrap is referenced, in the transaction that makes it and before it is handed
  out: a crash can leave a reference without a wrap, which refuses a destroy too many, never one too few;
* a batch is one transaction: all or nothing.

States, counts and references are as trustworthy as the database: who can write it could also have deleted it. Key
bytes are not: those are authenticated.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.wrap import unwrap_key, wrap_key
from redoubt.errors import (
    AssuranceRefused,
    KeyDestroyed,
    KeyDisabled,
    KeyError_,
    KeyExists,
    KeyReferenced,
    RedoubtError,
    WrapLimitReached,
    WrapRefused,
)
from redoubt.keys.books import (
    MAX_VERSION,
    BookKeeper,
    Books,
    Reference,
    VersionRow,
    key_info,
    load_version,
    load_versions,
)
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo, KeyState
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import DATA_KEY_BYTES, MAX_KEY_BATCH, MAX_WRAPS_PER_KEY_VERSION

MECHANISM: Final = "aes-256-gcm"
_PRIMARY_LABEL = b"redoubt/primary-key/v1"
_VERSION = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFacts:
    """Whose books these are: ``place`` and ``damaged`` are how errors speak of them."""

    identity: bytes
    assurances: frozenset[Assurance]
    place: str
    damaged: type[RedoubtError]


class BookedProvider:
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
        self._books = books
        self._facts = facts
        self._wrapping_key = wrapping_key
        self._clock = clock

    @property
    def assurances(self) -> frozenset[Assurance]:
        """The classes whose keys may exist here."""
        return self._facts.assurances

    # --- the life of primary keys -------------------------------------------------------------------------------------
    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key with version 1.

        Raises:
            KeyExists: the name is taken, be it by a destroyed key.
            AssuranceRefused: its class cannot be here.
            RootKeyError: the root key is missing or wrong.
        """
        self._check_class(name)
        self._wrapping_key()

        def work(books: Books) -> KeyInfo:
            if books.versions(name):
                raise KeyExists(f"{name} exists already")
            self._insert(books, name, 1)
            return key_info(books, name)

        return self._books.writing(work, repeatable=False)

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key, ordered by name."""
        return self._books.reading(lambda books: tuple(key_info(books, name) for name in books.names()))

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key; KeyUnknown if there is none."""
        return self._books.reading(lambda books: key_info(books, name))

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version, enabled whatever the state of the older ones, which keep unwrapping."""
        self._check_class(name)
        self._wrapping_key()

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            self._insert(books, name, load_versions(books, name)[-1].number + 1)
            return key_info(books, name)

        return self._books.writing(work, repeatable=False)

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable one version, or all that are not destroyed.

        Raises:
            KeyUnknown: no such key or version.
            KeyDestroyed: that version, or every version, is destroyed.
            KeyError_: *state* is DESTROYED.
        """
        if state is KeyState.DESTROYED:
            raise KeyError_("a state change cannot destroy a key", hint="Use `redoubt keys destroy NAME --version N`.")

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            chosen = load_versions(books, name) if version is None else [load_version(books, name, version)]
            alive = [row for row in chosen if row.state is not KeyState.DESTROYED]
            if not alive:
                raise KeyDestroyed(f"{chosen[-1].label} is destroyed")
            for row in alive:
                books.set_state(row, state)
            return key_info(books, name)

        return self._books.writing(work, repeatable=True)

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Erase the key bytes of a version for ever and keep its row; a second time changes nothing.

        SQLite zeroes the bytes in the file; PostgreSQL keeps them until its vacuum, and in its log and archives;
        copies, and blocks that the disk still holds, are out of reach.

        Raises:
            KeyUnknown: no such key or version.
            KeyReferenced: it still wraps data keys and *even_if_referenced* is false.
        """

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            row = load_version(books, name, version)
            references = books.count_references(row)
            if row.state is not KeyState.DESTROYED and references and not even_if_referenced:
                raise KeyReferenced(f"{row.label} still wraps {references} data key(s)")
            books.erase(row)
            return key_info(books, name)

        return self._books.writing(work, repeatable=True)

    # --- data keys ----------------------------------------------------------------------------------------------------
    def wrap(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        """Wrap *keys* under the newest version.

        Raises:
            KeyUnknown, KeyDisabled, KeyDestroyed: the key, or its newest version, cannot be used.
            WrapLimitReached: the version would pass its limit of wraps.
            KeyError_: more than ``MAX_KEY_BATCH`` keys.
        """
        _check_batch(keys)
        self._check_class(name)
        self._wrapping_key()

        def work(books: Books) -> Sequence[WrappedKey]:
            books.lock([name])
            return self._wrap_newest(books, name, keys)

        return self._books.writing(work, repeatable=True)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap, in order.

        Raises:
            WrapRefused: a record was changed or belongs to another context, key or version.
            KeyUnknown, KeyDisabled, KeyDestroyed: a record's key version cannot be used.
            KeyError_: more than ``MAX_KEY_BATCH`` records.
        """
        _check_batch(wrapped)
        self._wrapping_key()
        return self._books.reading(lambda books: self._open(books, wrapped))

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Wrap again under the newest version of each record's key, in order; :meth:`release` the old ones later.

        Raises what :meth:`unwrap` and :meth:`wrap` raise.
        """
        _check_batch(wrapped)
        self._wrapping_key()
        names = {record.key for record in wrapped}

        def work(books: Books) -> Sequence[WrappedKey]:
            books.lock(names)
            opened = self._open(books, wrapped)
            again: dict[int, WrappedKey] = {}
            for name in names:
                places = [place for place, record in enumerate(wrapped) if record.key == name]
                again.update(zip(places, self._wrap_newest(books, name, [opened[p] for p in places]), strict=True))
            return tuple(again[place] for place in range(len(wrapped)))

        return self._books.writing(work, repeatable=True)

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references that these wraps hold; one that holds none changes nothing."""
        _check_batch(wrapped)
        references = [Reference.of(record) for record in wrapped]
        self._books.writing(lambda books: books.release(references), repeatable=True)

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget references by older versions of the same keys and contexts: the data carries *wrapped* now."""
        _check_batch(wrapped)
        references = [Reference.of(record) for record in wrapped]
        self._books.writing(lambda books: books.settle(references), repeatable=True)

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return the contexts still wrapped by a version, or by any version, each once, ordered by dataset id."""

        def work(books: Books) -> set[WrapContext]:
            chosen = load_versions(books, name) if version is None else [load_version(books, name, version)]
            return {context for row in chosen for context in books.contexts(row)}

        return tuple(sorted(self._books.reading(work), key=lambda it: (it.dataset_id, it.data_key_id, it.purpose)))

    # --- inside -------------------------------------------------------------------------------------------------------
    def _check_class(self, name: KeyName) -> None:
        if name.assurance not in self.assurances:
            raise AssuranceRefused(f"{name} cannot live in {self._facts.place}")

    def _associated_data(self, name: KeyName, version: int) -> bytes:
        return encode_fields(_PRIMARY_LABEL, str(name).encode(), _VERSION.pack(version), self._facts.identity)

    def _insert(self, books: Books, name: KeyName, version: int) -> None:
        if version > MAX_VERSION:
            raise KeyError_(f"{name} has as many versions as the format allows")
        wrapped = wrap_key(
            os.urandom(DATA_KEY_BYTES),
            wrapping_key=self._wrapping_key(),
            associated_data=self._associated_data(name, version),
        )
        books.insert(VersionRow(name, version, KeyState.ENABLED, int(self._clock()), wraps=0, wrapped=wrapped))

    def _primary(self, row: VersionRow) -> bytes:
        """Return the bytes of an enabled primary key version."""
        self._check_class(row.name)
        if row.state is KeyState.DISABLED:
            raise KeyDisabled(f"{row.label} is disabled")
        if row.wrapped is None:
            raise KeyDestroyed(f"{row.label} is destroyed")
        try:
            return unwrap_key(
                row.wrapped,
                wrapping_key=self._wrapping_key(),
                associated_data=self._associated_data(row.name, row.number),
            )
        except WrapRefused:
            raise self._facts.damaged(
                f"the entry of {row.label} in {self._facts.place} does not belong there"
            ) from None

    def _open(self, books: Books, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        primaries: dict[tuple[KeyName, int], bytes] = {}
        opened = []
        for record in wrapped:
            if record.mechanism != MECHANISM:
                raise WrapRefused(f"a wrapped key of {record.key} has the unknown mechanism {record.mechanism!r}")
            of = (record.key, record.version)
            if of not in primaries:
                primaries[of] = self._primary(load_version(books, *of))
            secret = unwrap_key(
                record.ciphertext,
                wrapping_key=primaries[of],
                associated_data=record.context.encode(key=record.key, version=record.version),
            )
            opened.append(DataKey(context=record.context, secret=secret))
        return tuple(opened)

    def _wrap_newest(self, books: Books, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        newest = load_versions(books, name)[-1]
        primary = self._primary(newest)
        if newest.wraps + len(keys) > MAX_WRAPS_PER_KEY_VERSION:
            raise WrapLimitReached(f"{newest.label} has wrapped {newest.wraps} data keys")
        wrapped = []
        for key in keys:
            context = WrapContext(key.dataset_id, key.id, key.purpose)
            ciphertext = wrap_key(
                key.secret,
                wrapping_key=primary,
                associated_data=context.encode(key=name, version=newest.number),
            )
            wrapped.append(WrappedKey(context, name, newest.number, MECHANISM, ciphertext))
        books.count_wraps(newest, [Reference.of(record) for record in wrapped])
        return tuple(wrapped)


def _check_batch(batch: Sequence[object]) -> None:
    if len(batch) > MAX_KEY_BATCH:
        raise KeyError_(f"a batch of {len(batch)} keys is over the limit of {MAX_KEY_BATCH}")
