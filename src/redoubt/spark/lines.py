"""Lines of a byte range of a sealed part: the splitting rule that every text reader of Spark follows.

A split ``[start, end)`` owns the lines whose first byte lies in it. Only the chunks of the split, and of the line that
runs over its end, are read and decrypted. Blocks are cut after a line end and never inside a line.
"""

from __future__ import annotations

from collections.abc import Iterator

from redoubt.errors import OptionRefused
from redoubt.limits import CHUNK_PLAINTEXT_BYTES, MAX_LINE_BYTES
from redoubt.sealed.body import SealedReader

#: How far beyond its end a split looks at once for the end of its last line.
_TAIL_BYTES = 4 * CHUNK_PLAINTEXT_BYTES


def line_blocks(reader: SealedReader, start: int, end: int, *, separator: bytes = b"\n") -> Iterator[bytes]:
    """Yield the lines that the split ``[start, end)`` owns, in blocks of whole lines of about 4 MiB.

    The last line of the part may lack its separator. Offsets are plaintext bytes.

    Raises:
        OptionRefused: a line is longer than MAX_LINE_BYTES.
        SealedError: the part is not authentic.
    """
    first = _first_line(reader, start, separator)
    if first is None or first >= end:
        return
    rest = b""
    for block in reader.blocks(first, end):
        cut = (
            bytes(block).rfind(separator) if len(separator) == 1 else (rest + bytes(block)).rfind(separator) - len(rest)
        )
        stop = cut + len(separator)
        if stop <= 0:
            rest += bytes(block)
            _check_length(rest)
            continue
        yield rest + bytes(block[:stop])
        rest = bytes(block[stop:])
    # The split's last line may go on behind its end; a line that begins exactly at the end is the next split's.
    if rest:
        yield rest + _until_separator(reader, end, rest, separator)


def _first_line(reader: SealedReader, start: int, separator: bytes) -> int | None:
    """Return where the first line that begins at or after *start* begins; None if no line does."""
    if start == 0:
        return 0
    position = start - len(separator)
    window = b""
    base = position
    while position < reader.size:
        window += reader.read(position, position + _TAIL_BYTES)
        found = window.find(separator)
        if found >= 0:
            return base + found + len(separator)
        position += _TAIL_BYTES
        _check_length(window)
    return None


def _until_separator(reader: SealedReader, position: int, before: bytes, separator: bytes) -> bytes:
    """Return the bytes from *position* up to and with the next separator, which may begin in *before*."""
    keep = before[-(len(separator) - 1) :] if len(separator) > 1 else b""
    window = keep
    while position < reader.size:
        window += reader.read(position, position + _TAIL_BYTES)
        position += _TAIL_BYTES
        found = window.find(separator)
        if found >= 0:
            return window[len(keep) : found + len(separator)]
        _check_length(window)
    return window[len(keep) :]


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise OptionRefused(
            f"a line is longer than {MAX_LINE_BYTES} bytes",
            hint="Set lineSep to the file's line separator, or read the file with multiLine.",
        )
