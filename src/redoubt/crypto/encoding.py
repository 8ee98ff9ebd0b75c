"""The canonical encoding of field lists: what is authenticated must have exactly one spelling.

``encode_fields(a, b, …)`` is the concatenation of ``u32be(len(x)) || x``. The number and the order of fields are fixed
by whoever defines the record, so two different records never encode alike. Headers, wrap contexts, wrapped keys and
Parquet AAD prefixes are all field lists (``docs/format.md``, "Field lists").
"""

from __future__ import annotations

import struct

from redoubt.errors import HeaderInvalid

_LENGTH = struct.Struct(">I")


def encode_fields(*fields: bytes) -> bytes:
    """Return the canonical encoding of *fields* in the given order."""
    return b"".join(_LENGTH.pack(len(field)) + field for field in fields)


def decode_fields(data: bytes, *, count: int, what: str) -> tuple[bytes, ...]:
    """Return exactly *count* fields of *data*; *what* names the record in errors.

    Raises:
        HeaderInvalid: fewer or more fields, a length beyond the end, or bytes after the last field.
    """
    fields: list[bytes] = []
    offset = 0
    for _ in range(count):
        if offset + _LENGTH.size > len(data):
            raise HeaderInvalid(f"{what} ends inside a field length")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if length > len(data) - offset:
            raise HeaderInvalid(f"{what} ends inside a field")
        fields.append(data[offset : offset + length])
        offset += length
    if offset != len(data):
        raise HeaderInvalid(f"{what} has bytes after its last field")
    return tuple(fields)
