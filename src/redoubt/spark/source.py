"""The Python Data Source ``sealed``: csv, json lines and text in sealed datasets, for ``spark.read`` and ``df.write``.

    spark.read.format("sealed").option("format", "csv").option("header", True).schema(ddl).load("sealed/")
    df.write.format("sealed").option("format", "csv").mode("append").save("sealed/")

Planning (:mod:`redoubt.spark.plan`) and parsing are elsewhere; here they meet Spark's API. Spark pickles the objects of
this module and runs their methods in different processes, so they hold options, names and ids only; keys come from the
job's key endpoint wherever they are needed.

Spark's planner meets ``io.redoubt.source.SealedSource`` of ``jvm/``, which is what bears the name ``sealed``. It tells
this module which columns a query needs; records are judged by the whole schema all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
    WriterCommitMessage,
)

from redoubt.agent.client import endpoint_keys
from redoubt.errors import OptionRefused
from redoubt.sealed.commit import Part
from redoubt.sealed.write import DatasetWrite, WriteMode, WriteTicket
from redoubt.spark.conf import IN_PYTHON, SESSION_TIME_ZONE
from redoubt.spark.options import MEDIA_TYPES, TextOptions
from redoubt.spark.parse import infer_schema, parser_for
from redoubt.spark.plan import Split, open_split, plan
from redoubt.spark.render import renderer_for

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType


#: Option by which that class tells the schema of the files, where a query needs some of its columns only.
_SCHEMA_OF_FILES = "redoubt.schema"


class SealedDataSource(DataSource):
    """Spark's entry point; made once for each read or write with its options."""

    @classmethod
    def name(cls) -> str:
        """The name that it is registered as."""
        return IN_PYTHON

    def schema(self) -> StructType:
        """Infer the schema; asked for only where the user gave none."""
        from pyspark.sql.pandas.types import from_arrow_schema

        options = TextOptions.read(self.options)
        keys = endpoint_keys()
        return from_arrow_schema(infer_schema(options, plan(options, keys=keys), keys=keys))

    def reader(self, schema: StructType) -> SealedReader:
        """Return the reader of *schema*, whose columns may be some of the files' only."""
        options, whole = read_request(self.options, schema)
        return SealedReader(options, whole, schema.names)

    def writer(self, schema: StructType, overwrite: bool) -> SealedWriter:  # noqa: FBT001  (Spark's signature)
        """Return the writer of *schema*, with the dataset write begun."""
        options = _options(self.options)
        mode = WriteMode.OVERWRITE if overwrite else WriteMode.APPEND
        write = DatasetWrite.begin(options.path, keys=endpoint_keys(), mode=mode, key=options.key)
        return SealedWriter(options, schema, write.ticket)


class SplitPartition(InputPartition):
    """One task's split."""

    def __init__(self, split: Split) -> None:
        super().__init__(split)
        self.split = split


class SealedReader(DataSourceReader):
    """Reads *columns* of one dataset, whose files have one schema."""

    def __init__(self, options: TextOptions, schema: StructType, columns: Sequence[str]) -> None:
        self._options = options
        self._schema = schema
        self._columns = columns

    def partitions(self) -> Sequence[InputPartition]:
        """Cut the dataset into splits; reads no content."""
        return [SplitPartition(split) for split in plan(self._options, keys=endpoint_keys())]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Decrypt and parse one split."""
        if not isinstance(partition, SplitPartition):
            return  # Spark's stand-in for no partition at all: a dataset without parts
        parser = parser_for(_arrow_schema(self._schema), _in_task(self._options), columns=self._columns)
        reader = open_split(partition.split, keys=endpoint_keys())
        try:
            yield from parser.read(reader, partition.split.start, partition.split.end)
        finally:
            reader.close()


@dataclass
class PartMessage(WriterCommitMessage):
    """What a task tells the driver: the entry of its part, or None if it had no rows."""

    part: Part | None


class SealedWriter(DataSourceArrowWriter):
    """Writes one part a task and commits them all.

    Spark may run a task twice and calls :meth:`commit` once, with the messages of the attempts that count; parts of
    other attempts stay behind unlisted. ``commit`` raising is followed by ``abort``, which must therefore delete
    nothing that may have been committed: it leaves everything to ``redoubt gc``.
    """

    def __init__(self, options: TextOptions, schema: StructType, ticket: WriteTicket) -> None:
        self._options = options
        self._schema = schema
        self._ticket = ticket

    def write(self, iterator: Iterator[pa.RecordBatch]) -> PartMessage:
        """Write the rows of one task as one sealed part."""
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        name = f"part-{context.partitionId():05d}-{context.taskAttemptId()}.{self._options.format}.sealed"
        renderer = renderer_for(_arrow_schema(self._schema), _in_task(self._options))
        parts = self._ticket.open(keys=endpoint_keys())
        part = None
        try:
            for batch in iterator:
                if batch.num_rows == 0:
                    continue
                if part is None:
                    part = parts.part(name, media_type=MEDIA_TYPES[self._options.format])
                    part.write(renderer.header())
                part.write(renderer.rows(batch))
        except BaseException:
            if part is not None:
                part.abort()
            raise
        return PartMessage(part.finish() if part is not None else None)

    def commit(self, messages: list[WriterCommitMessage | None]) -> None:
        """Publish the parts as one commit of the dataset."""
        entries = [message.part for message in messages if isinstance(message, PartMessage) and message.part]
        write = DatasetWrite.resume(self._ticket, keys=endpoint_keys())
        write.commit(entries, properties={"format": self._options.format.value, "schema": self._schema.json()})

    def abort(self, messages: list[WriterCommitMessage | None]) -> None:
        """Leave unlisted parts to ``redoubt gc``: a commit may have landed although its answer was lost."""


def read_request(raw: Mapping[str, str], asked: StructType) -> tuple[TextOptions, StructType]:
    """Return the options of a read that is asked for the columns of *asked*, and the schema of its files."""
    from pyspark.sql.types import StructType

    given = dict(raw)
    whole = given.pop(_SCHEMA_OF_FILES, None)
    return _options(given), asked if whole is None else StructType.fromJson(json.loads(whole))


def _options(raw: Mapping[str, str]) -> TextOptions:
    """Read *raw*; where it names no time zone, the options name none either, for :func:`_in_task` to fill in.

    A relative path is the driver's: executors have working folders of their own.
    """
    options = TextOptions.read({"timeZone": "", **raw})
    if "://" in options.path or options.path.startswith("file:"):
        return options
    return replace(options, path=str(Path(options.path).absolute()))


def _in_task(options: TextOptions) -> TextOptions:
    """Return *options* with the session's time zone if they name none; Spark tells it to its tasks only."""
    from pyspark import TaskContext

    context = TaskContext.get()
    session = context.getLocalProperty(SESSION_TIME_ZONE) if context is not None else None
    return replace(options, time_zone=options.time_zone or session or "")


def _arrow_schema(schema: StructType) -> Any:
    from pyspark.sql.pandas.types import to_arrow_schema

    try:
        return to_arrow_schema(schema, timezone="UTC")
    except PySparkException as error:
        raise OptionRefused(f"the schema has a type that sealed text cannot hold: {error}") from None
