"""JSON records give exactly the rows, and the schema, that Spark's own reader gives; or they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redoubt.errors import OptionRefused, RecordMalformed
from redoubt.spark.json_lines import infer, parse
from redoubt.spark.options import TextOptions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TYPES = [
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "decimal(7,2)",
    "string",
    "boolean",
    "date",
    "timestamp",
    "timestamp_ntz",
    "array<int>",
    "struct<x:int,y:string>",
    "map<string,int>",
    "array<struct<x:int>>",
    "array<array<int>>",
    "map<string,struct<x:int>>",
    "struct<s:struct<x:int>>",
]
_VALUES: list[bytes] = [
    *(
        b"1 -0 200 40000 1.5 1e3 1.0 99999999999999999999 123456789012345678 0.1e-400 16777217 16777217000000001"
    ).split(),
    *(b'"1" "1,000.5" " 1" "x" "" true "true" null NaN -INF +Infinity Infinity INF "NaN" "-INF" "Inf"').split(),
    *b'"2020-01-02" "2020-01-02T03:04:05.1234567+01:30" "2020-01-02GMT" "18000" "-5" 1600000000'.split(),
    *b'9223372036854775807 [1,null,"x",2] [1,2.5,[3]] [] {"x":1,"y":2,"z":[{}]} {"x":"q","y":"r"}'.split(),
    *b'{"k":1,"k":2} {"k":"x","j":1} [{"x":1},{"x":"b"},null] [[1,"b"],[2]] {"s":{"x":"b"}}'.split(),
    *b'{"k":{"x":"b"},"l":{"x":1}} \'q\' bad 01 1. .5 +1 - 1e tru nullx {"x":bad} {"x":1 [1, [1,] {"x":1,}'.split(),
    *b'"abc 99999.995 "1e2" 1e-3 -1.005 0.30000001192092896 1.00000017881393432617187499'.split(),
    *(b'"2020-1-2 03:04"', b'"2020-01-02 03:04:05 Europe/Paris"', b'{ "x" : [1, 2 ] }', rb"'it\'s'"),
    *(rb'"\ud83d\ude00\ud83d"', rb'"a\x"', rb'"\u12"', b'"a\tb"', '"é🙂"'.encode(), b'"\xff"', b'"\xe9","z":1'),
    *(b'"2020-01-01 00:00:00-x"', b'"2020-01-01 00:00:00-"', b'"2020-01-01 00:00:00 -Foo/Bar"'),
    *(b'"\xc3', b'"\xe2\x82"', b'"\xe2\x82,"', b'"\xff,', b'"a\xff}'),
]
_RECORDS = [
    *("[]", "[null]", "[1]", '[{"a":1},{"a":"x"},{"a":3}]', '[{"a":1},5]', '[{"a":1}', "null", "5", '"x"', "  "),
    *('{"a":1,"a":"x"}', '{"a":"x","a":1}', '{"a":1,"a":null}', '\ufeff{"a":1}', '{"a":1},', '{"u":bad,"a":1}'),
    *('{"u":"\tx","a":1}', '{"u":[1,{"q":2}],"a":1}', '{"a" 1}', '{"a":1 "b":2}', '{"a":1]', "}", '{"a":1}}'),
    *('{"a":{"x":{"a":5}},"b":2}', '{"":1,"a":2}', "{'a':1,'b':'x'}", '{"a":1,"b":2', '{"a":tru', "// c"),
]
_INFERRED = [
    *('{"a":1}\n{"a":1.5}', '{"a":1}\n{"a":"x"}', '{"a":null}', '{"a":""}', '{"a":{}}', '{"a":[]}', '{"a":[1,"x"]}'),
    *('{"a":[{"x":1},{"y":2}]}', '{"b":1,"a":2}', '{"a":1}\nbad', '[{"a":1},{"b":"x"}]', "5", '{"a":NaN}', "[1,2]"),
    *('{"a":99999999999999999999}\n{"a":1}', '{"a":99999999999999999999}\n{"a":1.5}', '{"a":true}\n{"a":1}'),
    *('{"a":{"z":1,"b":[[]]}}\n{"a":{"b":[[true]]}}', 'null\n{"a":1}', '{"a":1}\n5', '{"é":1,"Z":1,"a":1}'),
]

pytestmark = pytest.mark.spark


def _options(**options: str) -> TextOptions:
    return TextOptions.read({"path": "p", "format": "json", **options})


def _rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows without nulls as text: NaN equals NaN, and dates beyond Python's stay numbers."""
    names, columns = table.schema.names, []
    for column in table.columns:
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        wide = {pa.date32(): pa.int32(), pa.timestamp("us"): pa.int64(), pa.timestamp("us", "UTC"): pa.int64()}
        wide[pa.string()] = pa.binary()  # Spark's corrupt records may be no UTF-8
        columns.append(array.view(wide.get(array.type, array.type)).to_pylist())
    cells = zip(*columns, strict=True)
    return [{name: repr(value) for name, value in zip(names, row, strict=True) if value is not None} for row in cells]


def _arrow_schema(text: str) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType, _parse_datatype_string

    parsed = _parse_datatype_string(text)
    assert isinstance(parsed, StructType)
    return to_arrow_schema(parsed, timezone="UTC")


def _parsed(records: list[bytes], schema: pa.Schema, **options: str) -> list[list[dict[str, Any]] | None]:
    """Return the rows of each record; None where it is refused."""
    found: list[list[dict[str, Any]] | None] = []
    for record in records:
        try:
            found.append(_rows(parse(record, schema=schema, options=_options(**options))))
        except OptionRefused:
            found.append(None)
    return found


def test_every_value_in_every_type(spark: SparkSession, tmp_path: Path) -> None:
    records = [
        b'{"id":%d,"c%d":%s,"b":7}' % (column * len(_VALUES) + index, column, value)
        for column in range(len(_TYPES))
        for index, value in enumerate(_VALUES)
    ]
    columns = ",".join(f"c{column} {kind}" for column, kind in enumerate(_TYPES))
    (tmp_path / "all.json").write_bytes(b"\n".join(records))

    text = f"id int,{columns},b int,_corrupt_record string"
    expected = _rows(spark.read.schema(text).json(str(tmp_path)).toArrow())
    found = _parsed(records, _arrow_schema(text))
    cases = zip(records, found, expected, strict=True)
    assert [case for case in cases if case[1] is not None and case[1] != [case[2]]] == []
    assert sum(one is None for one in found) < len(records) / 10

    text = f"id int,{columns},b int"
    kept = {
        row["id"]: row for row in _rows(spark.read.schema(text).json(str(tmp_path), mode="DROPMALFORMED").toArrow())
    }
    found = _parsed(records, _arrow_schema(text), mode="DROPMALFORMED")
    mine = {row["id"]: row for rows in found for row in rows or []}
    refused = {str(number) for number, rows in enumerate(found) if rows is None}
    assert mine == {number: row for number, row in kept.items() if number not in refused}


@pytest.mark.parametrize("multi_line", ["false", "true"])
def test_records(spark: SparkSession, tmp_path: Path, multi_line: str) -> None:
    text = "a int,b int,_corrupt_record string"
    for index, record in enumerate(_RECORDS):
        (tmp_path / f"{index:03}.json").write_text(record)
    frame = spark.read.schema(text).option("multiLine", multi_line).json(str(tmp_path))
    table = frame.selectExpr("*", "_metadata.file_name file").toArrow()
    expected: list[list[dict[str, Any]]] = [[] for _ in _RECORDS]
    for row in _rows(table):
        expected[int(row.pop("file")[2:5])].append(row)
    found = _parsed([record.encode() for record in _RECORDS], _arrow_schema(text), multiLine=multi_line)
    cases = zip(_RECORDS, found, expected, strict=True)
    assert [case for case in cases if case[1] is not None and case[1] != case[2]] == []


def test_inferred_schemas(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.sql.pandas.types import to_arrow_schema

    different = []
    for index, text in enumerate(_INFERRED):
        path = tmp_path / f"{index}.json"
        path.write_text(text)
        expected = to_arrow_schema(spark.read.json(str(path)).schema, timezone="UTC")
        found = infer([text.encode()], _options())
        if not found.equals(expected):
            different.append((text, found, expected))
    assert different == []


def test_one_odd_line_leaves_the_columnar_rows_alone() -> None:
    lines = [b'{"a":%d}' % number for number in range(5000)]
    lines[1234] = b'{"a":"x"}'
    batch = parse(b"\n".join(lines), schema=pa.schema([("a", pa.int64())]), options=_options())
    assert batch.column(0).to_pylist() == [None if number == 1234 else number for number in range(5000)]


def test_failfast_raises() -> None:
    with pytest.raises(RecordMalformed):
        parse(b'{"a":"x"}', schema=pa.schema([("a", pa.int64())]), options=_options(mode="FAILFAST"))
