"""Unpacking whatever may be compressed inside some bytes, wherever it starts.

Spill files, shuffle files, event logs and streams hold compressed pieces at unknown offsets, one behind the other and
often cut off. So every offset at which the magic number of a format stands is tried, output before a fault counts, and
what comes out is looked through again. Formats without a magic number (raw Snappy, an LZ4 block) are tried on the
whole.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import cramjam
import lz4.block
import lz4.frame
import pyarrow.parquet
import zstandard

#: More nesting than any writer in the run produces (a Parquet page in a zstd stream in base64 has two).
MAX_LAYERS: Final = 3
#: More than any one stream of the run unpacks to.
MAX_OUTPUT: Final = 64 * 1024 * 1024
_PIECE: Final = 4096

_ZLIB_STARTS: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_XERIAL: Final = b"\x82SNAPPY\x00"
_FRAMED_SNAPPY: Final = b"\xff\x06\x00\x00sNaPpY"
_LZ4_BLOCK: Final = b"LZ4Block"
_LZ4_FRAME: Final = b"\x04\x22\x4d\x18"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b\x08"
_ZIP_ENTRY: Final = b"PK\x03\x04"


def unpacked(content: bytes) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Yield (layers, bytes): *content* itself and everything that can be unpacked from inside it."""
    yield from _layers(content, ())


def _layers(content: bytes, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bytes]]:
    yield path, content
    if len(path) == MAX_LAYERS:
        return
    for name, inside in _pieces(content):
        if inside:
            yield from _layers(inside, (*path, name))


def _pieces(content: bytes) -> Iterator[tuple[str, bytes]]:
    for name, magic, unpack in _SCANNED:
        position = content.find(magic)
        while position >= 0:
            consumed, inside = unpack(content, position)
            yield name, inside
            position = content.find(magic, position + max(consumed, 1))
    for name, unpack_whole in _WHOLE:
        # A decoder that is given what is not its own format may fail in any way it likes.
        with contextlib.suppress(Exception):
            yield name, unpack_whole(content)


# --- formats with a magic number: (content, offset) → (bytes consumed, output so far) --------------------------------
def _inflate(content: bytes, start: int, window_bits: int) -> tuple[int, bytes]:
    stream = zlib.decompressobj(window_bits)
    output = bytearray()
    position = start
    with contextlib.suppress(zlib.error):
        while position < len(content) and not stream.eof and len(output) < MAX_OUTPUT:
            output += stream.decompress(content[position : position + _PIECE])
            position = min(position + _PIECE, len(content))
        return position - start - len(stream.unused_data), bytes(output)
    return 0, bytes(output)


def _zlib(content: bytes, start: int) -> tuple[int, bytes]:
    return _inflate(content, start, zlib.MAX_WBITS)


def _gzip(content: bytes, start: int) -> tuple[int, bytes]:
    return _inflate(content, start, zlib.MAX_WBITS | 16)


def _zip_entry(content: bytes, start: int) -> tuple[int, bytes]:
    name_length = int.from_bytes(content[start + 26 : start + 28], "little")
    extra_length = int.from_bytes(content[start + 28 : start + 30], "little")
    return 0, _inflate(content, start + 30 + name_length + extra_length, -zlib.MAX_WBITS)[1]


def _zstd(content: bytes, start: int) -> tuple[int, bytes]:
    return _fed(zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError, content, start)


def _lz4_frame(content: bytes, start: int) -> tuple[int, bytes]:
    return _fed(lz4.frame.LZ4FrameDecompressor(), RuntimeError, content, start)


def _fed(stream: object, fault: type[Exception], content: bytes, start: int) -> tuple[int, bytes]:
    """Feed a streaming decoder piece by piece, so that what precedes a fault or the end of a cut stream is had."""
    output = bytearray()
    position = start
    with contextlib.suppress(fault, EOFError):
        while position < len(content) and len(output) < MAX_OUTPUT:
            output += stream.decompress(content[position : position + _PIECE])  # type: ignore[attr-defined]
            position = min(position + _PIECE, len(content))
            if stream.eof:  # type: ignore[attr-defined]
                return position - start - len(stream.unused_data or b""), bytes(output)  # type: ignore[attr-defined]
    return 0, bytes(output)


def _lz4_blocks(content: bytes, start: int) -> tuple[int, bytes]:
    """lz4-java's LZ4BlockOutputStream, Spark's default: blocks of magic, token, lengths, checksum, data."""
    output = bytearray()
    position = start
    while content.startswith(_LZ4_BLOCK, position) and len(output) < MAX_OUTPUT:
        body = position + 21
        compressed = int.from_bytes(content[position + 9 : position + 13], "little")
        original = int.from_bytes(content[position + 13 : position + 17], "little")
        data = content[body : body + compressed]
        if content[position + 8] & 0xF0 == 0x10:  # stored
            output += data
        elif original <= MAX_OUTPUT:
            with contextlib.suppress(lz4.block.LZ4BlockError):
                output += lz4.block.decompress(data, uncompressed_size=original)
        position = body + compressed
    return position - start, bytes(output)


def _xerial_snappy(content: bytes, start: int) -> tuple[int, bytes]:
    """snappy-java's SnappyOutputStream, Spark's codec "snappy": a header of 16 bytes, then blocks with their length."""
    output = bytearray()
    position = start + 16
    while position + 4 <= len(content) and not content.startswith(_XERIAL, position) and len(output) < MAX_OUTPUT:
        length = int.from_bytes(content[position : position + 4], "big")
        block = content[position + 4 : position + 4 + length]
        try:
            output += bytes(cramjam.snappy.decompress_raw(block))
        except cramjam.DecompressionError:
            break
        position += 4 + length
    return position - start, bytes(output)


def _framed_snappy(content: bytes, start: int) -> tuple[int, bytes]:
    output = bytearray()
    position = start
    while position + 4 <= len(content) and len(output) < MAX_OUTPUT:
        kind = content[position]
        length = int.from_bytes(content[position + 1 : position + 4], "little")
        data = content[position + 8 : position + 4 + length]  # after the checksum
        if kind == 0:
            try:
                output += bytes(cramjam.snappy.decompress_raw(data))
            except cramjam.DecompressionError:
                break
        elif kind == 1:
            output += data
        elif kind < 0x80:  # reserved, not skippable: the stream has ended
            break
        position += 4 + length
    return position - start, bytes(output)


_Unpack = Callable[[bytes, int], tuple[int, bytes]]
_SCANNED: Final[tuple[tuple[str, bytes, _Unpack], ...]] = (
    *(("zlib", start, _zlib) for start in _ZLIB_STARTS),
    ("gzip", _GZIP, _gzip),
    ("zip", _ZIP_ENTRY, _zip_entry),
    ("zstd", _ZSTD, _zstd),
    ("lz4 frame", _LZ4_FRAME, _lz4_frame),
    ("LZ4Block", _LZ4_BLOCK, _lz4_blocks),
    ("snappy stream", _XERIAL, _xerial_snappy),
    ("snappy framed", _FRAMED_SNAPPY, _framed_snappy),
)


# --- formats without one: the whole content -> output ----------------------------------------------------------------
def _raw_snappy(content: bytes) -> bytes:
    return bytes(cramjam.snappy.decompress_raw(content))


def _sized_lz4_block(content: bytes) -> bytes:
    if int.from_bytes(content[:4], "little") > MAX_OUTPUT:
        raise ValueError("no size")
    return bytes(lz4.block.decompress(content))


def _parquet(content: bytes) -> bytes:
    """Every value of a Parquet file as text: its pages are compressed without magic numbers."""
    if not content.startswith(b"PAR1"):
        raise ValueError("no Parquet file")
    rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    return "\n".join(str(value) for row in rows for value in row.values()).encode("utf-8", "replace")


_WHOLE: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("snappy", _raw_snappy),
    ("lz4 block", _sized_lz4_block),
    ("parquet", _parquet),
)
