"""The ``local`` provider: primary keys in the workspace's own keystore, wrapped under its root key.

What it holds to:

* a primary key is 32 random bytes, stored wrapped (AES-256-GCM) with {key name, version, keystore id} as associated
  data: a row copied to another name, version or keystore does not open;
* only keys of class dev exist here: whoever has the file has the keys, and nothing is attested (hardening H25);
* every wrap is counted, and every live wrap is referenced, in the transaction that makes it and before it is handed
  out: a crash can leave a reference without a wrap, which refuses a destroy too many, never one too few;
* a batch is one transaction: all or nothing.

States, counts and references are as trustworthy as the file: who can write it could also have deleted it. Key bytes
are not: those are authenticated.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Sequence
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
    KeystoreDamaged,
    PassphraseError,
    RootKeyError,
    WrapLimitReached,
    WrapRefused,
)
from redoubt.keys import rows
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo, KeyState
from redoubt.keys.rootkey import RootKey
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import DATA_KEY_BYTES, MAX_KEY_BATCH, MAX_WRAPS_PER_KEY_VERSION

MECHANISM: Final = "aes-256-gcm"
_PRIMARY_LABEL = b"redoubt/primary-key/v1"
_VERSION = struct.Struct(">I")


class LocalProvider:
    """Primary keys in a local keystore; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(
        self,
        keystore: Keystore,
        *,
        unlock: Callable[[KeystoreHeader], RootKey],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use *keystore*; *unlock* is called when key bytes are first needed, so that listing asks no passphrase."""
        self._keystore = keystore
        self._unlock = unlock
        self._clock = clock
        self._root_wrapping_key: bytes | None = None
        self._lock = threading.Lock()

    @property
    def assurances(self) -> frozenset[Assurance]:
        """Class dev only."""
        return frozenset({Assurance.DEV})

    # --- the life of primary keys -------------------------------------------------------------------------------------
    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key with version 1.

        Raises:
            KeyExists: the name is taken, be it by a destroyed key.
            AssuranceRefused: its class is not dev.
            RootKeyError: the root key is missing or wrong.
        """
        self._check_class(name)
        self._root()
        with self._keystore.writing() as db:
            if rows.find_versions(db, name):
                raise KeyExists(f"{name} exists already")
            self._insert(db, name, 1)
            return rows.key_info(db, name)

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key, ordered by name."""
        with self._keystore.reading() as db:
            return tuple(rows.key_info(db, name) for name in rows.all_names(db))

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key; KeyUnknown if there is none."""
        with self._keystore.reading() as db:
            return rows.key_info(db, name)

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version, enabled whatever the state of the older ones, which keep unwrapping."""
        self._check_class(name)
        self._root()
        with self._keystore.writing() as db:
            self._insert(db, name, rows.load_versions(db, name)[-1].number + 1)
            return rows.key_info(db, name)

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable one version, or all that are not destroyed.

        Raises:
            KeyUnknown: no such key or version.
            KeyDestroyed: that version, or every version, is destroyed.
            KeyError_: *state* is DESTROYED.
        """
        if state is KeyState.DESTROYED:
            raise KeyError_("a state change cannot destroy a key", hint="Use `redoubt keys destroy NAME --version N`.")
        with self._keystore.writing() as db:
            chosen = rows.load_versions(db, name) if version is None else [rows.load_version(db, name, version)]
            alive = [row for row in chosen if row.state is not KeyState.DESTROYED]
            if not alive:
                raise KeyDestroyed(f"{chosen[-1].label} is destroyed")
            for row in alive:
                rows.set_state(db, row, state)
            return rows.key_info(db, name)

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Erase the key bytes of a version for ever and keep its row; a second time changes nothing.

        SQLite zeroes the bytes in the file; copies of it, and blocks that the disk still holds, are out of reach.

        Raises:
            KeyUnknown: no such key or version.
            KeyReferenced: it still wraps data keys and *even_if_referenced* is false.
        """
        with self._keystore.writing() as db:
            row = rows.load_version(db, name, version)
            references = rows.count_references(db, row)
            if row.state is not KeyState.DESTROYED and references and not even_if_referenced:
                raise KeyReferenced(f"{row.label} still wraps {references} data key(s)")
            rows.erase(db, row)
            return rows.key_info(db, name)

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
        self._root()
        with self._keystore.writing() as db:
            return self._wrap_newest(db, name, keys)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap, in order.

        Raises:
            WrapRefused: a record was changed or belongs to another context, key or version.
            KeyUnknown, KeyDisabled, KeyDestroyed: a record's key version cannot be used.
            KeyError_: more than ``MAX_KEY_BATCH`` records.
        """
        _check_batch(wrapped)
        self._root()
        with self._keystore.reading() as db:
            return self._open(db, wrapped)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Wrap again under the newest version of each record's key, in order; :meth:`release` the old ones later.

        Raises what :meth:`unwrap` and :meth:`wrap` raise.
        """
        _check_batch(wrapped)
        self._root()
        with self._keystore.writing() as db:
            opened = self._open(db, wrapped)
            again: dict[int, WrappedKey] = {}
            for name in {record.key for record in wrapped}:
                places = [place for place, record in enumerate(wrapped) if record.key == name]
                again.update(zip(places, self._wrap_newest(db, name, [opened[p] for p in places]), strict=True))
            return tuple(again[place] for place in range(len(wrapped)))

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references that these wraps hold; one that holds none changes nothing."""
        _check_batch(wrapped)
        with self._keystore.writing() as db:
            rows.release_wraps(db, wrapped)

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget references by older versions of the same keys and contexts: the data carries *wrapped* now."""
        _check_batch(wrapped)
        with self._keystore.writing() as db:
            rows.settle_wraps(db, wrapped)

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return the contexts still wrapped by a version, or by any version, each once, ordered by dataset id."""
        with self._keystore.reading() as db:
            chosen = rows.load_versions(db, name) if version is None else [rows.load_version(db, name, version)]
            contexts = {context for row in chosen for context in rows.contexts(db, row)}
        return tuple(sorted(contexts, key=lambda it: (it.dataset_id, it.data_key_id, it.purpose)))

    # --- inside -------------------------------------------------------------------------------------------------------
    def _root(self) -> bytes:
        with self._lock:
            if self._root_wrapping_key is None:
                header = self._keystore.header
                root = self._unlock(header)
                refusal = (
                    PassphraseError("this passphrase does not open the keystore")
                    if header.argon2
                    else RootKeyError(
                        "this root key does not open the keystore",
                        hint=f"Restore the root key file that belongs to {self._keystore.path}.",
                    )
                )
                root.check(keystore_id=header.id, check_value=header.check_value, refusal=refusal)
                self._root_wrapping_key = root.wrapping_key(header.id)
            return self._root_wrapping_key

    def _check_class(self, name: KeyName) -> None:
        if name.assurance not in self.assurances:
            raise AssuranceRefused(f"{name} cannot live in a local keystore")

    def _associated_data(self, name: KeyName, version: int) -> bytes:
        return encode_fields(_PRIMARY_LABEL, str(name).encode(), _VERSION.pack(version), self._keystore.header.id)

    def _insert(self, db: sqlite3.Connection, name: KeyName, version: int) -> None:
        if version > rows.MAX_VERSION:
            raise KeyError_(f"{name} has as many versions as the format allows")
        wrapped = wrap_key(
            os.urandom(DATA_KEY_BYTES),
            wrapping_key=self._root(),
            associated_data=self._associated_data(name, version),
        )
        rows.insert_version(
            db, rows.VersionRow(name, version, KeyState.ENABLED, int(self._clock()), wraps=0, wrapped=wrapped)
        )

    def _primary(self, row: rows.VersionRow) -> bytes:
        """Return the bytes of an enabled primary key version."""
        self._check_class(row.name)
        if row.state is KeyState.DISABLED:
            raise KeyDisabled(f"{row.label} is disabled")
        if row.wrapped is None:
            raise KeyDestroyed(f"{row.label} is destroyed")
        try:
            return unwrap_key(
                row.wrapped,
                wrapping_key=self._root(),
                associated_data=self._associated_data(row.name, row.number),
            )
        except WrapRefused:
            raise KeystoreDamaged(f"the keystore's entry of {row.label} does not belong there") from None

    def _open(self, db: sqlite3.Connection, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        primaries: dict[tuple[KeyName, int], bytes] = {}
        opened = []
        for record in wrapped:
            if record.mechanism != MECHANISM:
                raise WrapRefused(f"a wrapped key of {record.key} has the unknown mechanism {record.mechanism!r}")
            of = (record.key, record.version)
            if of not in primaries:
                primaries[of] = self._primary(rows.load_version(db, *of))
            secret = unwrap_key(
                record.ciphertext,
                wrapping_key=primaries[of],
                associated_data=record.context.encode(key=record.key, version=record.version),
            )
            opened.append(DataKey(context=record.context, secret=secret))
        return tuple(opened)

    def _wrap_newest(self, db: sqlite3.Connection, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        newest = rows.load_versions(db, name)[-1]
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
        rows.count_wraps(db, newest, wrapped)
        return tuple(wrapped)


def _check_batch(batch: Sequence[object]) -> None:
    if len(batch) > MAX_KEY_BATCH:
        raise KeyError_(f"a batch of {len(batch)} keys is over the limit of {MAX_KEY_BATCH}")
