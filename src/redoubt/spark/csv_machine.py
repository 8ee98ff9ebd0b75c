"""One CSV record, character by character: the rules of the parser inside Spark (univocity 2.9.1), quirks included.

:class:`Machine` is the slow, faithful end of :mod:`redoubt.spark.csv_tokens`, which sends here only the records that
its quick forms cannot prove simple: unescaped or unclosed quotes, text after a closing quote, NUL, values to trim. It
follows the observable rules of Spark's settings (``unescapedQuoteHandling=STOP_AT_DELIMITER``, no kept quotes or
escapes) and decides nothing else; ``tests/spark`` compares it with the JVM parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redoubt.errors import OptionRefused, RecordMalformed

_NUL: Final = "\0"
_NEWLINE: Final = "\n"
#: What the JVM's ``String.trim`` and the parser call blank.
BLANKS: Final = "".join(map(chr, range(0x21)))


@dataclass(frozen=True, slots=True)
class Dialect:
    """The characters and values that make a CSV dialect. NUL stands for "none", as in Spark."""

    separator: str
    quote: str
    escape: str
    comment: str
    null_value: str
    empty_value: str
    trim_leading: bool
    trim_trailing: bool

    @property
    def escape_of_escape(self) -> str:
        """The character that escapes the escape character: itself, unless quotes are escaped by doubling."""
        return _NUL if self.quote == self.escape else self.escape


class Machine:
    """Reads records from one text whose record ends are ``\\n``.

    Set :attr:`normalized` when these stood as CR or CRLF in the file: a quoted value before them is then never plain.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._delimiter = dialect.separator
        self._quote = dialect.quote
        self._escape = dialect.escape
        self._escape2 = dialect.escape_of_escape
        self._comment_mark = dialect.comment or "#"
        self.normalized = False
        self._text = ""
        self._blank_until: int | None = None

    def read(self, text: str, start: int) -> tuple[list[str] | None, int]:
        """Return the fields of the record that begins at *start* (None: an empty line) and where the next begins."""
        if text is not self._text:
            self._text = text
            self._blank_until = None
        self._position = start
        self._ch = self._prev = _NUL
        self._unescaped = self._begun = False
        self._fields: list[str] = []
        self._value: list[str] = []
        self._trim = False
        try:
            self._ch = self._next()
            self._record()
        except EOFError:
            self._end(start)
        return self._fields or None, self._position

    # --- input and output -----------------------------------------------------------------------------------------
    def _next(self) -> str:
        try:
            ch = self._text[self._position]
        except IndexError:
            raise EOFError from None
        self._position += 1
        return ch

    def _until(self, ch: str, stops: str) -> str:
        """Append from *ch* on up to one of *stops*, and return that."""
        while ch not in stops:
            self._value.append(ch)
            ch = self._next()
        return ch

    def _value_parsed(self) -> None:
        value = "".join(self._value)
        if self._trim:
            value = value.rstrip(BLANKS)
        self._fields.append(value or self._dialect.empty_value)
        self._value = []

    def _empty_parsed(self) -> None:
        self._fields.append(self._dialect.null_value)

    def _end(self, start: int) -> None:
        """What the end of the input leaves: an open value, an empty one after a separator, or nothing."""
        consume = self._consume_at_end()
        if self._fields or consume:
            if self._value or consume:
                self._value_parsed()
            else:
                self._empty_parsed()
        elif self._value:
            self._value_parsed()
        elif self._position > start:
            self._empty_parsed()

    def _consume_at_end(self) -> bool:
        if self._ch == self._quote:
            if self._prev == self._quote:
                return True
            if not self._unescaped:
                self._value.append(self._quote)
        if self._ch in (self._delimiter, _NEWLINE, self._comment_mark):
            return False
        if not self._begun and not self._value and self._dialect.null_value != self._dialect.empty_value:
            # Spark decides by what the record before ended with, and that may stand in another split.
            raise OptionRefused("with this nullValue a record of blanks only cannot be read as Spark reads it")
        return self._prev != _NUL

    def _first_text(self) -> int:
        """Return where the first character of the text stands that is not blank."""
        if self._blank_until is None:
            self._blank_until = len(self._text) - len(self._text.lstrip(BLANKS))
        return self._blank_until

    # --- values ---------------------------------------------------------------------------------------------------
    def _record(self) -> None:
        dialect, delimiter = self._dialect, self._delimiter
        if self._ch <= " " and dialect.trim_leading:
            self._skip_blanks()
        while self._ch != _NEWLINE:
            if self._ch <= " " and dialect.trim_leading:
                self._skip_blanks()
            if self._ch in (delimiter, _NEWLINE):
                self._empty_parsed()
            else:
                self._begun = True
                self._unescaped = False
                self._prev = _NUL
                if self._ch == self._quote:
                    quoted = self._quoted_quickly()
                    if quoted is not None:
                        self._fields.append(quoted or dialect.empty_value)
                        if self._after_quoted():
                            return
                        continue
                    self._trim = False
                    self._quoted()
                    self._value_parsed()
                else:
                    self._unquoted()
            if self._ch != _NEWLINE:
                self._ch = self._next()
                if self._ch == _NEWLINE:
                    self._empty_parsed()

    def _after_quoted(self) -> bool:
        """Step over what follows a quickly read quoted value; True when the input ended."""
        try:
            self._ch = self._next()
        except EOFError:
            return True
        if self._ch == self._delimiter:
            try:
                self._ch = self._next()
            except EOFError:
                self._empty_parsed()
                return True
            if self._ch == _NEWLINE:
                self._empty_parsed()
        return False

    def _skip_blanks(self) -> None:
        stops = (self._delimiter, _NEWLINE, self._quote)
        while self._ch <= " " and self._ch not in stops:
            self._ch = self._next()

    def _unquoted(self) -> None:
        text, start = self._text, self._position - 1
        end = text.find(self._delimiter, start)
        line_end = text.find(_NEWLINE, start)
        if line_end >= 0 and (end < 0 or line_end < end):
            end = line_end
        if end < 0:
            # The last value of the input: an empty one counts as empty, not as missing.
            self._trim = self._dialect.trim_trailing
            self._ch = self._until(self._ch, self._delimiter + _NEWLINE)
            self._value_parsed()
            return
        value = text[start:end]
        if self._dialect.trim_trailing:
            value = value.rstrip(BLANKS)
            if not value and end <= self._first_text():
                # Spark's parser runs off the front of its buffer here, and the query fails in every mode.
                raise RecordMalformed("a record begins with a blank value, which ignoreTrailingWhiteSpace cannot trim")
        self._fields.append(value or self._dialect.null_value)
        self._position = end + 1
        self._ch = text[end]

    def _quoted_quickly(self) -> str | None:
        """Return the quoted value at the position when it is plain and followed by a separator or line end."""
        text, quote, escape = self._text, self._quote, self._escape
        ends = self._delimiter if self.normalized else self._delimiter + _NEWLINE
        i = self._position
        size = len(text)
        while i < size:
            ch = text[i]
            if ch == quote:
                if text[i - 1] == escape or i + 1 >= size or text[i + 1] not in ends:
                    return None
                value = text[self._position : i]
                self._position = i + 1
                return value
            if (ch == escape and i + 1 < size and text[i + 1] in (quote, self._escape2)) or ch == _NEWLINE:
                return None
            i += 1
        return None

    def _quoted(self) -> None:
        """Read a quoted value with escapes; on an unescaped quote, take everything up to the separator as it is."""
        if self._prev != _NUL:
            self._value.insert(0, self._quote)
            self._ch = self._next()
            self._trim = self._dialect.trim_trailing
            self._ch = self._until(self._ch, self._delimiter + _NEWLINE)
            return
        self._ch = self._next()
        while not (self._prev == self._quote and (self._ch <= " " or self._ch == self._delimiter)):
            if self._ch not in (self._quote, self._escape):
                if self._prev == self._quote:
                    self._unescaped_quote()
                    return
                if self._prev == self._escape and self._escape != _NUL:
                    self._value.append(self._escape)
                self._ch = self._until(self._ch, self._quote + self._escape + self._escape2)
                self._prev = self._ch
                self._ch = self._next()
            else:
                self._escaped()
                self._prev = self._ch
                self._ch = self._next()
                if self._unescaped and self._ch in (self._delimiter, _NEWLINE):
                    return
        if self._ch not in (self._delimiter, _NEWLINE):
            self._blanks_after_quote()

    def _unescaped_quote(self) -> None:
        self._unescaped = True
        self._value += (self._quote, self._ch)
        self._prev = self._ch
        self._quoted()

    def _escaped(self) -> None:
        ch, prev, quote, escape, escape2 = self._ch, self._prev, self._quote, self._escape, self._escape2
        if ch == escape and prev == escape2 and escape2 != _NUL:
            self._value.append(escape)
            self._ch = _NUL
        elif prev == escape:
            if ch == quote:
                self._value.append(quote)
                self._ch = _NUL
            else:
                self._value.append(prev)
        elif ch == quote and prev == quote:
            self._value.append(quote)
        elif prev == quote:
            # An unescaped quote that an escape follows.
            self._value.append(quote)
            self._prev = ch
            self._value_with_escapes()

    def _value_with_escapes(self) -> None:
        while self._ch not in (self._delimiter, _NEWLINE):
            if self._ch not in (self._quote, self._escape):
                if self._prev == self._quote:
                    self._value.append(self._quote)
                    self._prev = self._ch
                    self._value_with_escapes()
                    return
                self._value.append(self._ch)
            else:
                self._escaped()
            self._prev = self._ch
            self._ch = self._next()

    def _blanks_after_quote(self) -> None:
        """Drop blanks between a closing quote and the separator; keep them when more text follows."""
        blanks: list[str] = []
        while True:
            blanks.append(self._ch)
            self._ch = self._next()
            if self._ch == _NEWLINE:
                return
            if self._ch > " " or self._ch == self._delimiter:
                break
        if self._ch != self._delimiter:
            self._value.append(self._quote)
            self._value += blanks
            self._value.append(self._ch)
            self._prev = self._ch
            self._quoted()
