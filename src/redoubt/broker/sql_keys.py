"""The broker's own primary keys: the rules of :mod:`redoubt.keys.held` over the store's tables.

Writers of one key wait for each other: they lock its row in ``keys`` first, then read what the one before left. So two
brokers never make the same version, never lose a count, and never destroy what the other just referenced. Names are
locked in order, so that two batches cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Final, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch, fetch_one
from redoubt.broker.header import READER, StoreHeader
from redoubt.broker.schema import KEYS, VERSIONS, WRAPS
from redoubt.errors import KeyExists, StoreDamaged
from redoubt.keys.booked import BookedProvider
from redoubt.keys.books import Books, Reference, VersionRow
from redoubt.keys.held import BookFacts
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyState
from redoubt.keys.rootkey import RootKey
from redoubt.keys.types import WrapContext

T = TypeVar("T")

_VERSION_COLUMNS: Final = (
    VERSIONS.c.version,
    VERSIONS.c.state,
    VERSIONS.c.created,
    VERSIONS.c.wraps,
    VERSIONS.c.wrapped,
)
_IDENTIFYING: Final = ("name", "version", "digest", "dataset_id", "data_key_id", "purpose")


class StoredProvider(BookedProvider):
    """Primary keys in a broker's store; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(self, database: Database, header: StoreHeader, root: RootKey) -> None:
        identity = header.identity.encode()
        facts = BookFacts(
            identity=identity, assurances=header.assurances, place="this broker's store", damaged=StoreDamaged
        )
        wrapping_key = root.wrapping_key(identity)
        super().__init__(_StoreBooks(database), facts, wrapping_key=lambda: wrapping_key)


class _StoreBooks:
    """The store as :class:`redoubt.keys.books.BookKeeper`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reading(self, work: Callable[[Books], T]) -> T:
        return self._database.reading(lambda connection: work(SqlBooks(connection)))

    def writing(self, work: Callable[[Books], T], *, repeatable: bool) -> T:
        return self._database.writing(lambda connection: work(SqlBooks(connection)), repeatable=repeatable)


class SqlBooks:
    """See :class:`redoubt.keys.books.Books`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, names: Iterable[KeyName]) -> None:
        """Keep other transactions from changing these keys until this one ends; unknown names are passed over."""
        wanted = sorted(map(str, names))
        fetch(
            self._connection,
            select(KEYS.c.name).where(KEYS.c.name.in_(wanted)).order_by(KEYS.c.name).with_for_update(),
        )

    def names(self) -> list[KeyName]:
        """Return the name of every key, in order."""
        return sorted(READER.name(text) for (text,) in fetch(self._connection, select(KEYS.c.name)))

    def versions(self, name: KeyName) -> list[VersionRow]:
        """Return the versions of a key, oldest first; none if there is no such key."""
        statement = select(*_VERSION_COLUMNS).where(VERSIONS.c.name == str(name)).order_by(VERSIONS.c.version)
        return [READER.version(name, row) for row in fetch(self._connection, statement)]

    def insert(self, row: VersionRow) -> None:
        """Add a version; raises KeyExists if another broker added it meanwhile."""
        try:
            if row.number == 1:
                self._connection.execute(insert(KEYS).values(name=str(row.name)))
            self._connection.execute(
                insert(VERSIONS).values(
                    name=str(row.name),
                    version=row.number,
                    state=row.state.value,
                    created=row.created,
                    wraps=row.wraps,
                    wrapped=row.wrapped,
                )
            )
        except IntegrityError:
            raise KeyExists(f"{row.label} exists already") from None

    def set_state(self, row: VersionRow, state: KeyState) -> None:
        """Enable or disable a version that is not destroyed."""
        self._update(row, state=state.value)

    def erase(self, row: VersionRow) -> None:
        """Destroy a version: its key bytes go, its row stays."""
        self._update(row, state=KeyState.DESTROYED.value, wrapped=None)

    def count_wraps(self, row: VersionRow, references: Sequence[Reference]) -> None:
        """Count *references*, all made by the version of *row*, and keep each."""
        self._update(row, wraps=VERSIONS.c.wraps + len(references))
        if references:
            self._connection.execute(insert(WRAPS), [asdict(it) for it in references])

    def release(self, references: Sequence[Reference]) -> None:
        """Remove *references*; one that is not there is passed over."""
        matches = [WRAPS.c[column] == bindparam(f"the_{column}") for column in _IDENTIFYING]
        self._delete(delete(WRAPS).where(*matches), references, _IDENTIFYING)

    def settle(self, references: Sequence[Reference]) -> None:
        """Remove the references of the same keys and contexts by older versions than those of *references*."""
        columns = [column for column in _IDENTIFYING if column != "digest"]
        matches = [
            (WRAPS.c[column] < bindparam("the_version"))
            if column == "version"
            else (WRAPS.c[column] == bindparam(f"the_{column}"))
            for column in columns
        ]
        self._delete(delete(WRAPS).where(*matches), references, columns)

    def count_references(self, row: VersionRow) -> int:
        """Return how many live wraps a version has made."""
        statement = select(func.count()).select_from(WRAPS)
        found = fetch_one(
            self._connection, statement.where(WRAPS.c.name == str(row.name), WRAPS.c.version == row.number)
        )
        return READER.exactly(int, found[0] if found else None)

    def contexts(self, row: VersionRow) -> set[WrapContext]:
        """Return the contexts of the live wraps of a version."""
        statement = select(WRAPS.c.dataset_id, WRAPS.c.data_key_id, WRAPS.c.purpose).distinct()
        found = fetch(self._connection, statement.where(WRAPS.c.name == str(row.name), WRAPS.c.version == row.number))
        return {READER.context(it) for it in found}

    def _update(self, row: VersionRow, **values: object) -> None:
        here = (VERSIONS.c.name == str(row.name), VERSIONS.c.version == row.number)
        self._connection.execute(update(VERSIONS).where(*here).values(**values))

    def _delete(self, statement: object, references: Sequence[Reference], columns: Sequence[str]) -> None:
        if references:
            ordered = sorted(references, key=lambda it: (it.name, it.version, it.digest))
            values = [{f"the_{column}": getattr(it, column) for column in columns} for it in ordered]
            self._connection.execute(statement, values)  # type: ignore[call-overload]
