"""JSON from strangers: one object, one meaning, bounded.

RFC 8259 lets parsers differ on repeated names, and Python's own takes ``NaN`` too; two parties that read one document
differently are a hole. Decides that a document is one UTF-8 object without repeated names, without numbers that JSON
does not have, and within the bounds it is given. Byte strings stand in it as base64url or base64, each read strictly.
Errors are of the class that the caller names: who sent the document is what an error is about.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from redoubt.errors import RedoubtError
from redoubt.limits import MAX_JSON_DEPTH, MAX_JSON_NUMBER_DIGITS

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]

_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*")
#: An escape of one half of a surrogate pair. Whether it has its other half, only the parsed text shows.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_object(text: bytes, *, what: str, limit: int, refusal: type[RedoubtError]) -> dict[str, JSON]:
    """Return the JSON object that *text* is; *what* names it in errors, which are of class *refusal*.

    Raises:
        RedoubtError: of class *refusal*, if it is longer than *limit* bytes, or not such an object.
    """
    if len(text) > limit:
        raise refusal(f"{what} is longer than {limit} bytes")

    def refuse(reason: str) -> NoReturn:
        raise refusal(f"{what} {reason}")

    def unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
        found = dict(pairs)
        if len(found) != len(pairs):
            refuse("repeats a name within one object")
        return found

    def integer(digits: str) -> int:
        # int() of very many digits is slow and, beyond its own limit, a ValueError.
        return int(digits) if len(digits) <= MAX_JSON_NUMBER_DIGITS else refuse("holds an absurd number")

    def real(digits: str) -> float:
        found = float(digits)
        return found if abs(found) != float("inf") else refuse("holds a number out of range")

    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=lambda name: refuse(f"holds {name}, which JSON does not have"),
            parse_int=integer,
            parse_float=real,
        )
    except (ValueError, RecursionError):
        raise refusal(f"{what} is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        refuse("is not a JSON object")
    if _deeper_than(value, MAX_JSON_DEPTH):
        refuse(f"is nested deeper than {MAX_JSON_DEPTH} levels")
    # RFC 7493, 2.1: no UTF-8 spells it, so whoever hashes, compares or prints it would fail, far from here.
    if _ESCAPED_SURROGATE.search(text) and any(map(_SURROGATE.search, _texts(value))):
        refuse("holds half of a surrogate pair")
    return value


def _deeper_than(value: JSON, depth: int) -> bool:
    level: list[JSON] = [value]
    for _ in range(depth):
        level = [below for it in level for below in _children(it)]
        if not level:
            return False
    return True


def _children(value: JSON) -> Iterable[JSON]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _texts(value: JSON) -> Iterator[str]:
    rest: list[JSON] = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            yield from each
        rest += _children(each)


def from_base64(value: JSON, *, what: str, refusal: type[RedoubtError]) -> bytes:
    """Return the bytes that a text in base64 (RFC 4648, 4) spells; errors are of class *refusal*."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        raise refusal(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != value:
        raise refusal(f"{what} is not base64 in its one canonical spelling")
    return data


def from_base64url(value: JSON, *, what: str, refusal: type[RedoubtError]) -> bytes:
    """Return the bytes that a text in base64url (RFC 4648, 5), padded or not, spells; errors are of class *refusal*."""
    text = value.rstrip("=") if isinstance(value, str) else "="
    if not _URL_SAFE.fullmatch(text) or len(text) % 4 == 1:
        raise refusal(f"{what} is not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise refusal(f"{what} is base64url with stray bits at its end")
    return data
