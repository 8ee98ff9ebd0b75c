"""Commit records: what a sealed dataset consists of (``docs/format.md``, "Commit record"). Pure.

A record lists *all* parts after the commit, so the head alone says what is complete. It names its predecessor's digest,
which makes the history a chain; it is sealed under the data key of its own write; ``signature`` is an empty slot: that
a writer made it is what the register of heads knows (hardening H6, ADR 0003).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self
from uuid import UUID

import rfc8785

from redoubt.errors import CommitInvalid, HeaderInvalid
from redoubt.limits import BODY_PREFIX_BYTES, MAX_COMMIT_BYTES, MAX_COMMIT_NUMBER, MAX_PARTS
from redoubt.sealed.header import NIL, check_media_type, check_part_name

_FORMAT = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_HEX_PREFIX = re.compile(rf"(?:[0-9a-f]{{{2 * BODY_PREFIX_BYTES}}})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Operation(StrEnum):
    """What a commit did to the dataset."""

    CREATE = "create"
    APPEND = "append"
    OVERWRITE = "overwrite"
    ADOPT = "adopt"


class PartKind(StrEnum):
    """How a part is encrypted."""

    PART = "part"
    STANDALONE = "standalone"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a dataset. ``length`` in bytes; ``prefix`` and ``sha256`` in hex."""

    name: str
    kind: PartKind
    commit: UUID
    key: UUID
    owner: UUID
    length: int
    prefix: str
    sha256: str
    media_type: str

    def __post_init__(self) -> None:
        try:
            check_part_name(self.name)
            check_media_type(self.media_type)
        except HeaderInvalid as error:
            raise CommitInvalid(f"a listed part is malformed: {error.what}") from None
        well_formed = (
            0 < self.length < 2**53  # RFC 8785 numbers are exact up to there
            and _HEX_DIGEST.fullmatch(self.sha256)
            and _HEX_PREFIX.fullmatch(self.prefix)
            and bool(self.prefix) == (self.kind is not PartKind.PARQUET)
            and self.name.partition("/")[0] not in {"_commits", "_keys"}
            and (self.kind is not PartKind.PART or self.name.startswith(f"data/{self.commit}/"))
            and (self.kind is PartKind.STANDALONE) == (self.commit == NIL)
        )
        if not well_formed:
            raise CommitInvalid(f"the entry of part {self.name!r} is malformed")


@dataclass(frozen=True, slots=True)
class Commit:
    """The content of a commit record."""

    dataset: UUID
    id: UUID
    number: int
    previous: str | None
    operation: Operation
    write: UUID
    created: str
    parts: tuple[Part, ...]
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MAX_COMMIT_NUMBER:
            raise CommitInvalid(f"commit number {self.number} is out of range")
        first = self.number == 1
        if (self.previous is None) != first or (self.previous is not None and not _DIGEST.fullmatch(self.previous)):
            raise CommitInvalid("the predecessor's digest is missing or malformed")
        if not _TIME.fullmatch(self.created):
            raise CommitInvalid("the commit's time is malformed")
        if len(self.parts) > MAX_PARTS:
            raise CommitInvalid(f"{len(self.parts)} parts are more than the {MAX_PARTS} that a dataset may have")
        if any(part.owner != self.dataset for part in self.parts if part.kind is not PartKind.STANDALONE):
            raise CommitInvalid("a part belongs to another dataset than the commit")
        names = [part.name.encode() for part in self.parts]
        if any(one >= other for one, other in pairwise(names)):
            raise CommitInvalid("the parts are not sorted by name, or a name occurs twice")

    def encode(self) -> bytes:
        """Return the canonical JSON of the record, with an empty signature slot."""
        commit: dict[str, Any] = {
            "format": _FORMAT,
            "dataset": str(self.dataset),
            "id": str(self.id),
            "number": self.number,
            "previous": self.previous,
            "operation": self.operation.value,
            "write": str(self.write),
            "created": self.created,
            "properties": dict(self.properties),
            "parts": [_part_json(part) for part in self.parts],
        }
        return rfc8785.dumps({"commit": commit, "signature": None})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse an authenticated record strictly.

        Raises:
            CommitInvalid: not canonical, unknown or missing members, or contradictory.
        """
        if len(data) > MAX_COMMIT_BYTES:
            raise CommitInvalid(f"the record is longer than {MAX_COMMIT_BYTES} bytes")
        try:
            document = json.loads(data)
            _members(document, {"commit", "signature"})
            raw = document["commit"]
            _members(raw, {"format", *cls.__dataclass_fields__})
            if raw["format"] != _FORMAT or document["signature"] is not None:
                raise CommitInvalid("the record has a format or a signature that this reader does not know")
            properties = raw["properties"]
            if not isinstance(properties, dict) or not all(isinstance(value, str) for value in properties.values()):
                raise CommitInvalid("the record's properties are not strings")
            if type(raw["number"]) is not int:
                raise CommitInvalid("the commit number is not an integer")
            commit = cls(
                dataset=UUID(raw["dataset"]),
                id=UUID(raw["id"]),
                number=raw["number"],
                previous=raw["previous"],
                operation=Operation(raw["operation"]),
                write=UUID(raw["write"]),
                created=raw["created"],
                properties=properties,
                parts=tuple(_part_of(part) for part in raw["parts"]),
            )
            canonical = commit.encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise CommitInvalid("the record is not the JSON that a commit is") from None
        if canonical != data:
            raise CommitInvalid("the record is not in canonical form")
        return commit

    def part(self, name: str) -> Part | None:
        """Return the part called *name*, or None."""
        return next((part for part in self.parts if part.name == name), None)


def commit_name(number: int) -> str:
    """Return the name of commit record *number* relative to the dataset."""
    return f"_commits/{number:08d}"


def parse_commit_name(name: str) -> int:
    """Return the number of the commit record that is called *name*, or 0 if that is no record's name."""
    digits = name.removeprefix("_commits/")
    return int(digits) if len(digits) == 8 and digits.isascii() and digits.isdecimal() and digits != name else 0


def digest_of(record_file: bytes) -> str:
    """Return the public digest of a commit record file: ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(record_file).hexdigest()


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind.value,
        "commit": str(part.commit),
        "key": str(part.key),
        "owner": str(part.owner),
        "length": part.length,
        "prefix": part.prefix,
        "sha256": part.sha256,
        "media_type": part.media_type,
    }


def _part_of(raw: Any) -> Part:
    _members(raw, set(Part.__dataclass_fields__))
    if type(raw["length"]) is not int:
        raise CommitInvalid("a part's length is not an integer")
    return Part(
        name=raw["name"],
        kind=PartKind(raw["kind"]),
        commit=UUID(raw["commit"]),
        key=UUID(raw["key"]),
        owner=UUID(raw["owner"]),
        length=raw["length"],
        prefix=raw["prefix"],
        sha256=raw["sha256"],
        media_type=raw["media_type"],
    )


def _members(value: Any, expected: set[str]) -> None:
    if not isinstance(value, dict) or set(value) != expected:
        raise CommitInvalid("the record has unknown or missing members")
