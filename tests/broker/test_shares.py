"""Shares of a root key: splitting and joining, text, shares sealed for their owners."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from redoubt.broker.sealed_shares import (
    SEALED_PREFIX,
    create_recipient_key,
    open_share,
    parse_recipient,
    recipient_text,
    seal_share,
)
from redoubt.broker.shares import Share, join_shares, split_root
from redoubt.errors import AlreadyExists, RedoubtError, ShareInvalid, UsageError
from redoubt.keys.rootkey import RootKey
from redoubt.limits import MAX_SHARES

ROOT = RootKey(os.urandom(32))
SET = split_root(ROOT, threshold=3, shares=5)


# --- the set ----------------------------------------------------------------------------------------------------------
def test_any_threshold_of_shares_gives_the_key() -> None:
    for count in (3, 4, 5):
        for chosen in combinations(SET, count):
            assert join_shares(chosen).secret == ROOT.secret
            assert join_shares(chosen[::-1]).secret == ROOT.secret


@given(st.binary(min_size=32, max_size=32), st.integers(2, MAX_SHARES), st.data())
def test_every_set_of_every_size_gives_its_key(secret: bytes, shares: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(2, shares))
    made = split_root(RootKey(secret), threshold=threshold, shares=shares)
    chosen = data.draw(st.permutations(made))[:threshold]
    assert join_shares([Share.parse(share.text()) for share in chosen]).secret == secret


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_shares_are_refused(count: int) -> None:
    with pytest.raises(ShareInvalid):
        join_shares(SET[:count])


def test_duplicate_share_is_refused() -> None:
    with pytest.raises(ShareInvalid, match="given twice"):
        join_shares([SET[0], SET[1], SET[0]])


def test_foreign_share_is_refused() -> None:
    foreign = split_root(ROOT, threshold=3, shares=5)[2]
    with pytest.raises(ShareInvalid, match="not of the set"):
        join_shares([*SET[:2], foreign])
    with pytest.raises(ShareInvalid, match="not of the set"):
        join_shares([*SET[:2], replace(SET[2], threshold=2)])


def test_forged_share_gives_another_key_or_is_found_by_one_more() -> None:
    forged = replace(SET[2], value=bytes(32))
    assert join_shares([*SET[:2], forged]).secret != ROOT.secret
    for four in ([*SET[:2], forged, SET[3]], [*SET[:2], SET[3], forged]):
        with pytest.raises(ShareInvalid, match="forged"):
            join_shares(four)


def test_shares_one_below_the_threshold_are_independent_of_the_key() -> None:
    """Two shares of three go with any key: for any other secret there is a third share that gives it."""
    other = RootKey(os.urandom(32))
    halves = []
    from Crypto.Protocol.SecretSharing import Shamir

    for half in (slice(0, 16), slice(16, 32)):
        # The polynomial through the two shares and another secret at 0 has a value at the third place.
        points = [(1, SET[0].value[half]), (2, SET[1].value[half])]
        at_zero = Shamir.combine([*points, (3, bytes(16))])
        difference = bytes(a ^ b for a, b in zip(at_zero, other.secret[half], strict=True))
        # p(0) is affine in the third value, with the slope that a unit of it has.
        unit = Shamir.combine([(1, bytes(16)), (2, bytes(16)), (3, (1).to_bytes(16))])
        halves.append(_divide(difference, unit))
    third = replace(SET[2], value=b"".join(halves))
    assert join_shares([SET[0], SET[1], third]).secret == other.secret


def _divide(a: bytes, b: bytes) -> bytes:
    from Crypto.Protocol.SecretSharing import _Element  # the field's own arithmetic

    return (_Element(a) * _Element(b).inverse()).encode()


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (0, 3), (4, 3), (2, 1), (2, MAX_SHARES + 1)])
def test_impossible_sets_are_refused(threshold: int, shares: int) -> None:
    with pytest.raises(UsageError):
        split_root(ROOT, threshold=threshold, shares=shares)


# --- text -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "typed",
    [
        str.upper,
        lambda text: text.replace("-", ""),
        lambda text: text.replace("-", " "),
        lambda text: text.replace("-", "\n"),
        lambda text: f"  {text}\n",
    ],
)
def test_share_is_read_however_it_is_spaced(typed: Callable[[str], str]) -> None:
    assert Share.parse(typed(SET[1].text())) == SET[1]


def test_mistyped_share_is_refused() -> None:
    text = SET[0].text()
    start = text.index(" ") + 1
    for place in range(start, len(text)):
        if text[place] != "-":
            wrong = "a" if text[place] != "a" else "b"
            with pytest.raises(ShareInvalid):
                Share.parse(text[:place] + wrong + text[place + 1 :])
    for place in range(start, len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped.replace("-", "") != text.replace("-", ""):
            with pytest.raises(ShareInvalid):
                Share.parse(swapped)
    for cut in (text[:-1], text + "a", text[start:], "", "redoubt-share-2" + text[start - 1 :]):
        with pytest.raises(ShareInvalid):
            Share.parse(cut)


@given(st.text(max_size=200) | st.builds(lambda rest: f"redoubt-share-1 {rest}", st.text("abc27=-", max_size=100)))
def test_any_text_is_a_share_or_a_named_refusal(text: str) -> None:
    with pytest.raises(ShareInvalid):
        Share.parse(text)


def test_share_does_not_print_its_value_and_is_not_pickled() -> None:
    assert SET[0].value.hex() not in repr(SET[0])
    assert str(SET[0].value) not in repr(SET[0])
    with pytest.raises(TypeError):
        pickle.dumps(SET[0])


# --- sealed for their owners ------------------------------------------------------------------------------------------
@pytest.fixture
def alice(tmp_path: Path) -> Path:
    return tmp_path / "alice.pem"


def test_sealed_share_opens_for_its_owner_alone(alice: Path, tmp_path: Path) -> None:
    sealed = seal_share(SET[0], parse_recipient(create_recipient_key(alice)))
    assert alice.stat().st_mode & 0o777 == 0o600
    assert SET[0].text() not in sealed
    assert open_share(sealed, alice) == SET[0]
    assert open_share(f"{sealed}\n", alice) == SET[0]
    create_recipient_key(tmp_path / "bob.pem")
    with pytest.raises(ShareInvalid, match="another key"):
        open_share(sealed, tmp_path / "bob.pem")


def test_changed_sealed_share_is_refused(alice: Path) -> None:
    sealed = seal_share(SET[0], parse_recipient(create_recipient_key(alice)))
    for place in range(len(SEALED_PREFIX), len(sealed), 11):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(ShareInvalid):
            open_share(changed, alice)


@given(text=st.text(max_size=80) | st.builds(lambda rest: SEALED_PREFIX + rest, st.text("ABCz09-_=", max_size=80)))
def test_any_text_is_a_sealed_share_or_a_named_refusal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    key = tmp_path_factory.getbasetemp() / "any.pem"
    if not key.exists():
        create_recipient_key(key)
    with pytest.raises(ShareInvalid):
        open_share(text, key)


def test_key_of_another_kind_opens_no_share(alice: Path, tmp_path: Path) -> None:
    sealed = seal_share(SET[0], parse_recipient(create_recipient_key(alice)))
    other = tmp_path / "owner.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (pem, b"no key"):
        other.write_bytes(content)
        other.chmod(0o600)
        with pytest.raises(ShareInvalid):
            open_share(sealed, other)
    with pytest.raises(RedoubtError):
        open_share(sealed, tmp_path / "none.pem")
    alice.chmod(0o644)
    with pytest.raises(ShareInvalid, match="open to other users"):
        open_share(sealed, alice)


def test_recipient_is_read_in_its_one_spelling(alice: Path) -> None:
    text = create_recipient_key(alice)
    assert recipient_text(parse_recipient(text)) == text
    with pytest.raises(AlreadyExists):
        create_recipient_key(alice)
    for wrong in (text + "=", text[:-1], text.upper(), "x25519:", "ed25519:" + text[7:], "", text + "A"):
        with pytest.raises(UsageError):
            parse_recipient(wrong)


def test_share_is_not_sealed_for_a_point_of_small_order() -> None:
    with pytest.raises(UsageError):
        seal_share(SET[0], parse_recipient("x25519:" + "A" * 43))
