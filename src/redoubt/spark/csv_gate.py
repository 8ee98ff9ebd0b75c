"""The gate of the fast CSV path: which blocks strict Arrow cuts into exactly Spark's rows.

A block passes when its bytes leave no room for two readings: line ends are LF or CRLF throughout, every quote opens right
after a separator or line end and closes right before one, no escape is in sight, and nothing that only Spark drops
(comments) or only Arrow drops (blanks around numbers) occurs. The scan goes over the block in pieces that fit the cache,
with buffers that are allocated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_LF: Final = 10
_CR: Final = 13
_PIECE: Final = 1 << 17

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Marks:
    """The bytes that matter: separator, quote (None: no quoting), escape (None: none) and start of comments."""

    separator: int
    quote: int | None
    escape: int | None
    comment: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found in a block that Arrow may read."""

    lines: int
    #: Some value begins or ends with a blank or control character: Arrow would trim it before it reads a number.
    blanks: bool


class Gate:
    """Judges blocks of one dialect; not for use by several threads at once."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._scratch = [np.empty(_PIECE, np.bool_) for _ in range(3)]

    def judge(self, block: bytes) -> Verdict | None:
        """Return the verdict on a block of whole lines, or None if only the exact path may read it."""
        marks = self._marks
        returns = block.find(b"\r") >= 0
        if returns and block.count(b"\r") != block.count(b"\r\n"):
            return None
        if b"\0" in block or (marks.comment and self._has_comment(block)):
            return None
        data = np.frombuffer(block, np.uint8)
        quotes: _Bytes | None = None
        if marks.quote is not None and block.find(marks.quote) >= 0:
            quotes = self._quotes(data, returns=returns, block=block)
            if quotes is None:
                return None
        lines = block.count(b"\n")
        return Verdict(lines + (not block.endswith(b"\n")), self._has_blanks(data, returns=returns))

    def _has_comment(self, block: bytes) -> bool:
        return block.startswith(self._marks.comment) or block.find(b"\n" + self._marks.comment) >= 0

    def _quotes(self, data: _Bytes, *, returns: bool, block: bytes) -> Any:
        """Return the positions of the quotes if they pair up around whole values, else None."""
        marks = self._marks
        if marks.escape is not None and marks.escape != marks.quote and block.find(marks.escape) >= 0:
            return None
        found = np.flatnonzero(data == marks.quote)
        if len(found) & 1:
            return None
        opening, closing = found[0::2], found[1::2]
        before = data[np.maximum(opening, 1) - 1]
        if not ((before == marks.separator) | (before == _LF) | (opening == 0)).all():
            return None
        last = len(data) - 1
        after = data[np.minimum(closing + 1, last)]
        ends = (after == marks.separator) | (after == _LF) | (closing == last)
        if returns:
            ends |= after == _CR
        if not ends.all():
            return None
        # A line that ends inside quotes: Spark cuts it there.
        return found

    def _has_blanks(self, data: _Bytes, *, returns: bool) -> bool:
        """Whether some byte up to a space stands next to a separator, a line end or an end of the block."""
        marks = self._marks
        blank, edge, both = self._scratch
        if len(data) and (self._is_blank(int(data[0])) or self._is_blank(int(data[-1]))):
            return True
        # Pieces overlap by one byte, so that every pair of neighbours is seen.
        for start in range(0, len(data), _PIECE - 1):
            piece = data[start : start + _PIECE]
            size = len(piece)
            is_blank, is_edge, pair = blank[:size], edge[:size], both[:size]
            np.less_equal(piece, 32, out=is_blank)
            np.equal(piece, marks.separator, out=is_edge)
            np.equal(piece, _LF, out=pair)
            np.logical_or(is_edge, pair, out=is_edge)
            if returns:
                np.equal(piece, _CR, out=pair)
                np.logical_or(is_edge, pair, out=is_edge)
            np.greater(is_blank, is_edge, out=is_blank)
            if np.logical_and(is_blank[1:], is_edge[:-1], out=pair[1:])[: size - 1].any():
                return True
            if np.logical_and(is_blank[:-1], is_edge[1:], out=pair[1:]).any():
                return True
        return False

    def _is_blank(self, byte: int) -> bool:
        return byte <= 32 and byte not in (self._marks.separator, _LF, _CR)
