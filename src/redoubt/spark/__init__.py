"""Apache Spark on sealed data: session, configuration, Data Source, Parquet, codec.

What stands here is loaded when it is first used: Python workers and the command line import the package for less.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redoubt.spark.application import Job, job, register, session, stop
    from redoubt.spark.io import read, write

__all__ = ["Job", "job", "read", "register", "session", "stop", "write"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "io" if name in ("read", "write") else "application"
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return found
