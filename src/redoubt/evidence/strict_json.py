"""JSON in evidence: what :mod:`redoubt.crypto.strict_json` decides, refused as malformed evidence.

Byte strings stand in evidence as base64url, base64, hex, or lists of numbers, each read strictly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from redoubt.crypto import strict_json
from redoubt.crypto.strict_json import JSON
from redoubt.errors import EvidenceMalformed, RedoubtError

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")


def parse_object(
    text: bytes, *, what: str, limit: int, refusal: type[RedoubtError] = EvidenceMalformed
) -> dict[str, JSON]:
    """Return the JSON object that *text* is; see :func:`redoubt.crypto.strict_json.parse_object`."""
    return strict_json.parse_object(text, what=what, limit=limit, refusal=refusal)


def take_object(holder: Mapping[str, JSON], name: str, *, what: str) -> Mapping[str, JSON]:
    """Return the member *name* of *holder*, an object; raises EvidenceMalformed."""
    value = holder.get(name)
    if not isinstance(value, Mapping):
        raise EvidenceMalformed(f"{what} has no object {name!r}")
    return value


def take_text(holder: Mapping[str, JSON], name: str, *, what: str) -> str:
    """Return the member *name* of *holder*, a string; raises EvidenceMalformed."""
    value = holder.get(name)
    if not isinstance(value, str):
        raise EvidenceMalformed(f"{what} has no text {name!r}")
    return value


def take_list(holder: Mapping[str, JSON], name: str, *, what: str) -> list[JSON]:
    """Return the member *name* of *holder*, a list; raises EvidenceMalformed."""
    value = holder.get(name)
    if not isinstance(value, list):
        raise EvidenceMalformed(f"{what} has no list {name!r}")
    return value


def check_names(holder: Mapping[str, JSON], names: Iterable[str], *, what: str) -> None:
    """Return if *holder* has exactly these *names*; raises EvidenceMalformed."""
    wanted = set(names)
    if strange := sorted(set(holder) - wanted):
        raise EvidenceMalformed(f"{what} has the unknown field {strange[0][:64]!r}")
    if missing := sorted(wanted - set(holder)):
        raise EvidenceMalformed(f"{what} lacks the field {missing[0]!r}")


def from_numbers(value: JSON, *, what: str) -> bytes:
    """Return the bytes that a list of numbers spells; raises EvidenceMalformed."""
    if not isinstance(value, list) or not all(type(it) is int and 0 <= it <= 255 for it in value):
        raise EvidenceMalformed(f"{what} is not a list of bytes")
    return bytes(it for it in value if isinstance(it, int))


def from_hex(value: JSON, *, what: str) -> bytes:
    """Return the bytes that a text of hexadecimal digits spells; raises EvidenceMalformed."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise EvidenceMalformed(f"{what} is not hexadecimal")
    return bytes.fromhex(value)


def from_base64(value: JSON, *, what: str, refusal: type[RedoubtError] = EvidenceMalformed) -> bytes:
    """Return the bytes that a text in base64 (RFC 4648, 4) spells; errors are of class *refusal*."""
    return strict_json.from_base64(value, what=what, refusal=refusal)


def from_base64url(value: JSON, *, what: str, refusal: type[RedoubtError] = EvidenceMalformed) -> bytes:
    """Return the bytes that a text in base64url (RFC 4648, 5), padded or not, spells; errors are of class *refusal*."""
    return strict_json.from_base64url(value, what=what, refusal=refusal)
