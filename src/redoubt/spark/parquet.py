"""Sealed Parquet tables through Spark's own vectorised reader and writer.

The driver authenticates the commit record and decides which files a table has: a read gets exactly the listed parts
with their listed lengths (the storage is asked for no listing), a write commits exactly what its tasks report on
Spark's own channel. Files are encrypted by parquet-mr under properties of ``io.redoubt.parquet.SealedCryptoFactory``;
options carry names and ids only (hardening H22). ``docs/format.md``, "Parquet tables", has the format.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from redoubt import errors
from redoubt.errors import AlreadyExists, ModeRefused, OptionRefused, SparkError, StorageUnsupported
from redoubt.keys.provider import KeySource
from redoubt.keys.types import WrapContext
from redoubt.sealed import keyfiles
from redoubt.sealed.commit import Part, PartKind
from redoubt.sealed.dataset import Dataset, commit_numbers
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.objects import storage_for
from redoubt.sealed.parquet_layout import (
    COLUMN_KEYS,
    FORMAT,
    PARQUET,
    PARQUET_MEDIA_TYPE,
    PARTITION_BY,
    SCHEMA,
    check_appendable,
    check_parquet,
)
from redoubt.sealed.write import DatasetWrite, WriteMode
from redoubt.spark.application import keys_of
from redoubt.spark.conf import COMMIT_PROTOCOL, PARQUET_FACTORY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_COMMIT_PROTOCOL_KEY = "spark.sql.sources.commitProtocolClass"
_MODES = ("error", "errorifexists", "ignore", "append", "overwrite")
_OWN_OPTIONS = re.compile(r"(?i)parquet\.(crypto|encryption)\.|redoubt\.(read|write|plaintext|column\.keys|key)|path$")
_SEPARATORS = re.compile(r"[,;:]")
_CODE = re.compile(r"\[([a-z_]+(?:\.[a-z_]+)*)\] (.+)")


def write_parquet(
    df: DataFrame,
    path: str,
    *,
    mode: str = "errorifexists",
    key: str | None = None,
    column_keys: Mapping[str, Sequence[str]] | None = None,
    partition_by: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    keys: KeySource | None = None,
) -> Dataset:
    """Write *df* as one commit of the sealed Parquet table at *path* and return the table.

    *key* names the primary key of footers and of every column that *column_keys* does not list (default: the
    workspace's); *column_keys* maps other primary keys to columns, nested ones by their dotted path. Who may not use
    such a key reads the other columns. *keys* is where the driver gets keys (default: the session's key endpoint).

    A write that fails leaves orphans, which no reader opens.

    Raises:
        AlreadyExists: mode errorifexists, and there is a table.
        ModeRefused, OptionRefused: a mode or option that does not exist, or does not fit the table.
        CommitConflict: another writer came first.
        SealedError, KeyError_, StorageError, SparkError: it cannot be written.
    """
    spark = df.sparkSession
    source = keys or keys_of(spark)
    storage = _local(path)
    if mode not in _MODES:
        raise ModeRefused(f"mode {mode!r} is not one of {', '.join(_MODES)}")
    given = _user_options(options)
    groups = _column_groups(column_keys or {}, partition_by)
    table = Dataset.open(storage, keys=source) if commit_numbers(storage) else None
    if table is not None:
        if mode == "ignore":
            return table
        if mode in {"error", "errorifexists"}:
            raise AlreadyExists(f"{path} is a sealed dataset already")
    schema = df.schema
    if table is not None and mode == "append":
        check_appendable(table, partition_by=partition_by)
        schema = _merged(table, schema)
    kept = table.head.commit.properties if table is not None and mode == "append" else {}
    write = DatasetWrite.begin(storage, keys=source, mode=_write_mode(mode, exists=table is not None), key=key)
    column_option = _new_column_keys(write, groups, keys=source)
    _ensure_commit_protocol(spark)
    ticket = write.ticket
    settings = {
        **given,
        "parquet.crypto.factory.class": PARQUET_FACTORY,
        "redoubt.write.root": str(storage.root),
        "redoubt.write.dataset": str(ticket.dataset_id),
        "redoubt.write.commit": str(ticket.commit_id),
        "redoubt.write.prefix": f"data/{ticket.commit_id}",
        "redoubt.write.footer.key": str(ticket.data_key_id),
        "redoubt.write.column.keys": column_option,
    }
    with java_errors():
        df.write.options(**settings).partitionBy(*partition_by).parquet(str(storage.root / f"data/{ticket.commit_id}"))
    properties = {
        **kept,
        FORMAT: PARQUET,
        SCHEMA: schema.json(),
        PARTITION_BY: json.dumps(list(partition_by), ensure_ascii=False),
        **({COLUMN_KEYS: "yes"} if groups else {}),
    }
    return write.commit(_reported_parts(spark, write), properties=properties)


def read_parquet(
    spark: SparkSession,
    path: str,
    *,
    at_commit: str | None = None,
    options: Mapping[str, str] | None = None,
    keys: KeySource | None = None,
) -> DataFrame:
    """Return the sealed Parquet table at *path*, at its head (*at_commit* refuses any other digest).

    The plan holds exactly the parts that the commit lists. A part that is missing or has another length is refused
    here; one that is another file, plaintext or changed when it is read, whatever ``ignoreCorruptFiles`` says.

    Raises:
        NoCommit, CommitUnexpected, PartMissing, PartChanged, SealedError, KeyError_: it cannot be read as listed.
        OptionRefused: an option that would weaken the read.
    """
    storage = _local(path)
    given = _user_options(options)
    table = Dataset.open(storage, keys=keys or keys_of(spark), at_commit=at_commit)
    check_parquet(table)
    table.check_lengths()
    from pyspark.sql import DataFrame

    jvm, session = _gateway(spark)
    with java_errors():
        frame = jvm.io.redoubt.parquet.SealedTables.read(
            session,
            str(storage.root),
            str(table.id),
            table.commit_digest,
            json.dumps({part.name: part.length for part in table.parts}, ensure_ascii=False),
            table.head.commit.properties.get(SCHEMA),
            given,
        )
    return DataFrame(frame, spark)


@contextlib.contextmanager
def java_errors() -> Iterator[None]:
    """Turn a failure that Redoubt's Java classes caused into the Python error of the same code.

    Raises:
        RedoubtError: the error that ``[code] …`` in the failure's chain of causes stands for.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as failure:
        for line in str(failure).splitlines():
            match = _CODE.search(line)
            error = errors.by_code().get(match[1]) if match else None
            if match and error:
                raise error(match[2]) from failure
        raise


def _local(path: str) -> LocalStorage:
    """Return the storage of a local table; Spark and Redoubt must mean the same place."""
    storage = storage_for(path)
    if not isinstance(storage, LocalStorage):
        raise StorageUnsupported(
            f"{path}: Spark's pip package reads and writes Parquet on local paths only",
            hint="Use redoubt.sealed.parquet, which reads tables on object stores.",
        )
    return LocalStorage(storage.root.absolute())


def _write_mode(mode: str, *, exists: bool) -> WriteMode:
    if mode in {"append", "overwrite"} and exists:
        return WriteMode(mode)
    return WriteMode.CREATE


def _user_options(options: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(options or {})
    for name in given:
        if _OWN_OPTIONS.match(name):
            raise OptionRefused(f"the option {name} is Redoubt's own", hint="Use the arguments key and column_keys.")
    return given


def _column_groups(column_keys: Mapping[str, Sequence[str]], partition_by: Sequence[str]) -> dict[str, tuple[str, ...]]:
    groups = {key: tuple(columns) for key, columns in column_keys.items() if columns}
    listed = [column for columns in groups.values() for column in columns]
    for column in listed:
        if _SEPARATORS.search(column):
            raise OptionRefused(f"column {column!r} cannot have a key of its own: its name holds one of , ; :")
        if column in partition_by:
            raise OptionRefused(f"column {column!r} is partitioned by: its values stand in folder names, in clear")
    if len(set(listed)) != len(listed):
        raise OptionRefused("a column is listed under two keys")
    return groups


def _new_column_keys(write: DatasetWrite, groups: Mapping[str, Sequence[str]], *, keys: KeySource) -> str:
    """Make one data key a group and return the option that says which columns it is for."""
    texts = []
    for key, columns in groups.items():
        data_key, wrapped = keys.new_data_key(key, WrapContext(write.ticket.dataset_id, uuid4()))
        keyfiles.write_first(write.storage, wrapped)
        texts.append(f"{data_key.id}:{','.join(columns)}")
    return ";".join(texts)


def _merged(table: Dataset, new: StructType) -> StructType:
    """Return the table's schema with the new columns of an append, or *new* if the table records none."""
    from pyspark.sql.types import StructType

    recorded = table.head.commit.properties.get(SCHEMA)
    if recorded is None:
        return new
    merged = StructType.fromJson(json.loads(recorded))
    known = {field.name.lower(): field for field in merged.fields}
    for field in new.fields:
        old = known.get(field.name.lower())
        if old is None:
            merged = merged.add(field)
        elif old.name != field.name or not _same_type(old.dataType, field.dataType):
            raise OptionRefused(
                f"column {field.name} is {field.dataType.simpleString()}, in the table {old.name} is "
                f"{old.dataType.simpleString()}",
                hint="Cast the column, or overwrite the table.",
            )
    return merged


def _same_type(one: Any, other: Any) -> bool:
    """Compare types; whether values inside may be null does not matter."""
    return bool(one.simpleString() == other.simpleString())


def _ensure_commit_protocol(spark: SparkSession) -> None:
    """Make the session end Parquet writes with our protocol; other formats pass through it unchanged."""
    if spark.conf.get(_COMMIT_PROTOCOL_KEY) != COMMIT_PROTOCOL:
        spark.conf.set(_COMMIT_PROTOCOL_KEY, COMMIT_PROTOCOL)


def _reported_parts(spark: SparkSession, write: DatasetWrite) -> list[Part]:
    """Return the parts that the tasks of the finished job reported to the driver."""
    jvm, _ = _gateway(spark)
    ticket = write.ticket
    report = jvm.io.redoubt.parquet.ManagedWrites.take(str(ticket.commit_id))
    if report is None:
        raise SparkError("Spark finished the write without reporting its parts; nothing was committed")
    return [_part(entry, ticket.commit_id, ticket.data_key_id, ticket.dataset_id) for entry in json.loads(report)]


def _part(entry: Mapping[str, Any], commit_id: UUID, data_key_id: UUID, dataset_id: UUID) -> Part:
    return Part(
        name=entry["name"],
        kind=PartKind.PARQUET,
        commit=commit_id,
        key=data_key_id,
        owner=dataset_id,
        length=entry["length"],
        prefix="",
        sha256=entry["sha256"],
        media_type=PARQUET_MEDIA_TYPE,
    )


def _gateway(spark: SparkSession) -> tuple[Any, Any]:
    """Return the driver JVM and its session; Spark Connect has neither."""
    jvm = getattr(spark, "_jvm", None)
    session = getattr(spark, "_jsparkSession", None)
    if jvm is None or session is None:
        raise SparkError("sealed Parquet needs a driver in this process, not Spark Connect")
    return jvm, session
