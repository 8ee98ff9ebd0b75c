"""Commit records: Java and Python take the same ones, and write them to the same bytes."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import rfc8785
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from tests.jvm.conftest import code_of, java_of
from tests.sealed.test_commit import DIGEST, ID, KEY, commit, part

from redoubt.errors import CommitInvalid
from redoubt.sealed.commit import Commit, PartKind
from redoubt.sealed.header import NIL

pytestmark = pytest.mark.spark

PARQUET: dict[str, Any] = {"kind": PartKind.PARQUET, "prefix": ""}
STANDALONE: dict[str, Any] = {"kind": PartKind.STANDALONE, "commit": NIL, "owner": uuid4(), "name": "x.csv.sealed"}
RECORD = json.loads(
    commit(
        part(**STANDALONE), part("a"), part("p", **PARQUET), properties={"format": "csv", "ü": "\u2028\U0001f600\x7f"}
    ).encode()
)

#: Members of a record that values are tried in, and values that one of two readers might take.
PLACES = [
    *(("commit", name) for name in RECORD["commit"] if name != "parts"),
    *(("commit", "parts", number, name) for number in range(3) for name in RECORD["commit"]["parts"][0]),
    ("commit", "properties", "format"),
    ("signature",),
]
NUMBERS = [0, 1, 2, -1, 2**53 - 1, 1.5, 10**8]
TEXTS = ["", "x", DIGEST, DIGEST.upper(), "ab" * 32, "AB" * 32, "ab" * 56, "text/csv", "Text", "a/b; c"]
WORDS = ["part", "parquet", "standalone", "Parquet", "create", "append", "overwrite", "adopt", "delete"]
IDS = [str(ID), str(KEY), str(NIL), str(ID).upper(), "1-2-3-4-5", str(UUID(int=1)), "{" + str(ID) + "}"]
TIMES = ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "\u0662026-01-02T03:04:05Z"]
NAMES = [f"data/{ID}/a", f"data/{ID}/../a", f"data/{NIL}/a", "_commits/a", "a//b", "/a", "a\0b"]
VALUES = st.one_of(
    st.sampled_from([None, True, [], {}, {"a": 1}]),
    st.sampled_from(NUMBERS),
    *(st.sampled_from(texts) for texts in (TEXTS, WORDS, IDS, TIMES, NAMES)),
    st.text(max_size=4),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=VALUES, spelled=st.booleans())
@example(place=("commit", "parts", 1, "commit"), value=str(KEY), spelled=True)
@example(place=("commit", "parts", 0, "commit"), value=str(ID), spelled=True)
@example(place=("commit", "parts", 1, "name"), value="elsewhere", spelled=True)
@example(place=("commit", "number"), value=10**8, spelled=True)
def test_java_takes_what_python_takes(spark: SparkSession, place: tuple[Any, ...], value: Any, spelled: bool) -> None:
    document = json.loads(json.dumps(RECORD))
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    raw = rfc8785.dumps(document) if spelled else json.dumps(document).encode()
    assert _by_java(spark, raw) == _by_python(raw)


def test_the_record_itself_is_taken(spark: SparkSession) -> None:
    raw = rfc8785.dumps(RECORD)
    assert _by_python(raw) == _by_java(spark, raw) == raw


def _by_python(raw: bytes) -> bytes | None:
    try:
        return Commit.decode(raw).encode()
    except CommitInvalid:
        return None


def _by_java(spark: SparkSession, raw: bytes) -> bytes | None:
    try:
        return bytes(java_of(spark).io.redoubt.sealed.CommitRecord.decode(raw).encode())
    except Py4JJavaError as error:
        return None if code_of(error) == "sealed.commit" else b"another error"
