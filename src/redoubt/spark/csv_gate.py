"""The gate of the fast CSV path: which blocks strict Arrow cuts into exactly Spark's records.

A block passes when its bytes leave no room for two readings: line ends are LF or CRLF throughout, every quote opens
right after a separator or line end and closes right before one (or is doubled, where that is the escape), no other
escape stands in a block with quotes, and nothing occurs that only one of the two would drop: comments, lines of
separators that are blanks, a second byte order mark. Values are not looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_LF: Final = 10
_CR: Final = 13
_SPACE: Final = 32
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Gate:
    """The bytes that matter in one dialect; None stands for "none"."""

    separator: int
    quote: int | None
    escape: int | None
    comment: bytes
    #: A quoted empty value is one that Arrow cannot tell from a missing one.
    empty_is_null: bool
    #: lineSep was given as LF: a CR is then an ordinary character.
    only_lf: bool

    def lines(self, block: bytes) -> int | None:
        """Return how many records a block of whole lines must have (-1: any number), None if it does not pass."""
        returns = block.find(b"\r") >= 0
        if returns and (self.only_lf or block.count(b"\r") != block.count(b"\r\n")):
            return None
        if b"\0" in block or _BOM in block or self._starts_line(block, self.comment):
            return None
        if self.separator <= _SPACE and self._starts_line(block, bytes([self.separator])):
            return None
        if self.quote is None or block.find(self.quote) < 0:
            return -1
        if self.escape is not None and self.escape != self.quote and block.find(self.escape) >= 0:
            return None
        data = np.frombuffer(block, np.uint8)
        if not self._quotes_pair(data, returns=returns):
            return None
        # Spark ends a quoted value with its line: Arrow must not find fewer records than there are lines.
        return int(np.count_nonzero(data == _LF)) + (not block.endswith(b"\n"))

    @staticmethod
    def _starts_line(block: bytes, mark: bytes) -> bool:
        return mark != b"" and (block.startswith(mark) or block.find(b"\n" + mark) >= 0)

    def _quotes_pair(self, data: npt.NDArray[np.uint8], *, returns: bool) -> bool:
        """Whether the quotes pair up around whole values."""
        found = np.flatnonzero(data == self.quote)
        if len(found) & 1:
            return False
        opening, closing = found[0::2], found[1::2]
        if not self.empty_is_null and (closing - opening == 1).any():
            return False
        last = len(data) - 1
        before = data[np.maximum(opening, 1) - 1]
        after = data[np.minimum(closing + 1, last)]
        starts = (before == self.separator) | (before == _LF) | (opening == 0)
        ends = (after == self.separator) | (after == _LF) | (closing == last)
        if returns:
            ends |= after == _CR
        if self.escape == self.quote:
            doubled = opening[1:] == closing[:-1] + 1
            starts[1:] |= doubled
            ends[:-1] |= doubled
        return bool(starts.all() and ends.all())
