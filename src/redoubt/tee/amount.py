"""Amounts of memory as the tools of this field write them: ``25GB``, ``1024M``, ``7g``, ``512m``.

Units are powers of 1024 everywhere here, as in Gramine, Occlum, Spark and the JVM. A number without a unit is refused:
it is bytes to one of them and MiB to another.
"""

from __future__ import annotations

import re
from typing import Final

from redoubt.errors import SizeRefused

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
_AMOUNT: Final = re.compile(r"([1-9][0-9]{0,6}) ?([KMGT])(i?B)?", re.IGNORECASE)
_UNITS: Final = {"K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}


def parse_amount(text: str, *, name: str) -> int:
    """Return the bytes that *text* says; *name* is what it is the amount of.

    Raises:
        SizeRefused: it is no whole number with a unit.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise SizeRefused(f"{name} {text[:32]!r} is no whole number with a unit such as 512M or 4g")
    return int(found[1]) * _UNITS[found[2].upper()]


def gramine_size(amount: int) -> str:
    """Return *amount* as Gramine reads it: ``512M``, ``16G``."""
    unit, letter = (GIB, "G") if amount % GIB == 0 else (MIB, "M")
    return f"{_whole(amount, unit)}{letter}"


def occlum_size(amount: int) -> str:
    """Return *amount* as Occlum reads it: ``512MB``, ``16GB``."""
    return f"{gramine_size(amount)}B"


def jvm_size(amount: int) -> str:
    """Return *amount* as the JVM and Spark read it: ``512m``, ``7g``."""
    return gramine_size(amount).lower()


def round_up(amount: int, step: int) -> int:
    """Return the smallest multiple of *step* that holds *amount*."""
    return -(-amount // step) * step


def power_of_two(amount: int) -> int:
    """Return the smallest power of two that holds *amount*."""
    return 1 << (amount - 1).bit_length()


def _whole(amount: int, unit: int) -> int:
    return round_up(amount, unit) // unit
