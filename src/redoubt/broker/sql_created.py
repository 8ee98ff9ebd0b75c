"""Datasets that programs made, in the store: which they belong to, and which data keys are theirs."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import CREATED, CREATED_KEYS, REGISTER
from redoubt.errors import DatasetTaken


class SqlCreated:
    """See :class:`redoubt.broker.ports.CreatedDatasets`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def parent(self, dataset_id: UUID) -> UUID | None:
        """Return the dataset that a created one belongs to."""
        return self._database.reading(lambda connection: _parent(connection, dataset_id))

    def add(self, dataset_id: UUID, *, parent: UUID, data_key_id: UUID, check_value: bytes, appends: bool) -> None:
        """Note a data key, and with the first one the dataset; raises DatasetTaken."""

        def work(connection: Connection) -> None:
            found = _parent(connection, dataset_id)
            here = dataset_id.bytes
            registered = select(REGISTER.c.number).where(REGISTER.c.dataset_id == here)
            # Whether it was there when the grant was looked for, another program may have decided since.
            theirs = found is not None and (found != parent or not appends)
            if theirs or (found is None and fetch_one(connection, registered) is not None):
                raise DatasetTaken(f"the dataset {dataset_id} exists already, and belongs to others")
            try:
                if found is None:
                    connection.execute(insert(CREATED).values(dataset_id=here, parent_id=parent.bytes))
                row = {"dataset_id": here, "data_key_id": data_key_id.bytes, "check_value": check_value}
                connection.execute(insert(CREATED_KEYS).values(**row))
            except IntegrityError:
                raise DatasetTaken(
                    f"the dataset {dataset_id}, or its data key {data_key_id}, was made already"
                ) from None

        self._database.writing(work)

    def check_value(self, dataset_id: UUID, data_key_id: UUID) -> bytes | None:
        """Return what was noted with a data key."""
        here = (CREATED_KEYS.c.dataset_id == dataset_id.bytes) & (CREATED_KEYS.c.data_key_id == data_key_id.bytes)
        statement = select(CREATED_KEYS.c.check_value).where(here)
        row = self._database.reading(lambda connection: fetch_one(connection, statement))
        return None if row is None else READER.exactly(bytes, row[0])


def _parent(connection: Connection, dataset_id: UUID) -> UUID | None:
    row = fetch_one(connection, select(CREATED.c.parent_id).where(CREATED.c.dataset_id == dataset_id.bytes))
    return None if row is None else UUID(bytes=READER.exactly(bytes, row[0]))
