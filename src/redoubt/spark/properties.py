"""Reads files of java.util.Properties: ``spark-defaults.conf`` and what ``--properties-file`` names.

Source: the documentation of ``java.util.Properties.load``: logical lines, comments, separators, escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from redoubt.errors import UsageError

_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_KEY: Final = re.compile(r"(?:[^\\=: \t\f]|\\.)*", re.DOTALL)
_SEPARATOR: Final = re.compile(r"[ \t\f]*[=:]?[ \t\f]*")
_BLANK: Final = " \t\f"


def parse_properties(content: bytes, *, name: str = "the file of settings") -> dict[str, str]:
    """Return the settings in *content*; of a key that stands twice the last value, without blanks around it.

    *name* is what errors call it.

    Raises:
        UsageError: it is not UTF-8, or holds a bad escape.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8") from None
    found = {}
    for line in _logical_lines(text):
        key = _KEY.match(line)[0]  # type: ignore[index]  # it matches nothing at least
        value = line[len(key) :]
        value = value[len(_SEPARATOR.match(value)[0]) :]  # type: ignore[index]
        found[_unescaped(key, name)] = _unescaped(value, name).strip()  # Spark trims values
    return found


def _logical_lines(text: str) -> Iterator[str]:
    whole = ""
    going_on = False
    for line in re.split(r"\r\n|\r|\n", text):
        natural = line.lstrip(_BLANK)
        if not going_on and (not natural or natural[0] in "#!"):
            continue
        whole += natural
        backslashes = len(natural) - len(natural.rstrip("\\"))
        going_on = backslashes % 2 == 1
        if going_on:
            whole = whole[:-1]
            continue
        yield whole
        whole = ""
    if whole:
        yield whole


def _unescaped(text: str, name: str) -> str:
    def one(match: re.Match[str]) -> str:
        rest = match[1]
        if rest[0] != "u":
            return _ESCAPED.get(rest, rest)
        if len(rest) != 5:
            raise UsageError(f"{name} holds a bad \\uXXXX")
        return chr(int(rest[1:], 16))

    unescaped = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text, flags=re.DOTALL)
    # Java writes characters beyond the basic plane as two escapes.
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
