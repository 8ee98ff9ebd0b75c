"""Targets: files that operators and jobs bring: configuration, backups, shares, parameters of roots, jars."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Column, LargeBinary, Text
from tests.broker.world import ALICE, public
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.agent.jars import check_class_path
from redoubt.broker.backup import Backup, parse_header, write_backup
from redoubt.broker.backup_rows import TABLES, parse_row, row_line
from redoubt.broker.config import new_config, parse_config
from redoubt.broker.database import Database
from redoubt.broker.header import read_header
from redoubt.broker.location import SqliteLocation, parse_location
from redoubt.broker.root import FileRoot, parse_argon2, parse_provider_root
from redoubt.broker.sealed_shares import create_recipient_key, open_share, parse_recipient, seal_share
from redoubt.broker.server import Address
from redoubt.broker.shares import Share, split_root
from redoubt.broker.store import SqlStore
from redoubt.errors import (
    BackupInvalid,
    BrokerConfigInvalid,
    BrokerRootKey,
    KeystoreDamaged,
    ProgramFailed,
    ProviderSettingsInvalid,
    ShareInvalid,
    StoreDamaged,
    UsageError,
)
from redoubt.keys.entries import decode_entry, encode_entry
from redoubt.keys.holder import KeyVersion
from redoubt.keys.https import Address as ServiceAddress
from redoubt.keys.names import KeyName
from redoubt.keys.rootkey import Argon2Parameters, RootKey, create_root_key_file
from redoubt.keys.types import WrapContext, WrappedKey

_ROOT = RootKey(bytes(range(32)))
_VERSION = KeyVersion(books=bytes(16), name=KeyName.parse("key:main/default.dev"), number=1)


class _Places:
    """A folder with a backup and a key for shares in it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redoubt-fuzz-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.recipient = create_recipient_key(self.folder / "recipient.pem")
        create_root_key_file(self.folder / "root.key")
        source = FileRoot(self.folder / "root.key")
        location = SqliteLocation(self.folder / "store.sqlite")
        SqlStore.create(location, source=source).close()
        database = Database(location)
        backup = self.folder / "backup"
        self.root = database.reading(read_header).unlock(source)
        write_backup(database, backup, root=self.root)
        database.close()
        self.backup = backup.read_bytes()

    def read_backup(self, data: bytes) -> object:
        path = self.folder / "changed"
        path.write_bytes(data)
        rows = list(Backup.read(path).rows(self.root))
        assert data == self.backup, "a changed backup was read"
        return rows

    def read_jar(self, data: bytes) -> None:
        path = self.folder / "changed.jar"
        path.write_bytes(data)
        check_class_path(path, [self.folder])

    def open_share(self, data: bytes) -> object:
        return open_share(data.decode(errors="replace"), self.folder / "recipient.pem")


def _config(data: bytes) -> object:
    return parse_config(data, folder=Path("/etc/redoubt"))


def _row(data: bytes) -> object:
    table, values = parse_row(data)
    return row_line(table, [values[it.name] for it in table.columns])


def _entry(data: bytes) -> object:
    return decode_entry("azure", _VERSION, data, count=2)


def _value(column: Column[Any]) -> object:
    kind = column.type
    if isinstance(kind, LargeBinary):
        return bytes(range(20))
    return "text" if isinstance(kind, Text) else True if isinstance(kind, Boolean) else 7


def _argon2() -> tuple[bytes, ...]:
    default = Argon2Parameters()
    return (
        struct.pack(f">{len(default.salt)}sIII", default.salt, default.time_cost, default.memory_kib, default.lanes),
    )


def _jar(compression: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nClass-Path: a.jar lib/\n b.jar\n")
        archive.writestr("META-INF/INDEX.LIST", "JarIndex-Version: 1.0\n\na.jar\nMETA-INF\n")
    return content.getvalue()


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode(errors="replace"))


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    places = _Places()
    share = split_root(_ROOT, threshold=2, shares=3)[0]
    sealed = seal_share(share, parse_recipient(places.recipient))
    header = Backup.read(places.folder / "backup").encoded
    rows = tuple(row_line(it, [_value(column) for column in it.columns]) for it in TABLES.values())
    wrapped = WrappedKey(WrapContext(UUID(int=1), UUID(int=1)), _VERSION.name, 1, "aes-256-gcm", bytes(60))
    config = new_config(name="broker", listen=Address("127.0.0.1", 8443), bootstrap_owners=(public(ALICE),))
    return (
        Target("broker-config", _config, (config,), (BrokerConfigInvalid,), Shape.TOML),
        Target("backup", places.read_backup, (places.backup,), (BackupInvalid, BrokerRootKey), slow=True),
        Target("backup-header", parse_header, (header,), (BackupInvalid,)),
        Target("backup-row", _row, rows, (BackupInvalid,), Shape.JSON),
        Target("share", _text(Share.parse), (share.text().encode(),), (ShareInvalid,)),
        Target("share-sealed", places.open_share, (sealed.encode(),), (ShareInvalid,), slow=True),
        Target(
            "share-recipient",
            _text(parse_recipient),
            (places.recipient.encode(),),
            (UsageError,),
        ),
        Target("root-argon2", parse_argon2, _argon2(), (StoreDamaged,)),
        Target("root-provider", parse_provider_root, (wrapped.encode(),), (StoreDamaged,)),
        Target(
            "store-location",
            _text(parse_location),
            (
                b"postgresql://redoubt@db.example:5432/redoubt?sslmode=verify-full",
                b"postgresql:///redoubt?host=/run/pg",
            ),
            (UsageError,),
        ),
        Target(
            "service-address",
            _text(ServiceAddress.parse),
            (b"https://vault.example:8200/v1/transit", b"https://a.example"),
            (ProviderSettingsInvalid,),
        ),
        Target("jar", places.read_jar, (_jar(zipfile.ZIP_STORED), _jar(zipfile.ZIP_DEFLATED)), (ProgramFailed,)),
        Target("books-entry", _entry, (encode_entry("azure", _VERSION, b"name", b"version"),), (KeystoreDamaged,)),
    )
