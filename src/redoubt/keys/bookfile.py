"""Books in SQLite files, and which file the books of a provider are whose keys live elsewhere.

That is one file a kind of provider in the workspace, ``<kind>.sqlite``. It has the format of a keystore
(:mod:`redoubt.keys.keystore`) without a root key: its check value is the SHA-256 of its random id and the kind of
provider, so that the books of one kind are refused as those of another. Two services of one kind share the file, since
their namespaces differ and every version belongs to a namespace.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from redoubt.crypto.encoding import encode_fields
from redoubt.errors import KeystoreDamaged
from redoubt.keys.books import Books
from redoubt.keys.keystore import KEYSTORE_ID_BYTES, Keystore, KeystoreHeader
from redoubt.keys.private import sync_directory
from redoubt.keys.rows import SqliteBooks

_LABEL: Final = b"redoubt/books/v1"

T = TypeVar("T")


class KeystoreBooks:
    """A keystore file as :class:`redoubt.keys.books.BookKeeper`."""

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore

    def reading(self, work: Callable[[Books], T]) -> T:
        """Run *work* on one consistent state of the books."""
        with self._keystore.reading() as db:
            return work(SqliteBooks(db))

    def writing(self, work: Callable[[Books], T], *, repeatable: bool) -> T:
        """Run *work* as one transaction, once: a file leaves nothing open."""
        with self._keystore.writing() as db:
            return work(SqliteBooks(db))


def open_books(state: Path, kind: str) -> Keystore:
    """Return the books of provider *kind* in the workspace folder *state*; empty ones if there are none.

    Raises:
        WorkspaceError: they cannot be used, or are those of another kind.
        StorageError: the file system refuses.
    """
    path = state / f"{kind}.sqlite"
    if not os.path.lexists(path):
        _create(path, kind)
    books = Keystore(path)
    if books.header.check_value != _check_value(books.header.id, kind) or books.header.argon2 is not None:
        raise KeystoreDamaged(f"{path} are not the books of the provider {kind}")
    return books


def _create(path: Path, kind: str) -> None:
    """Let complete books appear at *path* unless another process's did."""
    building = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    identity = secrets.token_bytes(KEYSTORE_ID_BYTES)
    try:
        Keystore.create(building, KeystoreHeader(identity, _check_value(identity, kind), None))
        try:
            os.link(building, path)  # put if absent, which a rename is not
        except FileExistsError:
            return
        sync_directory(path.parent)
    finally:
        for leftover in (building, building.with_name(building.name + "-journal")):
            leftover.unlink(missing_ok=True)


def _check_value(identity: bytes, kind: str) -> bytes:
    return sha256(encode_fields(_LABEL, identity, kind.encode())).digest()
