"""The register of head commits in the store (hardening H6, H24): compare and swap, one dataset a row."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.ports import RegisteredHead
from redoubt.broker.schema import ANNOUNCED, REGISTER, to_microseconds
from redoubt.errors import RegisterConflict, RegisterRollback
from redoubt.limits import MAX_ANNOUNCED_HEADS


class SqlRegister:
    """See :class:`redoubt.broker.ports.CommitRegister`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, dataset_id: UUID) -> RegisteredHead | None:
        """Return the registered head."""
        return self._database.reading(lambda connection: _head(connection, dataset_id, lock=False))

    def advance(self, dataset_id: UUID, *, previous: RegisteredHead | None, head: RegisteredHead) -> None:
        """Compare and swap.

        Raises:
            RegisterConflict: the head is not *previous* (None: not registered yet).
            RegisterRollback: *head* does not come after *previous*.
        """
        if previous is not None and head.number <= previous.number:
            raise RegisterRollback(f"commit {head.number} does not come after the registered {previous.number}")

        def work(connection: Connection) -> None:
            if _head(connection, dataset_id, lock=True) != previous:
                raise RegisterConflict("the dataset's registered head is another one")
            values = {"number": head.number, "digest": head.digest}
            connection.execute(delete(ANNOUNCED).where(_of(dataset_id), ANNOUNCED.c.number <= head.number))
            if previous is not None:
                connection.execute(update(REGISTER).where(REGISTER.c.dataset_id == dataset_id.bytes).values(**values))
                return
            try:
                connection.execute(insert(REGISTER).values(dataset_id=dataset_id.bytes, **values))
            except IntegrityError:
                raise RegisterConflict("another broker registered the dataset meanwhile") from None

        self._database.writing(work)

    def put(self, dataset_id: UUID, head: RegisteredHead) -> None:
        """Register *head*, whatever was registered or announced: an owner's word."""

        def work(connection: Connection) -> None:
            _head(connection, dataset_id, lock=True)
            connection.execute(delete(ANNOUNCED).where(_of(dataset_id)))
            connection.execute(delete(REGISTER).where(REGISTER.c.dataset_id == dataset_id.bytes))
            values = {"number": head.number, "digest": head.digest}
            connection.execute(insert(REGISTER).values(dataset_id=dataset_id.bytes, **values))

        self._database.writing(work, repeatable=True)

    def announced(self, dataset_id: UUID) -> frozenset[RegisteredHead]:
        """Return the announced commits after the registered one."""
        statement = select(ANNOUNCED.c.number, ANNOUNCED.c.digest).where(_of(dataset_id))
        rows = self._database.reading(lambda connection: fetch(connection, statement))
        return frozenset(
            RegisteredHead(number=READER.exactly(int, it[0]), digest=READER.exactly(str, it[1])) for it in rows
        )

    def announce(self, dataset_id: UUID, head: RegisteredHead, *, at: datetime) -> None:
        """Add a commit to them.

        Raises:
            RegisterConflict: it does not come after the registered one.
        """
        key = {"dataset_id": dataset_id.bytes, "number": head.number, "digest": head.digest}

        def work(connection: Connection) -> None:
            known = _head(connection, dataset_id, lock=True)
            if known is not None and head.number <= known.number:
                raise RegisterConflict(f"commit {known.number} is registered already")
            here = fetch(
                connection,
                select(ANNOUNCED.c.number, ANNOUNCED.c.digest).where(_of(dataset_id)).order_by(ANNOUNCED.c.at),
            )
            if (head.number, head.digest) in {(it[0], it[1]) for it in here}:
                return
            for number, digest in here[: max(0, len(here) + 1 - MAX_ANNOUNCED_HEADS)]:
                row = (ANNOUNCED.c.number == number, ANNOUNCED.c.digest == digest)
                connection.execute(delete(ANNOUNCED).where(_of(dataset_id), *row))
            connection.execute(insert(ANNOUNCED).values(**key, at=to_microseconds(at)))

        self._database.writing(work, repeatable=True)


def _of(dataset_id: UUID) -> ColumnElement[bool]:
    return ANNOUNCED.c.dataset_id == dataset_id.bytes


def _head(connection: Connection, dataset_id: UUID, *, lock: bool) -> RegisteredHead | None:
    statement = select(REGISTER.c.number, REGISTER.c.digest).where(REGISTER.c.dataset_id == dataset_id.bytes)
    row = fetch_one(connection, statement.with_for_update() if lock else statement)
    if row is None:
        return None
    return RegisteredHead(number=READER.exactly(int, row[0]), digest=READER.exactly(str, row[1]))
