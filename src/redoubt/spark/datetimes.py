"""Text to dates and timestamps, as Spark 4.3 casts it where no pattern is given.

The forms are Spark's own (``[+-]yyyy*[-[m]m[-[d]d[( |T)*]]]`` and so on), not ISO 8601: a year has four to seven
digits, months and days one or two, blanks around are dropped, and what follows a complete date is ignored. Dates are
days and timestamps microseconds since 1970 in the proleptic Gregorian calendar, years outside 1 to 9999 included.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from redoubt.errors import OptionRefused

MICROS_PER_DAY: Final = 86_400_000_000
_MICROS_PER_SECOND: Final = 1_000_000
#: Blank or ISO control, for one byte of UTF-8.
_TRIMMED: Final = "".join(map(chr, range(0x21))) + "\x7f"
_JAVA_BLANKS: Final = "".join(map(chr, range(0x21)))
_DATE: Final = re.compile(r"([+-]?)([0-9]{4,7})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T].*)?)?)?", re.DOTALL)
_TIMESTAMP: Final = re.compile(
    r"([+-]?)([0-9]{4,6})(?:-([0-9]{1,2})(?:-([0-9]{1,2})"
    r"(?:[ T]([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]*))?(?!\.|[0-9])(.+)?)?)?)?)?)?",
    re.DOTALL,
)
_JUST_TIME: Final = re.compile(
    r"(?=T|[0-9]+:)T?(?:[01]?[0-9]|2[0-3])(?::[0-5]?[0-9](?::[0-5]?[0-9](?:\.[0-9]*)?(?!\.|[0-9])(.+)?)?)?", re.DOTALL
)
_DAYS_BEFORE_MONTH: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH: Final = 719_162
#: Names that the JVM's database has; the files of the platform's hold some more.
_REGION: Final = re.compile(r"(?!posix|right/|local|Factory)[A-Za-z][A-Za-z0-9~/._+-]+")
_OFFSET_ZONE: Final = re.compile(r"(?:UTC|GMT|UT)?([+-])([0-9]{1,2})(?::?([0-9]{2})(?::?([0-9]{2}))?)?")

#: Microseconds to subtract from a local time to get UTC.
Offset = Callable[[int], int]


def epoch_days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 of a date in the proleptic Gregorian calendar.

    Raises:
        ValueError: there is no such date.
    """
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS_IN_MONTH[month - 1] + (leap and month == 2):
        raise ValueError
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE_MONTH[month - 1] + day - 1
    return days + (leap and month > 2) - _EPOCH


def parse_date(text: str) -> int:
    """Return the days since 1970-01-01 that Spark reads from *text*.

    Raises:
        ValueError: Spark reads no date.
    """
    found = _DATE.fullmatch(text.strip(_TRIMMED))
    if found is None:
        raise ValueError
    sign, year, month, day = found.groups()
    days = epoch_days(-int(year) if sign == "-" else int(year), int(month or 1), int(day or 1))
    if not -(2**31) <= days < 2**31:
        raise ValueError
    return days


def parse_timestamp(text: str, offset: Offset | None) -> int:
    """Return the microseconds since 1970 that Spark reads from *text*.

    *offset* is the session's time zone for text without one; None reads a timestamp without time zone.

    Raises:
        ValueError: Spark reads no timestamp.
        OptionRefused: a time without a date, which Spark completes with the current date.
    """
    text = text.strip(_TRIMMED)
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        just_time = _JUST_TIME.fullmatch(text) if offset is not None else None
        if just_time is None or (just_time.group(1) and not _is_zone(just_time.group(1))):
            raise ValueError
        raise OptionRefused("a time without a date is not supported: Spark would add the date of the query")
    sign, year, month, day, hour, minute, second, fraction, zone = found.groups()
    if zone is not None and offset is None:
        raise ValueError
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError
    days = epoch_days(-int(year) if sign == "-" else int(year), int(month or 1), int(day or 1))
    micros = days * MICROS_PER_DAY + (hours * 3600 + minutes * 60 + seconds) * _MICROS_PER_SECOND
    micros += int((fraction or "")[:6].ljust(6, "0"))
    if zone is not None:
        offset = zone_offset(zone.strip(_JAVA_BLANKS))
    if offset is not None:
        micros -= offset(micros)
    if not -(2**63) <= micros < 2**63:
        raise ValueError
    return micros


def zone_offset(name: str) -> Offset:
    """Return the offset of a time zone as a function of local microseconds since 1970.

    Raises:
        ValueError: no such zone.
    """
    zone = time_zone(name)
    if isinstance(zone, ZoneInfo):
        return lambda micros: _zone_micros(zone, micros)
    fixed = zone * _MICROS_PER_SECOND
    return lambda _: fixed


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo | int:
    """Return a time zone by any name that the JVM knows: the seconds of a fixed one ahead of UTC, or a region.

    Raises:
        ValueError: no such zone.
    """
    if name == "Z":
        return 0
    name = _single_digits(name)
    name = _SHORT_IDS.get(name, name)  # some stand for an offset
    fixed = _OFFSET_ZONE.fullmatch(name)
    if fixed is not None:
        return _fixed_seconds(name, fixed)
    if name in {"UTC", "GMT", "UT", "Etc/UTC", "Zulu"}:
        return 0
    if _REGION.fullmatch(name) is None:
        raise ValueError(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(name) from None


def _is_zone(name: str) -> bool:
    try:
        zone_offset(name.strip(_JAVA_BLANKS))
    except ValueError:
        return False
    return True


def session_offset(name: str) -> Offset:
    """Return the offset of the ``timeZone`` option or the session's time zone.

    Raises:
        OptionRefused: no such zone.
    """
    session_zone(name)
    return zone_offset(name)


def session_zone(name: str) -> ZoneInfo | int:
    """Return the zone of the ``timeZone`` option or the session's time zone, as :func:`time_zone`.

    Raises:
        OptionRefused: no such zone.
    """
    if not name:
        raise OptionRefused(
            "the session's time zone is not known", hint="Set spark.sql.session.timeZone, or the option timeZone."
        )
    try:
        return time_zone(name)
    except ValueError:
        raise OptionRefused(f"unknown time zone {name!r}") from None


def _single_digits(name: str) -> str:
    name = re.sub(r"([+-])([0-9]):", r"\g<1>0\2:", name, count=1)
    return re.sub(r"([+-])([0-9]{2}):([0-9])$", r"\1\2:0\3", name, count=1)


def _fixed_seconds(name: str, found: re.Match[str]) -> int:
    sign, hours, minutes, seconds = found.groups()
    bare = name[0] in "+-"
    if seconds is not None and name.count(":") == 1:
        raise ValueError
    if minutes is not None and len(hours) == 1 and ":" not in name and bare:
        raise ValueError
    if len(hours) == 1 and minutes is not None:
        raise ValueError
    total = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    if int(minutes or 0) > 59 or int(seconds or 0) > 59 or total > 18 * 3600:
        raise ValueError
    return -total if sign == "-" else total


def _zone_micros(zone: ZoneInfo, local: int) -> int:
    """Return the offset of a zone at a local time; where clocks change, the one before the change, as the JVM does."""
    days, rest = divmod(local, MICROS_PER_DAY)
    years = 0
    if not -719_100 <= days <= 2_932_800:
        # Outside datetime's years the rules repeat every 400 years, or are local mean time.
        years = (days + 719_162) // 146_097
        days -= years * 146_097 if days < 0 else (years - 5) * 146_097
    moment = datetime(1970, 1, 1) + timedelta(days=days, microseconds=rest)
    aware = moment.replace(tzinfo=zone)
    shift = aware.utcoffset()
    assert shift is not None
    return shift // timedelta(microseconds=1)


_SHORT_IDS: Final = {
    "ACT": "Australia/Darwin",
    "AET": "Australia/Sydney",
    "AGT": "America/Argentina/Buenos_Aires",
    "ART": "Africa/Cairo",
    "AST": "America/Anchorage",
    "BET": "America/Sao_Paulo",
    "BST": "Asia/Dhaka",
    "CAT": "Africa/Harare",
    "CNT": "America/St_Johns",
    "CST": "America/Chicago",
    "CTT": "Asia/Shanghai",
    "EAT": "Africa/Addis_Ababa",
    "ECT": "Europe/Paris",
    "IET": "America/Indiana/Indianapolis",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "MIT": "Pacific/Apia",
    "NET": "Asia/Yerevan",
    "NST": "Pacific/Auckland",
    "PLT": "Asia/Karachi",
    "PNT": "America/Phoenix",
    "PRT": "America/Puerto_Rico",
    "PST": "America/Los_Angeles",
    "SST": "Pacific/Guadalcanal",
    "VST": "Asia/Ho_Chi_Minh",
    "EST": "-05:00",
    "MST": "-07:00",
    "HST": "-10:00",
}
