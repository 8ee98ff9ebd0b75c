"""Shares of a root key: any *threshold* of them give it back, fewer say nothing about it.

Source: Shamir, "How to share a secret" (1979), over GF(2^128) by PyCryptodome, once for each half of the key. A share
is text that people can read out:

    redoubt-share-1 qkzbd-6rv2m-… (80 signs of base32, RFC 4648, in groups of five)

which spells set id(8) ‖ threshold(1) ‖ shares of the set(1) ‖ place(1) ‖ value(32) ‖ checksum(7), the checksum being
the first bytes of SHA-256 of a label and all before it. It finds mistakes, not forgery: whether shares give the right
key is decided by the check value of the store or backup that they shall open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from redoubt.errors import ShareInvalid, UsageError
from redoubt.keys.rootkey import RootKey
from redoubt.limits import DATA_KEY_BYTES, MAX_SHARE_TEXT_BYTES, MAX_SHARES

_WORD: Final = "redoubt-share-1"
_SET_ID_BYTES: Final = 8
_CHECKSUM_BYTES: Final = 7
_BODY: Final = struct.Struct(f">{_SET_ID_BYTES}sBBB{DATA_KEY_BYTES}s")
_SIGNS: Final = (_BODY.size + _CHECKSUM_BYTES) * 8 // 5
_GROUP: Final = 5
_HALF: Final = DATA_KEY_BYTES // 2
_SPACING: Final = re.compile(r"[\s-]+")
_COMPACT_WORD: Final = _SPACING.sub("", _WORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One share. It prints without its value and cannot be pickled."""

    set_id: bytes
    threshold: int
    shares: int
    place: int
    value: bytes

    def __post_init__(self) -> None:
        if not 2 <= self.threshold <= self.shares <= MAX_SHARES or not 1 <= self.place <= self.shares:
            raise ShareInvalid("a share says of itself what no share can be")

    @property
    def label(self) -> str:
        """How errors and people name this share."""
        return f"share {self.place} of set {self.set_id.hex()}"

    def text(self) -> str:
        """Return the share as text. Whoever reads enough of them has the root key."""
        body = _BODY.pack(self.set_id, self.threshold, self.shares, self.place, self.value)
        signs = base64.b32encode(body + _checksum(body)).decode().lower()
        return " ".join([_WORD, "-".join(signs[at : at + _GROUP] for at in range(0, _SIGNS, _GROUP))])

    @classmethod
    def parse(cls, text: str) -> Share:
        """Return the share that *text* spells; case, spaces and hyphens do not matter.

        Raises:
            ShareInvalid: it is no share, or was mistyped.
        """
        if len(text) > MAX_SHARE_TEXT_BYTES:
            raise ShareInvalid("this is no share: it is too long")
        compact = _SPACING.sub("", text).lower()
        if not compact.startswith(_COMPACT_WORD):
            sealed = "It may be sealed for somebody: `redoubt broker open-share FILE --key KEY --out FILE` opens it."
            raise ShareInvalid(f"this is no share: it does not begin with {_WORD}", hint=sealed)
        signs = compact.removeprefix(_COMPACT_WORD)
        if len(signs) != _SIGNS:
            raise ShareInvalid(f"a share has {_SIGNS} signs, this one {len(signs)}")
        try:
            raw = base64.b32decode(signs.upper())
        except (binascii.Error, ValueError):
            raise ShareInvalid("a share is spelled with a to z and 2 to 7") from None
        body, checksum = raw[: _BODY.size], raw[_BODY.size :]
        if checksum != _checksum(body):
            raise ShareInvalid("the share was mistyped: its checksum is another one")
        set_id, threshold, shares, place, value = _BODY.unpack(body)
        return cls(set_id=set_id, threshold=threshold, shares=shares, place=place, value=value)

    def __repr__(self) -> str:
        return f"Share({self.label}, value=…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("shares are handed on as text, by people")


def split_root(root: RootKey, *, threshold: int, shares: int) -> tuple[Share, ...]:
    """Return *shares* shares of *root*, of which any *threshold* give it back; each call makes a set of its own.

    Raises:
        UsageError: a set cannot have these numbers.
    """
    from Crypto.Protocol.SecretSharing import Shamir

    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise UsageError(f"a set has 2 to {MAX_SHARES} shares, and at least two of them are needed")
    set_id = os.urandom(_SET_ID_BYTES)
    halves = [Shamir.split(threshold, shares, half) for half in (root.secret[:_HALF], root.secret[_HALF:])]
    return tuple(
        Share(set_id=set_id, threshold=threshold, shares=shares, place=place, value=first + second)
        for (place, first), (_, second) in zip(*halves, strict=True)
    )


def join_shares(given: Sequence[Share]) -> RootKey:
    """Return the root key that *given* shares spell; the caller checks that it is the right one.

    Raises:
        ShareInvalid: they are too few, of different sets, given twice, or do not agree with each other.
    """
    if not given:
        raise ShareInvalid("no share was given")
    first = given[0]
    seen: set[int] = set()
    for share in given:
        if (share.set_id, share.threshold, share.shares) != (first.set_id, first.threshold, first.shares):
            raise ShareInvalid(f"{share.label} is not of the set of {first.label}")
        if share.place in seen:
            raise ShareInvalid(f"{share.label} was given twice")
        seen.add(share.place)
    if len(given) < first.threshold:
        raise ShareInvalid(f"{len(given)} of {first.threshold} shares were given; {first.threshold - len(given)} lack")
    needed = list(given[: first.threshold])
    secret = _combine(needed)
    for extra in given[first.threshold :]:
        if _combine([*needed[1:], extra]) != secret:
            raise ShareInvalid(f"{extra.label} does not agree with the others: one of them was forged")
    return RootKey(secret)


def _combine(shares: Sequence[Share]) -> bytes:
    from Crypto.Protocol.SecretSharing import Shamir

    halves = (slice(None, _HALF), slice(_HALF, None))
    return b"".join(Shamir.combine([(it.place, it.value[half]) for it in shares]) for half in halves)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(_WORD.encode() + body).digest()[:_CHECKSUM_BYTES]
