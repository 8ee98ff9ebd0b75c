"""Sealed Parquet tables for pyarrow, pandas, DuckDB and Polars, without Spark.

    from redoubt.sealed import parquet

    parquet.read_table("table/", keys=workspace, columns=["id", "x"])        # pyarrow.Table
    lazy = parquet.dataset("table/", keys=workspace)                         # pyarrow.dataset.Dataset
    parquet.duckdb_relation("table/", keys=workspace).filter("id < 10")      # pushes filter and projection down
    parquet.write_table(table, "table2/", keys=workspace)

What is read is exactly the list of parts of an authentic commit. Each file must have its listed length, end as an
encrypted file, and state its own identity (dataset, commit, name, algorithm) before pyarrow sees it; pyarrow then
decrypts under that identity or fails. See ``docs/format.md``, "Parquet tables".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from redoubt.errors import KeyError_, NotFound, PartMissing, SealedError, StorageUnsupported, WrapRefused
from redoubt.keys.provider import KeySource
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.parquet_keys import Label, MasterKeyId, parse_footer_material, unwrap_dek, wrap_dek
from redoubt.sealed.parquet_layout import COLUMN_KEYS, PARTITION_BY, SCHEMA, check_parquet, in_table
from redoubt.sealed.parquet_tail import aad_prefix, check_identity, read_crypto_metadata
from redoubt.sealed.parquet_write import write_table
from redoubt.sealed.storage import Storage

try:
    import pyarrow as pa
    import pyarrow.dataset as pads
    import pyarrow.parquet.encryption as pe
    from pyarrow import fs
except ImportError:
    raise StorageUnsupported(
        "sealed Parquet tables need pyarrow, which is not installed",
        hint='Install the extra: pip install "redoubt[arrow]"',
    ) from None

__all__ = ["dataset", "duckdb_relation", "read_pandas", "read_polars", "read_table", "write_table"]

#: Spark's names of types of partition columns, as its JSON schemas spell them.
_PARTITION_TYPES: Final[Mapping[str, pa.DataType]] = {
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


def dataset(location: str, *, keys: KeySource, at_commit: str | None = None) -> pads.Dataset:
    """Return the table at *location* as a lazy ``pyarrow.dataset.Dataset``, which DuckDB and Polars scan too.

    Its identity checks are done here, for every part; pages are authenticated as they are read. *at_commit* pins the
    digest of the head.

    Raises:
        NoCommit, CommitUnexpected: there is no such table.
        PartMissing, PartChanged, PlaintextRefused, IdentityMismatch, HeaderInvalid: a part is not the listed one.
        KeyError_: a key is not released, or a wrapped key was changed.
    """
    table = Dataset.open(location, keys=keys, at_commit=at_commit)
    check_parquet(table)
    table.check_lengths()
    formats = _column_key_formats(table) if COLUMN_KEYS in table.head.commit.properties else _uniform_format
    partitioning = _partitioning(table)
    filesystem, root = _filesystem(table.storage)

    def fragment(part: Part) -> pads.Fragment:
        return formats(table, part).make_fragment(
            f"{root}/{part.name}",
            filesystem=filesystem,
            partition_expression=partitioning.parse(in_table(part)) if partitioning else None,
        )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        fragments = list(pool.map(fragment, table.parts))
    schema = _schema(table.parts, fragments, partitioning)
    return pads.FileSystemDataset(fragments, schema, pads.ParquetFileFormat(), filesystem)


def read_table(
    location: str,
    *,
    keys: KeySource,
    columns: Sequence[str] | None = None,
    filter: pads.Expression | None = None,  # noqa: A002  (pyarrow calls it so)
    at_commit: str | None = None,
) -> pa.Table:
    """Return the table at *location*; errors as :func:`dataset`, and SealedError for a page that is not authentic.

    Without *columns* every column is read, and one whose key is not released is an error.
    """
    lazy = dataset(location, keys=keys, at_commit=at_commit)
    try:
        return lazy.to_table(columns=list(columns) if columns is not None else None, filter=filter)
    except OSError as error:
        raise _read_error(location, error) from error


def read_pandas(
    location: str, *, keys: KeySource, columns: Sequence[str] | None = None, at_commit: str | None = None
) -> Any:
    """Return the table at *location* as a ``pandas.DataFrame``; errors as :func:`read_table`."""
    return read_table(location, keys=keys, columns=columns, at_commit=at_commit).to_pandas()


def read_polars(location: str, *, keys: KeySource, at_commit: str | None = None) -> Any:
    """Return the table at *location* as a ``polars.LazyFrame``; errors as :func:`dataset`, pages' when collected."""
    import polars

    return polars.scan_pyarrow_dataset(dataset(location, keys=keys, at_commit=at_commit))


def duckdb_relation(location: str, *, keys: KeySource, connection: Any = None, at_commit: str | None = None) -> Any:
    """Return the table at *location* as a ``DuckDBPyRelation``, in *connection* or DuckDB's default one."""
    import duckdb

    return (connection or duckdb.default_connection()).from_arrow(dataset(location, keys=keys, at_commit=at_commit))


# --- formats: how pyarrow decrypts one part ---------------------------------------------------------------------------
_FormatOf = Callable[[Dataset, Part], pads.ParquetFileFormat]


def _uniform_format(table: Dataset, part: Part) -> pads.ParquetFileFormat:
    """Give pyarrow the file's key and its expected identity, which it compares with the stored one once more."""
    metadata = _checked_metadata(table, part)
    key_id, wrapped = parse_footer_material(metadata.key_metadata, dataset_id=table.id)
    properties = pe.create_decryption_properties(
        unwrap_dek(wrapped, data_key=table.data_key(key_id.data_key_id), label=Label.FOOTER),
        aad_prefix=aad_prefix(dataset_id=table.id, commit_id=part.commit, algorithm=metadata.algorithm, name=part.name),
    )
    return _format(decryption_properties=properties)


def _column_key_formats(table: Dataset) -> _FormatOf:
    """Let pyarrow's own key tools find the keys of columns, which stand in the encrypted footer.

    Those tools take no expected identity: it is compared here alone, once, before pyarrow opens the file.
    """
    factory = pe.CryptoFactory(lambda _: _TableKms(table))
    config = pads.ParquetDecryptionConfig(
        factory,
        pe.KmsConnectionConfig(key_access_token=str(uuid4())),  # clients are cached by token: one a table opened
        pe.DecryptionConfiguration(),
    )
    shared = _format(decryption_config=config)

    def format_of(table: Dataset, part: Part) -> pads.ParquetFileFormat:
        parse_footer_material(_checked_metadata(table, part).key_metadata, dataset_id=table.id)
        return shared

    return format_of


def _format(**decryption: Any) -> pads.ParquetFileFormat:
    return pads.ParquetFileFormat(default_fragment_scan_options=pads.ParquetFragmentScanOptions(**decryption))


def _checked_metadata(table: Dataset, part: Part) -> Any:
    try:
        file = table.storage.open(part.name)
    except NotFound:
        raise PartMissing(f"part {part.name} of {table.storage.location} is missing") from None
    try:
        metadata = read_crypto_metadata(file, where=part.name)
    finally:
        file.close()
    check_identity(metadata, part)
    return metadata


class _TableKms(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Data keys of one table, for pyarrow's key tools. What it raises, pyarrow reports as a refused key."""

    def __init__(self, table: Dataset) -> None:
        super().__init__()
        self._table = table

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        key_id = MasterKeyId.parse(master_key_identifier)
        return wrap_dek(key_bytes, data_key=self._table.data_key(key_id.data_key_id), label=key_id.label)

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        key_id = MasterKeyId.parse(master_key_identifier)
        if key_id.dataset_id != self._table.id:
            raise WrapRefused("the file's keys belong to another dataset")
        return unwrap_dek(wrapped_key, data_key=self._table.data_key(key_id.data_key_id), label=key_id.label)


# --- schema and place -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Partitioning:
    """Partition columns, whose values stand in folder names."""

    hive: pads.HivePartitioning

    @property
    def schema(self) -> pa.Schema:
        return self.hive.schema

    def parse(self, name: str) -> pads.Expression:
        return self.hive.parse(name)


def _partitioning(table: Dataset) -> _Partitioning | None:
    names = _partition_columns(table)
    if not names:
        return None
    recorded = json.loads(table.head.commit.properties.get(SCHEMA, '{"fields": []}'))
    types = {field["name"]: field["type"] for field in recorded["fields"]}
    values = {name: set[str]() for name in names}
    for part in table.parts:
        for segment in in_table(part).split("/")[:-1]:
            name, _, value = segment.partition("=")
            values.setdefault(name, set()).add(value)
    fields = [
        pa.field(name, _PARTITION_TYPES.get(str(types[name]), pa.string()) if name in types else _guess(values[name]))
        for name in names
    ]
    return _Partitioning(pads.partitioning(pa.schema(fields), flavor="hive"))


def _partition_columns(table: Dataset) -> list[str]:
    """Return the recorded partition columns, or those that names of parts show: ``df.write.parquet`` records none."""
    recorded = table.head.commit.properties.get(PARTITION_BY)
    if recorded is not None:
        return [str(name) for name in json.loads(recorded)]
    segments = [in_table(part).split("/")[:-1] for part in table.parts]
    return [segment.partition("=")[0] for segment in (segments[0] if segments else [])]


def _guess(values: set[str]) -> pa.DataType:
    """Return the type that Spark would infer, as far as integers go."""
    return pa.int32() if all(value.lstrip("-").isdecimal() and len(value) < 10 for value in values) else pa.string()


def _schema(parts: Sequence[Part], fragments: Sequence[Any], partitioning: _Partitioning | None) -> pa.Schema:
    """Unite the schemas of one part of each commit: parts of a commit have the same."""
    first = {part.commit: fragment for part, fragment in zip(parts, fragments, strict=True)}
    try:
        schemas = [fragment.physical_schema for fragment in first.values()]
    except OSError as error:
        raise _read_error(parts[0].name, error) from error
    united = pa.unify_schemas(
        [*schemas, *([partitioning.schema] if partitioning else [])], promote_options="permissive"
    )
    return united.remove_metadata()


def _filesystem(storage: Storage) -> tuple[fs.FileSystem, str]:
    if isinstance(storage, LocalStorage):
        return fs.LocalFileSystem(), str(Path(storage.root).absolute())
    filesystem, root = fs.FileSystem.from_uri(storage.location)
    return filesystem, root.rstrip("/")


def _read_error(where: str, error: OSError) -> SealedError | KeyError_:
    """Name what pyarrow reports as an OSError; its text holds no values."""
    text = str(error).splitlines()[0]
    if "key" in text.lower() and "denied" in text.lower():
        return KeyError_(f"{where}: {text}", hint="Name the columns that you may read.")
    return SealedError(f"{where}: {text}")
