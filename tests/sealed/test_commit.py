"""Commit records: canonical JSON, strictly parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.errors import CommitInvalid
from redoubt.sealed.commit import Commit, Operation, Part, PartKind, commit_name, digest_of, parse_commit_name
from redoubt.sealed.header import NIL

DATASET, ID, KEY = uuid4(), uuid4(), uuid4()
DIGEST = "sha256:" + "ab" * 32


def part(name: str = "x", *, commit: UUID = ID, **changes: Any) -> Part:
    values: dict[str, Any] = {
        "name": f"data/{commit}/{name}",
        "kind": PartKind.PART,
        "commit": commit,
        "key": KEY,
        "owner": DATASET,
        "length": 100,
        "prefix": "ab" * 56,
        "sha256": "cd" * 32,
        "media_type": "text/csv",
    }
    return Part(**{**values, **changes})


def commit(*parts: Part, **changes: Any) -> Commit:
    values: dict[str, Any] = {
        "dataset": DATASET,
        "id": ID,
        "number": 1,
        "previous": None,
        "operation": Operation.CREATE,
        "write": uuid4(),
        "created": "2026-01-02T03:04:05Z",
        "parts": parts,
    }
    return Commit(**{**values, **changes})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.lists(
    st.text("abcü-.", min_size=1, max_size=6).filter(lambda it: it not in {".", ".."}), max_size=5, unique=True
)


@given(names, st.dictionaries(texts, texts, max_size=4), st.integers(1, 10**8 - 1), st.integers(1, 2**53 - 1))
def test_round_trip(names: list[str], properties: dict[str, str], number: int, length: int) -> None:
    parts = sorted((part(name, length=length) for name in names), key=lambda it: it.name.encode())
    record = commit(*parts, number=number, previous=None if number == 1 else DIGEST, properties=properties)
    encoded = record.encode()
    assert Commit.decode(encoded) == record
    assert json.loads(encoded)["signature"] is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


@settings(max_examples=300)
@given(st.data(), json_values)
def test_any_member_replaced_by_anything_is_refused_or_round_trips(data: st.DataObject, value: Any) -> None:
    document = json.loads(commit(part(), properties={"a": "b"}).encode())
    *folder, last = data.draw(st.sampled_from(paths(document)[1:]))
    target = document
    for key in folder:
        target = target[key]
    target[last] = value
    raw = json.dumps(document).encode() if data.draw(st.booleans()) else rfc8785.dumps(document)
    try:
        parsed = Commit.decode(raw)
    except CommitInvalid:
        return
    assert parsed.encode() == raw


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(CommitInvalid):
        Commit.decode(garbage)


GOOD = commit(part("a"), part("b"), properties={"format": "csv"}).encode()


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw + b" ",
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: raw.replace(b'{"commit":', b'{"commit":{},"commit":', 1),
        lambda raw: raw.replace(b'"number":1', b'"number":1.0'),
        lambda raw: raw.replace(b'"number":1', b'"number":true'),
        lambda raw: raw.replace(b'"format":1', b'"format":true'),
        lambda raw: raw.replace(b'"format":1', b'"format":2'),
        lambda raw: raw.replace(b'"csv"', b'"\\u0063sv"'),
        lambda raw: raw.replace(b'"csv"', b'"\\ud800"'),
        lambda raw: raw.replace(b'"csv"', b"1"),
        lambda raw: raw.replace(b'"signature":null', b'"signature":"x"'),
        lambda raw: raw.replace(b'"signature":null', b'"signature":null,"zzz":1'),
        lambda raw: raw.replace(str(DATASET).encode(), str(DATASET).upper().encode()),
        lambda raw: raw.replace(str(DATASET).encode(), b"{" + str(DATASET).encode() + b"}"),
        lambda raw: raw.replace(b'"length":100', b'"length":1e2'),
        lambda raw: raw.replace(b'"length":100', b'"length":9007199254740993'),
        lambda raw: raw.replace(b'"length":100', b'"length":' + b"9" * 5000),
        lambda raw: b"[" * 100_000,
    ],
)
def test_a_second_spelling_is_refused(edit: Callable[[bytes], bytes]) -> None:
    assert edit(GOOD) != GOOD
    with pytest.raises(CommitInvalid):
        Commit.decode(edit(GOOD))


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 0},
        {"length": 2**53},
        {"prefix": ""},
        {"prefix": "AB" * 56},
        {"prefix": "ab" * 55},
        {"sha256": "cd" * 31},
        {"media_type": "text"},
        {"name": "_commits/00000002"},
        {"name": "_keys/x/00000001"},
        {"name": "../escape"},
        {"name": "data/another-commit/x"},
        {"kind": PartKind.STANDALONE},
        {"kind": PartKind.PARQUET},
        {"kind": PartKind.STANDALONE, "commit": NIL, "prefix": ""},
    ],
)
def test_a_malformed_part_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CommitInvalid):
        replace(part(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 10**8, "previous": DIGEST},
        {"number": 1, "previous": DIGEST},
        {"number": 2, "previous": None},
        {"number": 2, "previous": ""},
        {"number": 2, "previous": "sha256:" + "AB" * 32},
        {"created": "2026-01-02 03:04:05"},
        {"created": "٢٠٢٦-01-02T03:04:05Z"},
        {"created": "2026-01-02T03:04:05Z\n"},
        {"parts": (part("b"), part("a"))},
        {"parts": (part("a"), part("a"))},
        {"parts": (part("a", owner=uuid4()),)},
    ],
)
def test_a_malformed_commit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CommitInvalid):
        commit(**changes)


def test_parts_are_sorted_by_bytes_not_by_characters() -> None:
    """U+FFFF sorts before U+10000 in UTF-8, after it in UTF-16."""
    names = ["\uf8ff", "\U00010000"]
    assert Commit.decode(commit(*map(part, names)).encode()).parts == tuple(map(part, names))


def test_standalone_and_parquet_parts() -> None:
    standalone = part(kind=PartKind.STANDALONE, commit=NIL, owner=uuid4())
    parquet = part("z", kind=PartKind.PARQUET, prefix="", media_type="application/vnd.apache.parquet")
    parts = sorted([standalone, parquet], key=lambda it: it.name)
    assert Commit.decode(commit(*parts).encode()).parts == tuple(parts)


@given(st.integers(1, 10**8 - 1))
def test_record_names(number: int) -> None:
    assert parse_commit_name(commit_name(number)) == number


NO_NAMES = [
    "_commits/1",
    "_commits/000000001",
    "_commits/00000000",
    "_commits/x/00000001",
    "00000001",
    "_commits/٠٠٠٠٠٠٠١",
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_records_name(name: str) -> None:
    assert parse_commit_name(name) == 0


def test_parts_are_found_by_name() -> None:
    record = commit(part("a"), part("b"))
    assert record.part(part("b").name) == part("b")
    assert record.part("data/no") is None


def test_digests_are_public_sha256() -> None:
    assert digest_of(b"").startswith("sha256:e3b0c442")
