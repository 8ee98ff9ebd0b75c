"""Signed manifests in the store, by version. Their signatures authenticate them; here only their order is kept."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import MANIFESTS
from redoubt.errors import ManifestChain, ManifestRollback


class SqlManifests:
    """See :class:`redoubt.broker.ports.ManifestHistory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def envelopes(self, *, start: int = 1) -> Sequence[bytes]:
        """Return those from version *start* on, oldest first; raises ManifestChain if one is missing."""
        wanted = select(MANIFESTS.c.version, MANIFESTS.c.envelope).where(MANIFESTS.c.version >= start)
        statement = wanted.order_by(MANIFESTS.c.version)
        rows = self._database.reading(lambda connection: fetch(connection, statement))
        for place, (version, _) in enumerate(rows, start=start):
            if version != place:
                raise ManifestChain(f"version {place} is missing from the store")
        return tuple(READER.exactly(bytes, envelope) for _, envelope in rows)

    def append(self, version: int, envelope: bytes) -> None:
        """Add the next one.

        Raises:
            ManifestRollback: that version, or a later one, is there already.
            ManifestChain: one before it is not.
        """

        def work(connection: Connection) -> None:
            (newest,) = fetch_one(connection, select(func.max(MANIFESTS.c.version))) or (None,)
            expected = 1 if newest is None else READER.exactly(int, newest) + 1
            if version > expected:
                raise ManifestChain(f"version {version} leaves out version {expected}")
            if version < expected:
                raise ManifestRollback(f"version {version} was set meanwhile; the next is {expected}")
            try:
                connection.execute(insert(MANIFESTS).values(version=version, envelope=envelope))
            except IntegrityError:
                raise ManifestRollback(f"another broker set version {version} meanwhile") from None

        self._database.writing(work)
