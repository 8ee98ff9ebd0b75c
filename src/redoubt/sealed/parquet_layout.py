"""What makes a sealed dataset a Parquet table: properties of its commits, and where its parts lie.

Two layouts exist. *Managed* tables are written by Redoubt: parts lie under ``data/<commit id>/`` and readers follow the
commit record. *Native* tables are written by an unmodified ``df.write.parquet(path)``: parts lie directly in the
folder, where Spark's own readers look. A table never mixes them: a reader of the one would miss parts of the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from redoubt.errors import OptionRefused, SealedError
from redoubt.sealed.commit import Part, PartKind
from redoubt.sealed.dataset import Dataset

PARQUET: Final = "parquet"
PARQUET_MEDIA_TYPE: Final = "application/vnd.apache.parquet"

#: Properties of a commit.
FORMAT: Final = "format"
SCHEMA: Final = "schema"  # Spark's JSON of the whole table; absent if not every writer recorded it
PARTITION_BY: Final = "partition_by"  # JSON array of column names
COLUMN_KEYS: Final = "column_keys"  # "yes" if a part has columns with keys of their own


def in_table(part: Part) -> str:
    """Return the part's path below its table: partition folders and file name."""
    return part.name.removeprefix(f"data/{part.commit}/")


def is_managed(part: Part) -> bool:
    """Tell whether the part lies where Redoubt's writers put it."""
    return part.name.startswith(f"data/{part.commit}/")


def check_parquet(table: Dataset) -> None:
    """Check that every part is a Parquet file; raises SealedError."""
    for part in table.parts:
        if part.kind is not PartKind.PARQUET:
            raise SealedError(
                f"part {part.name} is no Parquet file", hint="Read the dataset with redoubt.spark.read or unseal it."
            )


def check_appendable(table: Dataset, *, partition_by: Sequence[str]) -> None:
    """Check that Redoubt may append parts that are partitioned by *partition_by*.

    Raises:
        SealedError: the dataset holds other data than Parquet.
        OptionRefused: it was written by ``df.write.parquet``, or is partitioned otherwise.
    """
    check_parquet(table)
    if not all(map(is_managed, table.parts)):
        raise OptionRefused(
            f"{table.storage.location} was written by df.write.parquet, whose readers would not find Redoubt's parts",
            hint="Append with df.write.parquet, or overwrite the table.",
        )
    before = json.loads(table.head.commit.properties.get(PARTITION_BY, "[]"))
    if before != list(partition_by):
        raise OptionRefused(f"the table is partitioned by {before}, the append by {list(partition_by)}")
