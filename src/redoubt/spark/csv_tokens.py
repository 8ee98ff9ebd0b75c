"""Bytes to CSV records: line ends, comments, header lines and fields, exactly as Spark's reader cuts them.

Two ways to cut, as in Spark: by lines (the default; a quoted value ends with its line), or with ``multiLine`` over a
whole file. Most records are cut by quick forms here; the rest goes to :mod:`redoubt.spark.csv_machine`.
Text that Spark reads differently depending on its buffers is refused (``docs/spark-parity.md``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from redoubt.errors import OptionRefused
from redoubt.spark.csv_machine import BLANKS, Dialect, Machine
from redoubt.spark.options import TextOptions
from redoubt.spark.text_lines import decode, split_lines

#: A record: its fields (None where the parser gives up) and its text, for the corrupt-record column.
Record = tuple[list[str] | None, str]

_SEPARATOR_ESCAPES: Final = {"t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_BOM: Final = b"\xef\xbb\xbf"
#: Stands for a lone LF in a file whose line ends are CRLF or CR; a Unicode noncharacter.
_LONE_LF: Final = "\ufdd0"
_LONE_LF_REFUSED: Final = "a lone line feed stands outside quotes in a file with other line ends"
#: Spark looks for the first line end in what its first buffer holds.
_DETECTION_CHARS: Final = 1 << 20
#: In so short a file the last CR is not seen as a line end.
_SHORT_FILE_CHARS: Final = 4
#: Spark's own limit (``maxColumns``).
MAX_COLUMNS: Final = 20480


def dialect(options: TextOptions) -> Dialect:
    """Return the dialect that *options* describe.

    Raises:
        OptionRefused: a combination whose rows cannot be promised to be Spark's.
    """
    separator = _separator(options.sep)
    made = Dialect(
        separator=separator,
        quote=options.quote or "\0",
        escape=options.escape or "\0",
        comment=options.comment,
        null_value=options.null_value,
        empty_value=options.empty_value or "",
        trim_leading=bool(options.ignore_leading_space),
        trim_trailing=bool(options.ignore_trailing_space),
    )
    if len(separator) > 1:
        if made.trim_leading or made.trim_trailing:
            raise OptionRefused("ignoreLeadingWhiteSpace and ignoreTrailingWhiteSpace need a sep of one character")
        if made.null_value != made.empty_value:
            raise OptionRefused("nullValue and emptyValue that differ need a sep of one character")
        if separator[0] in separator[1:] and separator != separator[0] * len(separator):
            raise OptionRefused(f"the separator {separator!r} contains its own beginning")
    if separator in (made.quote, made.escape, made.comment) or made.comment == made.quote:
        raise OptionRefused("sep, quote, escape and comment must be different characters")
    if any(char in separator + made.quote + made.escape for char in "\n\r"):
        raise OptionRefused("a line end cannot be sep, quote or escape")
    if options.multi_line and made.trim_trailing and made.null_value != made.empty_value:
        raise OptionRefused("multiLine with ignoreTrailingWhiteSpace needs equal nullValue and emptyValue")
    if options.line_separator is not None:
        if len(options.line_separator) > 2:
            raise OptionRefused("lineSep of a csv file has at most two characters")
        if options.multi_line and options.line_separator != "\n":
            raise OptionRefused("multiLine with a lineSep other than \\n is not supported for csv")
    return made


def _separator(raw: str) -> str:
    """Read the escapes that Spark knows in ``sep``."""
    out = []
    i = 0
    while i < len(raw):
        char = raw[i]
        if char == "\\":
            if raw[i:] == "\\":
                raise OptionRefused("sep ends with a single backslash")
            if raw[i:] == "\\u0000":
                out.append("\0")
                break
            i += 1
            if raw[i] not in _SEPARATOR_ESCAPES:
                raise OptionRefused(f"unknown escape in the separator {raw!r}")
            char = _SEPARATOR_ESCAPES[raw[i]]
        out.append(char)
        i += 1
    return "".join(out)


class Tokenizer:
    """Cuts blocks of one CSV dialect into records."""

    def __init__(self, options: TextOptions) -> None:
        self._options = options
        self.dialect = dialect(options)
        self._machine = Machine(self.dialect)
        self._plain_empties = self.dialect.null_value == ""
        self._trims = self.dialect.trim_leading or self.dialect.trim_trailing
        self._wide = len(self.dialect.separator) > 1
        self._machine_only = self._trims or self._wide or "\0" in (self.dialect.quote, self.dialect.escape)
        self._quoted = _quoted_form(self.dialect)
        self._escapes = _escapes_form(self.dialect)

    def records(self, block: bytes) -> Iterator[Record]:
        """Yield the records of a block of whole lines; with multiLine, of a whole file, header included."""
        if self._options.multi_line:
            yield from self._file_records(block)
            return
        comment, fields = self.dialect.comment, self.fields
        for line in self.lines(block):
            if line.strip(BLANKS) and not (comment and line.startswith(comment)):
                yield fields(line), line

    def lines(self, block: bytes) -> list[str]:
        """Return the lines of *block*, blank and comment lines included.

        Raises:
            OptionRefused: a line holds an LF although lineSep is another one; Spark reads such lines unpredictably.
        """
        separator = self._options.line_separator
        lines = split_lines(decode(block), separator)
        if separator not in (None, "\n") and b"\n" in block and any("\n" in line for line in lines):
            raise OptionRefused("with this lineSep no line may hold a line feed")
        if _BOM in block:
            for line in lines:
                _refuse_mark(line)
        return lines

    def fields(self, line: str) -> list[str] | None:
        """Return the fields of one line that is not blank."""
        mark = self.dialect
        if not self._trims and mark.quote not in line:
            found = line.split(mark.separator)
            return found if self._plain_empties else [value or mark.null_value for value in found]
        if not self._machine_only:
            quick, _ = self._quick(line, 0)
            if quick is not None:
                return quick
        self._require_narrow()
        return self._machine.read(line, 0)[0]

    def _quick(self, text: str, start: int) -> tuple[list[str] | None, int]:
        """Cut the record at *start* if its quoted values are well-formed and nothing is to be trimmed.

        Returns its fields, or None if only the machine can read it, and where the next record begins.
        """
        mark = self.dialect
        separator, quote, null_value = mark.separator, mark.quote, mark.null_value
        found: list[str] = []
        position = start
        line_end = self._line_end(text, start)
        while True:
            if text.startswith(quote, position):
                form = self._quoted(text, position)
                if form is None:
                    return None, start
                value = form.group(1)
                if "\0" in value:
                    return None, start
                found.append(self._unescaped(value) or mark.empty_value)
                end = form.end()
                if end > line_end:
                    line_end = self._line_end(text, end)
            else:
                end = text.find(separator, position, line_end)
                end = line_end if end < 0 else end
                value = text[position:end]
                if _LONE_LF in value:
                    raise OptionRefused(_LONE_LF_REFUSED)
                found.append(value or null_value)
            if end == line_end:
                return found, end + 1
            position = end + 1

    def _require_narrow(self) -> None:
        if self._wide:
            raise OptionRefused(f"the data holds quote characters and sep {self._options.sep!r} has several characters")

    @staticmethod
    def _line_end(text: str, start: int) -> int:
        end = text.find("\n", start)
        return len(text) if end < 0 else end

    def _unescaped(self, value: str) -> str:
        mark = self.dialect
        if mark.escape in value:
            if mark.escape == mark.quote:
                value = value.replace(mark.quote * 2, mark.quote)
            else:
                value = self._escapes(r"\1", value)
        return value.replace(_LONE_LF, "\n")

    # --- multiLine ------------------------------------------------------------------------------------------------
    def _file_records(self, block: bytes) -> Iterator[Record]:
        raw = decode(block)
        _refuse_mark(raw)
        text, line_end = _normal_line_ends(raw, self._options.line_separator)
        self._machine.normalized = line_end != "\n"
        comment = self.dialect.comment
        position, size = 0, len(text)
        while position < size:
            start = position
            if comment and text.startswith(comment, start):
                position = self._line_end(text, start) + 1
                continue
            if text[start] == "\n":
                position += 1
                continue
            fields: list[str] | None = None
            if not self._machine_only:
                fields, position = self._quick(text, start)
            if fields is None:
                fields, position = self._slow(text, start)
            if fields is not None:
                yield fields, text[start:position].replace("\n", line_end).replace(_LONE_LF, "\n")

    def _slow(self, text: str, start: int) -> tuple[list[str] | None, int]:
        if self._wide:
            end = self._line_end(text, start)
            if _LONE_LF in text[start:end]:
                raise OptionRefused(_LONE_LF_REFUSED)
            return self.fields(text[start:end]), end + 1
        fields, position = self._machine.read(text, start)
        if _LONE_LF in text[start:position]:
            raise OptionRefused(_LONE_LF_REFUSED)
        return fields, position


@lru_cache(maxsize=16)
def tokenizer(options: TextOptions) -> Tokenizer:
    """Return the tokenizer of *options*."""
    return Tokenizer(options)


def _quoted_source(mark: Dialect) -> str:
    quote, escape = re.escape(mark.quote), re.escape(mark.escape)
    if mark.quote == mark.escape:
        return f"{quote}((?:[^{quote}]|{quote}{quote})*+){quote}"
    return f"{quote}((?:[^{quote}{escape}]|{escape}[{escape}{quote}]|{escape}(?![{escape}{quote}]))*+){quote}"


def _quoted_form(mark: Dialect) -> Callable[[str, int], re.Match[str] | None]:
    """Return the matcher of a well-formed quoted value that a separator or the end of the line follows."""
    return re.compile(f"{_quoted_source(mark)}(?={re.escape(mark.separator)}|\n|\\Z)", re.DOTALL).match


def _escapes_form(mark: Dialect) -> Callable[[str, str], str]:
    """Return the function that replaces an escaped quote or escape by itself."""
    return re.compile(f"{re.escape(mark.escape)}([{re.escape(mark.escape)}{re.escape(mark.quote)}])").sub


def _refuse_mark(line: str) -> None:
    if line.startswith("\ufeff"):
        raise OptionRefused("a line begins with U+FEFF, which Spark drops or keeps depending on its splits")


def _normal_line_ends(text: str, separator: str | None) -> tuple[str, str]:
    """Return *text* with the line ends that Spark detects turned into LF, and what these are."""
    if separator is not None or "\r" not in text:
        return text, "\n"
    first = min(where for where in (text.find("\r"), text.find("\n")) if where >= 0)
    if text[first] == "\n":
        return text, "\n"
    if first + 1 >= _DETECTION_CHARS:
        raise OptionRefused("the first line is too long for Spark's detection of line ends; set lineSep")
    if _LONE_LF in text:
        raise OptionRefused("the text holds the noncharacter U+FDD0")
    if text.startswith("\r\n", first):
        parts = text.split("\r\n")
        return "\n".join(part.replace("\n", _LONE_LF) for part in parts), "\r\n"
    body, last = text, ""
    if len(text) <= _SHORT_FILE_CHARS and text.endswith("\r"):
        body, last = text[:-1], "\r"
    return body.replace("\n", _LONE_LF).replace("\r", "\n") + last, "\r"
