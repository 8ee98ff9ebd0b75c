"""Our Data Source's parser on plain files: the middle column of the csv benchmark. Not part of the product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSourceReader, InputPartition
from pyspark.sql.pandas.types import to_arrow_schema

from redoubt.limits import CHUNK_PLAINTEXT_BYTES
from redoubt.sealed.body import RUN_CHUNKS
from redoubt.sealed.local import LocalFile
from redoubt.spark.options import TextOptions
from redoubt.spark.parse import parser_for
from redoubt.spark.source import SealedDataSource, read_request

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

_BLOCK_BYTES = RUN_CHUNKS * CHUNK_PLAINTEXT_BYTES


class PlainFile:
    """A plain local file with the interface of :class:`redoubt.sealed.body.SealedReader`."""

    def __init__(self, path: str) -> None:
        self._file = LocalFile(Path(path))
        self._buffer = memoryview(bytearray(_BLOCK_BYTES))

    @property
    def size(self) -> int:
        return self._file.size

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        end = self.size if end is None else min(end, self.size)
        for offset in range(start, end, _BLOCK_BYTES):
            block = self._buffer[: min(_BLOCK_BYTES, end - offset)]
            yield block[: self._file.read_into(offset, block)]

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return b"".join(block.tobytes() for block in self.blocks(start, end))

    def close(self) -> None:
        self._file.close()


class Range(InputPartition):
    def __init__(self, path: str, start: int, end: int | None) -> None:
        super().__init__(None)
        self.path, self.start, self.end = path, start, end


class PlainReader(DataSourceReader):
    def __init__(self, options: TextOptions, schema: StructType, columns: Sequence[str]) -> None:
        self._options = options
        self._schema = schema
        self._columns = columns

    def partitions(self) -> Sequence[InputPartition]:
        ranges: list[InputPartition] = []
        for path in sorted(Path(self._options.path).iterdir()):
            count = max(round(path.stat().st_size / self._options.split_bytes), 1)
            step = path.stat().st_size // count
            ranges += [Range(str(path), i * step, (i + 1) * step if i + 1 < count else None) for i in range(count)]
        return ranges

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, Range)
        file = PlainFile(partition.path)
        try:
            schema = to_arrow_schema(self._schema, timezone="UTC")
            parser = parser_for(schema, self._options, columns=self._columns)
            yield from parser.read(file, partition.start, partition.end)
        finally:
            file.close()


class PlainDataSource(SealedDataSource):
    """The Data Source of the product, which with the option ``bench.plain`` reads plain files."""

    def reader(self, schema: StructType) -> DataSourceReader:  # type: ignore[override]
        given = dict(self.options)
        if given.pop("bench.plain", None) is None:
            return super().reader(schema)
        options, whole = read_request(given, schema)
        return PlainReader(options, whole, schema.names)
