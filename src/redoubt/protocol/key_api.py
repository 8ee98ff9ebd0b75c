"""The broker's key API for attested programs: what stands in the bodies below ``/redoubt/v1/``.

Requests are those of the key endpoint (:mod:`redoubt.protocol.endpoint`), so that an agent can pass them on. Answers
with keys are encrypted to the attested key (:mod:`redoubt.protocol.jwe`), and this is what stands in them; they also
carry the dataset's registered head, against rollback (hardening H24), and the ticket that lets the writer advance it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redoubt.errors import BrokerMessage
from redoubt.evidence.claims import JSON
from redoubt.keys.types import DataKey, WrappedKey
from redoubt.limits import MAX_ANNOUNCED_HEADS, MAX_COMMIT_NUMBER, MAX_KEY_API_BYTES, MAX_TICKET_CHARACTERS
from redoubt.protocol.endpoint import (
    DataKeyRequest,
    UnwrapRequest,
    key_items,
    read_data_key,
    read_key_items,
)
from redoubt.protocol.messages import broker_messages, check_members, read_object, text_member, write_object
from redoubt.trust.program import is_digest

PATH: Final = "/redoubt/v1"
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredHead:
    """The newest commit of a dataset that an attested writer registered (hardening H24)."""

    number: int
    digest: str

    def to_json(self) -> JSON:
        """Return the object that stands in messages."""
        return {"number": self.number, "digest": self.digest}

    @classmethod
    def of(cls, value: JSON) -> RegisteredHead | None:
        """Return the head that *value* is, or None if it is null; raises BrokerMessage."""
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise BrokerMessage("a head is no object")
        check_members(value, what="a head", members=frozenset({"number", "digest"}))
        number, digest = value["number"], value["digest"]
        if type(number) is not int or not 1 <= number <= MAX_COMMIT_NUMBER:
            raise BrokerMessage("a head's number is no number of a commit")
        if not isinstance(digest, str) or not is_digest(digest):
            raise BrokerMessage("a head's digest is none")
        return cls(number=number, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnwrapAnswer:
    """The data keys that were asked for, and the newest commit that is registered of their dataset."""

    keys: Sequence[DataKey]
    head: RegisteredHead | None

    def encode(self) -> bytes:
        """Return what is encrypted."""
        items: list[JSON] = [dict(it) for it in key_items(self.keys)]
        return write_object({"keys": items, "head": None if self.head is None else self.head.to_json()})

    @classmethod
    def parse(cls, body: bytes, request: UnwrapRequest) -> UnwrapAnswer:
        """Return the answer to *request*; raises BrokerMessage if it does not answer exactly what was asked."""
        what = "the answer to an unwrap"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"keys", "head"}))
        with broker_messages():
            keys = read_key_items(found["keys"], request)
        return cls(keys=tuple(keys), head=RegisteredHead.of(found["head"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKeyAnswer:
    """A fresh data key, wrapped and in clear, and the ticket to register the commit that it is for."""

    key: DataKey
    wrapped: WrappedKey
    ticket: str

    def encode(self) -> bytes:
        """Return what is encrypted."""
        record, secret = (base64.b64encode(it).decode() for it in (self.wrapped.encode(), self.key.secret))
        return write_object({"record": record, "secret": secret, "ticket": self.ticket})

    @classmethod
    def parse(cls, body: bytes, request: DataKeyRequest) -> DataKeyAnswer:
        """Return the answer to *request*; raises BrokerMessage if it is for another data key."""
        what = "the answer to a data-key request"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"record", "secret", "ticket"}))
        with broker_messages():
            key, wrapped = read_data_key(found["record"], found["secret"], request)
        return cls(key=key, wrapped=wrapped, ticket=_ticket(text_member(found, "ticket", what=what)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvanceRequest:
    """The new head of a dataset, with the ticket of its data key. ``previous`` is None for the first."""

    previous: RegisteredHead | None
    head: RegisteredHead
    ticket: str

    def encode(self) -> bytes:
        """Return the request body."""
        previous = None if self.previous is None else self.previous.to_json()
        return write_object({"previous": previous, "head": self.head.to_json(), "ticket": self.ticket})

    @classmethod
    def parse(cls, body: bytes) -> AdvanceRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        what = "the request to register a head"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"previous", "head", "ticket"}))
        head = RegisteredHead.of(found["head"])
        if head is None:
            raise BrokerMessage(f"{what} names no head")
        ticket = _ticket(text_member(found, "ticket", what=what))
        return cls(previous=RegisteredHead.of(found["previous"]), head=head, ticket=ticket)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceRequest:
    """A commit that is about to be made, with the ticket of its data key."""

    head: RegisteredHead
    ticket: str

    def encode(self) -> bytes:
        """Return the request body."""
        return write_object({"head": self.head.to_json(), "ticket": self.ticket})

    @classmethod
    def parse(cls, body: bytes) -> AnnounceRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        what = "the request to announce a commit"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"head", "ticket"}))
        head = RegisteredHead.of(found["head"])
        if head is None:
            raise BrokerMessage(f"{what} names none")
        return cls(head=head, ticket=_ticket(text_member(found, "ticket", what=what)))


def encode_announced(heads: Iterable[RegisteredHead]) -> bytes:
    """Return the answer to a question for a dataset's announced commits."""
    listed: list[JSON] = [it.to_json() for it in sorted(heads, key=lambda it: (it.number, it.digest))]
    return write_object({"heads": listed})


def parse_announced(body: bytes) -> frozenset[RegisteredHead]:
    """Return the commits in such an answer; raises BrokerMessage."""
    listed = read_object(body, what="the announced commits", limit=MAX_KEY_API_BYTES, members=frozenset({"heads"}))
    if not isinstance(listed["heads"], list) or len(listed["heads"]) > MAX_ANNOUNCED_HEADS:
        raise BrokerMessage("the announced commits are no list, or too many")
    heads = [RegisteredHead.of(it) for it in listed["heads"]]
    return frozenset(it for it in heads if it is not None)


def parse_unwrap(body: bytes) -> UnwrapRequest:
    """Return the unwrap request that *body* is; raises BrokerMessage."""
    with broker_messages():
        return UnwrapRequest.decode(body)


def parse_data_key(body: bytes) -> DataKeyRequest:
    """Return the data-key request that *body* is; raises BrokerMessage."""
    with broker_messages():
        return DataKeyRequest.decode(body)


def encode_head(head: RegisteredHead | None) -> bytes:
    """Return the answer to a question for a dataset's head."""
    return write_object({"head": None if head is None else head.to_json()})


def parse_head(body: bytes) -> RegisteredHead | None:
    """Return the head in such an answer, None if none is registered; raises BrokerMessage."""
    found = read_object(body, what="the registered head", limit=MAX_KEY_API_BYTES, members=frozenset({"head"}))
    return RegisteredHead.of(found["head"])


def _ticket(text: str) -> str:
    if len(text) > MAX_TICKET_CHARACTERS or not _TICKET.fullmatch(text):
        raise BrokerMessage("the ticket is none")
    return text
