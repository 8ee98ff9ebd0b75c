"""Messages of the key API and problem documents: round trips, answers to other questions, strangers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.samples import json_values, mutate

from redoubt.errors import AttestationRefused, BrokerError, BrokerMessage, GrantRefused, KeyUnknown
from redoubt.keys.names import KeyName
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_ANNOUNCED_HEADS, MAX_COMMIT_NUMBER
from redoubt.protocol.endpoint import DataKeyRequest, UnwrapRequest
from redoubt.protocol.key_api import (
    AdvanceRequest,
    AnnounceRequest,
    DataKeyAnswer,
    RegisteredHead,
    UnwrapAnswer,
    encode_announced,
    encode_head,
    parse_announced,
    parse_data_key,
    parse_head,
    parse_unwrap,
)
from redoubt.protocol.problem import Problem, parse_problem

CONTEXT = WrapContext(uuid4(), uuid4())
WRAPPED = WrappedKey(CONTEXT, KeyName.parse("key:main/default.dev"), 1, "aes-256-gcm", bytes(60))
KEY = DataKey(context=CONTEXT, secret=bytes(range(32)))
UNWRAP = UnwrapRequest(CONTEXT.dataset_id, CONTEXT.purpose, (WRAPPED,))
MAKE = DataKeyRequest("default", CONTEXT)
HEAD = RegisteredHead(number=3, digest="sha256:" + "ab" * 32)
ANSWER = UnwrapAnswer(keys=(KEY,), head=HEAD)
MADE = DataKeyAnswer(key=KEY, wrapped=WRAPPED, ticket="ticket_-")
ADVANCE = AdvanceRequest(previous=None, head=HEAD, ticket="ticket")


@pytest.mark.parametrize("head", [None, HEAD])
def test_round_trips(head: RegisteredHead | None) -> None:
    read = UnwrapAnswer.parse(replace(ANSWER, head=head).encode(), UNWRAP)
    assert (read.keys[0].id, read.keys[0].secret, read.head) == (KEY.id, KEY.secret, head)
    made = DataKeyAnswer.parse(MADE.encode(), MAKE)
    assert (made.key.secret, made.wrapped, made.ticket) == (KEY.secret, WRAPPED, MADE.ticket)
    advance = replace(ADVANCE, previous=head)
    assert AdvanceRequest.parse(advance.encode()) == advance
    assert parse_head(encode_head(head)) == head
    announce = AnnounceRequest(head=HEAD, ticket="ticket")
    assert AnnounceRequest.parse(announce.encode()) == announce
    heads = frozenset({HEAD, replace(HEAD, number=7)})
    assert parse_announced(encode_announced(heads)) == heads
    assert parse_unwrap(UNWRAP.encode()) == UNWRAP
    assert parse_data_key(MAKE.encode()) == MAKE


def test_answers_to_other_questions_are_refused() -> None:
    other = WrapContext(uuid4(), uuid4())
    with pytest.raises(BrokerMessage):
        UnwrapAnswer.parse(ANSWER.encode(), replace(UNWRAP, records=(WRAPPED, WRAPPED)))
    with pytest.raises(BrokerMessage):
        UnwrapAnswer.parse(ANSWER.encode(), replace(UNWRAP, records=(replace(WRAPPED, context=other),)))
    with pytest.raises(BrokerMessage, match="another context"):
        DataKeyAnswer.parse(MADE.encode(), replace(MAKE, context=other))


@pytest.mark.parametrize(
    "head",
    [
        {"number": 0, "digest": HEAD.digest},
        {"number": MAX_COMMIT_NUMBER + 1, "digest": HEAD.digest},
        {"number": True, "digest": HEAD.digest},
        {"number": 1, "digest": "ab"},
        {"number": 1},
        [],
    ],
)
def test_heads_that_are_none_are_refused(head: Any) -> None:
    with pytest.raises(BrokerMessage):
        parse_head(json.dumps({"head": head}).encode())


def test_a_head_is_not_registered_as_nothing() -> None:
    with pytest.raises(BrokerMessage, match="no head"):
        AdvanceRequest.parse(json.dumps({"previous": None, "head": None, "ticket": "x"}).encode())
    with pytest.raises(BrokerMessage, match="names none"):
        AnnounceRequest.parse(json.dumps({"head": None, "ticket": "x"}).encode())


def test_announced_commits_are_bounded() -> None:
    heads = [replace(HEAD, number=it) for it in range(1, MAX_ANNOUNCED_HEADS + 2)]
    assert len(parse_announced(encode_announced(heads[1:]))) == MAX_ANNOUNCED_HEADS
    with pytest.raises(BrokerMessage, match="too many"):
        parse_announced(encode_announced(heads))


@pytest.mark.parametrize("ticket", ["", "a b", "a" * 1025, "ä"])
def test_tickets_that_are_none_are_refused(ticket: str) -> None:
    with pytest.raises(BrokerMessage, match="ticket"):
        AdvanceRequest.parse(replace(ADVANCE, ticket=ticket).encode())


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (lambda body: UnwrapAnswer.parse(body, UNWRAP), ANSWER.encode()),
    (lambda body: DataKeyAnswer.parse(body, MAKE), MADE.encode()),
    (AdvanceRequest.parse, ADVANCE.encode()),
    (parse_head, encode_head(HEAD)),
    (AnnounceRequest.parse, AnnounceRequest(head=HEAD, ticket="ticket").encode()),
    (parse_announced, encode_announced([HEAD])),
    (parse_unwrap, UNWRAP.encode()),
    (parse_data_key, MAKE.encode()),
]
parsers = st.sampled_from(PARSERS)


@given(parsers, st.binary(max_size=100))
def test_bytes_that_are_no_message(parser: tuple[Callable[[bytes], object], bytes], garbage: bytes) -> None:
    with pytest.raises(BrokerMessage):
        parser[0](garbage)


@settings(max_examples=400)
@given(parsers, st.data(), json_values)
def test_a_member_replaced_by_anything(
    parser: tuple[Callable[[bytes], object], bytes], data: st.DataObject, value: Any
) -> None:
    parse, good = parser
    said = ""
    try:
        parse(json.dumps(mutate(json.loads(good), data, value)).encode())
    except BrokerMessage as error:
        said = error.explain()
    assert base64.b64encode(KEY.secret).decode() not in said


# --- problems ---------------------------------------------------------------------------------------------------------
ID = UUID(int=7)


def test_problems_round_trip_in_both_forms() -> None:
    ours = parse_problem(Problem(error=KeyUnknown("no key"), status=404).encode(), status=404)
    assert (type(ours.error), ours.error.what, ours.correlation) == (KeyUnknown, "no key", None)
    refused = Problem(
        error=AttestationRefused("the evidence was refused"), status=401, kbs_type="AttestationError", correlation=ID
    )
    document = json.loads(refused.encode())
    assert document["type"] == "https://github.com/confidential-containers/kbs/errors/AttestationError"
    read = parse_problem(refused.encode(), status=401)
    assert (type(read.error), read.correlation) == (AttestationRefused, ID)


def test_type_alone_names_the_error() -> None:
    document = json.loads(Problem(error=GrantRefused("no"), status=403).encode())
    assert document.pop("code") == "broker.not_granted"
    assert isinstance(parse_problem(json.dumps(document).encode(), status=403).error, GrantRefused)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"detail":3}',
        b'{"detail":"x","type":"urn:redoubt:error:nothing"}',
        b'{"detail":"x","code":[]}',
    ],
)
def test_what_is_no_problem_is_an_error_all_the_same(body: bytes) -> None:
    assert type(parse_problem(body, status=502).error) is BrokerError


def test_a_problem_cannot_draw_on_the_terminal() -> None:
    body = json.dumps({"detail": "a\x1b[2Jb\n", "code": "broker.failed"}).encode()
    assert parse_problem(body, status=500).error.what == "a?[2Jb?"


@settings(max_examples=200)
@given(st.data(), json_values, st.integers(100, 599))
def test_any_problem_is_read(data: st.DataObject, value: Any, status: int) -> None:
    good = json.loads(Problem(error=KeyUnknown("x"), status=404, correlation=ID).encode())
    parse_problem(json.dumps(mutate(good, data, value)).encode(), status=status)
