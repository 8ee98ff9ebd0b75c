"""Field lists have exactly one spelling, and nothing but a RedoubtError comes out of a malformed one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import HeaderInvalid

fields = st.lists(st.binary(max_size=40), max_size=6).map(tuple)


@given(fields)
def test_what_was_encoded_is_decoded(values: tuple[bytes, ...]) -> None:
    assert decode_fields(encode_fields(*values), count=len(values), what="it") == values


@given(fields, fields)
def test_two_lists_never_encode_alike(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert (encode_fields(*one) == encode_fields(*other)) == (one == other)


@given(st.binary(max_size=60), st.integers(0, 6))
def test_whatever_decodes_is_canonical(data: bytes, count: int) -> None:
    try:
        values = decode_fields(data, count=count, what="it")
    except HeaderInvalid:
        return
    assert encode_fields(*values) == data


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 1),
        (b"\0\0\0", 1),
        (b"\0\0\0\1", 1),
        (b"\xff\xff\xff\xffx", 1),
        (encode_fields(b"a"), 0),
        (encode_fields(b"a"), 2),
        (encode_fields(b"a") + b"\0", 1),
    ],
)
def test_a_list_of_another_shape_is_refused(data: bytes, count: int) -> None:
    with pytest.raises(HeaderInvalid, match="the record"):
        decode_fields(data, count=count, what="the record")
