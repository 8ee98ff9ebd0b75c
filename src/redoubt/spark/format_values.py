"""Scalar columns to texts as Spark's csv and json writers format them: numbers, booleans, dates and timestamps.

Doubles and floats are the shortest decimals that read back as the same value, in the notation of Java's ``toString``.
That is what Java 19 and later print; Java 17 prints one or two needless digits for some values (JDK-4511638).
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redoubt.errors import OptionRefused
from redoubt.spark.datetimes import session_zone
from redoubt.spark.java_patterns import formatter, offset_id
from redoubt.spark.options import TextOptions

_DATE: Final = "yyyy-MM-dd"
_TIMESTAMP: Final = "yyyy-MM-dd'T'HH:mm:ss[.SSS]"
_UTC: Final = {"UTC", "Z", "GMT", "Etc/UTC"}
_MICROS: Final = 1_000_000
#: Days and microseconds of 0001-01-01 and 10000-01-01: between them Arrow writes years with four digits, as Java does.
_FIRST_DAY, _END_DAY = -719_162, 2_932_897


def scalar_texts(column: pa.Array, field: pa.Field, options: TextOptions, *, json: bool) -> pa.Array:
    """Return the texts of a column of scalars, as csv values or as JSON values; null where the column is null.

    Raises:
        OptionRefused: the format cannot hold the type.
    """
    types, kind = pa.types, column.type
    if types.is_string(kind):
        return column
    if types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if types.is_boolean(kind) or types.is_integer(kind):
        return column.cast(pa.string())
    if types.is_decimal128(kind):
        return _decimals(column)
    if types.is_floating(kind) and not types.is_float16(kind):
        return _doubles(column, json=json)
    if types.is_date32(kind):
        return _quoted(_dates(column, options), json=json)
    if types.is_timestamp(kind) and kind.unit == "us":
        return _quoted(_timestamps(column, options), json=json)
    if types.is_binary(kind) and json:
        return _by_value(column, lambda value: f'"{b64encode(value).decode()}"')
    raise OptionRefused(
        f"the column {field.name!r} of type {kind} cannot be written as {'json' if json else 'csv'}",
        hint="Cast the column to a string or a number with Spark first.",
    )


def _quoted(texts: pa.Array, *, json: bool) -> pa.Array:
    return pc.binary_join_element_wise('"', texts, '"', "") if json else texts


def _by_value(column: pa.Array, form: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else form(value) for value in column.to_pylist()], pa.string())


# --- numbers ----------------------------------------------------------------------------------------------------------
def _decimals(column: pa.Array) -> pa.Array:
    if column.type.scale <= 6:
        return column.cast(pa.string())
    return _by_value(column, str)  # with an exponent below 1e-6, as Java's BigDecimal


def _doubles(column: pa.Array, *, json: bool) -> pa.Array:
    single = pa.types.is_float32(column.type)
    size = pc.abs(column)
    plain = pc.or_(pc.and_(pc.greater_equal(size, 1e-3), pc.less(size, 1e7)), pc.is_null(column))
    texts = column.cast(pa.string())
    # In this range Java writes no exponent, and Arrow differs from it by the ".0" of whole numbers only.
    whole = pc.invert(pc.match_substring(texts, "."))
    texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    if not pc.all(plain, min_count=0).as_py():
        odd = pc.invert(plain)
        form = java_float if single else java_double
        values = [form(value) for value in column.filter(odd).to_pylist()]
        if json:
            values = [f'"{text}"' if text[-1] in "yN" else text for text in values]
        texts = pc.replace_with_mask(texts, odd, pa.array(values, pa.string()))
    return texts


def java_double(value: float) -> str:
    """Return the text of Java's ``Double.toString``."""
    # Of the two-digit decimals Java takes the nearest, where one digit would do.
    two = f"{value:.1e}"
    return _java_float(two if float(two) == value else repr(value), value)


def java_float(value: float) -> str:
    """Return the text of Java's ``Float.toString``; *value* is exactly a float."""
    if not math.isfinite(value):
        return _java_float("", value)
    two = f"{value:.1e}"
    single = np.float32(value)
    return _java_float(two if np.float32(float(two)) == single else np.format_float_scientific(single), value)


def _java_float(shortest: str, value: float) -> str:
    if math.isnan(value):
        return "NaN"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if math.isinf(value):
        return sign + "Infinity"
    if value == 0:
        return sign + "0.0"
    _, number, exponent = Decimal(shortest).as_tuple()
    digits = "".join(map(str, number)).rstrip("0")
    assert isinstance(exponent, int)
    point = len(number) + exponent  # the value is 0.digits times ten to this power
    if -3 < point <= 7:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        digits = digits.ljust(point, "0")
        return f"{sign}{digits[:point]}.{digits[point:] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{point - 1}"


# --- dates ------------------------------------------------------------------------------------------------------------
def _dates(column: pa.Array, options: TextOptions) -> pa.Array:
    days = column.view(pa.int32())
    if options.date_format in {None, _DATE} and _between(days, 1):
        return column.cast(pa.string())
    form = formatter(options.date_format or _DATE, lacking="HmsSX")
    return _by_value(days, lambda day: form(day * 86_400 * _MICROS, 0))


def _timestamps(column: pa.Array, options: TextOptions) -> pa.Array:
    with_zone = column.type.tz is not None
    given = options.timestamp_format if with_zone else options.timestamp_ntz_format
    instants = column.view(pa.int64())
    utc = not with_zone or options.time_zone in _UTC
    if given is None and utc and _between(instants, 86_400 * _MICROS):
        millis = pc.floor_temporal(column.cast(pa.timestamp("us")), unit="millisecond").cast(pa.timestamp("ms"))
        texts = pc.replace_substring(millis.cast(pa.string()), " ", "T")
        return pc.binary_join_element_wise(texts, "Z", "") if with_zone else texts
    form = formatter(given or _TIMESTAMP, lacking="" if with_zone else "X")
    offset = _offset_at(options.time_zone) if with_zone else lambda _: 0

    def text(instant: int) -> str:
        shift = offset(instant)
        written = form(instant + shift * _MICROS, shift)
        # Spark's own form, unlike a pattern, names the seconds that an offset had before there were time zones.
        return written + offset_id(shift) if with_zone and given is None else written

    return _by_value(instants, text)


def _between(numbers: pa.Array, scale: int) -> bool:
    """Tell whether days or microseconds are of the years 1 to 9999."""
    bounds = pc.min_max(numbers).as_py()
    return bounds["min"] is None or (_FIRST_DAY * scale <= bounds["min"] and bounds["max"] < _END_DAY * scale)


def _offset_at(name: str) -> Callable[[int], int]:
    """Return the function from an instant to the seconds that the zone *name* is ahead of UTC."""
    zone = session_zone(name)
    if isinstance(zone, int):
        return lambda _: zone
    start = datetime(1970, 1, 1, tzinfo=UTC)

    def seconds(instant: int) -> int:
        try:
            shift = (start + timedelta(microseconds=instant)).astimezone(zone).utcoffset()
        except OverflowError:
            raise OptionRefused(f"a timestamp outside the years 1 to 9999 cannot be written in {name}") from None
        assert shift is not None
        return int(shift.total_seconds())

    return seconds
