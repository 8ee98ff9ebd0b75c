"""Receipts of a trust domain at a running broker: everybody who could have been a peer, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.broker.test_members import ask
from tests.broker.test_receipts import Job, head
from tests.broker.world import INPUT, OTHER_PROGRAM, TOML, World, running_world

from redoubt.limits import ROLE_CERTIFICATE_SECONDS
from redoubt.trust.policy import Action

ROLES = """
[[roles]]
program = "job"
tee = "laptop"
domain = "analytics"
roles = ["driver", "executor", "worker"]

[[roles]]
program = "bobs"
tee = "laptop"
domain = "marketing"
roles = ["driver"]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world"), TOML + ROLES) as running:
        yield running


def certified(world: World, role: str) -> Job:
    job = Job(world)
    assert ask(job.machine, job.tokens[-1], role=role).status == 200
    return job


def names(job: Job) -> dict[str, str]:
    members = job.verified(job.ask().ok).proved.members
    return {it.job: it.name.role for it in members}


def test_receipt_names_the_members_of_its_time_with_what_they_were_given(world: World) -> None:
    ended = certified(world, "executor")
    assert ended.ask().status == 200
    worker, executor = certified(world, "worker"), certified(world, "executor")
    other = world.machine(OTHER_PROGRAM)
    assert ask(other, other.attest(), domain="marketing", role="driver").status == 200
    Job(world)  # attested, and of no domain
    driver = certified(world, "driver")
    assert executor.read().status == 200
    executor.attest()
    assert ask(executor.machine, executor.tokens[-1], role="executor").status == 200  # renewed
    late = certified(world, "executor")
    assert driver.write(head(1), None).status == 204
    proved = driver.verified(driver.ask().ok).proved
    found = {it.job: it for it in proved.members}
    assert {it: member.name.role for it, member in found.items()} == {
        worker.id: "worker",
        executor.id: "executor",
        late.id: "executor",
    }
    assert proved.name is not None
    assert (proved.name.domain, proved.name.role) == ("analytics", "driver")
    assert [it.dataset for it in found[executor.id].releases] == [INPUT]
    assert found[executor.id].releases[0].action is Action.READ
    assert len(found[executor.id].roles) == 2
    assert [len(it.releases) for it in (found[worker.id], found[late.id])] == [0, 0]
    assert driver.id in names(executor)  # whoever it computed for stands in its own


def test_certificate_that_had_ended_makes_no_member(tmp_path: Path) -> None:
    with running_world(tmp_path, TOML + ROLES) as world:
        certified(world, "worker")  # killed: it never asked for its receipt
        core = world.broker._running.core
        begin = core.clock()
        moved = timedelta(seconds=ROLE_CERTIFICATE_SECONDS + 60)
        rows = core.store.audit.of_domain("analytics", since=begin - moved)
        assert len(rows) == 1  # the positive control
        assert not core.store.audit.of_domain("analytics", since=begin + moved)
        assert not core.store.audit.of_domain("marketing", since=begin - moved)
