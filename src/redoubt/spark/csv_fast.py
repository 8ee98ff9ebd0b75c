"""Blocks of csv lines through pyarrow, where its answer is provably Spark's; all others go to the exact parser.

Parsers differ in the odd cases only: quotes in the middle of fields, escapes, blanks around numbers, hexadecimal
numbers, short and long rows. A block is parsed here only if a vectorised scan finds none of them, and pyarrow, strict
about types and the number of fields, accepts every value. Any doubt is None, never a guess.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from redoubt.spark.options import TextOptions

_LF, _CR, _SPACE = 10, 13, 32
#: Bytes scanned at once: the scan's temporaries then stay in the second-level cache.
_WINDOW: Final = 1 << 18
#: Anything that could be meant as a number.
_NUMBER = re.compile(rb"[\s0-9.,eE+-]*")
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]


class FastCsv:
    """The fast path for one schema and one set of options; ``eligible`` is False if they never allow it."""

    def __init__(self, schema: pa.Schema, options: TextOptions) -> None:
        self._schema = schema
        self._separator = options.sep.encode()
        self._quote = options.quote.encode()
        self._escape = options.escape.encode()
        self._comment = options.comment.encode()
        self._null_value = options.null_value
        self._numeric = any(pa.types.is_integer(kind) or pa.types.is_decimal(kind) for kind in schema.types)
        self.eligible = _eligible(schema, options)
        self._no_positions = np.empty(0, np.int64)
        self._scratch = tuple(np.empty(_WINDOW, bool) for _ in range(3))
        if self.eligible:
            self._parse_options = csv.ParseOptions(
                delimiter=options.sep, quote_char=options.quote or False, double_quote=False, escape_char=False
            )
            self._convert_options = csv.ConvertOptions(
                column_types=schema,
                null_values=sorted({"", options.null_value}),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                true_values=_TRUE,
                false_values=_FALSE,
            )

    def parse(self, block: bytes) -> pa.RecordBatch | None:
        """Return the rows of *block* (whole lines), or None if the exact parser must decide."""
        if not self.eligible or not block:
            return None
        lines = self._scan(block)
        if lines is None:
            return None
        read = csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self._schema.names)
        try:
            table = csv.read_csv(
                pa.BufferReader(block),
                read_options=read,
                parse_options=self._parse_options,
                convert_options=self._convert_options,
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != lines or not _finite(table):
            return None
        batches = table.combine_chunks().to_batches()
        return batches[0].cast(self._schema) if len(batches) == 1 else None

    def _scan(self, block: bytes) -> int | None:
        """Return the number of lines of *block*, or None if it holds anything that parsers read differently."""
        if self._comment and (block.startswith(self._comment) or b"\n" + self._comment in block):
            return None
        returns, ends = block.count(b"\r"), block.count(b"\n")
        if returns and returns != block.count(b"\r\n"):
            return None
        if self._escape and self._escape != self._quote and self._escape in block:
            return None
        data = np.frombuffer(block, np.uint8)
        quotes = self._no_positions
        if self._quote and self._quote in block:
            quotes = np.flatnonzero(data == self._quote[0])
            if not self._quotes_at_edges(data, quotes) or (self._numeric and _padded_number(block, data, quotes)):
                return None
        if self._numeric:
            tabs = block.count(b"\t") if self._separator == b"\t" else 0
            controls = int(np.count_nonzero(data < _SPACE))
            if controls != returns + ends + tabs or b"0x" in block or b"0X" in block:
                return None
            # A blank beside a separator is text inside quotes; outside them it makes Spark's numbers null.
            blanks = self._edge_blanks(data, returns=returns > 0)
            if len(blanks) and ((np.searchsorted(quotes, blanks) & 1) == 0).any():
                return None
        return ends + int(data[-1] != _LF)

    def _quotes_at_edges(self, data: np.ndarray, positions: np.ndarray) -> bool:
        """Tell whether quotes alternately open and close whole fields, none is doubled and none spans a line end."""
        if len(positions) & 1:
            return False
        separator = self._separator[0]
        opening, closing = positions[0::2], positions[1::2]
        before = data[np.maximum(opening - 1, 0)]
        after = data[np.minimum(closing + 1, len(data) - 1)]
        starts = (before == separator) | (before == _LF) | (opening == 0)
        ends = (after == separator) | (after == _LF) | (after == _CR) | (closing == len(data) - 1)
        if not (starts.all() and ends.all()):
            return False
        # An empty quoted field is null to pyarrow here; to Spark only where nullValue is the empty string.
        if self._null_value and (closing - opening == 1).any():
            return False
        line_ends = np.flatnonzero(data == _LF)
        return bool(((np.searchsorted(positions, line_ends) & 1) == 0).all())

    def _edge_blanks(self, data: np.ndarray, *, returns: bool) -> np.ndarray:
        """Return where spaces stand beside a separator or line end, or begin the block."""
        found = [self._no_positions]
        if data[0] == _SPACE:
            found.append(np.zeros(1, np.int64))
        for start in range(0, len(data) - 1, _WINDOW - 1):  # windows share a byte: every pair of bytes is seen
            window = data[start : start + _WINDOW]
            edge, blank, pair = (buffer[: len(window)] for buffer in self._scratch)
            np.equal(window, self._separator[0], out=edge)
            np.equal(window, _LF, out=blank)
            np.logical_or(edge, blank, out=edge)
            if returns:
                np.equal(window, _CR, out=blank)
                np.logical_or(edge, blank, out=edge)
            np.equal(window, _SPACE, out=blank)
            for first, second in ((blank, edge), (edge, blank)):
                np.logical_and(first[:-1], second[1:], out=pair[:-1])
                if pair[:-1].any():
                    found.append(np.flatnonzero(pair[:-1]) + start)
        return np.concatenate(found)


def _eligible(schema: pa.Schema, options: TextOptions) -> bool:
    separator = options.sep.encode()
    return (
        len(schema) > 1
        and len(separator) == 1
        and (separator[0] > _SPACE or options.sep == "\t")
        and len(options.quote.encode()) <= 1
        and len(options.escape.encode()) <= 1
        and options.empty_value == ""
        and options.line_separator in (None, "\n")
        and options.date_format in (None, "yyyy-MM-dd")
        and options.timestamp_format is None
        and options.timestamp_ntz_format is None
        and not (options.multi_line or options.ignore_leading_space or options.ignore_trailing_space)
        and options.corrupt_column not in schema.names
        and all(map(_fast_type, schema.types))
    )


def _fast_type(kind: pa.DataType) -> bool:
    return (
        kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.date32())
        or kind == pa.string()
        or pa.types.is_decimal128(kind)
    )


def _padded_number(block: bytes, data: np.ndarray, quotes: np.ndarray) -> bool:
    """Tell whether a quoted field is a number with blanks around it: Spark reads null, pyarrow the number."""
    opening, closing = quotes[0::2], quotes[1::2]
    inner = closing - opening > 1
    opening, closing = opening[inner], closing[inner]
    padded = (data[opening + 1] == _SPACE) | (data[closing - 1] == _SPACE)
    fields = zip(opening[padded].tolist(), closing[padded].tolist(), strict=True)
    return any(_NUMBER.fullmatch(block, start + 1, end) for start, end in fields)


def _finite(table: pa.Table) -> bool:
    floats = [column for column in table.columns if pa.types.is_floating(column.type)]
    return all(pc.all(pc.is_finite(column)).as_py() is not False for column in floats)
