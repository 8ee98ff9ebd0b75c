"""A Python with Spark and Redoubt and little else, so that measuring it for every role of a cluster takes a second."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from tests.agent.pythons import small_python

#: Distributions' packages that the agent, the development broker and Spark's executors import.
_PACKAGES = (
    "pyspark", "py4j", "cryptography", "cffi", "_cffi_backend", "rfc8785", "typer", "click", "rich", "pygments",
    "markdown_it", "mdurl", "shellingham", "typing_extensions", "tomlkit", "joserfc", "dcap_qvl", "argon2",
    "_argon2_cffi_bindings", "starlette", "anyio", "idna", "uvicorn", "h11", "httptools", "prometheus_client",
    "sqlalchemy", "psycopg", "psycopg_binary", "annotated_doc", "Crypto",
)  # fmt: skip


def cluster_python(prefix: Path) -> Path:
    """Make it below *prefix*, and return its executable."""
    executable = small_python(prefix)
    packages = next(prefix.glob("lib/python3*/site-packages"))
    shutil.copytree(Path(os.__file__).parent / "sqlite3", packages.parent / "sqlite3")
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            continue
        place = Path(found.origin)
        place = place.parent if place.name == "__init__.py" else place
        (packages / place.name).symlink_to(place)
        for beside in place.parent.glob(f"{name}.libs"):
            (packages / beside.name).symlink_to(beside)
    for name in ("redoubt", "redoubt_dev"):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        (packages / name).symlink_to(Path(found.origin).parent)
    return executable
