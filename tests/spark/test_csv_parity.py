"""CSV rows here against Spark's own reader: the nasty cases, and generated ones."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from tests.spark.csv_cases import CASES
from tests.spark.parity import FAILED, Case, Outcome, arrow_schema, case, differences, options_of, spark_outcomes

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark import csv_exact
from redoubt.spark.csv_fast import FastCsv
from redoubt.spark.options import TextOptions

pytestmark = pytest.mark.spark

#: Cases that are refused, with the reason in docs/spark-parity.md.
REFUSED = {
    "BOM twice",
    "uuuu-MM-dd",
    "float '7.038531e-26'",
    "float '1.00000017881393421514957253748434595763683319091796875001'",
    "lone LF outside quotes in CRLF, multiLine",
    "sep of two, quotes",
    "lineSep ; with LF",
}


def read_exact(item: Case) -> Outcome | None:
    return _read(item, fast=False)


def read_fast(item: Case) -> Outcome | None:
    """Rows of the fast path; None where it hands the block to the exact one."""
    return _read(item, fast=True)


def _read(item: Case, *, fast: bool) -> Outcome | None:
    options, schema = options_of(item, "csv"), arrow_schema(item.schema)
    try:
        csv_exact.check(schema, options)
        block = _after_header(csv_exact.strip_bom(item.data), schema, options)
        if fast:
            found = FastCsv(schema, options).parse(block)
            return None if found is None else pa.Table.from_batches([found])
        return pa.Table.from_batches([csv_exact.parse(block, schema=schema, options=options)])
    except OptionRefused:
        return None
    except RecordMalformed:
        return FAILED


def _after_header(block: bytes, schema: pa.Schema, options: TextOptions) -> bytes:
    if not options.header or options.multi_line:
        return block
    header, rest = csv_exact.split_header(block, options)
    if header is not None:
        csv_exact.check_header(header, schema, options)
    return rest


def test_nasty_cases(spark: SparkSession, tmp_path: Path) -> None:
    expected = spark_outcomes(spark, tmp_path, CASES, "csv")
    wrong, _ = differences(CASES, expected, read_exact)
    assert not wrong, "\n".join(wrong)
    refused = {item.name for item in CASES if read_exact(item) is None}
    assert refused == REFUSED
    wrong, handed_over = differences(CASES, expected, read_fast)
    assert not wrong, "\n".join(wrong)
    assert handed_over < len(CASES)


DIALECTS: list[dict[str, str]] = [
    {},
    {"escape": '"'},
    {"multiLine": "true"},
    {"multiLine": "true", "escape": '"', "header": "true"},
    {"sep": "|", "quote": "'", "comment": "#"},
    {"nullValue": "1", "emptyValue": "e"},
    {"ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "true"},
    {"header": "true", "mode": "DROPMALFORMED"},
    {"sep": "||"},
]
SCHEMAS = [
    "a string, b string",
    "a int, b double, c string, _corrupt_record string",
    "a decimal(4,1), b date, c boolean",
]


def generated(seed: int, count: int) -> list[Case]:
    """Small files over an alphabet of what parsers stumble on; the seed makes failures repeatable."""
    chance = random.Random(seed)
    out = []
    for options in DIALECTS:
        for schema in SCHEMAS:
            sep = options.get("sep", ",")
            alphabet = [
                "1",
                "1.5",
                "x",
                "é",
                "true",
                "1996-03-04",
                sep,
                sep,
                sep,
                "\n",
                "\n",
                "\r\n",
                " ",
                '"',
                '"',
                "\\",
                "#",
            ]
            alphabet += ["|", "'", "\t", "-", "\x00", "1", "22"]
            for number in range(count):
                data = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 24)))
                if chance.random() < 0.5:
                    data = data.replace("\r\n", "\n")
                out.append(case(f"{seed}.{number}", data, schema, **options))
    return out


@pytest.mark.parametrize(("seed", "count"), [(20, 20), pytest.param(21, 200, marks=pytest.mark.soak)])
def test_generated_files(spark: SparkSession, tmp_path: Path, seed: int, count: int) -> None:
    """*count* files in each dialect and schema."""
    cases = generated(seed, count)
    expected = spark_outcomes(spark, tmp_path, cases, "csv")
    for read in (read_exact, read_fast):
        wrong, refused = differences(cases, expected, read)
        assert not wrong, "\n".join(wrong[:20])
        assert refused < len(cases)


INFERENCE = [
    ("no header", b"a,1\nb,2\n", {}),
    ("ints", b"a,1\nb,2\n", {"inferSchema": "true"}),
    ("header", b"x,y,X,,y\n1,2,3,4,5\n", {"header": "true", "inferSchema": "true"}),
    ("header with nullValue", b"NA,y\n1,2\n", {"header": "true", "nullValue": "NA"}),
    ("header again", b"x,y\n1,2\nx,y\n", {"header": "true", "inferSchema": "true"}),
    ("numbers", b"1,9999999999,99999999999999999999,1.5,1e2,1,1d\n2,1,1,1,1,NaN,2\n", {"inferSchema": "true"}),
    ("decimals", b"99999999999999999999,1,1,1e20\n1.5,99999999999999999999,99999999999,5\n", {"inferSchema": "true"}),
    ("huge", b"999999999999999999999999999999999999999,-12345678901234567890\n", {"inferSchema": "true"}),
    ("mixed", b"1,true,1,x\ntrue,1,2020-01-01,1\n", {"inferSchema": "true"}),
    (
        "dates",
        b"2020-01-01,2020-01-01,2020-01-01 01:02:03,2020-1-1\n2020-13-01,2020-01-02,2020-01-01,2020-01-01\n",
        {"inferSchema": "true"},
    ),
    (
        "date then timestamp",
        b"2020-01-01,2020-01-01T00:00:00\n2020-01-01T01:02:03,2020-01-01\n",
        {"inferSchema": "true"},
    ),
    ("timestamps", b"2020-01-01T01:02:03Z,2020-01-01 01:02:03+01:00,2020\n", {"inferSchema": "true"}),
    (
        "formats",
        b"01/02/2020,01.02.2020 03:04\n",
        {"inferSchema": "true", "dateFormat": "dd/MM/yyyy", "timestampFormat": "dd.MM.yyyy HH:mm"},
    ),
    ("booleans", b"true,FALSE,t\nfalse,true,true\n", {"inferSchema": "true"}),
    ("empties", b",1,\n,,\n2,,\n", {"inferSchema": "true"}),
    ("nulls", b"NA,1\nNA,NA\n", {"inferSchema": "true", "nullValue": "NA"}),
    ("short and long rows", b"1,2\n1,2,3\n1\n", {"inferSchema": "true"}),
    ("comments", b"#c\n\na,b\n#d\n1,2\n", {"inferSchema": "true", "header": "true", "comment": "#"}),
    ("multiLine", b'a,b\n"1\n2",2\n', {"inferSchema": "true", "header": "true", "multiLine": "true"}),
    ("blanks", b" 1, 1.5, true\n", {"inferSchema": "true"}),
    ("special doubles", b"NaN,Inf,-Inf,Infinity,1f,0x1p3\n", {"inferSchema": "true"}),
]


@pytest.mark.parametrize(("name", "data", "options"), INFERENCE, ids=[row[0] for row in INFERENCE])
def test_inferred_schema(spark: SparkSession, tmp_path: Path, name: str, data: bytes, options: dict[str, str]) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    frame = spark.read.options(**options).csv(str(path))
    want = arrow_schema(", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in frame.schema.fields))
    got = csv_exact.infer([data], options_of(Case(name, data, "", options), "csv"))
    assert got.equals(want), f"Spark {want}, here {got}"
