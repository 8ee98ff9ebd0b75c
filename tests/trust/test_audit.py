"""The audit log outside of its store: chain, export, signed heads, and every way in which a log can be broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import (
    AuditBroken,
    AuditForked,
    AuditRowChanged,
    AuditRowMisplaced,
    AuditRowMissing,
    AuditTruncated,
    RegisterRollback,
    TokenError,
    TokenHeader,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenSignature,
    UsageError,
)
from redoubt.evidence.claims import JSON
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.trust.audit_chain import START, AuditEntry, ChainEnd, export_line, next_entry, parse_line
from redoubt.trust.audit_head import TYPE, AuditHead, sign_head, verify_head, verify_log, verify_progress
from redoubt.trust.broker_key import key_id, sign_compact

NOW = datetime(2026, 6, 1, 12, 0, 0, 5, tzinfo=UTC)
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
KEYS = KeySet((IssuerKey(KEY.public_key()),))


def log(*names: str) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for name in names:
        end = ChainEnd.of(entries[-1]) if entries else START
        entries.append(next_entry(end, {"event": name}, at=NOW))
    return entries


LOG = log("a", "b", "c", "d", "e")


def head_of(entry: AuditEntry, key: ec.EllipticCurvePrivateKey = KEY) -> AuditHead:
    keys = KeySet((IssuerKey(key.public_key()),))
    return verify_head(sign_head(ChainEnd.of(entry), key=key, at=NOW), keys=keys, now=NOW)


HEAD = head_of(LOG[-1])


def rechained(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Return *entries* renumbered with new digests, as whoever can write the whole table would leave them."""
    again: list[AuditEntry] = []
    for entry in entries:
        again.append(next_entry(ChainEnd.of(again[-1]) if again else START, entry.event, at=entry.at))
    return again


# --- the chain --------------------------------------------------------------------------------------------------------
def test_whole_log_is_verified() -> None:
    assert verify_log(LOG, head=None) == ChainEnd.of(LOG[-1])
    assert verify_log(LOG, head=HEAD) == HEAD.end
    assert verify_log(LOG, head=head_of(LOG[2])) == ChainEnd.of(LOG[-1])
    assert verify_log([], head=None) == START


def test_removed_audit_row_is_refused() -> None:
    with pytest.raises(AuditRowMissing, match="row 3 is missing"):
        verify_log(LOG[:2] + LOG[3:], head=None)
    with pytest.raises(AuditRowMissing, match="row 1 is missing"):
        verify_log(LOG[1:], head=None)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: replace(row, event={"event": "other"}),
        lambda row: replace(row, event={**row.event, "more": None}),
        lambda row: replace(row, at=row.at + timedelta(microseconds=1)),
        lambda row: replace(row, digest=LOG[0].digest),
        lambda row: replace(row, previous=LOG[4].digest),
    ],
)
def test_changed_audit_row_is_refused(change: Callable[[AuditEntry], AuditEntry]) -> None:
    with pytest.raises(AuditRowChanged, match="row 3"):
        verify_log([*LOG[:2], change(LOG[2]), *LOG[3:]], head=None)


def test_swapped_audit_rows_are_refused() -> None:
    with pytest.raises(AuditRowMissing, match="row 2 is missing: row 3"):
        verify_log([LOG[0], LOG[2], LOG[1], *LOG[3:]], head=None)
    numbers_kept = [replace(LOG[2], number=2), replace(LOG[1], number=3)]
    with pytest.raises(AuditRowChanged, match="row 2"):
        verify_log([LOG[0], *numbers_kept, *LOG[3:]], head=None)


def test_repeated_audit_row_is_refused() -> None:
    with pytest.raises(AuditRowMisplaced, match="row 2 stands where row 3 belongs"):
        verify_log([*LOG[:2], *LOG[1:]], head=None)


def test_row_rewritten_with_its_digest_breaks_the_next() -> None:
    rewritten = next_entry(ChainEnd.of(LOG[1]), {"event": "other"}, at=NOW)
    with pytest.raises(AuditRowChanged, match="row 4 does not follow"):
        verify_log([*LOG[:2], rewritten, *LOG[3:]], head=None)


# --- the signed head --------------------------------------------------------------------------------------------------
def test_log_truncated_behind_a_signed_head_is_refused() -> None:
    verify_log(LOG[:3], head=None)  # the control: the chain alone cannot see it
    with pytest.raises(AuditTruncated, match="ends with row 3"):
        verify_log(LOG[:3], head=HEAD)
    with pytest.raises(AuditTruncated):
        verify_log([], head=HEAD)


def test_forked_log_is_refused() -> None:
    forked = [*LOG[:3], *log("a", "b", "c", "x", "e")[3:], *log("a", "b", "c", "x", "e", "f")[5:]]
    verify_log(forked, head=None)
    with pytest.raises(AuditForked, match="row 5"):
        verify_log(forked, head=HEAD)


def test_row_removed_and_chain_rewritten_is_refused() -> None:
    rewritten = rechained([*LOG[:2], *LOG[3:], LOG[0]])
    verify_log(rewritten, head=None)
    with pytest.raises(AuditForked):
        verify_log(rewritten, head=HEAD)


def test_head_says_what_was_signed() -> None:
    assert (HEAD.broker, HEAD.end, HEAD.at) == (
        key_id(KEY.public_key()),
        ChainEnd.of(LOG[-1]),
        NOW.replace(microsecond=0),
    )
    assert head_of(replace(LOG[0], number=0, digest=START.digest)).end == START


def test_head_by_another_key_is_refused() -> None:
    token = sign_head(HEAD.end, key=OTHER_KEY, at=NOW)
    with pytest.raises(TokenKeyUnknown):
        verify_head(token, keys=KEYS, now=NOW)


def test_head_with_a_flipped_bit_is_refused() -> None:
    token = bytearray(sign_head(HEAD.end, key=KEY, at=NOW))
    for place in range(0, len(token), 7):
        for bit in (1, 4):
            changed = bytearray(token)
            changed[place] ^= bit
            with pytest.raises(TokenError):
                verify_head(bytes(changed), keys=KEYS, now=NOW)


def signed(claims: object, kind: str = TYPE) -> bytes:
    return sign_compact(json.dumps(claims).encode(), key=KEY, kind=kind)


GOOD: dict[str, JSON] = {"digest": LOG[0].digest, "iat": 1, "iss": key_id(KEY.public_key()), "number": 1}


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({**GOOD, "more": 1}, TokenMalformed),
        ({name: value for name, value in GOOD.items() if name != "number"}, TokenMalformed),
        ({**GOOD, "number": -1}, TokenMalformed),
        ({**GOOD, "number": True}, TokenMalformed),
        ({**GOOD, "number": 2**53}, TokenMalformed),
        ({**GOOD, "digest": "sha256:xyz"}, TokenMalformed),
        ({**GOOD, "digest": LOG[0].digest.upper()}, TokenMalformed),
        ({**GOOD, "iss": "another"}, TokenIssuer),
    ],
)
def test_signed_token_that_is_no_head_is_refused(claims: dict[str, JSON], refusal: type[TokenError]) -> None:
    verify_head(signed(GOOD), keys=KEYS, now=NOW)  # the control
    with pytest.raises(refusal):
        verify_head(signed(claims), keys=KEYS, now=NOW)


def test_attestation_result_passes_for_no_head() -> None:
    with pytest.raises(TokenHeader):
        verify_head(signed(GOOD, kind="ear+jwt"), keys=KEYS, now=NOW)


def test_unsigned_head_is_refused() -> None:
    header, payload, _ = sign_head(HEAD.end, key=KEY, at=NOW).split(b".")
    with pytest.raises(TokenSignature):
        verify_head(b".".join([header, payload, b""]), keys=KEYS, now=NOW)


def test_key_that_is_no_brokers_is_refused() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(TokenKeyUnknown):
        verify_head(sign_head(HEAD.end, key=KEY, at=NOW), keys=KeySet((IssuerKey(rsa_key),)), now=NOW)


def test_ears_and_heads_need_p384() -> None:
    with pytest.raises(UsageError):
        sign_head(HEAD.end, key=ec.generate_private_key(ec.SECP256R1()), at=NOW)


# --- what a remembered head finds -------------------------------------------------------------------------------------
def test_store_that_went_on_is_accepted() -> None:
    assert verify_progress(head_of(LOG[1]), HEAD, between=LOG[2:]) == HEAD
    assert verify_progress(HEAD, HEAD, between=[]) == HEAD


def test_rolled_back_store_is_refused() -> None:
    with pytest.raises(RegisterRollback, match="row 5 was seen before"):
        verify_progress(HEAD, head_of(LOG[3]), between=[])
    grown_again = log("a", "b", "x", "y", "z", "w")
    with pytest.raises(AuditRowChanged):
        verify_progress(HEAD, head_of(grown_again[-1]), between=grown_again[5:])
    with pytest.raises(AuditForked):
        verify_progress(HEAD, head_of(grown_again[4]), between=[])


def test_rows_between_two_heads_must_be_shown_and_be_whole() -> None:
    for shown, refusal in (
        ([], AuditTruncated),
        (LOG[2:4], AuditTruncated),
        (LOG[3:], AuditRowMissing),
        (log("a", "b", "x", "d", "e")[2:], AuditForked),
    ):
        with pytest.raises(refusal):
            verify_progress(head_of(LOG[1]), HEAD, between=shown)


def test_head_of_another_broker_is_refused() -> None:
    with pytest.raises(TokenIssuer):
        verify_progress(head_of(LOG[1], OTHER_KEY), HEAD, between=LOG[2:])


# --- the export -------------------------------------------------------------------------------------------------------
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_EVENTS = st.dictionaries(
    _TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(st.lists(_EVENTS, max_size=4), st.datetimes(timezones=st.just(UTC)))
def test_export_is_read_back_as_it_was(events: list[dict[str, JSON]], at: datetime) -> None:
    entries: list[AuditEntry] = []
    for event in events:
        entries.append(next_entry(ChainEnd.of(entries[-1]) if entries else START, event, at=at))
    read = [parse_line(export_line(entry)) for entry in entries]
    assert read == entries
    verify_log(read, head=None)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_row_or_a_named_refusal(line: bytes) -> None:
    with pytest.raises(AuditBroken):
        parse_line(line)


@given(st.data())
def test_any_edit_of_an_exported_row_is_found(data: st.DataObject) -> None:
    line = bytearray(export_line(LOG[1]))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] = data.draw(st.integers(0, 255).filter(lambda value: value != line[place]))
    lines = [export_line(LOG[0]), bytes(line), export_line(LOG[2])]
    with pytest.raises(AuditBroken):
        verify_log(map(parse_line, lines), head=None)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda line: b" " + line,
        lambda line: line.replace(b'"number":2', b'"number":2.0'),
        lambda line: line.replace(b'"number":2', b'"number": 2'),
        lambda line: line.replace(b"000005Z", b"000005+00:00"),
        lambda line: line.replace(b".000005Z", b".0000050Z"),
        lambda line: line.replace(b'{"at"', b'{"at":"","at"'),
        lambda line: line.replace(b'{"event":"b"}', b'["b"]'),
    ],
)
def test_second_spelling_of_a_row_is_refused(spelling: Callable[[bytes], bytes]) -> None:
    line = export_line(LOG[1])
    assert spelling(line) != line
    with pytest.raises(AuditBroken):
        parse_line(spelling(line))
