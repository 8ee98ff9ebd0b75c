"""The broker's store on SQLite or PostgreSQL: :class:`redoubt.broker.ports.BrokerStore`.

A store is made once (:meth:`SqlStore.create`) and opened by as many brokers as there are (one on SQLite). Making it is
one transaction on PostgreSQL, and one rename on SQLite: it is there as a whole or not at all.
"""

from __future__ import annotations

import os
from typing import Final, Self
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import Connection, insert, select

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER, StoreHeader, read_header, replace_header, write_header
from redoubt.broker.location import StoreLocation
from redoubt.broker.making import complete_store, make_store
from redoubt.broker.root import RootSource
from redoubt.broker.schema import SECRETS, STORE
from redoubt.broker.sealing import RowSealer, StoreIdentity
from redoubt.broker.sql_audit import SqlAudit, start_log
from redoubt.broker.sql_created import SqlCreated
from redoubt.broker.sql_issuer import SqlIssuer
from redoubt.broker.sql_keys import StoredProvider
from redoubt.broker.sql_manifests import SqlManifests
from redoubt.broker.sql_receipts import SqlReceipts
from redoubt.broker.sql_refusals import SqlRefusals
from redoubt.broker.sql_register import SqlRegister
from redoubt.broker.sql_resources import SqlResources
from redoubt.broker.sql_sessions import SqlSessions
from redoubt.errors import StoreDamaged
from redoubt.keys.rootkey import RootKey
from redoubt.limits import DATA_KEY_BYTES

_SIGNING_KEY: Final = "signing-key"


class SqlStore:
    """An open store. Safe for several threads; several brokers may have it open at once on PostgreSQL."""

    def __init__(self, database: Database, header: StoreHeader, root: RootKey) -> None:
        """Use :meth:`create` or :meth:`open`."""
        sealer = RowSealer(root=root, identity=header.identity)
        self._database = database
        self.identity = header.identity
        self.sessions = SqlSessions(database)
        self.manifests = SqlManifests(database)
        self.resources = SqlResources(database, sealer)
        self.audit = SqlAudit(database)
        self.register = SqlRegister(database)
        self.created = SqlCreated(database)
        self.refusals = SqlRefusals(database)
        self.receipts = SqlReceipts(database)
        self.provider = StoredProvider(database, header, root)
        self.signing_key = database.reading(lambda connection: _signing_key(connection, sealer))

    @classmethod
    def create(cls, location: StoreLocation, *, source: RootSource) -> Self:
        """Make an empty store under a new root key from *source*, and open it.

        The class of *source* is the store's for ever: one that is not in hardware holds no keys of class hw.

        Raises:
            StoreExists: there is one already; it is not touched.
            BrokerRootKey: the source does not wrap a root key.
            StorageError: the database refuses.
        """
        root = RootKey(os.urandom(DATA_KEY_BYTES))
        identity = StoreIdentity(id=uuid4(), assurance=source.assurance)
        header = StoreHeader.new(root, source=source, identity=identity)

        def fill(connection: Connection) -> None:
            write_header(connection, header)
            start_log(connection)
            _make_signing_key(connection, RowSealer(root=root, identity=identity))

        make_store(location, fill)
        return cls(Database(location), header, root)

    @classmethod
    def open(cls, location: StoreLocation, *, source: RootSource) -> Self:
        """Open a store with the root key that *source* gives.

        Raises:
            StoreMissing, StoreFormat, StoreDamaged: there is none, or none that this version can read.
            BrokerRootKey: the root key cannot be had, or is another store's.
            StorageError: the database does not answer.
        """
        database = Database(location)
        try:
            header = database.reading(read_header)
            root = header.unlock(source)
            complete_store(database)
            return cls(database, header, root)
        except BaseException:
            database.close()
            raise

    def serve_as(self, issuer: str) -> None:
        """Remember the name under which results are issued; raises BrokerNameRefused if it is another one."""
        SqlIssuer(self._database).claim(issuer)

    def check(self) -> None:
        """Check that the store answers; raises StorageError."""
        self._database.reading(lambda connection: fetch_one(connection, select(STORE.c.format)))

    def close(self) -> None:
        """Let go of connections."""
        self._database.close()


def exchange_root_source(location: StoreLocation, *, root: RootKey, source: RootSource) -> None:
    """Wrap the *root* key of a store under another *source* from now on; the old one opens it no more.

    Raises:
        BrokerRootKey: *root* is another store's, or the source does not wrap it.
        AssuranceRefused: the store holds keys of a better class than the source may protect.
        StoreMissing, StoreFormat, StoreDamaged, StorageError: the store cannot be used.
    """
    database = Database(location)
    try:
        header = database.reading(read_header)
        header.check(root)
        new = StoreHeader.new(root, source=source, identity=header.identity)
        database.writing(lambda connection: replace_header(connection, new), repeatable=True)
    finally:
        database.close()


def _make_signing_key(connection: Connection, sealer: RowSealer) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    content = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = sealer.seal(content, table=SECRETS.name, row=_SIGNING_KEY, version=1)
    connection.execute(insert(SECRETS).values(name=_SIGNING_KEY, version=1, sealed=sealed))


def _signing_key(connection: Connection, sealer: RowSealer) -> ec.EllipticCurvePrivateKey:
    row = fetch_one(connection, select(SECRETS.c.version, SECRETS.c.sealed).where(SECRETS.c.name == _SIGNING_KEY))
    if row is None:
        raise StoreDamaged("the store has no signing key")
    version, sealed = READER.exactly(int, row[0]), READER.exactly(bytes, row[1])
    key = load_der_private_key(
        sealer.open(sealed, table=SECRETS.name, row=_SIGNING_KEY, version=version), password=None
    )
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreDamaged("the store's signing key is of another kind")
    return key
