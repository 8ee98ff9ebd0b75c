"""High-entropy needles and the search for them: in every encoding they may take, all at once, in any bytes.

A :class:`Marker` is a value planted in the data, or a key. A :class:`Searcher` answers which markers some bytes
disclose, and how: as they are, as UTF-16, base64 (at each of its three alignments, both alphabets) or hex, and the same
again in whatever those bytes decompress to (:mod:`tests.disclosure.compressed`). Needles are long and random: a hit is
never chance.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from tests.disclosure.compressed import unpacked

#: Letters that survive every format untouched: no quoting in csv, JSON, HTML, logs or URLs.
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LENGTH: Final = 24
_MINIMUM_NEEDLE: Final = 8


@dataclass(frozen=True, slots=True)
class Marker:
    """One value to look for. ``raw`` are its bytes; ``forms`` are other spellings of it, by name."""

    name: str
    raw: bytes
    forms: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def text(cls, name: str) -> Marker:
        """A fresh random word."""
        return cls(name, "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)).encode())

    @classmethod
    def number(cls, name: str) -> Marker:
        """A fresh random 62-bit number, looked for in decimal and as the eight bytes of a long in both orders."""
        value = (1 << 61) | secrets.randbits(61)
        return cls(
            name,
            str(value).encode(),
            (("little-endian", value.to_bytes(8, "little")), ("big-endian", value.to_bytes(8, "big"))),
        )

    @property
    def value(self) -> str:
        """The text of a word or number."""
        return self.raw.decode("ascii")

    def reversed(self, name: str) -> Marker:
        """What the job's Python functions make of this marker."""
        return Marker(name, self.raw[::-1])

    def needles(self) -> Iterator[tuple[str, bytes]]:
        """Yield (encoding, bytes) of everything that discloses this marker."""
        yield "raw", self.raw
        yield from self.forms
        yield "hex", self.raw.hex().encode()
        yield "HEX", self.raw.hex().upper().encode()
        for encoding, codec in (("utf-16le", "utf-16-le"), ("utf-16be", "utf-16-be")):
            yield encoding, self.raw.decode("latin-1").encode(codec)
            yield f"{encoding} hex", self.raw.hex().encode(codec)
        for shift in range(3):
            for name, alphabet in (("base64", b"+/"), ("base64url", b"-_")):
                yield f"{name}+{shift}", _base64_inside(self.raw, shift, alphabet)


def _base64_inside(raw: bytes, shift: int, alphabet: bytes) -> bytes:
    """Return the base64 characters that *raw* alone decides when *shift* bytes stand before it."""
    encoded = base64.b64encode(bytes(shift) + raw, alphabet)
    first = -(-shift * 8 // 6)
    last = (shift + len(raw)) * 8 // 6
    return encoded[first:last]


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A marker that some bytes disclose, and how: its encoding and the layers that were unpacked to see it."""

    marker: str
    encoding: str
    layers: tuple[str, ...] = ()


class Searcher:
    """Looks for many needles in one pass: two bytes select candidates, and only those are compared."""

    def __init__(self, markers: Iterable[Marker]) -> None:
        self._by_start: dict[bytes, list[tuple[bytes, str, str]]] = {}
        self._first = np.zeros(65536, dtype=bool)
        self._second = np.zeros(65536, dtype=bool)
        for marker in markers:
            for encoding, needle in marker.needles():
                assert len(needle) >= _MINIMUM_NEEDLE, (marker.name, encoding)
                self._by_start.setdefault(needle[:4], []).append((needle, marker.name, encoding))
                self._first[needle[0] | needle[1] << 8] = True
                self._second[needle[2] | needle[3] << 8] = True

    def find(self, content: bytes) -> frozenset[Hit]:
        """Return what *content* discloses, raw and unpacked."""
        hits: set[Hit] = set()
        for layers, inside in unpacked(content):
            hits.update(Hit(marker, encoding, layers) for marker, encoding in self._in_plain(inside))
        return frozenset(hits)

    def _in_plain(self, content: bytes) -> set[tuple[str, str]]:
        found = set()
        for position in self._candidates(content):
            for needle, marker, encoding in self._by_start.get(content[position : position + 4], ()):
                if content.startswith(needle, position):
                    found.add((marker, encoding))
        return found

    def _candidates(self, content: bytes) -> list[int]:
        if len(content) < _MINIMUM_NEEDLE:
            return []
        octets = np.frombuffer(content, dtype=np.uint8)
        pairs = octets[:-1].astype(np.uint16) | (octets[1:].astype(np.uint16) << 8)
        positions = np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]])
        return [int(position) for position in positions]


def names(hits: Iterable[Hit]) -> set[str]:
    """Return the markers of *hits*."""
    return {hit.marker for hit in hits}
