"""What Redoubt writes as csv, json and text is, byte for byte, what Spark's own writers write for the same rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from redoubt.errors import OptionRefused
from redoubt.spark.format_rows import csv_bytes
from redoubt.spark.format_values import java_double, java_float
from redoubt.spark.options import TextOptions
from redoubt.spark.render import renderer_for

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PIECES = ['"', ",", "\\", " ", "a", "\n", "\r", "#", "\t", "é", ";", "'"]
_TEXTS = [
    *("".join(pieces) for size in (1, 2) for pieces in itertools.product(_PIECES, repeat=size)),
    *(
        "",
        'a"b',
        'a\\"b',
        '"a"',
        '""',
        " a ",
        'x,"y"',
        "a\r\nb",
        "x\0y",
        "\x01",
        "a\x01",
        "\u00a0x\u00a0",
        "🙂",
        "null",
    ),
]
_CSV_OPTIONS: list[dict[str, str]] = [
    {"header": "true"},
    {"quoteAll": "true", "header": "true"},
    {"nullValue": "NULL"},
    {"nullValue": 'N,"A', "quoteAll": "true"},
    {"escape": '"'},
    {"ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"},
    {"ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "false"},
    {"emptyValue": "EMPTY"},
    {"emptyValue": "a,b"},
    {"emptyValue": "", "quoteAll": "true"},
    {"comment": ";"},
    {"sep": ";", "quote": "'"},
    {"sep": "\t"},
    {"sep": " "},
]
_SCALARS = """select cast(x as double) `double`, cast(x as float) `float`, cast(1.50 as decimal(9,3)) dec,
    cast(0.0000001 as decimal(10,8)) small, cast(0 as decimal(38,18)) zero, cast(-99999 as decimal(5,0)) whole,
    cast(-7 as tinyint) tiny, 9223372036854775807 big, true flag, date'0001-01-01' first, date'2020-01-02' day,
    timestamp'2020-01-02 03:04:05.678901' at, timestamp'1969-12-31 23:59:59.9999' before,
    timestamp_ntz'9999-12-31 23:59:59.9999' local, date'+12345-01-01' late, cast(null as date) none
    from values ('1e10'),('1e-3'),('1e7'),('9999999.0'),('1.0E-4'),('NaN'),('Infinity'),('-Infinity'),('-0.0'),('0'),
    ('4.9E-324'),('12345.5'),('0.001'),('0.5'),('1e21'),('100'),('1.7976931348623157E308'),(null) as v(x)"""
#: With offsets that changed, and those of before 1906 that had seconds.
_INSTANTS = """select timestamp'2020-01-02 03:04:05.678901Z' winter, timestamp'2020-07-02 03:04:05Z' summer,
    timestamp'1969-12-31 23:59:59.9999Z' before, timestamp'1850-06-01 00:00:00Z' old,
    timestamp'0001-06-02 00:00:00Z' first,
    timestamp'9999-12-30 00:00:00Z' last, timestamp_ntz'2020-01-02 03:04:05.6' local, date'2020-01-02' day"""
_NESTED = """select named_struct('x', 1, 'y', cast(null as int)) st, array(1, null, 2) ar, map('k"', 1, 'n', null) m,
    map(1, 2) mi, X'0102ff' bi, cast(array() as array<int>) ea,
    cast(map() as map<string,int>) em, named_struct('x', cast(null as int)) sn,
    array(named_struct('z', cast(null as string)), null, named_struct('z', 'q')) an, cast(null as array<int>) nn,
    map('a', array(map('b', named_struct('c', date'2020-01-01')))) deep, cast('NaN' as float) nan,
    named_struct('t', timestamp'2020-01-01 00:00:00') ts"""

pytestmark = pytest.mark.spark


def _differences(df: DataFrame, kind: str, folder: Path, options: dict[str, str]) -> str | None:
    """Return where the two writers differ; None if nowhere."""
    whole = df.coalesce(1)
    whole.write.format(kind).options(**options).option("redoubt.plaintext", "allow").mode("overwrite").save(str(folder))
    expected = b"".join(part.read_bytes() for part in sorted(folder.glob("part-*")))
    table = whole.toArrow().combine_chunks()
    renderer = renderer_for(table.schema, TextOptions.read({"path": "p", "format": kind, **options}))
    batches = table.to_batches(max_chunksize=7)  # slices too must be right
    written = renderer.header() + b"".join(map(renderer.rows, batches))
    if written == expected:
        return None
    lines = zip(written.split(b"\n"), expected.split(b"\n"), strict=False)
    return f"{options}: " + next((f"{mine!r} for {theirs!r}" for mine, theirs in lines if mine != theirs), "length")


def test_csv_texts(spark: SparkSession, tmp_path: Path) -> None:
    rows = [*((text, text) for text in _TEXTS), (None, None), (None, "x"), ("x", None)]
    df = spark.createDataFrame(rows, '`a,b` string, ` c"` string')
    found = [_differences(df, "csv", tmp_path / "out", options) for options in _CSV_OPTIONS]
    assert [difference for difference in found if difference] == []


def test_one_column_of_csv_has_no_empty_lines(spark: SparkSession, tmp_path: Path) -> None:
    df = spark.createDataFrame([(text,) for text in ("", None, "a", " ", '"')], "a string")
    every: list[dict[str, str]] = [{}, {"nullValue": "N"}, {"emptyValue": ""}, {"quoteAll": "true"}]
    found = [_differences(df, "csv", tmp_path / "out", options) for options in every]
    assert found == [None] * len(every)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_scalars(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    every: list[dict[str, str]] = [{}, {"dateFormat": "dd/MM/yyyy", "timestampFormat": "yyyy-MM-dd HH:mm:ss.SSSSSS"}]
    found = [_differences(spark.sql(_SCALARS), kind, tmp_path / "out", options) for options in every]
    assert found == [None] * len(every)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York", "IST", "EST", "GMT+1", "-05:30:15", "+00:00:30"])
def test_timestamps_in_zones(spark: SparkSession, tmp_path: Path, zone: str) -> None:
    df = spark.sql(_INSTANTS)
    patterns = [None, "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "yyyy-MM-dd[ HH:mm]X"]
    every = [{"timeZone": zone} | ({"timestampFormat": pattern} if pattern else {}) for pattern in patterns]
    assert [_differences(df, "csv", tmp_path / "out", options) for options in every] == [None] * len(every)
    assert _differences(df, "json", tmp_path / "out", {"timeZone": zone}) is None


def test_an_unknown_zone_is_refused() -> None:
    values = pa.array([0], pa.timestamp("us", "UTC"))
    with pytest.raises(OptionRefused, match="Asia/Nowhere"):
        csv_bytes(pa.record_batch({"at": values}), TextOptions.read({"path": "p", "timeZone": "Asia/Nowhere"}))


def test_json_nested(spark: SparkSession, tmp_path: Path) -> None:
    texts = spark.createDataFrame([(text, None if "a" in text else text) for text in _TEXTS], 'a string, `b"` string')
    assert _differences(spark.sql(_NESTED), "json", tmp_path / "nested", {}) is None
    assert _differences(texts, "json", tmp_path / "texts", {}) is None


def test_text(spark: SparkSession, tmp_path: Path) -> None:
    df = spark.createDataFrame([(text,) for text in (*_TEXTS, None)], "value string")
    assert _differences(df, "text", tmp_path / "lines", {}) is None
    assert _differences(df, "text", tmp_path / "bars", {"lineSep": "|"}) is None


def test_doubles_have_the_shortest_text() -> None:
    # Java 17 prints 1.9999999999999998E23 and 2.0E-3 as 0.002; from Java 19 on it is what stands here.
    texts = {2e23: "2.0E23", 4.9e-324: "4.9E-324", 1e-3: "0.001", 1e23: "1.0E23", 2.2e-4: "2.2E-4"}
    assert {value: java_double(value) for value in texts} == texts
    assert java_float(1.401298464324817e-45) == "1.4E-45"


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (pa.array([[1]]), {}),
        (pa.array([b"x"]), {}),
        (pa.array(["x"]), {"sep": "||"}),
        (pa.array(["x"]), {"quote": ""}),
        (pa.array(["x\n"]), {"lineSep": ";"}),
        (pa.array([0], pa.date32()), {"dateFormat": "yyyy-MM-dd HH"}),
        (pa.array([0], pa.date32()), {"dateFormat": "yyyy-MM-ddXXX"}),
        (pa.array([0], pa.timestamp("us")), {"timestampNTZFormat": "yyyy-MM-dd[XXX]"}),
    ],
)
def test_what_spark_cannot_write_is_refused(values: pa.Array, options: dict[str, str]) -> None:
    with pytest.raises(OptionRefused):
        csv_bytes(pa.record_batch({"column": values}), TextOptions.read({"path": "p", **options}))
