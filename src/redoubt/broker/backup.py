"""A backup: one sealed file with every row of a store but its attestation sessions.

Format 1 (``docs/operations.md``, "Backup format"): ``redoubt-backup-1\\n``, the length of the header (u32, big endian),
the header, the body. The header is a field list: store id, class, check value, and kind, facts and wrapped root key as
the store's own header has them. The body is sealed like that of a sealed file (:mod:`redoubt.crypto.chunked`) under a
subkey of the root key, with the whole header as its context; its plaintext are the rows, one a line
(:mod:`redoubt.broker.backup_rows`).

Sessions are left out: a challenge that was answered once must not come back. A restored store is the store as it was
then; whoever remembers a later head of its audit log will be told so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from sqlalchemy import Connection, Table, func, insert, select, text

from redoubt.broker.backup_rows import TABLES, parse_row, row_line
from redoubt.broker.database import Database, stream
from redoubt.broker.header import StoreHeader, read_header, write_header
from redoubt.broker.location import PostgresLocation, StoreLocation
from redoubt.broker.making import make_store
from redoubt.broker.root import RootKind, RootSource, WrappedRoot
from redoubt.broker.schema import REFUSALS
from redoubt.broker.sealing import StoreIdentity
from redoubt.crypto.chunked import BodyDecryptor, BodyEncryptor
from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.crypto.wrap import subkey
from redoubt.errors import BackupInvalid, HeaderInvalid, NotFound, SealedError, StorageError
from redoubt.keys.names import Assurance
from redoubt.keys.rootkey import RootKey
from redoubt.limits import MAX_BACKUP_HEADER_BYTES, MAX_BACKUP_LINE_BYTES
from redoubt.sealed.local import AtomicFile

_MAGIC: Final = b"redoubt-backup-1\n"
_KEY_LABEL: Final = "redoubt/broker-backup/v1"
_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 256 * 1024
_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Backup:
    """The header of a backup file, before anything in it is trusted."""

    path: Path
    header: StoreHeader
    encoded: bytes

    @classmethod
    def read(cls, path: Path) -> Backup:
        """Return the header of the backup in *path*; raises NotFound, StorageError or BackupInvalid."""
        with _opened(path) as file:
            return cls(path, *_read_header(file))

    def rows(self, root: RootKey) -> Iterator[tuple[Table, dict[str, object]]]:
        """Yield every row, each authenticated before it comes out; the end is checked last.

        Raises:
            BrokerRootKey: *root* is not the key of the store that was backed up.
            BackupInvalid: the file was changed or cut short.
        """
        self.header.check(root)
        with _opened(self.path) as file:
            if _read_header(file)[1] != self.encoded:
                raise BackupInvalid(f"{self.path} changed while it was read")
            for line in _lines(_plaintext(file, root, self)):
                yield parse_row(line)


def write_backup(database: Database, path: Path, *, root: RootKey) -> int:
    """Write one consistent state of the store to the new file *path* and return its number of rows.

    Brokers go on meanwhile.

    Raises:
        BrokerRootKey: *root* is another store's.
        AlreadyExists, StorageError: the file is there, or cannot be written; or the database does not answer.
    """
    # A lost connection begins the file again: a backup is one state.
    return database.reading(lambda connection: _write(connection, path, root))


def restore_store(location: StoreLocation, backup: Backup, *, root: RootKey, source: RootSource | None) -> int:
    """Make the store that *backup* holds at *location*, and return its number of rows.

    The root key is wrapped under *source*, or stays as it was (None).

    Raises:
        StoreExists: there is a store already; it is not touched.
        BrokerRootKey: *root* is not the key of the store that was backed up.
        AssuranceRefused: the store holds keys of a better class than *source* may protect.
        BackupInvalid: the file was changed or cut short; nothing was made.
    """
    header = backup.header
    header.check(root)
    if source is not None:
        header = StoreHeader.new(root, source=source, identity=header.identity)
    restored = 0

    def fill(connection: Connection) -> None:
        nonlocal restored
        restored = 0
        write_header(connection, header)
        waiting: list[dict[str, object]] = []
        current: Table | None = None
        for table, row in backup.rows(root):
            if current is not None and (table is not current or len(waiting) == _ROWS_AT_ONCE):
                connection.execute(insert(current), waiting)
                waiting = []
            current = table
            waiting.append(row)
            restored += 1
        if current is not None:
            connection.execute(insert(current), waiting)
        if isinstance(location, PostgresLocation):
            _continue_numbers(connection)

    make_store(location, fill)
    return restored


def _write(connection: Connection, path: Path, root: RootKey) -> int:
    header = read_header(connection)
    header.check(root)
    encoded = _encode(header)
    file = AtomicFile(path, replace=False, mode=0o600)
    try:
        file.write(_MAGIC + _LENGTH.pack(len(encoded)) + encoded)
        encryptor = BodyEncryptor(data_key=_key(root, header), context=encoded)
        rows = 0
        for table in TABLES.values():
            ordered = select(table).order_by(*table.primary_key.columns)
            for row in stream(connection, ordered, rows_at_once=_ROWS_AT_ONCE):
                file.write(encryptor.update(row_line(table, row)))
                rows += 1
        file.write(encryptor.finalize())
    except BaseException:
        file.abort()
        raise
    file.finish()
    return rows


def _encode(header: StoreHeader) -> bytes:
    return encode_fields(
        header.identity.id.bytes,
        header.identity.assurance.encode(),
        header.check_value,
        header.root.kind.encode(),
        header.root.facts,
        header.root.wrapped,
    )


def parse_header(encoded: bytes) -> StoreHeader:
    """Return what the header of a backup says; raises BackupInvalid."""
    try:
        identity, assurance, check_value, kind, facts, wrapped = decode_fields(
            encoded, count=6, what="the header of the backup"
        )
        return StoreHeader(
            identity=StoreIdentity(id=UUID(bytes=identity), assurance=Assurance(assurance.decode("ascii"))),
            check_value=check_value,
            root=WrappedRoot(kind=RootKind(kind.decode("ascii")), facts=facts, wrapped=wrapped),
        )
    except (HeaderInvalid, ValueError):
        raise BackupInvalid("the header of the backup is malformed") from None


def _read_header(file: BinaryIO) -> tuple[StoreHeader, bytes]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise BackupInvalid("this is no backup, or one of a format that this version does not know")
    length = file.read(_LENGTH.size)
    if len(length) != _LENGTH.size or _LENGTH.unpack(length)[0] > MAX_BACKUP_HEADER_BYTES:
        raise BackupInvalid("the header of the backup has an impossible length")
    encoded = file.read(_LENGTH.unpack(length)[0])
    return parse_header(encoded), encoded


def _plaintext(file: BinaryIO, root: RootKey, backup: Backup) -> Iterator[bytes]:
    decryptor = BodyDecryptor(data_key=_key(root, backup.header), context=backup.encoded)
    try:
        while data := file.read(_READ_BYTES):
            yield bytes(decryptor.update(data))
        yield decryptor.finalize()
    except SealedError as error:
        raise BackupInvalid(f"the backup is not whole: {error.what}") from None


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > MAX_BACKUP_LINE_BYTES:
            raise BackupInvalid("a row of the backup is too long")
    if rest:
        raise BackupInvalid("the last row of the backup has no end")


def _key(root: RootKey, header: StoreHeader) -> bytes:
    return subkey(root.wrapping_key(header.identity.encode()), label=_KEY_LABEL)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def _continue_numbers(connection: Connection) -> None:
    """Let PostgreSQL count refusals from where the restored ones end; SQLite does so by itself."""
    (newest,) = connection.execute(select(func.coalesce(func.max(REFUSALS.c.number), 0))).one()
    sequence = text("SELECT setval(pg_get_serial_sequence('refusals', 'number'), :newest)")
    if newest:
        connection.execute(sequence, {"newest": newest})
