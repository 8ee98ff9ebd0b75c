"""What an encrypted Parquet file says of itself in clear: the ``FileCryptoMetaData`` at its end. Pure.

Parquet's own readers decrypt with whatever identity a file states. Here it is read first and compared with the one that
the commit record gives the file, so this parser sees unauthenticated bytes: it is strict (only the fields of the
specification, in order, in Thrift's compact protocol with shortest varints), bounded, and fuzzed. Specification:
apache/parquet-format, ``Encryption.md`` and ``parquet.thrift``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import HeaderInvalid, IdentityMismatch, PlaintextRefused
from redoubt.sealed.commit import Part
from redoubt.sealed.storage import RandomAccess

MAGIC: Final = b"PARE"
#: A stated identity (1024 bytes of name at most) and key metadata fit in far less.
MAX_CRYPTO_METADATA_BYTES: Final = 4096
_TRAILER = struct.Struct("<I4s")
_PREFIX_LABEL = b"redoubt/parquet/v1"
# Types of Thrift's compact protocol.
_TRUE, _FALSE, _BINARY, _STRUCT = 1, 2, 8, 12


class Algorithm(StrEnum):
    """The algorithms of Parquet Modular Encryption; ``AES_GCM_CTR_V1`` leaves pages unauthenticated."""

    GCM = "AES_GCM_V1"
    GCM_CTR = "AES_GCM_CTR_V1"


@dataclass(frozen=True, slots=True)
class CryptoMetadata:
    """The plaintext end of an encrypted file. ``length`` counts the bytes of its encoding."""

    algorithm: Algorithm
    aad_prefix: bytes
    key_metadata: bytes
    length: int


def aad_prefix(*, dataset_id: UUID, commit_id: UUID, algorithm: Algorithm, name: str) -> bytes:
    """Return the identity of a part, to which every module of its file is bound.

    The algorithm belongs to it: Parquet states it in clear, where a change to the weaker one would go unseen.
    """
    return encode_fields(_PREFIX_LABEL, dataset_id.bytes, commit_id.bytes, algorithm.encode(), name.encode())


def is_of_dataset(found: CryptoMetadata, *, dataset_id: UUID, name: str) -> bool:
    """Tell whether a file states that it is the part *name* of the dataset, whichever commit it was written for."""
    try:
        _, dataset, commit, _, _ = decode_fields(found.aad_prefix, count=5, what="the AAD prefix")
        commit_id = UUID(bytes=commit)
    except (HeaderInvalid, ValueError):
        return False
    stated = aad_prefix(dataset_id=dataset_id, commit_id=commit_id, algorithm=found.algorithm, name=name)
    return dataset == dataset_id.bytes and found.aad_prefix == stated


def check_identity(found: CryptoMetadata, part: Part) -> None:
    """Compare the identity that a file states with the listed one.

    Raises:
        IdentityMismatch: it is another part, or another table's.
    """
    expected = aad_prefix(dataset_id=part.owner, commit_id=part.commit, algorithm=found.algorithm, name=part.name)
    if found.aad_prefix != expected:
        raise IdentityMismatch(f"the file at {part.name} is another part than the one of that name")


def read_crypto_metadata(file: RandomAccess, *, where: str) -> CryptoMetadata:
    """Read the end of an open file.

    Raises:
        PlaintextRefused: it is no encrypted Parquet file.
        HeaderInvalid: its encryption metadata is malformed.
    """
    trailer = bytearray(_TRAILER.size)
    if file.size < len(MAGIC) + _TRAILER.size or file.read_into(file.size - _TRAILER.size, memoryview(trailer)) < len(
        trailer
    ):
        raise PlaintextRefused(f"{where} does not end as an encrypted Parquet file")
    footer_length, magic = _TRAILER.unpack(trailer)
    if magic != MAGIC:
        raise PlaintextRefused(f"{where} does not end as an encrypted Parquet file")
    start = file.size - _TRAILER.size - footer_length
    if start < len(MAGIC):
        raise HeaderInvalid(f"{where} states a footer longer than itself")
    begin = bytearray(min(footer_length, MAX_CRYPTO_METADATA_BYTES))
    count = file.read_into(start, memoryview(begin))
    return parse_crypto_metadata(bytes(begin[:count]), where=where)


def parse_crypto_metadata(data: bytes, *, where: str) -> CryptoMetadata:
    """Parse the structure that *data* starts with.

    Raises:
        HeaderInvalid: it is malformed, lacks a stored AAD prefix, or lacks key metadata.
    """
    reader = _CompactReader(data[:MAX_CRYPTO_METADATA_BYTES], f"the encryption metadata of {where}")
    reader.expect_field(1, _STRUCT)
    variant = reader.field(0)
    if variant not in {(1, _STRUCT), (2, _STRUCT)}:
        raise reader.error("names an unknown algorithm")
    algorithm = Algorithm.GCM if variant[0] == 1 else Algorithm.GCM_CTR
    prefix = _stored_prefix(reader)
    reader.expect_stop()  # of the union
    reader.expect_field(2, _BINARY, after=1)
    key_metadata = reader.binary()
    reader.expect_stop()
    return CryptoMetadata(algorithm, prefix, key_metadata, reader.offset)


def add_key_metadata(footer: bytes, key_metadata: bytes) -> bytes:
    """Return the *footer* of a file (its last bytes, trailer included) with *key_metadata* added.

    For files of writers that cannot store it themselves. It is not covered by the footer's tag; what it wraps is bound
    to its own context.

    Raises:
        HeaderInvalid: *footer* does not start with encryption metadata that lacks key metadata.
    """
    reader = _CompactReader(footer[:MAX_CRYPTO_METADATA_BYTES], "the footer")
    reader.expect_field(1, _STRUCT)
    if reader.field(0) not in {(1, _STRUCT), (2, _STRUCT)}:
        raise reader.error("names an unknown algorithm")
    _stored_prefix(reader)
    reader.expect_stop()
    end = reader.offset
    reader.expect_stop()
    field = bytes([1 << 4 | _BINARY]) + _varint(len(key_metadata)) + key_metadata
    length, magic = _TRAILER.unpack(footer[-_TRAILER.size :])
    body = footer[:end] + field + footer[end : -_TRAILER.size]
    if length != len(footer) - _TRAILER.size or magic != MAGIC:
        raise reader.error("does not end as it begins")
    return body + _TRAILER.pack(len(body), MAGIC)


def _stored_prefix(reader: _CompactReader) -> bytes:
    """Read the fields of ``AesGcmV1`` or ``AesGcmCtrV1`` and return the stored AAD prefix."""
    prefix, last = b"", 0
    while field := reader.field(last):
        last, kind = field
        if (last, kind) == (1, _BINARY):
            prefix = reader.binary()
        elif (last, kind) == (2, _BINARY):
            reader.binary()  # aad_file_unique
        elif (last, kind) != (3, _FALSE):  # supply_aad_prefix
            raise reader.error("has a field that is not as Redoubt writes it")
    if not prefix:
        raise reader.error("stores no identity")
    return prefix


class _CompactReader:
    """The few forms of Thrift's compact protocol that this structure has."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.offset = 0

    def error(self, why: str) -> HeaderInvalid:
        return HeaderInvalid(f"{self._what} {why}")

    def field(self, last: int) -> tuple[int, int] | None:
        """Return (id, type) of the next field after the one with id *last*; None at the end of the structure."""
        head = self._byte()
        if head == 0:
            return None
        if not head >> 4:
            raise self.error("has a field id that no writer needs")
        return last + (head >> 4), head & 15

    def expect_field(self, field_id: int, kind: int, *, after: int = 0) -> None:
        if self.field(after) != (field_id, kind):
            raise self.error(f"lacks field {field_id}")

    def expect_stop(self) -> None:
        if self._byte() != 0:
            raise self.error("has an unknown field")

    def binary(self) -> bytes:
        length = shift = 0
        while True:
            byte = self._byte()
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 14:
                raise self.error("has a field of impossible length")
        if shift > 7 and byte == 0:
            raise self.error("has a length that is not in its shortest form")
        if length > len(self._data) - self.offset:
            raise self.error("ends inside a field")
        self.offset += length
        return self._data[self.offset - length : self.offset]

    def _byte(self) -> int:
        if self.offset >= len(self._data):
            raise self.error("is cut short")
        self.offset += 1
        return self._data[self.offset - 1]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
