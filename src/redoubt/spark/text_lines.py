"""Bytes to lines of text, as every text reader of Spark cuts and decodes them; and the ``text`` format itself."""

from __future__ import annotations

import codecs
import re
from typing import Final

import pyarrow as pa

from redoubt.errors import OptionRefused
from redoubt.spark.options import TextOptions

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile("\r\n|\r|\n")
_LINE_END_BYTES: Final = re.compile(rb"\r\n|\r|\n")


def strip_bom(first_block: bytes) -> bytes:
    """Return the first block of a file without its byte order mark."""
    return first_block.removeprefix(_BOM)


def decode(block: bytes) -> str:
    """Decode UTF-8 as the JVM does: what is malformed becomes U+FFFD, once for what the JVM rejects at once."""
    try:
        return block.decode()
    except UnicodeDecodeError:
        return block.decode(errors=_JVM_ERRORS)


def split_lines(text: str, separator: str | None) -> list[str]:
    r"""Return the lines of *text*, which end at *separator*; if that is None, at ``\n``, ``\r`` or ``\r\n``."""
    if separator is not None:
        lines = text.split(separator)
    elif "\r" in text:
        lines = _LINE_END.split(text)
    else:
        lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _replace_as_jvm(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    start, end = error.start, error.end
    # The JVM takes the three bytes of an encoded surrogate as one malformed sequence, Python as three.
    if re.match(rb"\xed[\xa0-\xbf][\x80-\xbf]", error.object[start : start + 3]):
        end = start + 3
    return "\ufffd", end


_JVM_ERRORS: Final = "redoubt-jvm-replace"
codecs.register_error(_JVM_ERRORS, _replace_as_jvm)


def parse(block: bytes, *, schema: pa.Schema, options: TextOptions) -> pa.RecordBatch:
    """Return one row a line of *block*, a block of whole lines without the file's byte order mark.

    As in Spark, the bytes of a line are taken as they are, well-formed UTF-8 or not.

    Raises:
        OptionRefused: the schema is not one string column, or an option has no meaning for text.
    """
    if len(schema) != 1 or not pa.types.is_string(schema.field(0).type):
        raise OptionRefused("the text format reads exactly one column of strings")
    if options.multi_line:
        raise OptionRefused("multiLine has no meaning for text; wholetext is not supported")
    if options.line_separator is not None:
        lines = block.split(options.line_separator.encode())
    else:
        lines = _LINE_END_BYTES.split(block) if b"\r" in block else block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return pa.RecordBatch.from_arrays([pa.array(lines, pa.binary()).view(pa.string())], schema=schema)


def infer() -> pa.Schema:
    """Return the schema of every text dataset."""
    return pa.schema([pa.field("value", pa.string())])
