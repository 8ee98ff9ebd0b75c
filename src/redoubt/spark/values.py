"""Text to typed columns: the conversions of Spark 4.3's CSV reader, one column at a time.

:func:`column` converts texts in Arrow if all are of a narrow canonical form, and else the whole column value by value
under Java's rules. A text that Spark cannot convert becomes null and its row number is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redoubt.errors import OptionRefused
from redoubt.spark.datetimes import parse_date, parse_timestamp, session_offset
from redoubt.spark.java_patterns import compile_pattern
from redoubt.spark.options import TextOptions

#: A text to the value that Arrow stores; ValueError where Spark fails.
Convert = Callable[[str], Any]

_INTEGER: Final = re.compile(r"[+-]?\d+")
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,10})?")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX_FLOAT: Final = re.compile(r"([+-]?)0[xX](?:([0-9a-fA-F]+)\.?|([0-9a-fA-F]*)\.([0-9a-fA-F]+))[pP][+-]?[0-9]+")
_BLANKS: Final = "".join(map(chr, range(0x21)))
_WIDE: Final = Context(prec=2000, Emin=-(10**15), Emax=10**15, rounding=ROUND_HALF_UP)
#: Java's BigInteger cannot hold a larger power of ten.
_MAX_DROPPED_DIGITS: Final = 646_456_992
_BITS: Final = {pa.int8(): 8, pa.int16(): 16, pa.int32(): 32, pa.int64(): 64}


def column(texts: Sequence[str | None], kind: pa.DataType, options: TextOptions) -> tuple[pa.Array, list[int]]:
    """Return the column of *kind* and the numbers of the rows whose text Spark cannot convert.

    Raises:
        OptionRefused: the type or a pattern is not supported.
    """
    convert = converter(kind, options)
    if pa.types.is_string(kind):
        return pa.array(texts, kind), []
    found = _in_arrow(texts, kind, options)
    if found is not None:
        return found, []
    values: list[Any] = []
    bad: list[int] = []
    for row, text in enumerate(texts):
        if text is None:
            values.append(None)
            continue
        try:
            values.append(convert(text))
        except ValueError:
            values.append(None)
            bad.append(row)
    return _array(values, kind), bad


@lru_cache(maxsize=256)
def converter(kind: pa.DataType, options: TextOptions) -> Convert:
    """Return the conversion of one text.

    Raises:
        OptionRefused: the type or a pattern is not supported.
    """
    types = pa.types
    if kind in _BITS:
        return lambda text: to_integer(text, _BITS[kind])
    if types.is_float64(kind):
        return to_double
    if types.is_float32(kind):
        return to_float
    if types.is_decimal128(kind):
        return lambda text: to_decimal(text, kind.precision, kind.scale)
    if types.is_boolean(kind):
        return to_boolean
    if types.is_date32(kind):
        return _date_converter(options)
    if types.is_timestamp(kind) and kind.unit == "us":
        return _timestamp_converter(options, with_zone=kind.tz is not None)
    if types.is_string(kind):
        return str
    if types.is_binary(kind):
        return str.encode
    raise OptionRefused(
        f"the type {kind} is not supported in csv",
        hint="Read the column as a string and cast it with Spark.",
    )


def _date_converter(options: TextOptions) -> Convert:
    if options.date_format is None:
        return lambda text: _with_gmt_removed(parse_date, text)
    pattern = compile_pattern(options.date_format)
    return pattern.parse_date


def _timestamp_converter(options: TextOptions, *, with_zone: bool) -> Convert:
    given = options.timestamp_format if with_zone else options.timestamp_ntz_format
    offset = session_offset(options.time_zone) if with_zone else None
    if given is not None:
        pattern = compile_pattern(given)
        return lambda text: pattern.parse_timestamp(text, offset)
    if with_zone:
        return lambda text: _with_gmt_removed(lambda stripped: parse_timestamp(stripped, offset), text)
    return lambda text: parse_timestamp(text, None)


def _with_gmt_removed(parse: Callable[[str], int], text: str) -> int:
    """Parse *text*; if that fails, once more without its first "GMT", as Spark does for files of its first versions."""
    try:
        return parse(text)
    except ValueError:
        if "GMT" not in text:
            raise
    return parse(text.replace("GMT", "", 1))


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).view(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).view(kind)
    return pa.array(values, kind)


def _in_arrow(texts: Sequence[str | None], kind: pa.DataType, options: TextOptions) -> pa.Array | None:
    """Convert in Arrow if every text is of the form that Arrow and Spark read alike."""
    form = _canonical(kind)
    if form is None or (pa.types.is_date32(kind) and options.date_format not in {None, "yyyy-MM-dd"}):
        return None
    strings = pa.array(texts, pa.string())
    matches = pc.match_substring_regex(strings, form)
    if not pc.all(matches, skip_nulls=True, min_count=0).as_py():
        return None
    try:
        return strings.cast(kind)
    except pa.ArrowInvalid:
        return None


def _canonical(kind: pa.DataType) -> str | None:
    if kind in _BITS:
        return "^-?[0-9]{1,18}$"
    if pa.types.is_floating(kind):
        return r"^-?[0-9]{1,30}(\.[0-9]{1,30})?$"
    if pa.types.is_decimal128(kind) and kind.precision > kind.scale > 0:
        return rf"^-?[0-9]{{1,{kind.precision - kind.scale}}}(\.[0-9]{{1,{kind.scale}}})?$"
    if pa.types.is_date32(kind):
        return "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
    return None


# --- one value --------------------------------------------------------------------------------------------------------
def to_integer(text: str, bits: int) -> int:
    """Return the integer, as Java's ``parseInt`` and its siblings read it."""
    if _INTEGER.fullmatch(text) is None or not _basic_plane(text):
        raise ValueError
    value = int(text)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError
    return value


def to_decimal(text: str, precision: int, scale: int) -> Decimal | None:
    """Return the decimal rounded half up to *scale*; ValueError if it does not fit *precision*."""
    text = text.replace(",", "")
    if _DECIMAL.fullmatch(text) is None or not _basic_plane(text):
        raise ValueError
    mantissa, _, exponent = text.lower().partition("e")
    dropped = len(mantissa.partition(".")[2]) - int(exponent or 0) - scale
    if not -(2**31) < int(exponent or 0) < 2**31 or dropped > _MAX_DROPPED_DIGITS:
        raise ValueError
    try:
        value = Decimal(text, _WIDE)
    except InvalidOperation:
        raise ValueError from None
    if value and value.adjusted() >= precision - scale:
        raise ValueError
    if value and value.adjusted() < -scale - 1:
        return Decimal(0).scaleb(-scale)
    rounded = value.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    if rounded and rounded.adjusted() >= precision - scale:
        raise ValueError
    return rounded or abs(rounded)


def decimal_shape(text: str) -> tuple[int, int]:
    """Return precision and scale of the decimal that *text* is, as inference sees it; ValueError if it is none."""
    if _DECIMAL.fullmatch(text) is None or not _basic_plane(text):
        raise ValueError
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    return len(str(int(whole + fraction))), len(fraction) - int(exponent or 0)


def to_double(text: str) -> float:
    """Return the double, as Java's ``parseDouble`` and Spark's names of infinities read it."""
    special = _SPECIAL.get(text)
    if special is not None:
        return special
    text = text.strip(_BLANKS)
    special = _JAVA_SPECIAL.get(text)
    if special is not None:
        return special
    if text[-1:] in {"d", "D", "f", "F"}:
        text = text[:-1]
    if _FLOAT.fullmatch(text):
        return float(text)
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            return float("-inf") if text[0] == "-" else float("inf")
    raise ValueError


def to_float(text: str) -> float:
    """Return the value of the nearest float.

    Raises:
        ValueError: the text is no number.
        OptionRefused: Java 17 rounds this text wrongly, by way of a double, and newer releases do not.
    """
    double = to_double(text)
    with np.errstate(over="ignore"):
        single = np.float32(double)
        other = np.nextafter(single, np.float32(np.inf if double > float(single) else -np.inf))
    if not np.isfinite(single) or float(single) == double:
        return float(single)
    if float(single) + float(other) != 2 * double:
        return float(single)
    # The double lies exactly between two floats. If the text does too, all take the even one; else runtimes differ.
    text = text.strip(_BLANKS).rstrip("dDfF")
    if not _FLOAT.fullmatch(text) or Decimal(text, _WIDE) == Decimal(double):
        return float(single)
    raise OptionRefused("a float is written so closely to the middle of two that Java's releases read it differently")


def to_boolean(text: str) -> bool:
    """Return true or false, which Java compares without regard to case."""
    upper = text.upper() if len(text) in {4, 5} else ""
    if upper == "TRUE" and len(text) == 4:
        return True
    if upper == "FALSE" and len(text) == 5:
        return False
    raise ValueError


_SPECIAL: Final = {"NaN": float("nan"), "Inf": float("inf"), "-Inf": float("-inf")}
_JAVA_SPECIAL: Final = {
    sign + name: -value if sign == "-" else value
    for sign in ("", "+", "-")
    for name, value in (("NaN", float("nan")), ("Infinity", float("inf")))
}


def _basic_plane(text: str) -> bool:
    """Java reads digits by UTF-16 unit, so digits of other planes are none."""
    return text.isascii() or max(text) <= "\uffff"
