"""Receipts in the store: one a job, written once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.ports import ClosedJob
from redoubt.broker.schema import RECEIPTS, from_microseconds, to_microseconds
from redoubt.broker.sql_audit import lock_log
from redoubt.errors import ReceiptMissing, UsageError
from redoubt.limits import MAX_RECEIPT_BYTES


class SqlReceipts:
    """See :class:`redoubt.broker.ports.ReceiptStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self, job: str, *, reported: str, at: datetime) -> ClosedJob:
        """Close a job, or return how it was closed before."""

        def work(connection: Connection) -> ClosedJob:
            lock_log(connection)  # what is given meanwhile is given before, and stands in the receipt, or refused
            found = _closed(connection, job)
            if found is None:
                values = {"job": job, "reported": reported, "at": to_microseconds(at), "receipt": None}
                connection.execute(insert(RECEIPTS).values(**values))
                found = ClosedJob(reported=reported, receipt=None)
            return found

        # Of two that close it at once, one meets the other's row and looks again.
        return self._database.writing(work, repeatable=True)

    def fill(self, job: str, receipt: bytes) -> bytes:
        """Keep the receipt of a closed job, unless it has one; return the one that is kept.

        Raises:
            ReceiptMissing: the job was not closed.
            UsageError: the receipt is too large.
        """
        if len(receipt) > MAX_RECEIPT_BYTES:
            raise UsageError(f"a receipt has at most {MAX_RECEIPT_BYTES} bytes")

        def work(connection: Connection) -> bytes | None:
            empty = (RECEIPTS.c.job == job) & RECEIPTS.c.receipt.is_(None)
            connection.execute(update(RECEIPTS).where(empty).values(receipt=receipt))
            found = _closed(connection, job)
            return None if found is None else found.receipt

        return _there(self._database.writing(work, repeatable=True))

    def get(self, job: str) -> bytes:
        """Return the receipt of a job; raises ReceiptMissing."""
        found = self._database.reading(lambda connection: _closed(connection, job))
        return _there(None if found is None else found.receipt)

    def closed_at(self, job: str) -> datetime | None:
        """Return when a job asked for its receipt, None if it did not."""
        statement = select(RECEIPTS.c.at).where(RECEIPTS.c.job == job)
        row = self._database.reading(lambda connection: fetch_one(connection, statement))
        return None if row is None else from_microseconds(READER.exactly(int, row[0]))

    def is_closed(self, job: str) -> bool:
        """Return whether a job asked for its receipt."""
        return self.closed_at(job) is not None


def _closed(connection: Connection, job: str) -> ClosedJob | None:
    row = fetch_one(connection, select(RECEIPTS.c.reported, RECEIPTS.c.receipt).where(RECEIPTS.c.job == job))
    if row is None:
        return None
    receipt = None if row[1] is None else READER.exactly(bytes, row[1])
    return ClosedJob(reported=READER.exactly(str, row[0]), receipt=receipt)


def _there(receipt: bytes | None) -> bytes:
    if receipt is None:
        raise ReceiptMissing("there is no receipt of this job")
    return receipt
