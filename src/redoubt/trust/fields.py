"""Strict reading of a tree of tables, lists and values (TOML or JSON), with the path of every problem.

Decides that every field is known, present where it must be, of its type and within bounds, and that no set is empty or
repeats a value. Reading goes on after a problem, with a harmless value in its place, so that one run names them all;
whoever reads must ask :meth:`Problems.raise_any` before using what was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from redoubt.errors import (
    ManifestDuplicate,
    ManifestEmpty,
    ManifestError,
    ManifestField,
    ManifestUnknownField,
)
from redoubt.keys.names import LABEL
from redoubt.limits import MAX_MANIFEST_ENTRIES, MAX_MANIFEST_TEXT

T = TypeVar("T")
Path = tuple[str, ...]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 8


def dotted(path: Path) -> str:
    """Return *path* as TOML spells it: ``tees.prod.reference."snp.vmpl"``; list places stand in brackets."""
    text = ""
    for part in path:
        if part.startswith("["):
            text += part
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else json.dumps(part))
    return text or "the manifest"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: Path
    kind: type[ManifestError]
    reason: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Problems:
    """What was found wrong so far."""

    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, kind: type[ManifestError], reason: str) -> None:
        """Note a problem."""
        self.found.append(Problem(path, kind, reason))

    def raise_any(self) -> None:
        """Raise the first problem's error, with the text of all, if there is any."""
        if self.found:
            more = len(self.found) - _SHOWN
            lines = [str(it) for it in self.found[:_SHOWN]] + ([f"and {more} more"] if more > 0 else [])
            raise self.found[0].kind("; ".join(lines))


class Fields:
    """One table, whose fields are taken one by one; :meth:`close` refuses what is left."""

    def __init__(self, tree: object, path: Path, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self._left: dict[str, object] = {}
        if isinstance(tree, Mapping):
            self._left = dict(tree)
        else:
            self.problem("is not a table")

    def problem(self, reason: str, *names: str, kind: type[ManifestError] = ManifestField) -> None:
        """Note a problem with this table, or the field *names* in it."""
        self.problems.add((*self.path, *names), kind, reason)

    def close(self) -> None:
        """Refuse every field that was not taken."""
        for name in self._left:
            self.problem("unknown field", _printable(name), kind=ManifestUnknownField)

    def take(self, name: str, read: Callable[[object], T], *, default: T, optional: bool = False) -> T:
        """Return the field *name* as *read* returns it; *default* if it is missing or *read* finds a problem.

        *read* raises ManifestError for a value that it refuses.
        """
        if name not in self._left:
            if not optional:
                self.problem("is missing", name)
            return default
        try:
            return read(self._left.pop(name))
        except ManifestError as error:
            self.problem(error.what, name, kind=type(error))
            return default

    def set(self, name: str, read: Callable[[object], T], *, optional: bool = False) -> frozenset[T]:
        """Return the list *name* as a set: never empty, no value twice; each read by *read*."""
        return self.take(name, lambda value: value_set(value, read), default=frozenset(), optional=optional)

    def tables(self, name: str, *, optional: bool = False) -> Iterator[tuple[str, Fields]]:
        """Yield the named tables in the table *name*; never none."""
        for key, tree in self.values(name, optional=optional).items():
            if not LABEL.fullmatch(key):
                self.problem("is no name: use a-z, 0-9, '-' and '_', at most 63", name, _printable(key))
                continue
            yield key, Fields(tree, (*self.path, name, key), self.problems)

    def values(self, name: str, *, optional: bool = False) -> Mapping[str, object]:
        """Return the table *name* with values of any kind, whose names are not labels; never empty."""
        nothing: Mapping[str, object] = {}
        return self.take(name, _table, default=nothing, optional=optional)

    def list(self, name: str, *, optional: bool = False) -> Iterator[Fields]:
        """Yield the tables in the list *name*; never none."""
        nothing: list[object] = []
        for place, tree in enumerate(self.take(name, _list, default=nothing, optional=optional)):
            yield Fields(tree, (*self.path, name, f"[{place}]"), self.problems)


# --- readers of single values, for Fields.take ------------------------------------------------------------------------
def text(value: object) -> str:
    """Return a short printable text."""
    if not isinstance(value, str) or not value:
        raise ManifestField("is not a text, or is empty")
    if len(value) > MAX_MANIFEST_TEXT or not value.isprintable():
        raise ManifestField(f"is longer than {MAX_MANIFEST_TEXT} characters, or has signs that do not print")
    return value


def matching(pattern: re.Pattern[str], form: str) -> Callable[[object], str]:
    """Return a reader of texts that match *pattern* from end to end; *form* says what they look like."""

    def read(value: object) -> str:
        found = text(value)
        if not pattern.fullmatch(found):
            raise ManifestField(f"is not {form}")
        return found

    return read


def integer(least: int, most: int) -> Callable[[object], int]:
    """Return a reader of whole numbers."""

    def read(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ManifestField(f"is not a whole number from {least} to {most}")
        return value

    return read


def flag(value: object) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise ManifestField("is neither true nor false")
    return value


def one_of(kind: Callable[[str], T], names: Iterable[str]) -> Callable[[object], T]:
    """Return a reader of one of the words *names*, made a *kind*."""
    known = list(names)

    def read(value: object) -> T:
        if not isinstance(value, str) or value not in known:
            raise ManifestField(f"is not one of {', '.join(known)}")
        return kind(value)

    return read


def sequence(value: object) -> list[object]:
    """Return a list, which may be empty."""
    if not isinstance(value, list) or len(value) > MAX_MANIFEST_ENTRIES:
        raise ManifestField(f"is not a list of at most {MAX_MANIFEST_ENTRIES} values")
    return value


def _list(value: object) -> list[object]:
    found = sequence(value)
    if not found:
        raise ManifestEmpty("is empty")
    return found


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or len(value) > MAX_MANIFEST_ENTRIES:
        raise ManifestField(f"is not a table of at most {MAX_MANIFEST_ENTRIES} fields")
    if not value:
        raise ManifestEmpty("is empty")
    return value


def value_set(value: object, read: Callable[[object], T]) -> frozenset[T]:
    """Return a list as a set: never empty, no value twice; each read by *read*."""
    found = [read(it) for it in _list(value)]
    # 1 == True in Python: both together are as bad as twice the same.
    if len(set(found)) != len(found):
        raise ManifestDuplicate("names a value twice")
    return frozenset(found)


def _printable(name: str) -> str:
    return name[:64] if name.isprintable() else repr(name[:64])
