"""The preamble of a standalone sealed file: header page and two key slots (``docs/format.md``, "Standalone").

Pure: encodes and parses the 8192 bytes. Re-wrap replaces one slot in place; the intact other slot is the state before,
so a crash leaves the old or the new wrapped key. A slot that is neither empty nor intact is an error for every reader,
so that no bit of the preamble goes unchecked; :func:`repairable` lets ``rewrap`` alone look past it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from redoubt.errors import HeaderInvalid, IdentityMismatch, SlotDamaged, Truncated
from redoubt.keys.types import WrapContext, WrappedKey
from redoubt.limits import MAX_HEADER_BYTES, MAX_SLOT_GENERATION, PREAMBLE_BYTES, SLOT_BYTES, SLOT_OFFSETS
from redoubt.sealed.header import MAGIC, FilePurpose, Header

_SLOT = struct.Struct(">QH")
_DIGEST_BYTES = 32
_PAYLOAD_BYTES = SLOT_BYTES - _DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class KeySlot:
    """One key slot: generation (from 1) and wrapped key."""

    generation: int
    wrapped: WrappedKey

    def encode(self) -> bytes:
        """Return the 2048 bytes of the slot."""
        record = self.wrapped.encode()
        payload = (_SLOT.pack(self.generation, len(record)) + record).ljust(_PAYLOAD_BYTES, b"\0")
        return payload + hashlib.sha256(payload).digest()

    @staticmethod
    def parse(raw: bytes, *, index: int) -> KeySlot | None:
        """Return the slot, or None if it is empty; raises SlotDamaged."""
        if raw == bytes(SLOT_BYTES):
            return None
        payload, digest = raw[:_PAYLOAD_BYTES], raw[_PAYLOAD_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            raise SlotDamaged(f"key slot {index} is neither empty nor intact")
        generation, length = _SLOT.unpack_from(payload)
        end = _SLOT.size + length
        if generation < 1 or end > _PAYLOAD_BYTES or any(payload[end:]):
            raise SlotDamaged(f"key slot {index} is not in canonical form")
        try:
            return KeySlot(generation, WrappedKey.decode(payload[_SLOT.size : end]))
        except HeaderInvalid as error:
            raise SlotDamaged(f"key slot {index} holds no wrapped key: {error.what}") from None


@dataclass(frozen=True, slots=True)
class Preamble:
    """Header and key slots of a standalone file."""

    header: Header
    header_bytes: bytes
    slots: tuple[KeySlot | None, KeySlot | None]

    @property
    def current(self) -> int:
        """Index of the slot that counts."""
        first, second = self.slots
        if first is None or (second is not None and second.generation > first.generation):
            return 1
        return 0

    @property
    def slot(self) -> KeySlot:
        """The slot that counts."""
        slot = self.slots[self.current]
        if slot is None:
            raise SlotDamaged("no key slot holds a key")
        return slot

    @classmethod
    def parse(cls, raw: bytes) -> Preamble:
        """Parse the first 8192 bytes of a standalone file strictly.

        Raises:
            NotSealed, FormatUnknown, HeaderInvalid, IdentityMismatch, SlotDamaged, Truncated: it is not canonical.
        """
        header, header_bytes = _parse_header(raw)
        slots = tuple(
            KeySlot.parse(raw[offset : offset + SLOT_BYTES], index=index) for index, offset in enumerate(SLOT_OFFSETS)
        )
        return _checked(cls(header, header_bytes, (slots[0], slots[1])))

    @classmethod
    def new(cls, header: Header, wrapped: WrappedKey) -> Preamble:
        """Return the preamble of a new file: *wrapped* in slot 0, generation 1."""
        return _checked(cls(header, header.encode(), (KeySlot(1, wrapped), None)))

    def encode(self) -> bytes:
        """Return the 8192 bytes."""
        raw = bytearray(PREAMBLE_BYTES)
        raw[: len(self.header_bytes)] = self.header_bytes
        for offset, slot in zip(SLOT_OFFSETS, self.slots, strict=True):
            if slot is not None:
                raw[offset : offset + SLOT_BYTES] = slot.encode()
        return bytes(raw)

    def replacement(self, wrapped: WrappedKey) -> tuple[int, bytes]:
        """Return (file offset, slot bytes) to write so that *wrapped* becomes the current key.

        Raises:
            SlotDamaged: no higher generation can be written.
        """
        if self.slot.generation >= MAX_SLOT_GENERATION:
            raise SlotDamaged("the generation of the key slot is one that no writer reaches")
        return SLOT_OFFSETS[1 - self.current], KeySlot(self.slot.generation + 1, wrapped).encode()


def repairable(raw: bytes) -> Preamble:
    """Parse a preamble, taking one damaged slot for empty: for ``rewrap`` only, which then overwrites it.

    Raises:
        SlotDamaged: no slot is intact. Other errors as :meth:`Preamble.parse`.
    """
    header, header_bytes = _parse_header(raw)
    slots: list[KeySlot | None] = []
    for index, offset in enumerate(SLOT_OFFSETS):
        try:
            slots.append(KeySlot.parse(raw[offset : offset + SLOT_BYTES], index=index))
        except SlotDamaged:
            slots.append(None)
    return _checked(Preamble(header, header_bytes, (slots[0], slots[1])))


def _parse_header(raw: bytes) -> tuple[Header, bytes]:
    header, length = Header.parse(raw[:MAX_HEADER_BYTES])
    if header.purpose is not FilePurpose.STANDALONE:
        raise IdentityMismatch(
            f"the file is a {header.purpose} of a dataset, not a standalone sealed file",
            why="A part alone proves nothing: the dataset's commit records say which parts belong to it.",
            hint="Name the dataset's folder.",
        )
    if len(raw) != PREAMBLE_BYTES:
        raise Truncated("the file ends inside its preamble")
    if any(raw[length : SLOT_OFFSETS[0]]):
        raise HeaderInvalid("the padding after the header is not zero")
    return header, raw[:length]


def _checked(preamble: Preamble) -> Preamble:
    first, second = preamble.slots
    if first is not None and second is not None and first.generation == second.generation:
        raise SlotDamaged("both key slots have the same generation")
    expected = WrapContext(preamble.header.dataset_id, preamble.header.data_key_id)
    for slot in (preamble.slot, *preamble.slots):  # the first raises if there is none
        if slot is not None and slot.wrapped.context != expected:
            raise IdentityMismatch("the wrapped key belongs to another file, or another purpose, than the header")
    return preamble


def is_sealed(start: bytes) -> bool:
    """Tell whether a file that starts with *start* claims to be sealed; says nothing about authenticity."""
    return start.startswith(MAGIC)
