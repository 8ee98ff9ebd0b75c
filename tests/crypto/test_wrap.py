"""Key wrap and subkeys: a wrap opens in its own context only; subkeys of different uses never meet."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.crypto.wrap import WRAPPED_BYTES, subkey, unwrap_key, wrap_key
from redoubt.errors import WrapRefused

PRIMARY, DATA = bytes(32), bytes(range(32))


def test_what_was_wrapped_is_unwrapped() -> None:
    wrapped = wrap_key(DATA, wrapping_key=PRIMARY, associated_data=b"A")
    assert len(wrapped) == WRAPPED_BYTES
    assert unwrap_key(wrapped, wrapping_key=PRIMARY, associated_data=b"A") == DATA


def test_a_key_wrapped_for_b_is_refused_for_a() -> None:
    wrapped = wrap_key(DATA, wrapping_key=PRIMARY, associated_data=b"B")
    with pytest.raises(WrapRefused):
        unwrap_key(wrapped, wrapping_key=PRIMARY, associated_data=b"A")


def test_another_primary_key_is_refused() -> None:
    wrapped = wrap_key(DATA, wrapping_key=PRIMARY, associated_data=b"A")
    with pytest.raises(WrapRefused):
        unwrap_key(wrapped, wrapping_key=os.urandom(32), associated_data=b"A")


@given(st.integers(0, WRAPPED_BYTES * 8 - 1))
def test_every_flipped_bit_is_refused(bit: int) -> None:
    wrapped = bytearray(wrap_key(DATA, wrapping_key=PRIMARY, associated_data=b"A"))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WrapRefused):
        unwrap_key(bytes(wrapped), wrapping_key=PRIMARY, associated_data=b"A")


@given(st.binary(max_size=2 * WRAPPED_BYTES))
def test_what_is_no_wrapped_key_is_refused(data: bytes) -> None:
    with pytest.raises(WrapRefused):
        unwrap_key(data, wrapping_key=PRIMARY, associated_data=b"A")


def test_nonces_are_fresh() -> None:
    assert len({wrap_key(DATA, wrapping_key=PRIMARY, associated_data=b"")[:12] for _ in range(64)}) == 64


@pytest.mark.parametrize(("key", "wrapping_key"), [(bytes(31), PRIMARY), (DATA, bytes(16))])
def test_keys_of_other_sizes_are_a_programmers_error(key: bytes, wrapping_key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        wrap_key(key, wrapping_key=wrapping_key, associated_data=b"")


uses = st.tuples(st.text(max_size=5), st.lists(st.binary(max_size=5), max_size=3).map(tuple))


@given(uses, uses)
def test_subkeys_of_different_uses_differ(
    one: tuple[str, tuple[bytes, ...]], other: tuple[str, tuple[bytes, ...]]
) -> None:
    first = subkey(DATA, label=one[0], fields=one[1])
    second = subkey(DATA, label=other[0], fields=other[1])
    assert (first == second) == (one == other)
    assert len(first) == 32
