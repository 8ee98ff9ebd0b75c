"""The books of primary keys: versions and references, as one transaction of whatever keeps them sees them.

:class:`Books` is the seam between the rules of :mod:`redoubt.keys.booked` and a database: the workspace's keystore, a
broker's SQLite or PostgreSQL. An implementation runs inside a transaction, checks every row as it reads it, and
touches no key bytes beyond passing wrapped ones on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from uuid import UUID

from redoubt.errors import KeyError_, KeyUnknown, RedoubtError
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyInfo, KeyState, KeyVersionInfo
from redoubt.keys.types import Purpose, WrapContext, WrappedKey

#: Versions are four bytes wide in every authenticated context.
MAX_VERSION: Final = 2**32 - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One primary key version. ``wrapped`` is None once destroyed; ``created`` is seconds since the epoch, UTC."""

    name: KeyName
    number: int
    state: KeyState
    created: int
    wraps: int
    wrapped: bytes | None

    @property
    def label(self) -> str:
        """How errors name this version."""
        return f"{self.name} version {self.number}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A live wrap: which version made it, the SHA-256 of its ciphertext, and what it is for."""

    name: str
    version: int
    digest: bytes
    dataset_id: bytes
    data_key_id: bytes
    purpose: str

    @classmethod
    def of(cls, record: WrappedKey) -> Reference:
        """Return the reference that *record* holds."""
        context = record.context
        return cls(
            str(record.key),
            record.version,
            hashlib.sha256(record.ciphertext).digest(),
            context.dataset_id.bytes,
            context.data_key_id.bytes,
            context.purpose.value,
        )


class Books(Protocol):
    """The books within one transaction."""

    def lock(self, names: Iterable[KeyName]) -> None:
        """Keep other transactions from changing these keys until this one ends; unknown names are passed over."""

    def names(self) -> list[KeyName]:
        """Return the name of every key, in order."""

    def versions(self, name: KeyName) -> list[VersionRow]:
        """Return the versions of a key, oldest first; none if there is no such key."""

    def insert(self, row: VersionRow) -> None:
        """Add a version; KeyExists if another transaction added it meanwhile."""

    def set_state(self, row: VersionRow, state: KeyState) -> None:
        """Enable or disable a version that is not destroyed."""

    def erase(self, row: VersionRow) -> None:
        """Destroy a version: its key bytes go, its row stays."""

    def count_wraps(self, row: VersionRow, references: Sequence[Reference]) -> None:
        """Count *references*, all made by the version of *row*, and keep each."""

    def release(self, references: Sequence[Reference]) -> None:
        """Remove *references*; one that is not there is passed over."""

    def settle(self, references: Sequence[Reference]) -> None:
        """Remove the references of the same keys and contexts by older versions than those of *references*.

        Wraps by the same or a newer version may be another re-wrap's that came later: one reference too many only
        delays a destroy, one too few loses data.
        """

    def count_references(self, row: VersionRow) -> int:
        """Return how many live wraps a version has made."""

    def contexts(self, row: VersionRow) -> set[WrapContext]:
        """Return the contexts of the live wraps of a version."""


class BookKeeper(Protocol):
    """Runs work on books, each time as one transaction."""

    def reading(self, work: Callable[[Books], T]) -> T:
        """Run *work* on one consistent state of the books and return what it returns."""

    def writing(self, work: Callable[[Books], T], *, repeatable: bool) -> T:
        """Run *work* as one transaction: all of it is durable when this returns, or none if it raises.

        *work* may be run again after a lost race, so it has no effect but on the books. *repeatable* says that it may
        also be run again when it is not known whether it was done.
        """


def load_versions(books: Books, name: KeyName) -> list[VersionRow]:
    """Return the versions of a key, oldest first; KeyUnknown if there is no such key."""
    rows = books.versions(name)
    if not rows:
        raise KeyUnknown(f"there is no key {name}")
    return rows


def load_version(books: Books, name: KeyName, number: int) -> VersionRow:
    """Return one version; KeyUnknown if there is no such key or version."""
    for row in load_versions(books, name):
        if row.number == number:
            return row
    raise KeyUnknown(f"{name} has no version {number}")


def key_info(books: Books, name: KeyName) -> KeyInfo:
    """Return the public facts of a key; KeyUnknown if there is no such key."""
    return KeyInfo(
        name,
        tuple(
            KeyVersionInfo(row.number, row.state, row.created, row.wraps, books.count_references(row))
            for row in load_versions(books, name)
        ),
    )


@dataclass(frozen=True, slots=True)
class RowReader:
    """Checks what a database holds: it stores what an editor wrote, not what the schema says."""

    what: str
    refusal: type[RedoubtError]

    def exactly(self, kind: type[T], value: object) -> T:
        """Return *value*, which sound books hold as a *kind*; raises the refusal."""
        if type(value) is not kind:
            raise self.refusal(f"{self.what} holds a {type(value).__name__} where a {kind.__name__} belongs")
        return value

    def version(self, name: KeyName, row: Sequence[object]) -> VersionRow:
        """Return the version in (number, state, created, wraps, wrapped); raises the refusal."""
        number, state, created, wraps, wrapped = row
        try:
            checked_state = KeyState(self.exactly(str, state))
        except ValueError:
            raise self.refusal(f"{self.what}'s entry of {name} has an unknown state") from None
        if not 1 <= self.exactly(int, number) <= MAX_VERSION:
            raise self.refusal(f"{self.what}'s entry of {name} has an impossible version")
        return VersionRow(
            name,
            self.exactly(int, number),
            checked_state,
            self.exactly(int, created),
            self.exactly(int, wraps),
            None if wrapped is None else self.exactly(bytes, wrapped),
        )

    def name(self, text: object) -> KeyName:
        """Return the key name in *text*; raises the refusal."""
        try:
            return KeyName.parse(self.exactly(str, text))
        except KeyError_:
            raise self.refusal(f"{self.what} holds a key whose name is impossible") from None

    def context(self, row: Sequence[object]) -> WrapContext:
        """Return the context in (dataset id, data key id, purpose); raises the refusal."""
        dataset, key, purpose = row
        try:
            return WrapContext(
                UUID(bytes=self.exactly(bytes, dataset)),
                UUID(bytes=self.exactly(bytes, key)),
                Purpose(self.exactly(str, purpose)),
            )
        except ValueError:
            raise self.refusal(f"{self.what} holds an impossible reference") from None
