"""Messages of the key endpoint: strict both ways, and nothing but EndpointError comes out of a malformed one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.errors import EndpointError
from redoubt.keys.names import KeyName
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import MAX_ENDPOINT_REQUEST_BYTES, MAX_KEY_BATCH
from redoubt.protocol.endpoint import (
    DataKeyRequest,
    UnwrapRequest,
    announced_path,
    dataset_of,
    decode_announced,
    decode_announcement,
    decode_data_key,
    decode_head,
    decode_heads,
    decode_health,
    decode_keys,
    encode_announced,
    encode_announcement,
    encode_data_key,
    encode_head,
    encode_heads,
    encode_keys,
    register_path,
)

CONTEXT = WrapContext(uuid4(), uuid4())
WRAPPED = WrappedKey(CONTEXT, KeyName.parse("key:main/default.dev"), 1, "aes-256-gcm", bytes(60))
KEY = DataKey(context=CONTEXT, secret=bytes(range(32)))
UNWRAP = UnwrapRequest(CONTEXT.dataset_id, CONTEXT.purpose, (WRAPPED,))
MAKE = DataKeyRequest("default", CONTEXT)
HEAD = CommitHead(3, "sha256:" + "ab" * 32)


def test_round_trips() -> None:
    assert UnwrapRequest.decode(UNWRAP.encode()) == UNWRAP
    assert DataKeyRequest.decode(MAKE.encode()) == MAKE
    assert DataKeyRequest.decode(replace(MAKE, key=None).encode()).key is None
    (key,) = decode_keys(encode_keys([KEY]), UNWRAP)
    assert (key.id, key.dataset_id, key.secret) == (KEY.id, KEY.dataset_id, KEY.secret)
    made, wrapped = decode_data_key(encode_data_key(KEY, WRAPPED), MAKE)
    assert (made.secret, wrapped) == (KEY.secret, WRAPPED)
    assert decode_head(encode_head(HEAD)) == HEAD
    assert decode_head(encode_head(None)) is None
    assert decode_heads(encode_heads(previous=None, head=HEAD)) == (None, HEAD)
    assert decode_announced(encode_announced([HEAD])) == {HEAD}
    assert decode_announcement(encode_announcement(HEAD)) == HEAD
    assert dataset_of(announced_path(CONTEXT.dataset_id)) == CONTEXT.dataset_id
    assert dataset_of(register_path(CONTEXT.dataset_id)) == CONTEXT.dataset_id


@pytest.mark.parametrize("text", ["", "x", "../v1/unwrap", str(CONTEXT.dataset_id).upper(), CONTEXT.dataset_id.hex])
def test_a_path_that_names_no_dataset_in_its_one_spelling_is_refused(text: str) -> None:
    with pytest.raises(EndpointError):
        dataset_of(f"/v1/register/{text}")


def test_a_request_to_register_nothing_is_refused() -> None:
    with pytest.raises(EndpointError, match="no head"):
        decode_heads(b'{"previous":null,"head":null}')
    with pytest.raises(EndpointError, match="no head"):
        decode_announcement(b'{"head":null}')


@pytest.mark.parametrize(
    "record",
    [
        replace(WRAPPED, context=WrapContext(uuid4(), CONTEXT.data_key_id)),
        replace(WRAPPED, context=replace(CONTEXT, purpose=Purpose.MODEL)),
    ],
)
def test_a_record_of_another_dataset_or_purpose_than_stated_is_refused(record: WrappedKey) -> None:
    with pytest.raises(EndpointError, match="another dataset or purpose"):
        UnwrapRequest.decode(replace(UNWRAP, records=(WRAPPED, record)).encode())


@pytest.mark.parametrize("count", [0, MAX_KEY_BATCH + 1])
def test_batches_are_bounded(count: int) -> None:
    with pytest.raises(EndpointError, match="1 to 1024"):
        UnwrapRequest.decode(replace(UNWRAP, records=(WRAPPED,) * count).encode())


def test_the_largest_batch_fits_a_message() -> None:
    largest = replace(WRAPPED, ciphertext=bytes(1536))
    assert len(replace(UNWRAP, records=(largest,) * MAX_KEY_BATCH).encode()) <= MAX_ENDPOINT_REQUEST_BYTES


DECODERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (UnwrapRequest.decode, UNWRAP.encode()),
    (DataKeyRequest.decode, MAKE.encode()),
    (lambda body: decode_keys(body, UNWRAP), encode_keys([KEY])),
    (lambda body: decode_data_key(body, MAKE), encode_data_key(KEY, WRAPPED)),
    (decode_health, b'{"api":"redoubt-key-endpoint","version":1}'),
    (decode_head, encode_head(HEAD)),
    (decode_heads, encode_heads(previous=HEAD, head=HEAD)),
    (decode_announced, encode_announced([HEAD])),
    (decode_announcement, encode_announcement(HEAD)),
]
decoders = st.sampled_from(DECODERS)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(decoders, st.binary(max_size=100))
def test_bytes_that_are_no_message(decoder: tuple[Callable[[bytes], object], bytes], garbage: bytes) -> None:
    with pytest.raises(EndpointError):
        decoder[0](garbage)


@settings(max_examples=400)
@given(decoders, st.data(), values)
def test_a_member_replaced_by_anything(
    decoder: tuple[Callable[[bytes], object], bytes], data: st.DataObject, value: Any
) -> None:
    decode, good = decoder
    document = json.loads(good)
    target: Any = document
    key: Any = data.draw(st.sampled_from(sorted(document)))
    while isinstance(target[key], list | dict) and target[key] and data.draw(st.booleans()):
        target = target[key]
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
    if data.draw(st.booleans()):
        target[key] = value
    elif isinstance(target, dict):
        target[data.draw(st.text(max_size=8))] = value
    said = ""
    try:
        decode(json.dumps(document).encode())
    except EndpointError as error:
        said = error.explain()
    assert base64.b64encode(KEY.secret).decode() not in said


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"keys":' + b"9" * 5000 + b"}",
        b" " * (MAX_ENDPOINT_REQUEST_BYTES + 1),
        UNWRAP.encode().decode().encode("utf-16"),
        UNWRAP.encode().replace(b'"records"', b'"recordz"'),
        UNWRAP.encode()[:-1] + b',"more":1}',
    ],
)
def test_malformed_requests(body: bytes) -> None:
    for decode, _ in DECODERS:
        with pytest.raises(EndpointError):
            decode(body)


@pytest.mark.parametrize(
    "body",
    [
        encode_keys([]),
        encode_keys([KEY, KEY]),
        encode_keys([DataKey(context=WrapContext(uuid4(), uuid4()), secret=bytes(32))]),
        encode_keys([KEY]).replace(base64.b64encode(KEY.secret), base64.b64encode(bytes(16))),
        encode_keys([KEY]).replace(base64.b64encode(KEY.secret), b"!"),
    ],
)
def test_an_answer_to_another_question_is_refused(body: bytes) -> None:
    with pytest.raises(EndpointError):
        decode_keys(body, UNWRAP)


def test_a_data_key_for_another_context_is_refused() -> None:
    with pytest.raises(EndpointError, match="another context"):
        decode_data_key(encode_data_key(KEY, WRAPPED), DataKeyRequest(None, WrapContext(uuid4(), uuid4())))
    body = encode_data_key(KEY, WRAPPED).replace(base64.b64encode(WRAPPED.encode()), b"AAAA")
    with pytest.raises(EndpointError, match="no wrapped key"):
        decode_data_key(body, MAKE)
