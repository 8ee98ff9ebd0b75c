"""Secrets in rows: content encrypted under the root key, for one row of one table in one version.

The cipher is that of sealed files (:mod:`redoubt.crypto.chunked`), with a fresh salt each time, so that the number of
secrets has no bound. The context names store, table, row and version: content that was copied to another row, or an
older version under a newer number, does not open. A whole row put back as it once was does open: that is for the audit
log to find.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redoubt.crypto import chunked
from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.wrap import subkey
from redoubt.errors import SealedError, StoreDamaged
from redoubt.keys.names import Assurance
from redoubt.keys.rootkey import RootKey

_IDENTITY_LABEL: Final = b"redoubt/broker-store/v1"
_ROW_LABEL: Final = "redoubt/broker-row/v1"
_VERSION: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIdentity:
    """Which store this is, and of which class its keys may be (hardening H25): fixed when it is made.

    Every key that is derived from the root key depends on both, so that an edited class opens nothing.
    """

    id: UUID
    assurance: Assurance

    def encode(self) -> bytes:
        """Return the one encoding that keys are derived for."""
        return encode_fields(_IDENTITY_LABEL, self.id.bytes, self.assurance.encode())


class RowSealer:
    """Seals and opens the secrets of one store. It prints without its key."""

    __slots__ = ("_identity", "_key")

    def __init__(self, *, root: RootKey, identity: StoreIdentity) -> None:
        self._identity = identity.encode()
        self._key = subkey(root.wrapping_key(self._identity), label=_ROW_LABEL)

    def seal(self, content: bytes, *, table: str, row: str, version: int) -> bytes:
        """Return *content* sealed for version *version* of this row."""
        return chunked.encrypt(content, data_key=self._key, context=self._context(table, row, version))

    def open(self, sealed: bytes, *, table: str, row: str, version: int) -> bytes:
        """Return the content of a row; raises StoreDamaged if it was not made for this row and version."""
        try:
            return chunked.decrypt(sealed, data_key=self._key, context=self._context(table, row, version))
        except SealedError:
            raise StoreDamaged(f"what {table!r} holds of {row!r} does not belong there") from None

    def _context(self, table: str, row: str, version: int) -> bytes:
        return encode_fields(_ROW_LABEL.encode(), self._identity, table.encode(), row.encode(), _VERSION.pack(version))
