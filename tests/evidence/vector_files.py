"""Single files of the public vectors, for tests that take them apart."""

from __future__ import annotations

import pytest
from tests.evidence.vectors import SHARED


def vector(path: str) -> bytes:
    """Return the vector file at *path*; skips the test where the vectors are not there."""
    file = SHARED / "vectors" / path
    if not file.exists():
        pytest.skip(f"no public vectors at {SHARED / 'vectors'}: set REDOUBT_SHARED")
    return file.read_bytes()


def trustee(name: str) -> bytes:
    """Return a vector that Confidential Containers' Trustee publishes."""
    return vector(f"confidential-containers+trustee/{name}")
