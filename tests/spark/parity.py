"""What the parity tests share: many small files, read by Spark's own readers in few jobs, compared as Arrow tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string

from redoubt.spark.options import TextOptions

#: What a reader gave: rows, or the fact that it failed.
Outcome = pa.Table | str
FAILED = "failed"


@dataclass(frozen=True)
class Case:
    """One file, its schema and the options of the reader."""

    name: str
    data: bytes
    schema: str = "a string, b string, c string"
    options: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        return self.schema, tuple(sorted(self.options.items()))


def case(name: str, data: str | bytes, schema: str = "a string, b string, c string", **options: str) -> Case:
    return Case(name, data if isinstance(data, bytes) else data.encode(), schema, options)


def options_of(item: Case, kind: str) -> TextOptions:
    return TextOptions.read({"path": "unused", "format": kind, **item.options})


def arrow_schema(ddl: str) -> pa.Schema:
    parsed = _parse_datatype_string(ddl)
    assert isinstance(parsed, StructType)
    return pa.schema([pa.field(f.name, f.type) for f in to_arrow_schema(parsed, timezone="UTC")])


def plain(table: pa.Table) -> list[tuple[object, ...]]:
    """Rows in a form that compares exactly: dates and times as numbers, floats by their text."""
    columns = [_plain_column(column.combine_chunks()) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _plain_column(array: pa.Array) -> list[object]:
    kind = array.type
    if pa.types.is_date32(kind):
        return list(array.view(pa.int32()).to_pylist())
    if pa.types.is_timestamp(kind):
        return list(array.view(pa.int64()).to_pylist())
    if pa.types.is_floating(kind):
        return [None if value is None else repr(value) for value in array.to_pylist()]
    if pa.types.is_struct(kind):
        parts = [_plain_column(array.field(number)) for number in range(kind.num_fields)]
        rows = list(zip(*parts, strict=True)) if parts else [()] * len(array)
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    return [str(value) if value is not None and pa.types.is_nested(kind) else value for value in array.to_pylist()]


def spark_outcomes(spark: SparkSession, folder: Path, cases: Sequence[Case], kind: str) -> list[Outcome]:
    """Read every case with Spark's own reader: one job for all files that share schema and options, if that works."""
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    paths = []
    for number, item in enumerate(cases):
        path = folder / f"{number:05d}.{kind}"
        path.write_bytes(item.data)
        paths.append(str(path))
    found: list[Outcome | None] = [None] * len(cases)
    numbered = sorted(range(len(cases)), key=lambda number: cases[number].key)
    for _, group in itertools.groupby(numbered, key=lambda number: cases[number].key):
        _read_group(spark, cases, paths, list(group), kind, found)
    return [outcome for outcome in found if outcome is not None]


def _read_group(
    spark: SparkSession,
    cases: Sequence[Case],
    paths: list[str],
    group: list[int],
    kind: str,
    found: list[Outcome | None],
) -> None:
    item = cases[group[0]]
    reader = spark.read.schema(item.schema).options(**item.options).format(kind)
    names = [f"`{name}`" for name in arrow_schema(item.schema).names]
    try:
        frame = reader.load([paths[number] for number in group]).select(*names, col("_metadata.file_name").alias("f"))
        table = frame.toArrow()
    except PySparkException:
        if len(group) == 1:
            found[group[0]] = FAILED
            return
        middle = len(group) // 2
        for part in (group[:middle], group[middle:]):
            _read_group(spark, cases, paths, part, kind, found)
        return
    files = table.column("f").to_pylist()
    rows = table.drop_columns(["f"])
    by_file: dict[str, list[int]] = {}
    for row, name in enumerate(files):
        by_file.setdefault(name, []).append(row)
    for number in group:
        found[number] = rows.take(pa.array(by_file.get(Path(paths[number]).name, []), pa.int64()))


def differences(
    cases: Sequence[Case], expected: Sequence[Outcome], read: Callable[[Case], Outcome | None]
) -> tuple[list[str], int]:
    """Return a line for each case that *read* answers differently, and how many it refused (None)."""
    wrong = []
    refused = 0
    for item, want in zip(cases, expected, strict=True):
        got = read(item)
        if got is None:
            refused += 1
        elif isinstance(want, str) or isinstance(got, str):
            if not (isinstance(want, str) and isinstance(got, str)):
                shown = [value if isinstance(value, str) else plain(value) for value in (want, got)]
                wrong.append(f"{item.name} {item.options} {item.data!r}: Spark {shown[0]}, here {shown[1]}")
        elif plain(want) != plain(got):
            wrong.append(f"{item.name} {item.options} {item.data!r}: Spark {plain(want)}, here {plain(got)}")
    return wrong, refused
