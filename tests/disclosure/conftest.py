"""The two runs, made once and at the same time; each in a network of its own where the system allows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.disclosure.runs import Run, private_folder, run_control, run_secured


@dataclass(frozen=True)
class Runs:
    control: Run
    secured: Run


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    with private_folder() as one, private_folder() as other, ThreadPoolExecutor(2) as pool:
        control, secured = pool.submit(run_control, one), pool.submit(run_secured, other)
        yield Runs(control.result(), secured.result())


@pytest.fixture(scope="session")
def control(runs: Runs) -> Run:
    return runs.control


@pytest.fixture(scope="session")
def secured(runs: Runs) -> Run:
    return runs.secured
