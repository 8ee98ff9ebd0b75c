"""Changing valid samples so that much of them stays valid: bytes with lengths in them, JSON, compact tokens, TOML.

Everything is drawn from the ``Random`` that is handed in, so a run is repeated by its seed.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from enum import Enum, auto
from random import Random
from typing import Any

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_TEXTS = (
    "", " ", "\0", "a" * 5000, "\ud800", "é", "e\u0301", "..", "../..", "/", "\\", "null", "None", "-1", "1e999",
    "AAAA", "====", "A=A=", "=", "sha256:", "sha256:" + "0" * 64, "key:main/default.dev", "ed25519:" + "A" * 43,
    "00000000-0000-0000-0000-" + "0" * 12, "EC", "RSA", "RSA1_5", "none", "HS256", "P-256", "P-521", "0.4.0",
    "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "\u202e", "0" * 400, "9" * 5000,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**64, 10**40, -(10**40), 0.0, -0.0, 1.5, 1e308, float("nan"),
    float("inf"), [], {}, [[]], [None], {"": None}, [0] * 300, {"a": {"a": {"a": {}}}}, ["", 1, None],
)  # fmt: skip
_TOML_VALUES = (
    b"0", b"-1", b"99999999999999999999", b"1.5", b"nan", b"inf", b"true", b'""', b"'x'", b"[]", b"[[]]", b"{}",
    b"[1, 'a']", b'"\\u0000"', b'"\\ud800"', b"1979-05-27T07:32:00Z", b"07:32:00", b"0x_ff", b'"""\n"""', b"[" * 200,
)  # fmt: skip


class Shape(Enum):
    """How a sample is built, hence how it is changed."""

    BINARY = auto()
    JSON = auto()
    TOKEN = auto()
    TOML = auto()


def mutate(rng: Random, sample: bytes, others: Sequence[bytes], shape: Shape) -> bytes:
    """Return *sample* with a few changes of its shape; *others* give material for splices."""
    changed = _SHAPES[shape](rng, sample, others)
    return mutate_bytes(rng, changed, others) if shape is not Shape.BINARY and rng.random() < 0.1 else changed


def mutate_bytes(rng: Random, sample: bytes, others: Sequence[bytes]) -> bytes:
    """Return *sample* with one to four changes of bits, lengths, and pieces."""
    data = bytearray(sample)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 16, 48, 64, 500)))
        match rng.randrange(10):
            case 0 | 1:
                if data:
                    data[at % len(data)] ^= 1 << rng.randrange(8)
            case 2:
                if data:
                    data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3 | 4:
                size = rng.choice((2, 4, 8))
                number = rng.choice((*_NUMBERS, len(data), len(data) - at, rng.randrange(300))) % 256**size
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 5:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16, 64)))
            case 6:
                del data[at:end]
            case 7:
                data[at:at] = data[at:end] * rng.choice((1, 1, 2, 50))
            case 8:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                data[at:end] = other[start : start + end - at]
            case _:
                del data[at if rng.random() < 0.5 else end :]
    return bytes(data)


def mutate_json(rng: Random, sample: bytes, others: Sequence[bytes]) -> bytes:
    """Return the document *sample* with one to three members replaced, removed, renamed, moved or bent."""
    tree = json.loads(sample)
    for _ in range(rng.randint(1, 3)):
        tree = _change(rng, tree)
    if rng.random() < 0.03:
        tree = _nested(rng.choice((20, 70, 2000)), tree)
    canonical = rng.random() < 0.7
    text = json.dumps(
        tree,
        sort_keys=canonical,
        separators=(",", ":") if canonical else None,
        ensure_ascii=rng.random() < 0.5 or "\\ud" in json.dumps(tree),
    )
    if rng.random() < 0.03 and text.startswith("{") and len(text) > 2:
        text = "{" + text[1:].partition(",")[0].rstrip("}") + "," + text[1:]  # a name twice
    return text.encode(errors="surrogatepass")


def _nested(depth: int, inner: Any) -> Any:
    # Built by hand: json.dumps recurses, so the deepest ones are texts.
    for _ in range(min(depth, 400)):
        inner = [inner]
    return inner


def _change(rng: Random, tree: Any) -> Any:
    holders = [it for it in _walk(tree) if it]
    if not holders or rng.random() < 0.02:
        return _hostile(rng)
    holder = rng.choice(holders)
    key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    match rng.randrange(9):
        case 0 | 1 | 2 | 3:
            holder[key] = _bent(rng, holder[key])
        case 4:
            holder[key] = _hostile(rng)
        case 5:
            del holder[key]
        case 6 if isinstance(holder, dict):
            old = str(key)
            name = rng.choice((old.upper(), old + " ", old + "\0", "", "format", "kid", "jwk", "crit"))
            holder[name] = holder[old] if rng.random() < 0.5 else holder.pop(old)
        case 6 | 7 if isinstance(holder, list):
            holder.insert(key, holder[key] if rng.random() < 0.5 else _hostile(rng))
            if rng.random() < 0.1:
                holder *= 40
        case _:
            other = rng.choice(holders)
            taken = rng.choice(list(other)) if isinstance(other, dict) else rng.randrange(len(other))
            holder[key] = json.loads(json.dumps(other[taken]))  # a copy: never a cycle
    return tree


def _walk(tree: Any) -> list[Any]:
    found, open_ = [], [tree]
    while open_:
        each = open_.pop()
        if isinstance(each, dict | list):
            found.append(each)
            open_ += each.values() if isinstance(each, dict) else each
    return found


def _hostile(rng: Random) -> Any:
    chosen = rng.choice(_TEXTS) if rng.random() < 0.5 else rng.choice(_VALUES)
    return json.loads(json.dumps(chosen))


def _bent(rng: Random, value: Any) -> Any:
    """Return *value* changed within its type, where it has one that is worth it."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return rng.choice(
            (value + 1, value - 1, -value, value * 2**32, float(value) if abs(value) < 2**60 else 0.5, str(value))
        )
    if isinstance(value, str):
        return _bent_text(rng, value)
    return _hostile(rng)


def _bent_text(rng: Random, text: str) -> str:
    decoded = _decoded(text)
    if decoded is not None and rng.random() < 0.6:
        data, encode = decoded
        return encode(mutate_bytes(rng, data, (data,)))
    at = rng.randrange(len(text) + 1)
    piece = rng.choice(_TEXTS) if rng.random() < 0.3 else chr(rng.choice((0, 9, 32, 46, 47, 58, 65, 95, 0xE9, 0x1F600)))
    return rng.choice((text[:at] + piece + text[at:], text[:at] + text[at + 1 :], text.swapcase(), text * 2, text[:at]))


def _decoded(text: str) -> tuple[bytes, Callable[[bytes], str]] | None:
    """Return the bytes that *text* spells and how to spell others, if it looks like hex, base64 or base64url."""
    if len(text) < 4:
        return None
    try:
        if re.fullmatch(r"(?:[0-9a-f]{2})+", text):
            return bytes.fromhex(text), bytes.hex
        if re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text) and len(text) % 4 == 0:
            return base64.b64decode(text), lambda data: base64.b64encode(data).decode()
        if re.fullmatch(r"[A-Za-z0-9_-]+", text):
            return _from_base64url(text.encode()), lambda data: _base64url(data).decode()
    except (ValueError, binascii.Error):
        pass
    return None


def mutate_token(rng: Random, sample: bytes, others: Sequence[bytes]) -> bytes:
    """Return the compact token *sample* with changes in header, claims or signature, or another number of parts."""
    parts = sample.split(b".")
    index = rng.randrange(len(parts))
    match rng.randrange(8):
        case 0:
            parts.insert(index, rng.choice((b"", b"e30", parts[index])))
        case 1:
            del parts[index]
        case 2:
            parts[index] = rng.choice(others).split(b".")[-1]
        case 3:
            parts[index] = mutate_bytes(rng, parts[index], others)
        case _:
            try:
                data = _from_base64url(parts[index])
                changed = mutate_json(rng, data, ()) if index < 2 else mutate_bytes(rng, data, (data,))
                parts[index] = _base64url(changed)
            except ValueError:
                parts[index] = b""
    return b".".join(parts)


def mutate_toml(rng: Random, sample: bytes, others: Sequence[bytes]) -> bytes:
    """Return the document *sample* with lines removed, repeated, moved, or with other values."""
    lines = sample.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[at]
                lines = lines or [b""]
            case 1:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 2:
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(rng.choice(others).split(b"\n")))
            case 3:
                name, equals, _ = lines[at].partition(b" = ")
                lines[at] = name + equals + rng.choice(_TOML_VALUES)
            case 4:
                lines[at] = mutate_bytes(rng, lines[at], (sample,))
            case 5:
                lines[at] = _bent_text(rng, lines[at].decode(errors="replace")).encode(errors="surrogatepass")
            case _:
                lines[at] = lines[at].replace(b'"', rng.choice((b"", b"'", b'"""', b'"x')), 1)
    return b"\n".join(lines)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _from_base64url(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


_SHAPES: dict[Shape, Callable[[Random, bytes, Sequence[bytes]], bytes]] = {
    Shape.BINARY: mutate_bytes,
    Shape.JSON: mutate_json,
    Shape.TOKEN: mutate_token,
    Shape.TOML: mutate_toml,
}
