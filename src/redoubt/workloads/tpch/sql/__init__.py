"""The 22 TPC-H queries as SQL text that Spark and DuckDB both accept.

Decides: the text of each query, with the validation parameters of the TPC-H specification (so that published
answers apply), in the common subset of the two dialects, so that an answer is checked against the same text it came
from. Q15 uses a common table expression where the specification creates a view, and Q18's last column has a name.
The specification states "return the first N rows" apart from the text; so does this module (:data:`ROW_LIMITS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from importlib import resources
from string import Template
from types import MappingProxyType
from typing import Final

from redoubt.errors import UsageError
from redoubt.workloads.tpch.schema import require_scale

QUERY_NUMBERS: Final[tuple[int, ...]] = tuple(range(1, 23))

ROW_LIMITS: Final[Mapping[int, int]] = MappingProxyType({2: 100, 3: 10, 10: 20, 18: 100, 21: 100})
"""How many rows the specification returns, for the queries where it does not return all of them."""

_Q11_FRACTION_AT_SCALE_1 = Decimal("0.0001")
# Five digits even at the largest scale factor, where the fraction is 1e-9.
_Q11_FRACTION_STEP = Decimal("1e-14")


def q11_fraction(scale: float) -> Decimal:
    """Return the share of the national stock value above which Q11 reports a part: 0.0001 divided by ``scale``.

    Raises:
        UsageError: ``scale`` is outside the supported range.
    """
    require_scale(scale)
    # str() of a float is its shortest decimal form: 0.1 stays 0.1 and does not become 0.1000000000000000055.
    fraction = (_Q11_FRACTION_AT_SCALE_1 / Decimal(str(scale))).quantize(_Q11_FRACTION_STEP)
    # Trailing zeros are digits to SQL's decimal rules: without this the product could need more than 38 digits.
    return fraction.normalize()


def query_text(number: int, *, scale: float = 1.0, limited: bool = True) -> str:
    """Return one query as SQL over the tables' plain names (``lineitem``, ``orders``, ...), without a semicolon.

    ``scale`` is the scale factor of the data; only Q11 depends on it. ``limited`` false leaves the row limit out.

    Raises:
        UsageError: there is no such query, or ``scale`` is outside the supported range.
    """
    if number not in QUERY_NUMBERS:
        raise UsageError(f"TPC-H has queries 1 to 22; there is no query {number!r}")
    # Rendered for every query, so that a wrong scale is reported whichever query is asked for; the value is a Decimal
    # of our own making in fixed-point notation, so nothing a caller passes reaches the SQL text as text.
    fraction = format(q11_fraction(scale), "f")
    stored = resources.files(__name__).joinpath(f"q{number:02d}.sql").read_text(encoding="utf-8")
    text = Template(stored).substitute(fraction=fraction)
    if limited and number in ROW_LIMITS:
        text += f"limit {ROW_LIMITS[number]}\n"
    return text
