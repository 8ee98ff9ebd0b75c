"""Owners' tokens and the provider's contract as messages: round trips, forgeries, strangers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.samples import RECIPIENT, base64url, from_base64url, json_values, mutate

from redoubt.errors import BrokerMessage, OwnerUnauthenticated, SecretRefused
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo, KeyState, KeyVersionInfo
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_OWNER_TOKEN_SECONDS
from redoubt.protocol import owner_api as api
from redoubt.protocol.broker_facts import BrokerFacts, ManifestFacts
from redoubt.protocol.owner_token import OwnerRequest, sign_owner_token, verify_owner_token

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
REQUEST = OwnerRequest(broker="ab" * 32, method="POST", path="/redoubt/v1/keys", body=b"{}")
ID = UUID(int=7)
TOKEN = sign_owner_token(KEY, REQUEST, now=NOW, token_id=ID)


# --- tokens -----------------------------------------------------------------------------------------------------------
def test_token_says_who_signed_and_until_when() -> None:
    found = verify_owner_token(TOKEN, REQUEST, now=NOW)
    assert (found.key, found.token_id) == (KEY.public_key().public_bytes_raw(), ID)
    assert found.expires == NOW + timedelta(seconds=MAX_OWNER_TOKEN_SECONDS)


@pytest.mark.parametrize("seconds", [-61, MAX_OWNER_TOKEN_SECONDS, 10**6])
def test_token_outside_its_time_is_refused(seconds: int) -> None:
    with pytest.raises(OwnerUnauthenticated, match="expired"):
        verify_owner_token(TOKEN, REQUEST, now=NOW + timedelta(seconds=seconds))


def test_any_changed_sign_is_refused() -> None:
    for at, sign in enumerate(TOKEN):
        changed = TOKEN[:at] + ("A" if sign != "A" else "B") + TOKEN[at + 1 :]
        with pytest.raises(OwnerUnauthenticated):
            verify_owner_token(changed, REQUEST, now=NOW)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", TOKEN + "=", TOKEN + ".", TOKEN.replace(".", "=.", 1), "a" * 9000]
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(OwnerUnauthenticated):
        verify_owner_token(text, REQUEST, now=NOW)


@settings(max_examples=200)
@given(st.data(), json_values, st.booleans())
def test_nothing_but_owner_unauthenticated_comes_out(data: st.DataObject, value: Any, in_header: bool) -> None:
    """Re-signed by the owner's own key, so that what is inside is looked at."""
    parts = TOKEN.split(".")
    place = 0 if in_header else 1
    document = mutate(json.loads(from_base64url(parts[place])), data, value)
    parts[place] = base64url(json.dumps(document).encode())
    parts[2] = base64url(KEY.sign(f"{parts[0]}.{parts[1]}".encode()))
    try:
        verify_owner_token(".".join(parts), REQUEST, now=NOW)
    except OwnerUnauthenticated:
        return


# --- the provider's contract ------------------------------------------------------------------------------------------
NAME = KeyName.parse("key:main/default.dev")
CONTEXT = WrapContext(uuid4(), uuid4())
RECORD = WrappedKey(CONTEXT, NAME, 1, "aes-256-gcm", bytes(60))
DATA_KEY = DataKey(context=CONTEXT, secret=bytes(range(32)))
INFO = KeyInfo(NAME, (KeyVersionInfo(1, KeyState.DISABLED, 1_764_000_000, 3, 2),))
CALL = api.KeyRequest(name=NAME, version=3, state=KeyState.ENABLED, even_if_referenced=True)
WRAP = api.WrapRequest(name=NAME, keys=(DATA_KEY,))
RECORDS = api.RecordsRequest(records=(RECORD,), recipient=RECIPIENT)
FACTS = BrokerFacts(
    id="",
    name="broker",
    software="0.1.0",
    simulated=False,
    public_key=ec.derive_private_key(7, ec.SECP384R1()).public_key(),
    manifest=ManifestFacts(version=3, digest="sha256:" + "ab" * 32),
    audit_head="a.b.c",
    tees=("sgx", "snp"),
)


def facts_body() -> bytes:
    key = FACTS.public_key
    document = json.loads(FACTS.encode())
    document["id"] = BrokerFacts.key_set(key)["keys"][0]["kid"]  # type: ignore[index,call-overload]
    return json.dumps(document).encode()


def test_round_trips() -> None:
    assert api.KeyRequest.parse(CALL.encode()) == CALL
    plain = api.KeyRequest(name=NAME)
    assert api.KeyRequest.parse(plain.encode()) == plain
    (key,) = api.WrapRequest.parse(WRAP.encode()).keys
    assert (key.id, key.dataset_id, key.secret) == (DATA_KEY.id, DATA_KEY.dataset_id, DATA_KEY.secret)
    read = api.RecordsRequest.parse(RECORDS.encode())
    assert read.records == (RECORD,)
    assert read.recipient is not None
    assert read.recipient.jwk == RECIPIENT.jwk
    assert api.parse_info(api.encode_info(INFO)) == INFO
    listed = api.encode_list([INFO], frozenset(Assurance))
    assert api.parse_list(listed) == ((INFO,), frozenset(Assurance))
    assert api.parse_records(api.encode_records([RECORD])) == (RECORD,)
    assert api.parse_contexts(api.encode_contexts([CONTEXT])) == (CONTEXT,)
    assert api.parse_secrets(api.encode_secrets([DATA_KEY]), [RECORD])[0].secret == DATA_KEY.secret
    found = BrokerFacts.parse(facts_body())
    assert (found.manifest, found.tees, found.simulated) == (FACTS.manifest, FACTS.tees, False)


def test_broker_whose_id_is_not_its_keys_is_none() -> None:
    with pytest.raises(BrokerMessage, match="id is not"):
        BrokerFacts.parse(FACTS.encode())


def test_secrets_of_other_records_are_refused() -> None:
    with pytest.raises(BrokerMessage, match="as many"):
        api.parse_secrets(api.encode_secrets([DATA_KEY]), [RECORD, RECORD])


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (api.KeyRequest.parse, CALL.encode()),
    (api.WrapRequest.parse, WRAP.encode()),
    (api.RecordsRequest.parse, RECORDS.encode()),
    (api.parse_info, api.encode_info(INFO)),
    (api.parse_list, api.encode_list([INFO], frozenset(Assurance))),
    (api.parse_records, api.encode_records([RECORD])),
    (api.parse_contexts, api.encode_contexts([CONTEXT])),
    (lambda body: api.parse_secrets(body, [RECORD]), api.encode_secrets([DATA_KEY])),
    (BrokerFacts.parse, facts_body()),
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
    try:
        parse(json.dumps(mutate(json.loads(good), data, value)).encode())
    except (BrokerMessage, SecretRefused):
        return
