"""Fixtures of the agent's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.pythons import small_python


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Python installation, shared; who changes it makes another one."""
    return small_python(tmp_path_factory.mktemp("python"))
