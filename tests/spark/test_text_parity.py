"""Lines of text here against Spark's own text reader."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from tests.spark.parity import Case, Outcome, arrow_schema, case, differences, options_of, spark_outcomes

from redoubt.errors import OptionRefused
from redoubt.spark import text_lines

pytestmark = pytest.mark.spark

_DATA: list[tuple[str, bytes]] = [
    ("plain", b"a\nb\n"),
    ("no final newline", b"a\nb"),
    ("empty lines", b"\n\na\n\n"),
    ("one empty line", b"\n"),
    ("empty file", b""),
    ("CRLF and CR", b"a\r\nb\rc\n\rd\r\r\n"),
    ("BOM", b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"),
    ("bad UTF-8", b"a\xffb\n\xed\xa0\x80\n\xe2\x82\n"),
    ("odd line ends", "a\u2028b\x0bc\x0cd\x1ce\x85f\u0085g\n".encode()),
    ("NUL and blanks", b" \x00 \t\n"),
    ("separator inside", b"a;b;;c;"),
]
_OPTIONS: list[dict[str, str]] = [{}, {"lineSep": ";"}, {"lineSep": "\n"}, {"lineSep": "\r\n"}]
CASES = [case(name, data, "value string", **options) for options in _OPTIONS for name, data in _DATA]


def generated(seed: int, count: int) -> list[Case]:
    chance = random.Random(seed)
    pieces = [b"a", b"\n", b"\r", b"\r\n", b";", b"\xff", "é".encode(), b" ", b"\xe2\x82", b"\xf0\x9f\x98"]
    return [
        case(
            f"{seed}.{number}",
            b"".join(chance.choice(pieces) for _ in range(chance.randint(0, 15))),
            "value string",
            **options,
        )
        for options in _OPTIONS
        for number in range(count)
    ]


def read(item: Case) -> Outcome:
    block = text_lines.strip_bom(item.data)
    return pa.Table.from_batches(
        [text_lines.parse(block, schema=arrow_schema(item.schema), options=options_of(item, "text"))]
    )


def test_lines(spark: SparkSession, tmp_path: Path) -> None:
    cases = CASES + generated(7, 80)
    wrong, _ = differences(cases, spark_outcomes(spark, tmp_path, cases, "text"), read)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("schema", ["a int", "a string, b string"])
def test_other_schemas_are_refused(schema: str) -> None:
    with pytest.raises(OptionRefused):
        text_lines.parse(b"a\n", schema=arrow_schema(schema), options=options_of(case("x", ""), "text"))
