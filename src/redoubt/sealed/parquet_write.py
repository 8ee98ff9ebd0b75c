"""Writing sealed Parquet tables with pyarrow: one part a write, every column under the footer key.

pyarrow's low-level encryption stores an AAD prefix but no key metadata, its key tools the other way round; readers need
both. So the file is written with the first, and the key metadata is added to its footer before that reaches the store:
the footer is the last thing a writer writes, and the only part of the file that is held in memory.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from redoubt.errors import UsageError
from redoubt.keys.provider import KeySource
from redoubt.sealed.commit import Part, PartKind
from redoubt.sealed.dataset import Dataset, commit_numbers, unwrap
from redoubt.sealed.objects import storage_for
from redoubt.sealed.parquet_keys import encode_material, new_dek
from redoubt.sealed.parquet_layout import (
    FORMAT,
    PARQUET,
    PARQUET_MEDIA_TYPE,
    PARTITION_BY,
    SCHEMA,
    check_appendable,
)
from redoubt.sealed.parquet_tail import Algorithm, aad_prefix, add_key_metadata
from redoubt.sealed.storage import Sink
from redoubt.sealed.write import DatasetWrite, WriteMode

if TYPE_CHECKING:
    import pyarrow as pa


def write_table(
    table: pa.Table,
    location: str,
    *,
    keys: KeySource,
    key: str | None = None,
    mode: str = "create",
    compression: str = "snappy",
) -> Dataset:
    """Write *table* as one commit of the sealed Parquet table at *location*.

    *key* names the primary key (default: the workspace's); *mode* is ``create``, ``append`` or ``overwrite``. Column
    keys and partitions are Spark's alone.

    Raises:
        AlreadyExists: mode create, and there is a dataset.
        OptionRefused, SealedError: an append does not fit the table.
        CommitConflict: another writer came first.
        KeyError_, StorageError: it cannot be written.
    """
    import pyarrow.parquet as pq
    import pyarrow.parquet.encryption as pe

    try:
        write_mode = WriteMode(mode)
    except ValueError:
        raise UsageError(f"mode {mode!r} is not one of create, append and overwrite") from None
    storage = storage_for(location)
    properties = {FORMAT: PARQUET, PARTITION_BY: "[]"}
    if not commit_numbers(storage):
        write_mode = WriteMode.CREATE
    elif write_mode is WriteMode.APPEND:
        before = Dataset.open(storage, keys=keys)
        check_appendable(before, partition_by=())
        # Spark's schema would not know columns that this append adds; readers take it from the parts instead.
        properties |= {name: text for name, text in before.head.commit.properties.items() if name != SCHEMA}
    write = DatasetWrite.begin(storage, keys=keys, mode=write_mode, key=key)
    ticket = write.ticket
    name = f"data/{ticket.commit_id}/part-00000-{uuid4()}.{compression}.parquet"
    data_key = unwrap(storage, ticket.data_key_id, dataset_id=ticket.dataset_id, keys=keys)
    dek = new_dek()
    encryption = pe.create_encryption_properties(
        dek,
        aad_prefix=aad_prefix(
            dataset_id=ticket.dataset_id, commit_id=ticket.commit_id, algorithm=Algorithm.GCM, name=name
        ),
        store_aad_prefix=True,
        encryption_algorithm=Algorithm.GCM.value,
    )
    out = _PartFile(storage.create(name))
    try:
        writer = pq.ParquetWriter(out, table.schema, compression=compression, encryption_properties=encryption)
        writer.write_table(table)
        out.hold()
        writer.close()
        out.finish(encode_material(dek, data_key=data_key))
    except BaseException:
        out.abort()
        raise
    part = Part(
        name=name,
        kind=PartKind.PARQUET,
        commit=ticket.commit_id,
        key=ticket.data_key_id,
        owner=ticket.dataset_id,
        length=out.tell(),
        prefix="",
        sha256=out.sha256(),
        media_type=PARQUET_MEDIA_TYPE,
    )
    return write.commit([part], properties=properties)


class _PartFile:
    """A file as pyarrow writes it. What comes after :meth:`hold`, the footer, is kept until :meth:`finish`."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self._length = 0
        self._footer: bytearray | None = None

    def hold(self) -> None:
        self._footer = bytearray()

    def finish(self, key_metadata: bytes) -> None:
        footer, self._footer = bytes(self._footer or b""), None
        self.write(add_key_metadata(footer, key_metadata))
        self._sink.finish()

    def abort(self) -> None:
        self._sink.abort()

    def sha256(self) -> str:
        return self._digest.hexdigest()

    # --- what pyarrow asks of a file ----------------------------------------------------------------------------------
    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._footer is not None:
            self._footer += view
            return len(view)
        self._sink.write(view)
        self._digest.update(view)
        self._length += len(view)
        return len(view)

    def tell(self) -> int:
        return self._length + len(self._footer or b"")

    def flush(self) -> None:
        """Nothing is buffered that may be written yet."""

    def close(self) -> None:
        """The sink is finished by its owner."""
