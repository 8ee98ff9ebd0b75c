"""Records of refusals in the store, for the owners: the newest MAX_KEPT_REFUSALS of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import REFUSALS, to_microseconds
from redoubt.errors import RefusalMissing, UsageError
from redoubt.limits import MAX_KEPT_REFUSALS, MAX_REFUSAL_BYTES


class SqlRefusals:
    """See :class:`redoubt.broker.ports.RefusalStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, refusal_id: UUID, record: bytes, *, at: datetime) -> None:
        """Keep one; the oldest beyond the bound are dropped. Raises UsageError if it is too large."""
        if len(record) > MAX_REFUSAL_BYTES:
            raise UsageError(f"a refusal has at most {MAX_REFUSAL_BYTES} bytes")

        def work(connection: Connection) -> None:
            statement = insert(REFUSALS).values(id=refusal_id.bytes, at=to_microseconds(at), record=record)
            (number,) = connection.execute(statement).inserted_primary_key or (0,)
            # PostgreSQL leaves numbers out when a transaction fails, so that a few less may be kept.
            connection.execute(delete(REFUSALS).where(REFUSALS.c.number <= number - MAX_KEPT_REFUSALS))

        self._database.writing(work)

    def get(self, refusal_id: UUID) -> bytes:
        """Return one; raises RefusalMissing."""
        statement = select(REFUSALS.c.record).where(REFUSALS.c.id == refusal_id.bytes)
        row = self._database.reading(lambda connection: fetch_one(connection, statement))
        if row is None:
            raise RefusalMissing("there is no record of this refusal")
        return READER.exactly(bytes, row[0])
