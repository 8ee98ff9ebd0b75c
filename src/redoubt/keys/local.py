"""The ``local`` provider: primary keys in the workspace's own keystore, wrapped under its root key.

Only keys of class dev exist here: whoever has the file has the keys, and nothing is attested (hardening H25). What a
key may do is decided in :mod:`redoubt.keys.held`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from redoubt.errors import KeystoreDamaged, PassphraseError, RootKeyError
from redoubt.keys.booked import BookedProvider
from redoubt.keys.bookfile import KeystoreBooks
from redoubt.keys.held import BookFacts
from redoubt.keys.keystore import Keystore, KeystoreHeader
from redoubt.keys.names import Assurance
from redoubt.keys.rootkey import RootKey


class LocalProvider(BookedProvider):
    """Primary keys in a local keystore; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(
        self,
        keystore: Keystore,
        *,
        unlock: Callable[[KeystoreHeader], RootKey],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use *keystore*; *unlock* is called when key bytes are first needed, so that listing asks no passphrase."""
        facts = BookFacts(
            identity=keystore.header.id,
            assurances=frozenset({Assurance.DEV}),
            place="a local keystore",
            damaged=KeystoreDamaged,
        )
        super().__init__(KeystoreBooks(keystore), facts, wrapping_key=self._root, clock=clock)
        self._keystore = keystore
        self._unlock = unlock
        self._root_wrapping_key: bytes | None = None
        self._lock = threading.Lock()

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
