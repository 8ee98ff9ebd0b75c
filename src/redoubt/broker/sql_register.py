"""The register of head commits in the store (hardening H24): compare and swap, one dataset a row.

What was registered and the audit log's row of it are one transaction: a receipt has every commit of its job, and a
broker that dies in between leaves neither.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.ports import AuditRow, RegisteredHead
from redoubt.broker.schema import REGISTER
from redoubt.broker.sql_audit import append_row
from redoubt.errors import RegisterConflict, RegisterRollback


class SqlRegister:
    """See :class:`redoubt.broker.ports.CommitRegister`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, dataset_id: UUID) -> RegisteredHead | None:
        """Return the registered head."""
        return self._database.reading(lambda connection: _head(connection, dataset_id, lock=False))

    def advance(
        self, dataset_id: UUID, *, previous: RegisteredHead | None, head: RegisteredHead, row: AuditRow
    ) -> None:
        """Compare and swap, and write *row*: both or neither.

        Raises:
            JobClosed: the row is about a job that was closed.
            RegisterConflict: the head is not *previous* (None: not registered yet).
            RegisterRollback: *head* does not come after *previous*.
        """
        if previous is not None and head.number <= previous.number:
            raise RegisterRollback(f"commit {head.number} does not come after the registered {previous.number}")

        def work(connection: Connection) -> None:
            append_row(connection, row)  # first: it locks the log, which whoever closes a job waits for
            if _head(connection, dataset_id, lock=True) != previous:
                raise RegisterConflict("the dataset's registered head is another one")
            values = {"number": head.number, "digest": head.digest}
            if previous is not None:
                connection.execute(update(REGISTER).where(REGISTER.c.dataset_id == dataset_id.bytes).values(**values))
                return
            try:
                connection.execute(insert(REGISTER).values(dataset_id=dataset_id.bytes, **values))
            except IntegrityError:
                raise RegisterConflict("another broker registered the dataset meanwhile") from None

        self._database.writing(work)


def _head(connection: Connection, dataset_id: UUID, *, lock: bool) -> RegisteredHead | None:
    statement = select(REGISTER.c.number, REGISTER.c.digest).where(REGISTER.c.dataset_id == dataset_id.bytes)
    row = fetch_one(connection, statement.with_for_update() if lock else statement)
    if row is None:
        return None
    return RegisteredHead(number=READER.exactly(int, row[0]), digest=READER.exactly(str, row[1]))
