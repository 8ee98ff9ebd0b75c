"""A subset of Java's date-time patterns, for the options dateFormat, timestampFormat and timestampNTZFormat.

Letters: ``yyyy MM M dd d HH H mm m ss s S… XXX X``, quoted literals, optional sections in ``[]`` and punctuation.
Anything else (names of months, week dates, eras, 12-hour clocks, two-digit years) is refused: what it means depends on
locales and on the JVM's version. Parsing is strict as in Spark: digits are ASCII, a field has the width of its letters
(one letter: as many digits as there are), and text may not be left over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from redoubt.errors import OptionRefused
from redoubt.spark.datetimes import MICROS_PER_DAY, Offset, epoch_days, zone_offset

_TOKEN: Final = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|\[|\]|[^A-Za-z'\[\]{}#]")
_FORMS: Final = {
    "yyyy": r"(?P<y>[0-9]{4}|\+[0-9]{5,6}|-[0-9]{4,6})",
    "MM": r"(?P<M>[0-9]{2})",
    "M": r"(?P<M>[0-9]{1,2})",
    "dd": r"(?P<d>[0-9]{2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "HH": r"(?P<H>[0-9]{2})",
    "H": r"(?P<H>[0-9]{1,2})",
    "mm": r"(?P<m>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "ss": r"(?P<s>[0-9]{2})",
    "s": r"(?P<s>[0-9]{1,2})",
    "XXX": r"(?P<X>Z|[+-][0-9]{2}:[0-9]{2})",
    "X": r"(?P<X>Z|[+-][0-9]{2}(?:[0-9]{2})?)",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. ``parts`` are letters or, after a NUL, literal text; brackets open and close options."""

    text: str
    parts: tuple[str, ...]
    form: re.Pattern[str]

    @property
    def has_zone(self) -> bool:
        """Whether text of this pattern names its offset."""
        return any(part in {"X", "XXX"} for part in self.parts)

    def parse_date(self, text: str) -> int:
        """Return days since 1970.

        Raises:
            ValueError: the text is not of this pattern, or names no date.
        """
        return self.parse_timestamp(text, None if not self.has_zone else _no_offset) // MICROS_PER_DAY

    def parse_timestamp(self, text: str, offset: Offset | None) -> int:
        """Return microseconds since 1970; *offset* None reads a timestamp without time zone.

        Raises:
            ValueError: the text is not of this pattern, or names no time.
        """
        found = self._match(text)
        days = epoch_days(*_date_of(found))
        hour, minute, second = (int(found.get(name) or 0) for name in "Hms")
        if hour > 23 or minute > 59 or second > 59:
            raise ValueError
        micros = days * MICROS_PER_DAY + (hour * 3600 + minute * 60 + second) * 1_000_000
        micros += int((found.get("S") or "")[:6].ljust(6, "0"))
        zone = found.get("X")
        if zone is not None:
            if offset is None:
                raise ValueError
            offset = zone_offset(zone)
        return micros - offset(micros) if offset is not None else micros

    def _match(self, text: str) -> dict[str, str | None]:
        found = self.form.fullmatch(text)
        if found is None:
            raise ValueError
        return found.groupdict()


def _no_offset(_: int) -> int:
    return 0


def _date_of(found: dict[str, str | None]) -> tuple[int, int, int]:
    year = found.get("y")
    return int(year if year is not None else 1970), int(found.get("M") or 1), int(found.get("d") or 1)


@lru_cache(maxsize=64)
def compile_pattern(text: str) -> Pattern:
    """Return the compiled pattern.

    Raises:
        OptionRefused: the pattern uses what the subset lacks.
    """
    parts: list[str] = []
    form: list[str] = []
    seen: set[str] = set()
    position = depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise _refused(text, text[position])
        word = token.group()
        position = token.end()
        if word in "[]":
            depth += 1 if word == "[" else -1
            if depth < 0:
                raise _refused(text, word)
            parts.append(word)
            form.append("(?:" if word == "[" else ")?")
        elif token.group(2):
            letter = word[0]
            if letter in seen or not (word in _FORMS or (letter == "S" and len(word) <= 9)):
                raise _refused(text, word)
            seen.add(letter)
            parts.append(word)
            form.append(_FORMS.get(word) or f"(?P<S>[0-9]{{1,{len(word)}}})")
        else:
            literal = (token.group(1) or "'").replace("''", "'") if word[0] == "'" else word
            parts.append("\0" + literal)
            form.append(re.escape(literal))
    if depth:
        raise _refused(text, "[")
    _require_whole(text, seen)
    return Pattern(text, tuple(parts), re.compile("".join(form)))


def _require_whole(text: str, seen: set[str]) -> None:
    """Fields must be there from the largest on: what the JVM fills in for a missing one is not always a constant."""
    order = "yMdHmsS"
    present = [letter for letter in order if letter in seen]
    if present != list(order[: len(present)]) or not present:
        raise OptionRefused(f"the pattern {text!r} names a smaller field without the larger ones")


def _refused(text: str, what: str) -> OptionRefused:
    return OptionRefused(
        f"the date-time pattern {text!r} uses {what!r}, which is not supported",
        hint="Use yyyy, MM, dd, HH, mm, ss, S…, XXX and literals, or read the column as a string.",
    )


def formatter(text: str, *, lacking: str = "") -> Callable[[int, int], str]:
    """Return the function that formats local microseconds since 1970 and an offset in seconds by the pattern.

    *lacking* are letters of fields that the values do not have: Java fails on them, or leaves optional sections out.

    Raises:
        OptionRefused: the pattern uses what the subset or the values lack.
    """
    parts = [part for part in compile_pattern(text).parts if part not in {"[", "]"}]
    for part in parts:
        if part[0] in lacking:
            raise OptionRefused(f"the date-time pattern {text!r} writes {part!r}, which values of its type do not have")

    def form(micros: int, offset: int) -> str:
        return format_parts(parts, micros, offset)

    return form


def format_parts(parts: list[str], micros: int, offset: int) -> str:
    """Format local microseconds since 1970 by pattern *parts*; *offset* is that of the zone, in seconds."""
    days, rest = divmod(micros, MICROS_PER_DAY)
    year, month, day = date_of(days)
    second, fraction = divmod(rest, 1_000_000)
    values = {"M": month, "d": day, "H": second // 3600, "m": second // 60 % 60, "s": second % 60}
    out = []
    for part in parts:
        if part[0] == "\0":
            out.append(part[1:])
        elif part[0] == "y":
            out.append(_year(year))
        elif part[0] == "S":
            out.append(f"{fraction:06d}000"[: len(part)])
        elif part[0] == "X":
            out.append(_offset(offset, wide=part == "XXX"))
        else:
            out.append(str(values[part[0]]).rjust(len(part), "0"))
    return "".join(out)


def date_of(days: int) -> tuple[int, int, int]:
    """Return year, month and day of days since 1970."""
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def _year(year: int) -> str:
    if year < 0:
        return f"-{-year:04d}"
    return f"{year:04d}" if year <= 9999 else f"+{year}"


def offset_id(seconds: int) -> str:
    """Return the id of Java's ``ZoneOffset``: with seconds, unless they are zero."""
    minutes, rest = divmod(abs(seconds), 60)
    if not rest:
        return _offset(seconds, wide=True)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _offset(seconds: int, *, wide: bool) -> str:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    if not hours and not minutes:
        return "Z"
    sign = "-" if seconds < 0 else "+"
    if wide:
        return f"{sign}{hours:02d}:{minutes:02d}"
    return f"{sign}{hours:02d}" + (f"{minutes:02d}" if minutes else "")
