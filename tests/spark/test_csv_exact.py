"""The exact CSV path and the gate of the fast one, against results of Spark 4.3 that were written down once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spark.csv_cases import CASES
from tests.spark.parity import Case, arrow_schema, options_of

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark import csv_exact
from redoubt.spark.csv_fast import FastCsv
from redoubt.spark.datetimes import session_offset
from redoubt.spark.options import TextOptions
from redoubt.spark.values import to_decimal, to_double, to_float, to_integer

THREE = "a string, b string, c string"
Rows = list[tuple[Any, ...]]


def options(**given: str) -> TextOptions:
    return TextOptions.read({"path": "x", "format": "csv", **given})


def rows(data: str | bytes, schema: str = THREE, **given: str) -> Rows:
    block = data if isinstance(data, bytes) else data.encode()
    batch = csv_exact.parse(block, schema=arrow_schema(schema), options=options(**given))
    return [tuple(row.values()) for row in batch.to_pylist()]


GOLDEN: list[tuple[str, str, str, dict[str, str], Rows]] = [
    ("quoted newline", '"a\nb",2,3\n', THREE, {}, [("a", None, None), ('b"', "2", "3")]),
    ("quoted newline, multiLine", '"a\nb",2,3\n', THREE, {"multiLine": "true"}, [("a\nb", "2", "3")]),
    ("doubled quote", '"a""b",2,3\n', THREE, {}, [('"a""b"', "2", "3")]),
    ("doubled quote, escape", '"a""b",2,3\n', THREE, {"escape": '"'}, [('a"b', "2", "3")]),
    ("backslashes", '"a\\nb\\\\c",2,3\n', THREE, {}, [("a\\nb\\c", "2", "3")]),
    ("backslash unquoted", "a\\b,x\\,y,3\n", THREE, {}, [("a\\b", "x\\", "y")]),
    ("text after quote", '"a"b,2,3\n', THREE, {}, [('"a"b', "2", "3")]),
    ("unclosed quote", '"abc,2,3\nx,y,z\n', THREE, {}, [("abc,2,3", None, None), ("x", "y", "z")]),
    ("empty", ",,\n1,,3\n", THREE, {}, [(None, None, None), ("1", None, "3")]),
    ("emptyValue", '"",2,""\n', THREE, {"emptyValue": "E"}, [("E", "2", "E")]),
    ("nullValue", 'NA,,""\n', THREE, {"nullValue": "NA"}, [(None, None, "")]),
    ("short", "1,2\n1\n", THREE, {}, [("1", "2", None), ("1", None, None)]),
    ("long dropped", "1,2,3,4\n1,2,3\n", THREE, {"mode": "DROPMALFORMED"}, [("1", "2", "3")]),
    ("kept", "x,1,2\n", "a int, b int, _corrupt_record string", {}, [(None, 1, "x,1,2")]),
    ("decimal", "1.565,z\n", "a decimal(7,2), b string", {}, [(Decimal("1.57"), "z")]),
    ("date", "1996-3-4 x,z\n", "a date, b string", {}, [(date(1996, 3, 4), "z")]),
    (
        "trimmed",
        ' a , " b " ,c\n',
        THREE,
        {"ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "true"},
        [("a", " b ", "c")],
    ),
    ("CR inside", "1,a\rb,3\n", THREE, {}, [("1", "a", None), ("b", "3", None)]),
    ("blank lines", "1,2,3\n   \n\n4,5,6\n", THREE, {}, [("1", "2", "3"), ("4", "5", "6")]),
    ("comment", "#x\n1,2,3\n #no,2,3\n", THREE, {"comment": "#"}, [("1", "2", "3"), (" #no", "2", "3")]),
]


@pytest.mark.parametrize(("name", "data", "schema", "given", "want"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden_rows(name: str, data: str, schema: str, given: dict[str, str], want: Rows) -> None:
    assert rows(data, schema, **given) == want


@pytest.mark.parametrize("zone", ["-x", "-", "--", "-Foo/Bar", "-99:99", "-EST", "+EST", " -"])
def test_a_cell_with_an_impossible_zone_is_null_and_ends_no_job(zone: str) -> None:
    """Attack by one cell: the look-up of a zone called itself without end."""
    assert rows(f"2020-01-01 00:00:00{zone}\n", "a timestamp", timeZone="UTC") == [(None,)]
    with pytest.raises(OptionRefused):
        session_offset(zone)


def test_failfast_tells_no_values() -> None:
    with pytest.raises(RecordMalformed) as caught:
        rows("secret,1\n", "a int, b int", mode="FAILFAST")
    assert "secret" not in caught.value.explain()


@pytest.mark.parametrize(
    "given",
    [
        {"sep": "||", "ignoreLeadingWhiteSpace": "true"},
        {"sep": "aba"},
        {"sep": "\\x"},
        {"sep": '"'},
        {"quote": "\n"},
        {"lineSep": "abc"},
        {"multiLine": "true", "lineSep": ";"},
        {"dateFormat": "EEE, d MMM yyyy"},
        {"dateFormat": "dd/MM/yy"},
        {"timestampFormat": "hh:mm a"},
        {"timeZone": "Mars/Olympus"},
    ],
)
def test_refused_options(given: dict[str, str]) -> None:
    with pytest.raises(OptionRefused):
        csv_exact.check(arrow_schema("a date, b timestamp"), options(**given))


@pytest.mark.parametrize("schema", ["_corrupt_record string", "a int, _corrupt_record int"])
def test_refused_schemas(schema: str) -> None:
    with pytest.raises(OptionRefused):
        csv_exact.check(arrow_schema(schema), options())


def test_unsupported_types_are_refused() -> None:
    with pytest.raises(OptionRefused):
        csv_exact.check(pa.schema([("a", pa.list_(pa.int32()))]), options())


@pytest.mark.parametrize(
    ("line", "given", "fits"),
    [
        ("A,b,C", {}, True),
        ("a,b", {}, False),
        ("a,c,b", {}, False),
        ('"a","b","c"', {}, True),
        ("x,y,z", {"enforceSchema": "true"}, True),
    ],
)
def test_header_check(line: str, given: dict[str, str], fits: bool) -> None:
    read = options(header="true", **{"enforceSchema": "false", **given})
    if fits:
        csv_exact.check_header(line, arrow_schema(THREE), read)
    else:
        with pytest.raises(RecordMalformed):
            csv_exact.check_header(line, arrow_schema(THREE), read)


@pytest.mark.parametrize(
    ("block", "given", "header", "rest"),
    [
        (b"a,b\n1,2\n", {}, "a,b", b"1,2\n"),
        (b"\n  \na,b\r\n1,2\n", {}, "a,b", b"1,2\n"),
        (b"a,b\r1,2\r3,4", {}, "a,b", b"1,2\r3,4"),
        (b"#x\na,b\n", {"comment": "#"}, "a,b", b""),
        (b"\n\n", {}, None, b""),
        (b"a;1\n;2", {"lineSep": ";"}, "a", b"1\n;2"),
    ],
)
def test_split_header(block: bytes, given: dict[str, str], header: str | None, rest: bytes) -> None:
    assert csv_exact.split_header(block, options(header="true", **given)) == (header, rest)


def test_values_at_their_bounds() -> None:
    assert to_integer("-128", 8) == -128
    assert to_decimal("99999.994", 7, 2) == Decimal("99999.99")
    assert to_double("0x1p3") == 8.0
    assert to_float("16777217") == 16777216.0
    for wrong in ("128", "1_0", " 1", "", "𝟏"):
        with pytest.raises(ValueError):
            to_integer(wrong, 8)
    with pytest.raises(ValueError):
        to_decimal("99999.995", 7, 2)
    with pytest.raises(OptionRefused):
        to_float("7.038531e-26")


HOSTILE = [b"1e-999999999,z\n", b"1." + b"0" * 500 + b",z\n", b"0x10,z\n", b" 1,z\n", b"1e5,z\n", b"\xef\xbb\xbf1,z\n"]


@pytest.mark.parametrize("block", HOSTILE)
def test_what_arrow_reads_otherwise_takes_the_exact_path(block: bytes) -> None:
    for schema in ("a decimal(15,2), b string", "a int, b string"):
        assert FastCsv(arrow_schema(schema), options()).parse(block) is None


def _either(item: Case) -> tuple[pa.RecordBatch | None, pa.RecordBatch | None]:
    read, schema = options_of(item, "csv"), arrow_schema(item.schema)
    try:
        exact = csv_exact.parse(item.data, schema=schema, options=read)
    except (OptionRefused, RecordMalformed):
        exact = None
    return FastCsv(schema, read).parse(item.data), exact


@pytest.mark.parametrize("item", CASES, ids=[item.name[:40] for item in CASES])
def test_the_fast_path_agrees_or_steps_aside(item: Case) -> None:
    fast, exact = _either(item)
    assert fast is None or (exact is not None and fast.equals(exact))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.text(alphabet='12,.-x"\\\n\r \té\x00#|', max_size=40),
    st.sampled_from(["\\", '"', ""]),
    st.sampled_from([",", "|", "\t"]),
)
def test_the_fast_path_agrees_on_generated_blocks(text: str, escape: str, sep: str) -> None:
    for schema in ("a string, b string", "a int, b decimal(5,2), _corrupt_record string"):
        fast, exact = _either(Case("x", text.encode(), schema, {"escape": escape, "sep": sep}))
        assert fast is None or (exact is not None and fast.equals(exact))


@pytest.mark.parametrize("item", CASES, ids=[item.name[:40] for item in CASES])
def test_fewer_columns_are_the_same_rows(item: Case) -> None:
    """Fewer columns may spare the exact path, where only an unwanted text needed it, but change no value."""
    read, schema = options_of(item, "csv"), arrow_schema(item.schema)
    for place in range(len(schema)):
        fast = FastCsv(schema, read, [place]).parse(item.data)
        if fast is None:
            continue
        exact = csv_exact.parse(item.data, schema=schema, options=read)
        assert fast.equals(exact.select([place]))
