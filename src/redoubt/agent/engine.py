"""What runs a program, by name and version, for its receipt: read off the file system, nothing is executed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from redoubt import __version__

#: Packages that decide how a job computes: named with their version, if the interpreter has them.
_ENGINES: Final = frozenset({"pyspark", "pyarrow", "pandas", "duckdb", "polars", "torch"})
_DISTRIBUTION: Final = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.+!]+)\.dist-info")


def engine_versions(sites: Iterable[Path], interpreter: str) -> dict[str, str]:
    """Return what runs the program, by the names of the packages in its *sites*: nothing is executed to find out."""
    found = {"redoubt": __version__, "interpreter": Path(interpreter).name}
    for site in sites:
        for path in sorted(site.glob("*.dist-info")):
            match = _DISTRIBUTION.fullmatch(path.name)
            if match is not None and match[1].lower() in _ENGINES:
                found.setdefault(match[1].lower(), match[2])
    return found
