"""The preamble of standalone files: strict for readers, repairable by re-wrap."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import HeaderInvalid, IdentityMismatch, NotSealed, SealedError, SlotDamaged, Truncated
from redoubt.keys.names import KeyName
from redoubt.keys.types import Purpose, WrapContext, WrappedKey
from redoubt.limits import MAX_SLOT_GENERATION, PREAMBLE_BYTES, SLOT_BYTES, SLOT_OFFSETS
from redoubt.sealed.header import NIL, FilePurpose, Header
from redoubt.sealed.slots import KeySlot, Preamble, is_sealed, repairable

FILE, DATA_KEY = uuid4(), uuid4()
HEADER = Header(FilePurpose.STANDALONE, DATA_KEY, FILE, NIL, "", "text/csv")


def wrapped(version: int = 1, dataset: UUID = FILE, data_key: UUID = DATA_KEY) -> WrappedKey:
    name = KeyName.parse("key:main/default.dev")
    return WrappedKey(WrapContext(dataset, data_key), name, version, "aes-256-gcm", bytes(60))


def slot(generation: int, version: int = 1) -> KeySlot:
    return KeySlot(generation, wrapped(version))


def preamble(first: KeySlot | None, second: KeySlot | None) -> bytes:
    return Preamble(HEADER, HEADER.encode(), (first, second)).encode()


NEW = preamble(slot(1), None)


def rewrap(raw: bytes, version: int) -> bytes:
    offset, content = Preamble.parse(raw).replacement(wrapped(version))
    assert len(content) == SLOT_BYTES
    return raw[:offset] + content + raw[offset + SLOT_BYTES :]


def test_a_new_file_has_generation_one_in_the_first_slot() -> None:
    parsed = Preamble.parse(NEW)
    assert (parsed, parsed.current) == (Preamble.new(HEADER, wrapped()), 0)
    assert parsed.encode() == NEW
    assert len(NEW) == PREAMBLE_BYTES


def test_rewraps_alternate_between_the_slots() -> None:
    raw = NEW
    for version in range(2, 7):
        raw = rewrap(raw, version)
        parsed = Preamble.parse(raw)
        assert parsed.current == (version - 1) % 2
        assert (parsed.slot.generation, parsed.slot.wrapped.version) == (version, version)
        other = parsed.slots[1 - parsed.current]
        assert other is not None
        assert other.wrapped.version == version - 1


def test_a_rewrap_writes_within_one_page() -> None:
    for offset in SLOT_OFFSETS:
        assert offset // 4096 == (offset + SLOT_BYTES - 1) // 4096


@given(st.integers(0, PREAMBLE_BYTES * 8 - 1))
def test_every_flipped_bit_is_refused_or_changes_the_header(bit: int) -> None:
    """A changed header that still parses is another context for the body, whose commitment then fails."""
    raw = bytearray(rewrap(NEW, 2))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        parsed = Preamble.parse(bytes(raw))
    except SealedError:
        return
    assert parsed.header_bytes != HEADER.encode()


@pytest.mark.parametrize("length", [0, 7, 100, 4096, 6144, PREAMBLE_BYTES - 1])
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises((NotSealed, HeaderInvalid, Truncated)):
        Preamble.parse(NEW[:length])


def damaged(content: bytes) -> bytes:
    return content[:9] + b"\xff" + content[10:]


def resealed(edit: Callable[[bytearray], object]) -> bytes:
    """A slot that was edited by someone who can compute SHA-256."""
    payload = bytearray(slot(1).encode()[:-32])
    edit(payload)
    return bytes(payload) + hashlib.sha256(payload).digest()


@pytest.mark.parametrize(
    "content",
    [
        damaged(slot(1).encode()),
        bytes(SLOT_BYTES - 1) + b"\1",
        resealed(lambda it: it.__setitem__(slice(0, 8), bytes(8))),
        resealed(lambda it: struct.pack_into(">H", it, 8, 2007)),
        resealed(lambda it: struct.pack_into(">H", it, 8, 5)),
        resealed(lambda it: it.__setitem__(-1, 1)),
        resealed(lambda it: it.__setitem__(20, 255)),
    ],
    ids=["torn", "nearly empty", "generation 0", "too long", "cut record", "padding", "label"],
)
@pytest.mark.parametrize("index", [0, 1])
def test_a_slot_that_is_neither_empty_nor_intact_is_refused_and_repaired(content: bytes, index: int) -> None:
    raw = bytearray(preamble(slot(1), slot(2, 2)))
    raw[SLOT_OFFSETS[index] :][:SLOT_BYTES] = content
    raw[SLOT_OFFSETS[index] : SLOT_OFFSETS[index] + SLOT_BYTES] = content
    with pytest.raises(SlotDamaged):
        Preamble.parse(bytes(raw))
    found = repairable(bytes(raw))
    assert found.slots[index] is None
    offset, replacement = found.replacement(wrapped(3))
    assert offset == SLOT_OFFSETS[index]
    raw[offset : offset + SLOT_BYTES] = replacement
    assert Preamble.parse(bytes(raw)).slot.wrapped.version == 3


@pytest.mark.parametrize(
    ("first", "second"), [(None, None), (slot(2), slot(2, 2))], ids=["both empty", "same generation"]
)
def test_slots_that_do_not_say_which_counts_are_refused(first: KeySlot | None, second: KeySlot | None) -> None:
    for parse in (Preamble.parse, repairable):
        with pytest.raises(SlotDamaged):
            parse(preamble(first, second))


def test_two_damaged_slots_cannot_be_repaired() -> None:
    raw = NEW[:4096] + damaged(slot(1).encode()) + damaged(slot(2).encode())
    with pytest.raises(SlotDamaged, match="no key slot"):
        repairable(raw)


def test_a_generation_that_no_writer_reaches_cannot_be_rewrapped() -> None:
    raw = preamble(KeySlot(MAX_SLOT_GENERATION, wrapped()), None)
    assert Preamble.parse(raw).slot.generation == MAX_SLOT_GENERATION
    with pytest.raises(SlotDamaged, match="no writer reaches"):
        Preamble.parse(raw).replacement(wrapped(2))


@pytest.mark.parametrize(
    "other",
    [
        wrapped(dataset=uuid4()),
        wrapped(data_key=uuid4()),
        replace(wrapped(), context=WrapContext(FILE, DATA_KEY, Purpose.MODEL)),
    ],
    ids=["another file's", "another data key", "another purpose"],
)
@pytest.mark.parametrize("index", [0, 1])
def test_a_key_slot_of_another_file_is_refused(other: WrappedKey, index: int) -> None:
    slots: list[KeySlot | None] = [slot(1), slot(2)]
    slots[index] = KeySlot(index + 1, other)
    with pytest.raises(IdentityMismatch):
        Preamble.parse(preamble(slots[0], slots[1]))


def test_padding_after_the_header_is_checked() -> None:
    for position in (len(HEADER.encode()), 4095):
        with pytest.raises(HeaderInvalid, match="padding"):
            Preamble.parse(NEW[:position] + b"\1" + NEW[position + 1 :])


def test_a_part_is_no_standalone_file() -> None:
    part = Header(FilePurpose.PART, DATA_KEY, FILE, uuid4(), "data/x", "text/csv").encode()
    with pytest.raises(IdentityMismatch):
        Preamble.parse(part.ljust(4096, b"\0") + NEW[4096:])


def test_what_claims_to_be_sealed_counts_as_sealed_however_damaged() -> None:
    assert is_sealed(NEW)
    assert is_sealed(NEW[:8] + b"\xff" * 100)
    assert not is_sealed(b"x,y\n")
    assert not is_sealed(b"")
