"""One `kill -9` in the middle of every operation; `make soak` does 150."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sealed.crash import CrashMachine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> CrashMachine:
    return CrashMachine(tmp_path_factory.mktemp("crash"))


SCENARIOS = [
    "seal a file",
    "seal a folder",
    "append a folder",
    "unseal a file",
    "unseal a folder",
    "re-wrap a dataset",
    "re-wrap a file",
    "rotate a key",
]


def test_every_scenario_runs_here(machine: CrashMachine) -> None:
    assert list(machine.scenarios) == SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_killed_process_leaves_the_old_state_or_the_new(machine: CrashMachine, scenario: str, tmp_path: Path) -> None:
    machine.crash(scenario)
