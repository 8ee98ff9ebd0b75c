"""Tokens of one JSON text, cut as the parser inside Spark cuts them (Jackson with single quotes and NaN allowed).

This is the slow, faithful end of :mod:`redoubt.spark.json_lines`: it also says what a malformed text still yields.
Values of strings are read only when they are asked for, so that what is wrong in one is found where Spark finds it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from redoubt.errors import OptionRefused

_MAX_DEPTH: Final = 1000
_MAX_NUMBER: Final = 1000
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9.eE])")
_NOT_FINITE: Final = re.compile(r"(?:NaN|[+-]?Infinity|[+-]INF)(?![\w$])")
_WORD: Final = re.compile(r"(?:true|false|null)(?![\w$])")
_PLAIN: Final = {
    '"': re.compile('[^"\\\\\x00-\x1f\ud800-\udfff]*'),
    "'": re.compile("[^'\\\\\x00-\x1f\ud800-\udfff]*"),
}
_HEX: Final = re.compile("[0-9a-fA-F]{0,4}")
_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "/": "/", "\\": "\\", "'": "'"}


class Malformed(Exception):
    """A text, or a value for its column, is not what it must be."""


class SyntaxFault(Malformed):
    """The text is not JSON from here on; where Spark's parser would go on is not modelled."""


class Token(Enum):
    """Kinds of tokens."""

    OBJECT = "{"
    END_OBJECT = "}"
    ARRAY = "["
    END_ARRAY = "]"
    NAME = "name"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    TRUE = "true"
    FALSE = "false"
    NULL = "null"


_STARTS: Final = {"{": Token.OBJECT, "[": Token.ARRAY}
_ENDS: Final = {"}": (Token.END_OBJECT, "{"), "]": (Token.END_ARRAY, "[")}


class Tokens:
    """The tokens of a text, in which each malformed byte stands as a lone surrogate (``surrogateescape``)."""

    def __init__(self, text: str) -> None:
        self.token: Token | None = None
        self.name = ""
        #: Where the current value begins.
        self.start = 0
        self._text = text
        self._position = 0
        self._open: str | None = None  # the quote of a string whose content is not read yet
        self._string = ""
        self._containers: list[str] = []
        self._filled = [False]
        self._value: Token | None = None

    @property
    def rest(self) -> str:
        """The text behind the current position."""
        return self._text[self._position :]

    @property
    def raw(self) -> str:
        """The characters from the start of the current value to the current position."""
        return self.raw_from(self.start)

    def raw_from(self, start: int) -> str:
        """Return the characters from *start* to the current position."""
        return self._text[start : self._position]

    def string(self) -> str:
        """Return the content of the current string.

        Raises:
            Malformed: it is not well-formed; the next token is looked for behind the place.
        """
        if self._open is not None:
            quote, self._open = self._open, None
            self._string = self._content(quote)
        return self._string

    def next(self) -> Token | None:
        """Go to the next token; None is the end of the text.

        Raises:
            SyntaxFault: there is no token.
        """
        if self.token is Token.NAME:
            self.token = self._value
        else:
            try:
                self.string()
                self.token = self._read()
            except SyntaxFault:
                raise
            except Malformed:
                raise SyntaxFault from None
        if self.token in {Token.OBJECT, Token.ARRAY}:
            self._containers.append(self.token.value)
            self._filled.append(False)
            if len(self._containers) > _MAX_DEPTH:
                raise OptionRefused(f"a JSON value is nested more than {_MAX_DEPTH} levels deep")
        return self.token

    def skip_children(self) -> None:
        """Go to the end of the current object or array; elsewhere stay.

        Raises:
            SyntaxFault: it has no end.
        """
        if self.token in {Token.OBJECT, Token.ARRAY}:
            outside = len(self._containers) - 1
            while len(self._containers) > outside:
                self.next()

    def _read(self) -> Token | None:
        char = self._peek()
        if not char:
            if self._containers:
                raise SyntaxFault
            return None
        if char in _ENDS:
            token, start = _ENDS[char]
            if not self._containers or self._containers[-1] != start:
                raise SyntaxFault
            self._containers.pop()
            self._filled.pop()
            self._position += 1
            return token
        if self._filled[-1]:
            if char != "," or not self._containers:
                raise SyntaxFault
            self._position += 1
            char = self._peek()
        self._filled[-1] = True
        if self._containers and self._containers[-1] == "{":
            if char not in _PLAIN:
                raise SyntaxFault
            self._position += 1
            self.name = self._content(char)
            if self._peek() != ":":
                raise SyntaxFault
            self._position += 1
            self._value = self._begin(self._peek())
            return Token.NAME
        return self._begin(char)

    def _peek(self) -> str:
        found = _BLANKS.match(self._text, self._position)
        assert found is not None
        self._position = found.end()
        return self._text[self._position : self._position + 1]

    def _begin(self, char: str) -> Token:
        """Read what begins at the current position, except for the content of a string in double quotes."""
        self.start = self._position
        if char == '"':
            self._position += 1
            self._open = char
            return Token.STRING
        if char == "'":
            self._position += 1
            self._string = self._content(char)
            return Token.STRING
        if char in _STARTS:
            self._position += 1
            return _STARTS[char]
        number = _NUMBER.match(self._text, self._position)
        if number is not None:
            self._position = number.end()
            if number.end() - number.start() > _MAX_NUMBER:
                raise OptionRefused(f"a JSON number is longer than {_MAX_NUMBER} characters")
            return Token.NUMBER if number.group(2) else Token.INTEGER
        word = _WORD.match(self._text, self._position) or _NOT_FINITE.match(self._text, self._position)
        if word is None:
            raise SyntaxFault
        self._position = word.end()
        return Token(word.group()) if word.group() in {"true", "false", "null"} else Token.NUMBER

    def _content(self, quote: str) -> str:
        """Read a string's content behind its opening quote."""
        plain = _PLAIN[quote].match
        parts: list[str] = []
        while True:
            found = plain(self._text, self._position)
            assert found is not None
            parts.append(found.group())
            char = self._text[found.end() : found.end() + 1]
            self._position = found.end() + 1
            if char == quote:
                break
            if char != "\\":
                self._skip_malformed(char)
                raise Malformed
            parts.append(self._escape())
        text = "".join(parts)
        try:
            text.encode()
        except UnicodeEncodeError:
            # Escaped surrogates: pairs are characters; a lone one becomes a question mark in the JVM.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\ufffd", "?")
        return text

    def _escape(self) -> str:
        char = self._text[self._position : self._position + 1]
        self._position += 1
        if char == "u":
            digits = _HEX.match(self._text, self._position)
            assert digits is not None
            self._position = digits.end()
            if digits.end() - digits.start() < 4:
                if self._text[self._position : self._position + 1] > "\x7f":
                    raise SyntaxFault  # the parser stops inside of the character
                self._position += 1
                raise Malformed
            return chr(int(digits.group(), 16))
        if char not in _ESCAPES:
            raise Malformed
        return _ESCAPES[char]

    def _skip_malformed(self, char: str) -> None:
        """Go on behind the byte that makes a UTF-8 sequence malformed, which may be the one behind its lead byte."""
        if not "\ud800" <= char <= "\udfff":
            return
        lead = ord(char) & 0xFF
        missing = 1 if 0xC0 <= lead < 0xE0 else 2 if 0xE0 <= lead < 0xF0 else 3 if 0xF0 <= lead < 0xF8 else 0
        while missing:
            follower = self._text[self._position : self._position + 1]
            if not follower:
                return
            if follower > "\x7f" and not "\udc80" <= follower <= "\udcbf":
                raise SyntaxFault  # a whole character: the parser stops inside of it
            self._position += 1
            missing = missing - 1 if follower > "\x7f" else 0
