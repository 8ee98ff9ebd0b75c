"""150 kills at random points (issue A, "Must show" 6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sealed.crash import CrashMachine

pytestmark = pytest.mark.soak
KILLS = 150


def test_150_killed_processes_leave_the_old_state_or_the_new(tmp_path: Path) -> None:
    machine = CrashMachine(tmp_path, seed=1)
    names = list(machine.scenarios)
    runs = 0
    while machine.killed < KILLS:
        machine.crash(names[runs % len(names)])
        runs += 1
    print(f"{machine.killed} processes killed, {machine.survived} had ended before")
    assert machine.survived < runs / 2, "the kills come too late to mean much"
