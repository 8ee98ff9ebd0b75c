"""The header of a sealed file: its identity, in one canonical encoding (``docs/format.md``, "Header").

The exact header bytes are the context of the body's encryption, so a header that was edited, or a body under another
file's header, fails the key commitment. Readers also say which identity they *expect*; a valid file in the wrong place
is :class:`~redoubt.errors.IdentityMismatch` before any key is used.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import FormatUnknown, HeaderInvalid, IdentityMismatch, NotSealed
from redoubt.limits import MAX_HEADER_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_PART_NAME_BYTES

MAGIC: Final = b"\x93REDOUBT"
FORMAT_VERSION: Final = 1
_PARQUET_MAGIC: Final = b"PARE"
NIL: Final = UUID(int=0)
COMMIT_MEDIA_TYPE: Final = "application/vnd.redoubt.commit+json"
DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
_FIXED = struct.Struct(">8sHH")
_TOKEN = r"[a-z0-9][a-z0-9!#$&^_.+-]*"  # noqa: S105  (RFC 6838 restricted-name)
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}")


class FilePurpose(StrEnum):
    """What a sealed file is."""

    PART = "part"
    COMMIT = "commit"
    STANDALONE = "standalone"


class Compression(StrEnum):
    """Inner compression of the plaintext; version 1 has none."""

    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Header:
    """The identity of one sealed file."""

    purpose: FilePurpose
    data_key_id: UUID
    dataset_id: UUID
    commit_id: UUID
    part_name: str
    media_type: str
    compression: Compression = Compression.IDENTITY

    def __post_init__(self) -> None:
        check_media_type(self.media_type)
        if self.purpose is FilePurpose.STANDALONE:
            if self.part_name or self.commit_id != NIL:
                raise HeaderInvalid("a standalone file has neither part name nor commit")
        else:
            check_part_name(self.part_name)
            if self.commit_id == NIL:
                raise HeaderInvalid(f"a {self.purpose} belongs to a commit")

    def encode(self) -> bytes:
        """Return the canonical header bytes: also the context of the body."""
        fields = encode_fields(
            self.purpose.encode(),
            self.data_key_id.bytes,
            self.dataset_id.bytes,
            self.commit_id.bytes,
            self.part_name.encode(),
            self.media_type.encode(),
            self.compression.encode(),
        )
        return _FIXED.pack(MAGIC, FORMAT_VERSION, len(fields)) + fields

    @classmethod
    def parse(cls, start: bytes) -> tuple[Self, int]:
        """Return the header at the start of *start* (:data:`MAX_HEADER_BYTES` bytes suffice) and its length in bytes.

        Raises:
            NotSealed: no magic.
            FormatUnknown: another format version.
            HeaderInvalid: anything that :meth:`encode` would not write.
        """
        if start.startswith(_PARQUET_MAGIC):
            raise NotSealed(
                "the file is an encrypted Parquet file, not a sealed file",
                why="A file of a sealed Parquet table is judged by the table's commit records, never alone.",
                hint="Name the table's folder.",
            )
        if start[: len(MAGIC)] != MAGIC:
            raise NotSealed("the file does not start with the mark of a sealed file")
        if len(start) < _FIXED.size:
            raise HeaderInvalid("the header is cut short")
        _, version, length = _FIXED.unpack_from(start)
        if version != FORMAT_VERSION:
            raise FormatUnknown(f"format version {version} is not known; this reader knows {FORMAT_VERSION}")
        end = _FIXED.size + length
        if end > MAX_HEADER_BYTES or end > len(start):
            raise HeaderInvalid("the header is longer than it may be, or cut short")
        raw = decode_fields(start[_FIXED.size : end], count=7, what="the header")
        try:
            header = cls(
                FilePurpose(raw[0].decode("ascii")),
                UUID(bytes=raw[1]),
                UUID(bytes=raw[2]),
                UUID(bytes=raw[3]),
                raw[4].decode("utf-8"),
                raw[5].decode("ascii"),
                Compression(raw[6].decode("ascii")),
            )
        except ValueError:
            raise HeaderInvalid("the header has a malformed field") from None
        return header, end

    def expect(self, expected: Header) -> None:
        """Compare with the identity that the reader expects.

        Raises:
            IdentityMismatch: naming the first field that differs.
        """
        for field in ("purpose", "dataset_id", "commit_id", "part_name", "data_key_id", "media_type", "compression"):
            found, wanted = getattr(self, field), getattr(expected, field)
            if found != wanted:
                raise IdentityMismatch(f"{field.replace('_', ' ')} is {str(found)!r}, expected {str(wanted)!r}")


def check_part_name(name: str) -> str:
    """Return *name* if it is a canonical relative path.

    Raises:
        HeaderInvalid: empty, too long, absolute, with ``.``/``..``/empty segments, control characters or not NFC.
    """
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= MAX_PART_NAME_BYTES:
        raise HeaderInvalid(f"a part name has 1 to {MAX_PART_NAME_BYTES} bytes")
    if any(segment in {"", ".", ".."} for segment in name.split("/")):
        raise HeaderInvalid(f"part name {name!r} is not a plain relative path")
    if "\\" in name or any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        raise HeaderInvalid(f"part name {name!r} has a character that names may not have")
    if not unicodedata.is_normalized("NFC", name):
        raise HeaderInvalid(f"part name {name!r} is not in Unicode form NFC")
    return name


def check_media_type(media_type: str) -> str:
    """Return *media_type* if it is a lower-case ``type/subtype``; raises HeaderInvalid."""
    if len(media_type) > MAX_MEDIA_TYPE_BYTES or not _MEDIA_TYPE.fullmatch(media_type):
        raise HeaderInvalid(f"{media_type!r} is not a media type such as text/csv")
    return media_type
