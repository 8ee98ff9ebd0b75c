"""JSON messages of the broker's protocol: strict objects in, compact JSON out, and one error for what is none.

Decides that a body is one object with exactly the members that its message has, and that texts in it are Unicode:
``json`` reads lone surrogates, which no canonical form and no UTF-8 has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redoubt.errors import BrokerMessage, EndpointError, EvidenceError
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64, parse_object


def read_object(
    body: bytes, *, what: str, limit: int, members: frozenset[str], optional: frozenset[str] = frozenset()
) -> dict[str, JSON]:
    """Return the object that *body* is, with these *members*; raises BrokerMessage."""
    found = parse_object(body, what=what, limit=limit, refusal=BrokerMessage)
    check_members(found, what=what, members=members, optional=optional)
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BrokerMessage(f"{what} holds a text that is not Unicode") from None
    return found


def check_members(
    found: Mapping[str, JSON], *, what: str, members: frozenset[str], optional: frozenset[str] = frozenset()
) -> None:
    """Return if *found* has all *members*, and else only *optional* ones; raises BrokerMessage."""
    if strange := sorted(set(found) - members - optional):
        raise BrokerMessage(f"{what} has the unknown member {strange[0][:64]!r}")
    if missing := sorted(members - set(found)):
        raise BrokerMessage(f"{what} lacks the member {missing[0]!r}")


def text_member(found: Mapping[str, JSON], name: str, *, what: str) -> str:
    """Return the text *name* of *found*; raises BrokerMessage."""
    value = found.get(name)
    if not isinstance(value, str):
        raise BrokerMessage(f"{what} has no text {name!r}")
    return value


def object_member(found: Mapping[str, JSON], name: str, *, what: str) -> Mapping[str, JSON]:
    """Return the object *name* of *found*; raises BrokerMessage."""
    value = found.get(name)
    if not isinstance(value, Mapping):
        raise BrokerMessage(f"{what} has no object {name!r}")
    return value


def bytes_member(found: Mapping[str, JSON], name: str, *, what: str) -> bytes:
    """Return the bytes that *name* of *found* spells in base64; raises BrokerMessage."""
    return from_base64(found.get(name), what=f"{name!r} of {what}", refusal=BrokerMessage)


def write_object(message: Mapping[str, JSON]) -> bytes:
    """Return *message* as compact JSON."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


@contextmanager
def broker_messages() -> Iterator[None]:
    """Turn what parsers of other rooms say of malformed bytes into BrokerMessage."""
    try:
        yield
    except (EndpointError, EvidenceError) as error:
        raise BrokerMessage(error.what) from None
