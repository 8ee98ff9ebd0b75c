"""Headers: one canonical encoding, the expected identity, names and media types."""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redoubt.crypto.encoding import encode_fields
from redoubt.errors import FormatUnknown, HeaderInvalid, IdentityMismatch, NotSealed, SealedError
from redoubt.limits import MAX_HEADER_BYTES
from redoubt.sealed.header import MAGIC, NIL, FilePurpose, Header, check_media_type, check_part_name

PART = Header(FilePurpose.PART, uuid4(), uuid4(), uuid4(), "data/x/part-0.csv", "text/csv")

segments = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"), min_size=1, max_size=20)
names = (
    st.lists(segments.map(lambda text: unicodedata.normalize("NFC", text)), min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda name: not {".", ".."} & set(name.split("/")) and unicodedata.is_normalized("NFC", name))
)
uuids = st.uuids().filter(lambda it: it != NIL)
headers = st.one_of(
    st.builds(
        Header, st.sampled_from([FilePurpose.PART, FilePurpose.COMMIT]), uuids, uuids, uuids, names, st.just("text/csv")
    ),
    st.builds(Header, st.just(FilePurpose.STANDALONE), uuids, uuids, st.just(NIL), st.just(""), st.just("a/b")),
)


@given(headers, st.binary(max_size=20))
def test_round_trip(header: Header, rest: bytes) -> None:
    encoded = header.encode()
    assert len(encoded) <= MAX_HEADER_BYTES
    assert Header.parse(encoded + rest) == (header, len(encoded))
    header.expect(header)


@given(headers, headers)
def test_two_headers_never_encode_alike(one: Header, other: Header) -> None:
    assert (one.encode() == other.encode()) == (one == other)


@given(headers, st.data())
def test_whatever_parses_is_canonical(header: Header, data: st.DataObject) -> None:
    """An edit of one byte, an insertion or a deletion is refused, or is exactly another header."""
    encoded = bytearray(header.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    match data.draw(st.sampled_from(["edit", "insert", "delete"])):
        case "edit":
            encoded[position] = data.draw(st.integers(0, 255))
        case "insert":
            encoded.insert(position, data.draw(st.integers(0, 255)))
        case _:
            del encoded[position]
    assume(bytes(encoded) != header.encode())
    try:
        parsed, length = Header.parse(bytes(encoded))
    except SealedError:
        return
    assert parsed != header
    assert parsed.encode() == encoded[:length]


@given(st.binary(max_size=100))
def test_garbage_is_refused_by_a_sealed_error(garbage: bytes) -> None:
    for start in (garbage, MAGIC + garbage, MAGIC + b"\0\1" + garbage):
        with pytest.raises(SealedError):
            Header.parse(start)


def with_fields(*fields: bytes, version: int = 1) -> bytes:
    encoded = encode_fields(*fields)
    return MAGIC + struct.pack(">HH", version, len(encoded)) + encoded


GOOD = (b"part", bytes(15) + b"\1", bytes(15) + b"\2", bytes(15) + b"\3", b"data/x", b"text/csv", b"identity")


def test_the_hand_made_header_is_good() -> None:
    assert Header.parse(with_fields(*GOOD))[0].part_name == "data/x"


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, b"Part"),
        (0, b"model"),
        (0, b"standalone"),
        (1, bytes(15)),
        (2, bytes(17)),
        (3, bytes(16)),
        (4, b""),
        (4, b"/abs"),
        (4, b"a//b"),
        (4, b"a/../b"),
        (4, b"./a"),
        (4, b"a\\b"),
        (4, b"a\nb"),
        (4, b"a\0"),
        (4, b"\xff"),
        (4, b"\xed\xa0\x80"),
        (4, "ko\u0308ln".encode()),
        (4, b"\xc0\xae"),
        (4, b"x" * 1025),
        (5, b""),
        (5, b"Text/csv"),
        (5, b"text"),
        (5, b"text/csv; charset=utf-8"),
        (5, b"text/" + b"x" * 123),
        (5, "text/ü".encode()),
        (6, b""),
        (6, b"gzip"),
    ],
)
def test_a_header_with_an_impossible_field_is_refused(position: int, value: bytes) -> None:
    fields = [*GOOD[:position], value, *GOOD[position + 1 :]]
    with pytest.raises(HeaderInvalid):
        Header.parse(with_fields(*fields))


def test_unknown_fields_and_missing_ones_are_refused() -> None:
    for fields in (GOOD[:-1], (*GOOD, b""), ()):
        with pytest.raises(HeaderInvalid):
            Header.parse(with_fields(*fields))


@pytest.mark.parametrize("version", [0, 2, 65535])
def test_another_format_version_is_named_as_such(version: int) -> None:
    with pytest.raises(FormatUnknown, match=str(version)):
        Header.parse(with_fields(*GOOD, version=version))


def test_plaintext_is_not_sealed() -> None:
    for start in (b"", b"x,y\n1,2\n", MAGIC[:7]):
        with pytest.raises(NotSealed):
            Header.parse(start)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("purpose", FilePurpose.COMMIT),
        ("data_key_id", UUID(int=9)),
        ("dataset_id", UUID(int=9)),
        ("commit_id", UUID(int=9)),
        ("part_name", "data/x/part-1.csv"),
        ("media_type", "text/plain"),
    ],
)
def test_another_identity_than_the_expected_one_is_refused(field: str, value: Any) -> None:
    with pytest.raises(IdentityMismatch, match=field.replace("_", " ")):
        replace(PART, **{field: value}).expect(PART)


@given(names)
def test_canonical_names_are_accepted(name: str) -> None:
    assume(len(name.encode()) <= 1024)
    assert check_part_name(name) == name


@pytest.mark.parametrize("media_type", ["text/csv", "application/vnd.redoubt.commit+json", "a/b", "x/" + "y" * 125])
def test_media_types(media_type: str) -> None:
    assert check_media_type(media_type) == media_type
