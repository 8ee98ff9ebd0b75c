"""Column expressions that several TPC-H queries share.

Decides: that constants next to DECIMAL columns are Decimals, never floats: a float would turn exact arithmetic into
DOUBLE, and 0.06 + 0.01 into something just above 0.07, which Q6 would notice.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 -- the name PySpark documents it under


def decimal(text: str) -> Column:
    """Return a DECIMAL constant with exactly the digits of ``text``."""
    return F.lit(Decimal(text))


def in_dates(column: str, start: date, end: date) -> Column:
    """Return whether ``column`` is on or after ``start`` and before ``end``."""
    return (F.col(column) >= F.lit(start)) & (F.col(column) < F.lit(end))


def discounted_price() -> Column:
    """Return what the customer pays for a line item, before tax."""
    return F.col("l_extendedprice") * (F.lit(1) - F.col("l_discount"))
