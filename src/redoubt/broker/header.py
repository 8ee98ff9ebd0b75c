"""The one row that says what a store is: its format, identity, class, and wrapped root key.

Decides that a store of an unknown format is refused before anything else in it is read, and that a root key is the
store's own before anything is opened with it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from redoubt.broker.database import fetch, fetch_one
from redoubt.broker.root import RootKind, RootSource, WrappedRoot
from redoubt.broker.schema import STORE, STORE_FORMAT
from redoubt.broker.sealing import StoreIdentity
from redoubt.errors import AssuranceRefused, BrokerRootKey, StoreDamaged, StoreFormat
from redoubt.keys.books import RowReader
from redoubt.keys.names import Assurance
from redoubt.keys.rootkey import RootKey

READER: Final = RowReader("the store", StoreDamaged)
_COLUMNS: Final = (
    STORE.c.id,
    STORE.c.assurance,
    STORE.c.check_value,
    STORE.c.root_kind,
    STORE.c.root_facts,
    STORE.c.root_wrapped,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHeader:
    """What the header says. Nothing in it is a secret, and nothing in it is trusted before :meth:`unlock`."""

    identity: StoreIdentity
    check_value: bytes
    root: WrappedRoot

    @classmethod
    def new(cls, root: RootKey, *, source: RootSource, identity: StoreIdentity) -> StoreHeader:
        """Return the header of a store whose *root* key is had from *source*.

        Raises:
            AssuranceRefused: the store holds keys of a better class than the source may protect.
            BrokerRootKey: the source does not wrap it.
        """
        if identity.assurance is Assurance.HARDWARE and source.assurance is not Assurance.HARDWARE:
            raise AssuranceRefused("the root key of a store for keys of class hw stays in hardware")
        wrapped = source.wrap(root, identity)
        return cls(identity=identity, check_value=root.check_value(identity.encode()), root=wrapped)

    def unlock(self, source: RootSource) -> RootKey:
        """Return the root key, checked to be this store's; raises BrokerRootKey."""
        return self.check(source.open(self.root, self.identity))

    def check(self, root: RootKey) -> RootKey:
        """Return *root* if it is this store's; raises BrokerRootKey."""
        if not hmac.compare_digest(root.check_value(self.identity.encode()), self.check_value):
            raise BrokerRootKey("this is the root key of another store")
        return root

    @property
    def assurances(self) -> frozenset[Assurance]:
        """The classes whose keys may exist in the store: dev anywhere, hw where the root key is in hardware."""
        return frozenset({Assurance.DEV, self.identity.assurance})


def read_header(connection: Connection) -> StoreHeader:
    """Return the header; raises StoreMissing, StoreFormat or StoreDamaged."""
    found = fetch_one(connection, select(STORE.c.format))
    if found is None:
        raise StoreDamaged("the store has no header")
    if found[0] != STORE_FORMAT:
        raise StoreFormat(f"the store has format {found[0]}; this version of Redoubt knows {STORE_FORMAT}")
    rows = fetch(connection, select(*_COLUMNS))
    if len(rows) != 1:
        raise StoreDamaged(f"the store has {len(rows)} headers, not one")
    return _header(rows[0])


def write_header(connection: Connection, header: StoreHeader) -> None:
    """Write the header of a new store."""
    connection.execute(insert(STORE).values(one=1, format=STORE_FORMAT, **_values(header)))


def replace_header(connection: Connection, header: StoreHeader) -> None:
    """Put *header*, of the same store, in the place of the one that is there."""
    connection.execute(update(STORE).values(**_values(header)))


def _values(header: StoreHeader) -> dict[str, object]:
    return {
        "id": header.identity.id.bytes,
        "assurance": header.identity.assurance.value,
        "check_value": header.check_value,
        "root_kind": header.root.kind.value,
        "root_facts": header.root.facts,
        "root_wrapped": header.root.wrapped,
    }


def _header(row: Sequence[Any]) -> StoreHeader:
    identity, assurance, check_value, kind, facts, wrapped = row
    try:
        return StoreHeader(
            identity=StoreIdentity(
                id=UUID(bytes=READER.exactly(bytes, identity)), assurance=Assurance(READER.exactly(str, assurance))
            ),
            check_value=READER.exactly(bytes, check_value),
            root=WrappedRoot(
                kind=RootKind(READER.exactly(str, kind)),
                facts=READER.exactly(bytes, facts),
                wrapped=READER.exactly(bytes, wrapped),
            ),
        )
    except ValueError:
        raise StoreDamaged("the store's header is impossible") from None
