"""The 22 TPC-H queries in the PySpark DataFrame API: the registry.

Decides: which function answers which query. The functions give the columns, rows and order of the SQL texts in
:mod:`redoubt.workloads.tpch.sql`, row limits included, and contain no SQL. Importing this module imports PySpark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pyspark.sql import DataFrame

from redoubt.errors import UsageError
from redoubt.workloads.tpch import dataframe_q01_q11 as first
from redoubt.workloads.tpch import dataframe_q12_q22 as second
from redoubt.workloads.tpch.tables import Tables

QUERIES: Final[Mapping[int, Callable[[Tables], DataFrame]]] = MappingProxyType(
    {
        1: first.q01,
        2: first.q02,
        3: first.q03,
        4: first.q04,
        5: first.q05,
        6: first.q06,
        7: first.q07,
        8: first.q08,
        9: first.q09,
        10: first.q10,
        11: first.q11,
        12: second.q12,
        13: second.q13,
        14: second.q14,
        15: second.q15,
        16: second.q16,
        17: second.q17,
        18: second.q18,
        19: second.q19,
        20: second.q20,
        21: second.q21,
        22: second.q22,
    }
)


def query_frame(number: int, tables: Tables) -> DataFrame:
    """Return the plan of one query over ``tables``; nothing runs until its rows are asked for.

    Raises:
        UsageError: there is no such query.
    """
    if number not in QUERIES:
        raise UsageError(f"TPC-H has queries 1 to 22; there is no query {number!r}")
    return QUERIES[number](tables)
