"""What the parity tests share: many small files, read by Spark's own readers in few jobs, compared as Arrow tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.functions import col

from redoubt.spark.options import TextOptions

#: What a reader gave: rows, or the fact that it failed.
Outcome: TypeAlias = "pa.Table | str"
FAILED = "failed"


#: Hundreds of tiny jobs: compiling code for each would take longer than running it.
_QUICK_JOBS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


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


_PLAIN_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}


def arrow_schema(ddl: str) -> pa.Schema:
    """The Arrow schema of Spark's DDL, without a JVM."""
    return pa.schema([_field(part, " ") for part in _parts(ddl)])


def _parts(text: str) -> list[str]:
    depth, begin, out = 0, 0, []
    for number, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            out.append(text[begin:number].strip())
            begin = number + 1
    return [*out, text[begin:].strip()]


def _field(text: str, mark: str) -> pa.Field:
    name, _, kind = text.partition(mark)
    return pa.field(name.strip("` "), _arrow_type(kind.strip()))


def _arrow_type(text: str) -> pa.DataType:
    head, _, rest = text.partition("<")
    if head == "array":
        return pa.list_(pa.field("element", _arrow_type(rest[:-1])))
    if head == "map":
        key, value = _parts(rest[:-1])
        return pa.map_(_arrow_type(key), _arrow_type(value))
    if head == "struct":
        return pa.struct([_field(part, ":") for part in _parts(rest[:-1])])
    if text.startswith("decimal"):
        precision, scale = text[len("decimal(") : -1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return _PLAIN_TYPES[text]


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
    if pa.types.is_string(kind):
        # Spark's text reader keeps bytes that are no UTF-8.
        return [
            None if value is None else value.decode(errors="backslashreplace")
            for value in array.view(pa.binary()).to_pylist()
        ]
    if pa.types.is_floating(kind):
        return [None if value is None else repr(value) for value in array.to_pylist()]
    if pa.types.is_struct(kind):
        parts = [_plain_column(array.field(number)) for number in range(kind.num_fields)]
        rows = list(zip(*parts, strict=True)) if parts else [()] * len(array)
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    return [str(value) if value is not None and pa.types.is_nested(kind) else value for value in array.to_pylist()]


def spark_outcomes(spark: SparkSession, folder: Path, cases: Sequence[Case], kind: str) -> list[Outcome]:
    """Read every case with Spark's own reader: one job for all files that share schema and options, if that works."""
    before = {name: spark.conf.get(name) or "" for name in _QUICK_JOBS}
    for name, value in _QUICK_JOBS.items():
        spark.conf.set(name, value)
    paths = []
    for number, item in enumerate(cases):
        path = folder / f"{number:05d}.{kind}"
        path.write_bytes(item.data)
        paths.append(str(path))
    found: list[Outcome | None] = [None] * len(cases)
    numbered = sorted(range(len(cases)), key=lambda number: cases[number].key)
    for _, group in itertools.groupby(numbered, key=lambda number: cases[number].key):
        _read_group(spark, cases, paths, list(group), kind, found)
    for name, value in before.items():
        spark.conf.set(name, value)
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
    except (PySparkException, Py4JError):
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
    wrong: list[str] = []
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
