"""Lines of a byte range: the splitting rule that every text reader of Spark follows.

A split ``[start, end)`` owns the lines whose first byte lies in it. Only the chunks of the split, and of the line that
runs over its end, are read and decrypted. Blocks are cut behind a line separator and never inside a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from redoubt.errors import OptionRefused
from redoubt.limits import CHUNK_PLAINTEXT_BYTES, MAX_LINE_BYTES

#: How far beyond its end a split looks at once for the end of its last line.
_TAIL_BYTES = 4 * CHUNK_PLAINTEXT_BYTES
#: What parsers hold is a multiple of a block, in every worker: larger blocks cost memory and gain no time.
_BLOCK_BYTES = 64 * CHUNK_PLAINTEXT_BYTES


class RangeReader(Protocol):
    """What lines are read from; :class:`redoubt.sealed.body.SealedReader` is one. Offsets are plaintext bytes."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """Yield ``[start, end)`` in blocks; each is valid until the next one is asked for."""

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return ``[start, end)``."""


def line_blocks(reader: RangeReader, start: int, end: int, *, separator: bytes = b"\n") -> Iterator[bytes]:
    """Yield the lines that the split ``[start, end)`` owns, in blocks of whole lines of about 1 MiB.

    The last line of the file may lack its separator.

    Raises:
        OptionRefused: a line is longer than MAX_LINE_BYTES.
        SealedError: the data is not authentic.
    """
    first = _first_line(reader, start, separator)
    end = min(end, reader.size)
    if first is None or first >= end:
        return
    rest: list[bytes] = []
    length = 0
    tail = b""  # with a separator of several bytes the one that ends a line may have begun in the block before
    for block in _pieces(reader.blocks(first, end)):
        window = tail + block
        cut = window.rfind(separator)
        if cut < 0:
            rest.append(block)
            length += len(block)
            _check_length(length)
            tail = _tail(window, separator)
            continue
        after = cut + len(separator) - len(tail)
        yield b"".join([*rest, block[:after]])
        rest, length = [block[after:]], len(block) - after
        tail = _tail(rest[0], separator)
    if length:  # the last line goes on behind the split's end
        yield b"".join([*rest, *_until_separator(reader, end, tail, length, separator)])


def _pieces(blocks: Iterable[memoryview]) -> Iterator[bytes]:
    for block in blocks:
        for start in range(0, len(block), _BLOCK_BYTES):
            yield block[start : start + _BLOCK_BYTES].tobytes()


def _first_line(reader: RangeReader, start: int, separator: bytes) -> int | None:
    """Return where the first line that begins at or after *start* begins; None if no line does."""
    if start == 0:
        return 0
    base = position = max(start - len(separator), 0)
    tail = b""
    while position < reader.size:
        window = tail + reader.read(position, position + _TAIL_BYTES)
        found = window.find(separator)
        if found >= 0:
            return position - len(tail) + found + len(separator)
        position += _TAIL_BYTES
        _check_length(position - base)
        tail = _tail(window, separator)
    return None


def _until_separator(reader: RangeReader, position: int, tail: bytes, length: int, separator: bytes) -> Iterator[bytes]:
    """Yield the bytes from *position* up to and with the next separator, which may begin in *tail*.

    *length* is what the line has already.
    """
    while position < reader.size:
        block = reader.read(position, position + _TAIL_BYTES)
        window = tail + block
        found = window.find(separator)
        if found >= 0:
            yield block[: found + len(separator) - len(tail)]
            return
        yield block
        length += len(block)
        _check_length(length)
        position += _TAIL_BYTES
        tail = _tail(window, separator)


def _tail(window: bytes, separator: bytes) -> bytes:
    """Return the end of *window* in which a separator may have begun: each byte is searched once."""
    return window[max(len(window) - len(separator) + 1, 0) :]


def _check_length(length: int) -> None:
    if length > MAX_LINE_BYTES:
        raise OptionRefused(
            f"a line is longer than {MAX_LINE_BYTES} bytes",
            hint="Set lineSep to the file's line separator, or read the file with multiLine.",
        )
