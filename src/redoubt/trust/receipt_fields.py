"""Strict reading of objects in receipts: exactly these members, each of its type and within its bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID

from redoubt.errors import ReceiptMalformed
from redoubt.evidence.claims import JSON
from redoubt.keys.register import CommitHead
from redoubt.limits import MAX_COMMIT_NUMBER, MAX_RECEIPT_TEXT
from redoubt.trust.program import is_digest

T = TypeVar("T")
W = TypeVar("W", bound=StrEnum)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_TIME_FORM: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Members:
    """One object that has exactly the named members. Every method raises ReceiptMalformed."""

    def __init__(self, value: JSON, names: str, *, what: str) -> None:
        """*names* are the members, separated by spaces."""
        if not isinstance(value, Mapping) or set(value) != set(names.split()):
            raise ReceiptMalformed(f"{what} has unknown or missing members, or is no object")
        self._found = value
        self._what = what

    def raw(self, name: str) -> JSON:
        """Return a member as it is."""
        return self._found[name]

    def text(self, name: str, *, longest: int = MAX_RECEIPT_TEXT) -> str:
        """Return a short printable text."""
        return _text(self._found[name], self._named(name), longest)

    def digest(self, name: str) -> str:
        """Return ``sha256:…``."""
        value = self._found[name]
        if not isinstance(value, str) or not is_digest(value):
            raise ReceiptMalformed(f"{self._named(name)} is no digest")
        return value

    def uuid(self, name: str) -> UUID:
        """Return a UUID in its one spelling."""
        return _uuid(self._found[name])

    def optional_uuid(self, name: str) -> UUID | None:
        """Return a UUID, or None for null."""
        return None if self._found[name] is None else _uuid(self._found[name])

    def number(self, name: str, least: int, most: int) -> int:
        """Return a whole number."""
        return _number(self._found[name], self._named(name), least, most)

    def time(self, name: str) -> datetime:
        """Return a time, in whole seconds."""
        value = self._found[name]
        try:
            if isinstance(value, str) and _TIME_FORM.fullmatch(value):
                return datetime.strptime(value, _TIME).replace(tzinfo=UTC)
        except ValueError:
            pass
        raise ReceiptMalformed(f"{self._named(name)} is no time such as 2026-11-26T09:30:00Z")

    def word(self, name: str, kind: type[W]) -> W:
        """Return a word of an enumeration."""
        value = self._found[name]
        if not isinstance(value, str) or value not in list(kind):
            raise ReceiptMalformed(f"{self._named(name)} is not one of {', '.join(kind)}")
        return kind(value)

    def object(self, name: str) -> Mapping[str, JSON]:
        """Return an object, whatever is in it."""
        value = self._found[name]
        if not isinstance(value, Mapping):
            raise ReceiptMalformed(f"{self._named(name)} is no object")
        return value

    def list(self, name: str, most: int) -> Sequence[JSON]:
        """Return a list."""
        value = self._found[name]
        if not isinstance(value, list) or len(value) > most:
            raise ReceiptMalformed(f"{self._named(name)} is no list of at most {most} values")
        return value

    def texts(self, name: str, most: int) -> Mapping[str, str]:
        """Return an object whose members are short texts."""
        value = self.object(name)
        if len(value) > most:
            raise ReceiptMalformed(f"{self._named(name)} has more than {most} members")
        named = self._named(name)
        return {_text(it, named, MAX_RECEIPT_TEXT): _text(value[it], named, MAX_RECEIPT_TEXT) for it in value}

    def head(self, name: str) -> CommitHead | None:
        """Return a commit's number and digest, or None for null."""
        if self._found[name] is None:
            return None
        found = Members(self._found[name], "digest number", what=self._named(name))
        return CommitHead(found.number("number", 1, MAX_COMMIT_NUMBER), found.digest("digest"))

    def _named(self, name: str) -> str:
        return f"{name!r} of {self._what}"


def many(values: Sequence[JSON], read: Callable[[JSON], T]) -> tuple[T, ...]:
    """Return each of *values* as *read* returns it."""
    return tuple(map(read, values))


def uuids(values: Sequence[JSON]) -> tuple[UUID, ...]:
    """Return UUIDs, of which there must be one; raises ReceiptMalformed."""
    if not values:
        raise ReceiptMalformed("the receipt names no attestation result where one belongs")
    return many(values, _uuid)


def head_json(head: CommitHead | None) -> JSON:
    """Return a commit's number and digest as they stand in receipts."""
    return None if head is None else {"digest": head.digest, "number": head.number}


def uuid_json(value: UUID | None) -> JSON:
    """Return a UUID, or None, as it stands in receipts."""
    return None if value is None else str(value)


def time_text(at: datetime) -> str:
    """Return *at* as it stands in receipts: UTC, in whole seconds."""
    return at.astimezone(UTC).strftime(_TIME)


def _text(value: JSON, what: str, longest: int) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise ReceiptMalformed(f"{what} is no text of at most {longest} printable signs")
    return value


def _uuid(value: JSON) -> UUID:
    try:
        found = UUID(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != value:
        raise ReceiptMalformed("the receipt has something else where a UUID belongs")
    return found


def _number(value: JSON, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ReceiptMalformed(f"{what} is no whole number from {least} to {most}")
    return value
