"""From sealed bytes to Arrow batches, one parser a format; the parsers themselves are pure modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from redoubt.keys.provider import KeySource
from redoubt.spark import csv_exact, json_lines, text_lines
from redoubt.spark.csv_fast import FastCsv
from redoubt.spark.lines import RangeReader, line_blocks
from redoubt.spark.options import SourceFormat, TextOptions
from redoubt.spark.plan import Split, open_split
from redoubt.spark.text_lines import strip_bom

if TYPE_CHECKING:
    import pyarrow as pa


class Parser(Protocol):
    """Parses ranges of files of one format with one schema."""

    def read(self, reader: RangeReader, start: int, end: int | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows whose records begin in ``[start, end)`` of the plaintext; an *end* of None is the file's."""


class CsvParser:
    """Comma-separated values: pyarrow where it is provably right, Spark's rules in Python for every other block."""

    def __init__(self, schema: pa.Schema, options: TextOptions) -> None:
        self._schema = schema
        self._options = options
        self._fast = FastCsv(schema, options)

    def read(self, reader: RangeReader, start: int, end: int | None) -> Iterator[pa.RecordBatch]:
        """See :class:`Parser`."""
        for block in _blocks(reader, start, end, self._options):
            body = block
            if start == 0 and self._options.header:
                pass
            batch = self._fast.parse(body)
            yield batch if batch is not None else csv_exact.parse(body, schema=self._schema, options=self._options)


def _blocks(reader: RangeReader, start: int, end: int | None, options: TextOptions) -> Iterator[bytes]:
    """Yield blocks of whole lines, or the whole file where records may span lines; without the byte order mark."""
    if options.multi_line:
        yield strip_bom(reader.read())
        return
    for block in line_blocks(reader, start, reader.size if end is None else end, separator=options.separator_bytes):
        yield strip_bom(block) if start == 0 else block
        start = -1
