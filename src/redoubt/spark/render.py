"""From Arrow batches to the bytes of a csv, json-lines or text part, one renderer a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from redoubt.spark.format_rows import csv_bytes, csv_header, json_bytes, text_bytes
from redoubt.spark.options import SourceFormat, TextOptions

if TYPE_CHECKING:
    import pyarrow as pa


class Renderer(Protocol):
    """Turns rows into bytes."""

    def header(self) -> bytes:
        """Return what a part starts with; may be empty."""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return the lines of *batch*."""


@dataclass(frozen=True, slots=True)
class CsvRenderer:
    """Comma-separated values as Spark's own writer writes them."""

    schema: pa.Schema
    options: TextOptions

    def header(self) -> bytes:
        """Return the header line, if the option asks for one."""
        return csv_header(self.schema, self.options) if self.options.header else b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return one line a row."""
        return csv_bytes(batch, self.options)


@dataclass(frozen=True, slots=True)
class JsonRenderer:
    """JSON lines as Spark's own writer writes them."""

    options: TextOptions

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return one object a row."""
        return json_bytes(batch, self.options)


@dataclass(frozen=True, slots=True)
class TextRenderer:
    """One string column, one line a row."""

    options: TextOptions

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return one line a row."""
        return text_bytes(batch, self.options)


def renderer_for(schema: pa.Schema, options: TextOptions) -> Renderer:
    """Return the renderer of the options' format.

    Raises:
        OptionRefused: *schema* has a type that the format cannot hold.
    """
    match options.format:
        case SourceFormat.CSV:
            return CsvRenderer(schema, options)
        case SourceFormat.JSON:
            return JsonRenderer(options)
        case SourceFormat.TEXT:
            return TextRenderer(options)
