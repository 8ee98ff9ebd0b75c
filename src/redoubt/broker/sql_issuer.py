"""Under which name the brokers on a store issue results: the one of the broker that served it first, for ever.

Results and receipts name their issuer, and each broker takes only those of its own name. Two brokers of different names
on one store would refuse each other's programs, each job's receipt would be one name short, and a development broker
would sign with the key that owners pinned for hardware.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.schema import ISSUER
from redoubt.errors import BrokerNameRefused


class SqlIssuer:
    """See :meth:`redoubt.broker.ports.BrokerStore.serve_as`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: str) -> None:
        """Return if results of this store are issued as *name*, from now on at the latest; raises BrokerNameRefused."""
        found = self._database.reading(_found)
        if found is None:
            # Of two that come first at once, one meets the other's row, and looks again.
            found = self._database.writing(lambda connection: _first(connection, name), repeatable=True)
        if found != name:
            raise BrokerNameRefused(
                f"the store belongs to brokers named {found!r}, and this one is named {name!r}",
                hint=f'Set `name = "{found}"` in broker.toml, or give the broker a store of its own.',
            )


def _first(connection: Connection, name: str) -> str:
    found = _found(connection)
    if found is None:
        connection.execute(insert(ISSUER).values(one=1, name=name))
    return name if found is None else found


def _found(connection: Connection) -> str | None:
    row = fetch_one(connection, select(ISSUER.c.name))
    return None if row is None else READER.exactly(str, row[0])
