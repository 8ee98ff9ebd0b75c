"""Reading and writing sealed datasets with every mode of Spark, whatever the format.

    redoubt.spark.write(df, "sealed/", format="parquet", mode="append", partition_by=["year"])
    df = redoubt.spark.read(spark, "sealed/")

Spark 4.3 passes only append and overwrite to Python Data Sources and no ``partitionBy`` (hardening H17): these
functions offer the rest. A read needs no format and no schema: the commit record says what was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

from redoubt.errors import AlreadyExists, ModeRefused, NoCommit, OptionRefused
from redoubt.sealed.dataset import Dataset, commit_numbers
from redoubt.sealed.objects import storage_for
from redoubt.spark.application import keys_of
from redoubt.spark.options import SourceFormat
from redoubt.spark.parquet import read_parquet, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

PARQUET: Final = "parquet"
_MODES: Final = ("error", "errorifexists", "ignore", "append", "overwrite")


def write(
    frame: DataFrame,
    path: str,
    *,
    format: str = PARQUET,  # noqa: A002  (Spark's writers call it so)
    mode: str = "errorifexists",
    key: str | None = None,
    partition_by: Sequence[str] = (),
    column_keys: Mapping[str, Sequence[str]] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Write *frame* as one commit of the sealed dataset at *path*.

    *key* names a primary key (default: the workspace's). *column_keys* maps primary keys to the Parquet columns that
    they, and not *key*, shall protect.

    Raises:
        AlreadyExists: mode errorifexists, and there is a dataset.
        ModeRefused: an unknown mode.
        OptionRefused: partitions or column keys for a text format.
        CommitConflict: another writer came first.
    """
    if format == PARQUET:
        write_parquet(
            frame, path, mode=mode, key=key, column_keys=column_keys, partition_by=partition_by, options=options
        )
        return
    if partition_by or column_keys:
        raise OptionRefused(f"{format} has neither partitions nor column keys", hint="Write Parquet for these.")
    if mode not in _MODES:
        raise ModeRefused(f"mode {mode!r} is not one of {', '.join(_MODES)}")
    if mode in ("error", "errorifexists", "ignore") and commit_numbers(storage_for(path)):
        if mode == "ignore":
            return
        raise AlreadyExists(f"{path} is a sealed dataset already")
    given = {**(options or {}), "format": SourceFormat(format).value, **({"key": key} if key else {})}
    effective = "overwrite" if mode == "overwrite" else "append"
    frame.write.format("sealed").options(**given).mode(effective).save(path)


def read(
    spark: SparkSession,
    path: str,
    *,
    format: str | None = None,  # noqa: A002  (Spark's readers call it so)
    schema: StructType | str | None = None,
    at_commit: str | None = None,
    dataset_id: UUID | None = None,
    options: Mapping[str, str] | None = None,
) -> DataFrame:
    """Return the sealed dataset at *path* as a DataFrame; format and schema default to what was written.

    *at_commit* refuses any head but that digest; *dataset_id* any other dataset, whatever its commit.

    Raises:
        NoCommit, SealedError, KeyError_: it is no dataset, not the expected one, not authentic, or not released.
    """
    dataset = Dataset.open(path, keys=keys_of(spark), at_commit=at_commit, dataset_id=dataset_id)
    properties = dataset.head.commit.properties
    chosen = format or properties.get("format")
    if chosen is None:
        raise NoCommit(f"{path} does not say its format", hint='Pass format="csv", "json", "text" or "parquet".')
    if chosen == PARQUET:
        return read_parquet(spark, path, at_commit=dataset.commit_digest, options=options or {})
    reader = spark.read.format("sealed").options(
        **{**(options or {}), "format": SourceFormat(chosen).value, "atCommit": dataset.commit_digest}
    )
    written = properties.get("schema")
    if schema is None and written is not None:
        from pyspark.sql.types import StructType

        schema = StructType.fromJson(_json(written))
    return (reader.schema(schema) if schema is not None else reader).load(path)


def _json(text: str) -> dict[str, object]:
    import json

    value = json.loads(text)
    if not isinstance(value, dict):
        raise OptionRefused("the schema in the commit record is no schema")
    return value
