"""The register of heads against a storage that delays, hides and puts back, and against readers who forge."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from tests.sealed.test_freshness import Dying, Reader, Registering, append, forge

from redoubt.errors import BrokerUnreachable, CommitUnexpected, RegisterRollback
from redoubt.keys.register import CommitHead
from redoubt.keys.workspace import Workspace
from redoubt.sealed.commit import Part, commit_name
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.write import DatasetWrite, WriteMode, WriteTicket

T = TypeVar("T", bound=Registering)


class Pruning(Registering):
    """As the broker does it: what was announced up to a registered commit is forgotten."""

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        super().register_head(dataset_id, previous=previous, head=head)
        self.announced[dataset_id] = {it for it in self.announced[dataset_id] if it.number > head.number}


class Slow(Pruning):
    """The register as one writer reaches it: *meanwhile* happens once, between its commit and its registration."""

    meanwhile: Callable[[], object] | None = None

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        if (happens := self.meanwhile) is not None and self.announced[dataset_id]:
            self.meanwhile = None
            happens()
        return super().registered_head(dataset_id)


@pytest.fixture
def keys(workspace: Workspace) -> Pruning:
    return Pruning(workspace)


@pytest.fixture
def dying(workspace: Workspace, keys: Pruning) -> Dying:
    return beside(Dying(workspace), keys)


def beside(other: T, keys: Registering) -> T:
    """Give *other* the same register."""
    other._heads, other.announced = keys._heads, keys.announced
    return other


def die(folder: Path, dying: Dying, *names: str) -> None:
    for name in names:
        with pytest.raises(BrokerUnreachable):
            append(folder, dying, name)


def begun(folder: Path, keys: Registering) -> tuple[DatasetWrite, Part]:
    """A write that has yet to be committed, and its one part."""
    write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.APPEND)
    writer = write.parts.part("mine", media_type="text/plain")
    writer.write(b"x")
    return write, writer.finish()


def hide(folder: Path, *numbers: int) -> Callable[[], None]:
    """Take commit records away; what is returned puts them back."""
    saved = {number: (folder / commit_name(number)).read_bytes() for number in numbers}
    for number in numbers:
        (folder / commit_name(number)).unlink()

    def put_back() -> None:
        for number, record in saved.items():
            (folder / commit_name(number)).unlink(missing_ok=True)
            (folder / commit_name(number)).write_bytes(record)

    return put_back


def parts_of(dataset: Dataset) -> set[str]:
    return {it.name.rpartition("/")[2] for it in dataset.parts}


def test_fork_behind_a_forged_record_is_refused(
    tmp_path: Path, keys: Pruning, dying: Dying, workspace: Workspace
) -> None:
    """Two dead writers' commits on top of a third's are put on top of the registered one, by a record between them."""
    folder = tmp_path / "d"
    append(folder, keys, "a")
    die(folder, dying, "x", "y", "z")  # 2, 3, 4
    hide(folder, 2, 3)
    put_back = hide(folder, 4)
    dataset = append(folder, keys, "b")  # registered as 2: y and z do not follow it
    assert keys.registered_head(dataset.id) == CommitHead(2, dataset.commit_digest)
    forge(folder, workspace)  # 3, which says that it follows b
    put_back()
    with pytest.raises(RegisterRollback):
        Dataset.open(str(folder), keys=keys)


def test_commit_that_was_taken_away_before_it_was_registered_is_not_acknowledged(
    tmp_path: Path, keys: Pruning, workspace: Workspace
) -> None:
    folder = tmp_path / "d"
    append(folder, keys, "a")
    slow = beside(Slow(workspace), keys)

    def meanwhile() -> None:
        hide(folder, 2)
        append(folder, keys, "b")

    write, mine = begun(folder, slow)
    slow.meanwhile = meanwhile
    with pytest.raises(RegisterRollback):
        write.commit([mine])
    assert parts_of(Dataset.open(str(folder), keys=keys)) == {"a", "b"}


@pytest.mark.parametrize("more", [0, 1])
def test_fork_is_not_registered_over_the_registered_commit(
    tmp_path: Path, keys: Pruning, dying: Dying, workspace: Workspace, more: int
) -> None:
    """A slow writer, on top of a dead one's commit, comes after another who was shown neither."""
    folder = tmp_path / "d"
    append(folder, keys, "a")
    die(folder, dying, "x")
    slow = beside(Slow(workspace), keys)

    def meanwhile() -> None:
        hide(folder, 2, 3)
        for name in ("b", "c")[: 1 + more]:
            append(folder, keys, name)

    write, mine = begun(folder, slow)
    slow.meanwhile = meanwhile
    with pytest.raises(RegisterRollback):
        write.commit([mine])
    known = keys.registered_head(write.ticket.dataset_id)
    assert known is not None
    assert known.number == 2 + more
    assert "b" in parts_of(Dataset.open(str(folder), keys=keys))


def test_writer_who_comes_late_to_its_own_history_has_its_commit(
    tmp_path: Path, keys: Pruning, workspace: Workspace
) -> None:
    """Somebody built on the commit, and registered that: then it is there."""
    folder = tmp_path / "d"
    append(folder, keys, "a")
    slow = beside(Slow(workspace), keys)
    write, mine = begun(folder, slow)
    slow.meanwhile = lambda: [append(folder, keys, it) for it in ("b", "c")]
    write.commit([mine])
    assert parts_of(Dataset.open(str(folder), keys=keys)) == {"a", "mine", "b", "c"}


def test_record_forged_between_two_processes_of_a_write_is_not_built_on(
    tmp_path: Path, keys: Pruning, workspace: Workspace
) -> None:
    """Spark begins a write in one process and commits it in another, which must see the same head."""
    folder = tmp_path / "d"
    (part,) = append(folder, keys, "a").parts
    write, mine = begun(folder, keys)
    hide(folder, 1)
    reader = Reader(workspace)
    ticket = WriteTicket(str(folder), WriteMode.CREATE, write.ticket.dataset_id, uuid4(), part.key, uuid4(), base=None)
    forged = DatasetWrite.resume(ticket, keys=reader)
    writer = forged.parts.part("forged", media_type="text/plain")
    writer.write(b"1000000 for Mallory")
    forged.commit([writer.finish()])
    with pytest.raises(CommitUnexpected):
        DatasetWrite.resume(write.ticket, keys=keys).commit([mine])
    known = keys.registered_head(write.ticket.dataset_id)
    assert known is not None
    assert known.number == 1


def test_commit_found_again_off_the_chain_is_not_acknowledged(
    tmp_path: Path, keys: Pruning, workspace: Workspace
) -> None:
    """A resumed writer finds its record where it put it, but the registered commits left it out."""
    folder = tmp_path / "d"
    append(folder, keys, "a")
    write, mine = begun(folder, keys)
    write._keys = workspace  # its answer, and its registration, are lost
    write.commit([mine])
    put_back = hide(folder, 2)
    for name in ("b", "c"):
        append(folder, keys, name)
    put_back()  # in the place of b
    with pytest.raises(RegisterRollback):
        DatasetWrite.resume(write.ticket, keys=keys).commit([mine])


def test_older_copy_is_not_registered_for_the_newest(tmp_path: Path, keys: Pruning) -> None:
    folder = tmp_path / "d"
    append(folder, keys, "a")
    shutil.copytree(folder, tmp_path / "old")
    append(folder, keys, "b")
    with pytest.raises(RegisterRollback):
        DatasetWrite.begin(str(tmp_path / "old"), keys=keys, mode=WriteMode.OVERWRITE)
