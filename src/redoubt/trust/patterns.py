"""Patterns of program arguments: one pattern an argument, matched from its first to its last sign.

``*`` stands for any number of signs (none included), ``?`` for one; everything else for itself. There is no escape, no
class and no alternation: what a pattern allows can be read off it, and matching is linear in practice and bounded by
the product of the two lengths (the greedy algorithm with one point of return), never exponential.
"""

from __future__ import annotations

from collections.abc import Sequence

from redoubt.limits import MAX_ARGUMENT_CHARACTERS, MAX_ARGUMENTS


def matches(pattern: str, argument: str) -> bool:
    """Return whether *argument* as a whole is what *pattern* says."""
    if len(argument) > MAX_ARGUMENT_CHARACTERS:
        return False
    place = at = 0
    star, resume = -1, 0
    while at < len(argument):
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", argument[at]):
            place += 1
            at += 1
        elif star >= 0:
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return not pattern[place:].strip("*")


def all_match(patterns: Sequence[str], arguments: Sequence[str]) -> bool:
    """Return whether each of the *arguments* is what its pattern says, and there are as many."""
    return len(arguments) == len(patterns) <= MAX_ARGUMENTS and all(
        matches(pattern, argument) for pattern, argument in zip(patterns, arguments, strict=True)
    )
