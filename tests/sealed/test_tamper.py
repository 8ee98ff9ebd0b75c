"""Ten thousand ways to spoil sealed data (`make soak`), six hundred of them in every run of the tests."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.sealed.memory import MemoryStorage
from tests.sealed.storage_contract import StorageContract
from tests.sealed.tamper import DatasetMachine, StandaloneMachine

from redoubt.keys.workspace import Workspace
from redoubt.sealed.storage import Storage

MACHINES = [DatasetMachine, StandaloneMachine]


class TestMemoryStorage(StorageContract):
    """The machine's storage keeps the contract, so what holds there holds on disk."""

    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()

    def test_the_location_opens_the_same_place(self, storage: Storage) -> None:
        """It does not: memory is of one process."""

    def test_abort_after_a_failed_finish_is_harmless(self, storage: Storage) -> None:
        """Nothing to close."""


def run(machine: DatasetMachine | StandaloneMachine, cases: int) -> Counter[str]:
    codes: Counter[str] = Counter()
    for number in range(cases):
        machine.case(number, codes)
    return codes


def every_class_ran(machine: DatasetMachine | StandaloneMachine, codes: Counter[str]) -> bool:
    return all(any(seen.startswith(f"{kind}: ") for seen in codes) for kind in ("wrong key", *machine.classes))


@pytest.mark.parametrize("kind", MACHINES)
def test_tampering_is_always_an_error(kind: type[DatasetMachine | StandaloneMachine], workspace: Workspace) -> None:
    machine = kind(workspace)
    assert every_class_ran(machine, run(machine, 600))


@pytest.mark.soak
@pytest.mark.parametrize("kind", MACHINES)
def test_tampering_is_always_an_error_10_000_times(
    kind: type[DatasetMachine | StandaloneMachine], workspace: Workspace
) -> None:
    codes = run(kind(workspace), 10_000)
    for seen, count in sorted(codes.items()):
        print(f"{count:6d}  {seen}")
    assert sum(codes.values()) == 10_000
