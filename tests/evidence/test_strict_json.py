"""JSON from strangers: one reading, bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import EvidenceMalformed, TokenMalformed
from redoubt.evidence.strict_json import from_base64, from_base64url, from_hex, from_numbers, parse_object
from redoubt.limits import MAX_JSON_DEPTH


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1",
        b"[]",
        b"null",
        b"{}{}",
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"a":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 33 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"\\uDFFF":1}',
        b'{"a":[{"b":"x\\udc00\\ud800"}]}',
        "\ufeff{}".encode(),
        "{}".encode("utf-16"),
        nested(MAX_JSON_DEPTH + 1),
        nested(100_000),
        b"[" * 100_000,
    ],
)
def test_documents_that_parsers_read_differently_are_refused(text: bytes) -> None:
    for refusal in (EvidenceMalformed, TokenMalformed):
        with pytest.raises(refusal):
            parse_object(text, what="it", limit=10**6, refusal=refusal)


def test_bounds() -> None:
    assert parse_object(nested(MAX_JSON_DEPTH - 1), what="it", limit=10**6)
    assert parse_object(b'{"a":1}', what="it", limit=7) == {"a": 1}
    assert parse_object(b'{"a":"\\ud83d\\ude00"}', what="it", limit=30) == {"a": "\U0001f600"}
    with pytest.raises(EvidenceMalformed):
        parse_object(b'{"a":1}', what="it", limit=6)


@given(st.binary(max_size=40))
def test_each_spelling_has_one_reading(data: bytes) -> None:
    import base64

    url = base64.urlsafe_b64encode(data).decode()
    assert from_base64url(url, what="it") == from_base64url(url.rstrip("="), what="it") == data
    assert from_base64(base64.b64encode(data).decode(), what="it") == data
    assert from_hex(data.hex(), what="it") == from_hex(data.hex().upper(), what="it") == data
    assert from_numbers(list(data), what="it") == data


@pytest.mark.parametrize("value", ["AB", "A", "AA-", "AA+", "AA A", "AAé", "\ud800", 7, None, [], "QQ==="])
def test_odd_spellings_are_refused(value: object) -> None:
    for parse in (from_base64, from_hex) if value in ("AA-", "QQ===") else (from_base64,):
        with pytest.raises(EvidenceMalformed):
            parse(value, what="it")  # type: ignore[arg-type]
    if value not in ("AA-", "QQ==="):
        with pytest.raises(EvidenceMalformed):
            from_base64url(value, what="it")  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_any_text_raises_only_documented_errors(text: str) -> None:
    for parse in (from_base64, from_base64url, from_hex):
        try:
            assert isinstance(parse(text, what="it"), bytes)
        except EvidenceMalformed:
            continue
    encoded = json.dumps(text).encode()
    with pytest.raises(EvidenceMalformed):
        parse_object(encoded, what="it", limit=1000)
