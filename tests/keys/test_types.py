"""Wrapped-key records: one encoding, and a RedoubtError for everything else."""

from __future__ import annotations

import copy
import pickle
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redoubt.crypto.encoding import encode_fields
from redoubt.errors import HeaderInvalid, KeyError_, RedoubtError
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import MAX_WRAPPED_KEY_BYTES, MAX_WRAPPED_RECORD_BYTES

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,40}[a-z0-9])?", fullmatch=True)
RECORDS = st.builds(
    WrappedKey,
    st.builds(WrapContext, st.uuids(), st.uuids(), st.sampled_from(Purpose)),
    st.builds(KeyName, LABELS, LABELS, st.sampled_from(Assurance)),
    st.integers(1, 2**32 - 1),
    st.text(st.characters(codec="ascii"), max_size=40),
    st.binary(max_size=600),
)
SAMPLE = WrappedKey(
    WrapContext(uuid4(), uuid4()), KeyName("main", "a", Assurance.DEV), 1, "aes-256-gcm", bytes(range(60))
)


@given(RECORDS)
def test_record_round_trips(record: WrappedKey) -> None:
    assert WrappedKey.decode(record.encode()) == record


@given(RECORDS, RECORDS)
def test_records_and_contexts_encode_alike_only_if_equal(one: WrappedKey, two: WrappedKey) -> None:
    assert (one.encode() == two.encode()) == (one == two)
    bound = [(it.context, it.key, it.version) for it in (one, two)]
    encoded = [context.encode(key=key, version=version) for context, key, version in bound]
    assert (encoded[0] == encoded[1]) == (bound[0] == bound[1])


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xff" * 40)
@example(bytes(MAX_WRAPPED_RECORD_BYTES + 1))
def test_random_bytes_are_a_redoubt_error(data: bytes) -> None:
    with pytest.raises(RedoubtError):
        WrappedKey.decode(data)


FIELDS = [
    b"redoubt/wrapped-key/v1",
    SAMPLE.context.dataset_id.bytes,
    SAMPLE.context.data_key_id.bytes,
    b"data",
    b"key:main/a.dev",
    b"\x00\x00\x00\x01",
    b"aes-256-gcm",
    bytes(range(60)),
]


@given(st.lists(st.binary(max_size=80), min_size=6, max_size=10))
def test_any_field_list_is_a_record_or_a_redoubt_error(fields: list[bytes]) -> None:
    with pytest.raises(RedoubtError):
        WrappedKey.decode(encode_fields(*fields))


@given(st.integers(0, 7), st.binary(max_size=80))
def test_any_field_replaced_is_a_canonical_record_or_a_redoubt_error(place: int, content: bytes) -> None:
    raw = encode_fields(*FIELDS[:place], content, *FIELDS[place + 1 :])
    try:
        record = WrappedKey.decode(raw)
    except RedoubtError:
        return
    assert record.encode() == raw


@given(st.data())
def test_cut_or_extended_record_is_refused(data: st.DataObject) -> None:
    raw = SAMPLE.encode()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(HeaderInvalid):
        WrappedKey.decode(raw[:cut])
    with pytest.raises(HeaderInvalid):
        WrappedKey.decode(raw + data.draw(st.binary(min_size=1, max_size=20)))


def test_oversized_wrap_is_refused_both_ways() -> None:
    too_long = bytes(MAX_WRAPPED_KEY_BYTES + 1)
    with pytest.raises(KeyError_):
        WrappedKey(SAMPLE.context, SAMPLE.key, 1, "m", too_long).encode()
    with pytest.raises(HeaderInvalid):
        WrappedKey.decode(encode_fields(*FIELDS[:-1], too_long))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_data_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyError_):
        DataKey(context=SAMPLE.context, secret=bytes(length))


def test_data_key_neither_prints_nor_pickles_nor_copies() -> None:
    key = DataKey(context=SAMPLE.context, secret=b"\x5a" * 32)
    assert "5a5a" not in repr(key)
    assert "ZZ" not in f"{key!s}{key!r}"
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            call(key)
