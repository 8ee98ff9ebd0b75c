"""From ranges of sealed files to Arrow batches, one parser a format.

What a line or record means is decided by the pure modules beside this one; here files become blocks of whole lines,
header lines go, and a csv block takes the fast path where that is provably right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from redoubt.keys.provider import KeySource
from redoubt.spark import csv_exact, csv_infer, json_lines, text_lines
from redoubt.spark.csv_fast import FastCsv
from redoubt.spark.lines import RangeReader, line_blocks
from redoubt.spark.options import SourceFormat, TextOptions
from redoubt.spark.plan import Split, open_split
from redoubt.spark.text_lines import strip_bom

if TYPE_CHECKING:
    import pyarrow as pa


class Parser(Protocol):
    """Parses ranges of files of one format with one schema, and gives some of its columns."""

    def read(self, reader: RangeReader, start: int, end: int | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows whose records begin in ``[start, end)`` of the plaintext; an *end* of None is the file's."""


class CsvParser:
    """Comma-separated values: pyarrow where it is provably right, Spark's rules in Python for every other block."""

    def __init__(self, schema: pa.Schema, options: TextOptions, columns: Sequence[int]) -> None:
        self._schema = schema
        self._options = options
        self._columns = list(columns)
        self._fast = FastCsv(schema, options, columns)

    def read(self, reader: RangeReader, start: int, end: int | None) -> Iterator[pa.RecordBatch]:
        """See :class:`Parser`."""
        blocks = _blocks(reader, start, end, self._options)
        if self._options.header and start == 0 and not self._options.multi_line:
            header, blocks = _without_header(blocks, self._options)
            if header is not None:
                csv_exact.check_header(header, self._schema, self._options)
        for block in blocks:
            batch = self._fast.parse(block)
            if batch is None:
                batch = csv_exact.parse(block, schema=self._schema, options=self._options).select(self._columns)
            yield batch


class LineParser:
    """Formats in which a block of lines is all that a parser needs: JSON lines and text."""

    def __init__(
        self, parse: Callable[..., pa.RecordBatch], schema: pa.Schema, options: TextOptions, columns: Sequence[int]
    ) -> None:
        self._parse = parse
        self._schema = schema
        self._options = options
        self._columns = list(columns)

    def read(self, reader: RangeReader, start: int, end: int | None) -> Iterator[pa.RecordBatch]:
        """See :class:`Parser`."""
        for block in _blocks(reader, start, end, self._options):
            yield self._parse(block, schema=self._schema, options=self._options).select(self._columns)


def parser_for(schema: pa.Schema, options: TextOptions, *, columns: Sequence[str] | None = None) -> Parser:
    """Return the parser of the options' format; raises OptionRefused for what it cannot do exactly.

    *columns* (default: all) are names of *schema*, in its order. Every record is read by the whole schema, so which
    columns are asked for changes neither how many rows there are nor what is in them.
    """
    names = schema.names
    wanted = range(len(names)) if columns is None or list(columns) == names else [names.index(it) for it in columns]
    match options.format:
        case SourceFormat.CSV:
            return CsvParser(schema, options, wanted)
        case SourceFormat.JSON:
            return LineParser(json_lines.parse, schema, options, wanted)
        case SourceFormat.TEXT:
            return LineParser(text_lines.parse, schema, options, wanted)


def infer_schema(options: TextOptions, splits: Sequence[Split], *, keys: KeySource) -> pa.Schema:
    """Return the schema that Spark would infer for the whole dataset.

    Raises:
        OptionRefused: it cannot be inferred exactly.
        SealedError, KeyError_: a part cannot be read.
    """
    if options.format is SourceFormat.TEXT:
        return text_lines.infer()
    infer = csv_infer.infer if options.format is SourceFormat.CSV else json_lines.infer
    return infer(_all_blocks(options, splits, keys), options)


def _all_blocks(options: TextOptions, splits: Sequence[Split], keys: KeySource) -> Iterator[bytes]:
    """Yield every block of every file, header lines included; a file's first block begins a new file."""
    for split in splits:
        reader = open_split(split, keys=keys)
        try:
            yield from _blocks(reader, split.start, split.end, options)
        finally:
            reader.close()


def _blocks(reader: RangeReader, start: int, end: int | None, options: TextOptions) -> Iterator[bytes]:
    """Yield blocks of whole lines, or the whole file where records may span lines; without the byte order mark."""
    if options.multi_line:
        yield strip_bom(reader.read())
        return
    first = start == 0
    for block in line_blocks(reader, start, reader.size if end is None else end, separator=options.separator_bytes):
        yield strip_bom(block) if first else block
        first = False


def _without_header(blocks: Iterator[bytes], options: TextOptions) -> tuple[str | None, Iterator[bytes]]:
    """Take the header line off a file's *blocks*: the first that is neither blank nor a comment, as Spark does."""
    for block in blocks:
        header, rest = csv_exact.split_header(block, options)
        if header is not None:
            return header, _chain(rest, blocks)
    return None, iter(())


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
