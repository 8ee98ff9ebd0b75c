"""Resources in the store: secrets by ``repository/type/tag``, each sealed for its own row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, insert, select, update

from redoubt.broker.database import Database, fetch, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import RESOURCES
from redoubt.broker.sealing import RowSealer
from redoubt.errors import ResourceMissing, UsageError
from redoubt.limits import MAX_RESOURCE_BYTES

_TABLE: Final = "resources"


class SqlResources:
    """See :class:`redoubt.broker.ports.ResourceStore`."""

    def __init__(self, database: Database, sealer: RowSealer) -> None:
        self._database = database
        self._sealer = sealer

    def put(self, path: str, content: bytes) -> None:
        """Store or replace one; raises UsageError if it is too large."""
        if len(content) > MAX_RESOURCE_BYTES:
            raise UsageError(f"a resource has at most {MAX_RESOURCE_BYTES} bytes")

        def work(connection: Connection) -> None:
            here = RESOURCES.c.path == path
            found = fetch_one(connection, select(RESOURCES.c.version).where(here).with_for_update())
            version = 1 if found is None else READER.exactly(int, found[0]) + 1
            values = {
                "version": version,
                "sealed": self._sealer.seal(content, table=_TABLE, row=path, version=version),
            }
            if found is None:
                connection.execute(insert(RESOURCES).values(path=path, **values))
            else:
                connection.execute(update(RESOURCES).where(here).values(**values))

        self._database.writing(work, repeatable=True)

    def get(self, path: str) -> bytes:
        """Return one; raises ResourceMissing."""
        statement = select(RESOURCES.c.version, RESOURCES.c.sealed).where(RESOURCES.c.path == path)
        row = self._database.reading(lambda connection: fetch_one(connection, statement))
        if row is None:
            raise ResourceMissing(f"there is no resource {path!r}")
        version, sealed = READER.exactly(int, row[0]), READER.exactly(bytes, row[1])
        return self._sealer.open(sealed, table=_TABLE, row=path, version=version)

    def paths(self) -> Sequence[str]:
        """Return the names, sorted."""
        rows = self._database.reading(lambda connection: fetch(connection, select(RESOURCES.c.path)))
        return tuple(sorted(READER.exactly(str, path) for (path,) in rows))
