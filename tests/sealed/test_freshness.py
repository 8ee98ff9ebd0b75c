"""The register of heads: rolled back and forked datasets are refused, a register that lags behind is not."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.sealed.samples import write_dataset

from redoubt.agent.client import EndpointClient
from redoubt.agent.endpoint import KeyEndpoint
from redoubt.errors import BrokerUnreachable, CommitUnannounced, GrantRefused, RegisterConflict, RegisterRollback
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset, Freshness
from redoubt.sealed.write import DatasetWrite, WriteMode, WriteTicket


class Registering:
    """A workspace that also keeps a register, as a broker does."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._heads: dict[UUID, CommitHead] = {}
        self.announced: dict[UUID, set[CommitHead]] = {}
        self._lock = threading.Lock()

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        return self._workspace.new_data_key(key, context)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        return self._workspace.unwrap(wrapped)

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        return self._heads.get(dataset_id)

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        with self._lock:
            if self._heads.get(dataset_id) != previous:
                raise RegisterConflict("the registered head is another one")
            self._heads[dataset_id] = head

    def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
        return frozenset(self.announced.get(dataset_id, ()))

    def announce_head(self, dataset_id: UUID, head: CommitHead) -> None:
        self.announced.setdefault(dataset_id, set()).add(head)


@pytest.fixture
def keys(workspace: Workspace) -> Registering:
    return Registering(workspace)


def append(folder: Path, keys: Registering | Workspace | EndpointClient, name: str) -> Dataset:
    write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.APPEND)
    writer = write.parts.part(name, media_type="text/plain")
    writer.write(b"x")
    return write.commit([writer.finish()])


def test_a_commit_is_registered_and_then_vouched_for(tmp_path: Path, keys: Registering) -> None:
    dataset = append(tmp_path / "d", keys, "a")
    assert keys.registered_head(dataset.id) == CommitHead(1, dataset.commit_digest)
    assert Dataset.open(str(tmp_path / "d"), keys=keys).freshness is Freshness.REGISTERED


def test_a_rolled_back_dataset_is_refused(tmp_path: Path, keys: Registering) -> None:
    append(tmp_path / "d", keys, "a")
    shutil.copytree(tmp_path / "d", tmp_path / "old")
    append(tmp_path / "d", keys, "b")
    with pytest.raises(RegisterRollback):
        Dataset.open(str(tmp_path / "old"), keys=keys)
    with pytest.raises(RegisterRollback):
        append(tmp_path / "old", keys, "c")


def test_a_fork_that_leaves_the_registered_commit_out_is_refused(
    tmp_path: Path, keys: Registering, workspace: Workspace
) -> None:
    append(tmp_path / "d", keys, "a")
    shutil.copytree(tmp_path / "d", tmp_path / "fork")
    append(tmp_path / "d", keys, "b")
    for name in ("c", "e", "f"):  # by a writer without a register, who cannot know better
        append(tmp_path / "fork", workspace, name)
    with pytest.raises(RegisterRollback):
        Dataset.open(str(tmp_path / "fork"), keys=keys)


class Dying(Registering):
    """Writers whose register takes nothing: they die once their commit is durable."""

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        raise BrokerUnreachable("the power went")


class Reader:
    """Opens what is there, and makes no data key."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        raise GrantRefused("no grant to write")

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        return self._workspace.unwrap(wrapped)


def forge(folder: Path, workspace: Workspace) -> None:
    """Commit on top of a dataset as a reader can who writes to its storage: under a data key that it may open."""
    reader = Reader(workspace)
    head = Dataset.open(str(folder), keys=reader).head
    (part, *_) = head.commit.parts
    ticket = WriteTicket(
        str(folder),
        WriteMode.APPEND,
        head.commit.dataset,
        uuid4(),
        part.key,
        uuid4(),
        CommitHead(head.commit.number, head.digest),
    )
    write = DatasetWrite.resume(ticket, keys=reader)
    writer = write.parts.part("forged", media_type="text/plain")
    writer.write(b"1000000 for Mallory")
    assert write.commit([writer.finish()]).head.commit.number == head.commit.number + 1


def test_commits_whose_writers_died_before_registering_are_read_and_then_registered(
    tmp_path: Path, keys: Registering, workspace: Workspace
) -> None:
    append(tmp_path / "d", keys, "a")
    dying = Dying(workspace)
    dying._heads, dying.announced = keys._heads, keys.announced
    for name in ("b", "c"):
        with pytest.raises(BrokerUnreachable):
            append(tmp_path / "d", dying, name)
    assert Dataset.open(str(tmp_path / "d"), keys=keys).freshness is Freshness.REGISTERED
    dataset = append(tmp_path / "d", keys, "e")
    assert dataset.head.commit.number == 4
    assert keys.registered_head(dataset.id) == CommitHead(4, dataset.commit_digest)


def test_commit_forged_by_a_reader_is_refused(tmp_path: Path, keys: Registering, workspace: Workspace) -> None:
    """It opens: every reader holds the data key. It is nobody's who may write."""
    append(tmp_path / "d", keys, "a")
    forge(tmp_path / "d", workspace)
    assert len(Dataset.open(str(tmp_path / "d"), keys=workspace).parts) == 2
    with pytest.raises(CommitUnannounced):
        Dataset.open(str(tmp_path / "d"), keys=keys)
    with pytest.raises(CommitUnannounced):
        append(tmp_path / "d", keys, "b")


def test_commit_forged_while_a_writer_writes_is_not_built_on(
    tmp_path: Path, keys: Registering, workspace: Workspace
) -> None:
    append(tmp_path / "d", keys, "a")
    write = DatasetWrite.begin(str(tmp_path / "d"), keys=keys, mode=WriteMode.APPEND)
    writer = write.parts.part("b", media_type="text/plain")
    writer.write(b"x")
    forge(tmp_path / "d", workspace)
    part = writer.finish()
    with pytest.raises(CommitUnannounced):
        write.commit([part])
    assert keys.registered_head(write.ticket.dataset_id) is not None
    assert keys.registered_head(write.ticket.dataset_id).number == 1  # type: ignore[union-attr]


def test_commit_forged_on_top_of_a_dead_writers_is_refused(
    tmp_path: Path, keys: Registering, workspace: Workspace
) -> None:
    append(tmp_path / "d", keys, "a")
    dying = Dying(workspace)
    dying._heads, dying.announced = keys._heads, keys.announced
    with pytest.raises(BrokerUnreachable):
        append(tmp_path / "d", dying, "b")
    forge(tmp_path / "d", workspace)
    with pytest.raises(CommitUnannounced, match="commit 3"):
        Dataset.open(str(tmp_path / "d"), keys=keys)


def test_commit_that_is_registered_between_two_looks_is_read(
    tmp_path: Path, keys: Registering, workspace: Workspace
) -> None:
    """What was announced is forgotten once it is registered: whoever looked before must look again."""
    append(tmp_path / "d", keys, "a")

    class Late(Registering):
        def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
            self._heads[dataset_id] = max(self.announced[dataset_id], key=lambda it: it.number)
            self.announced[dataset_id] = set()
            return frozenset()

    late = Late(workspace)
    late._heads, late.announced = dict(keys._heads), keys.announced
    append(tmp_path / "d", keys, "b")
    assert Dataset.open(str(tmp_path / "d"), keys=late).freshness is Freshness.REGISTERED


def test_writers_at_once_register_the_newest_commit(tmp_path: Path, keys: Registering) -> None:
    append(tmp_path / "d", keys, "a")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda it: append(tmp_path / "d", keys, it), "bce"))
    dataset = Dataset.open(str(tmp_path / "d"), keys=keys)
    assert keys.registered_head(dataset.id) == CommitHead(4, dataset.commit_digest)


def test_the_key_endpoint_passes_the_register_on(tmp_path: Path, keys: Registering, workspace: Workspace) -> None:
    with KeyEndpoint(keys) as endpoint:
        client = EndpointClient(endpoint.folder)
        dataset = append(tmp_path / "d", client, "a")
        assert keys.registered_head(dataset.id) == CommitHead(1, dataset.commit_digest)
        shutil.copytree(tmp_path / "d", tmp_path / "old")
        append(tmp_path / "d", client, "b")
        with pytest.raises(RegisterRollback):
            Dataset.open(str(tmp_path / "old"), keys=client)
        with pytest.raises(RegisterConflict):
            client.register_head(dataset.id, previous=None, head=CommitHead(1, dataset.commit_digest))
    with KeyEndpoint(workspace) as plain:
        opened = Dataset.open(str(tmp_path / "old"), keys=EndpointClient(plain.folder))
        assert opened.freshness is Freshness.NOT_CHECKED


def test_the_key_endpoint_passes_announced_commits_on(tmp_path: Path, keys: Registering, workspace: Workspace) -> None:
    with KeyEndpoint(keys) as endpoint:
        client = EndpointClient(endpoint.folder)
        dataset = append(tmp_path / "d", client, "a")
        assert client.announced_heads(dataset.id) == {CommitHead(1, dataset.commit_digest)}
        forge(tmp_path / "d", workspace)
        with pytest.raises(CommitUnannounced):
            Dataset.open(str(tmp_path / "d"), keys=client)
    with KeyEndpoint(workspace) as plain:
        assert EndpointClient(plain.folder).announced_heads(dataset.id) == frozenset()


def test_who_keeps_no_register_says_that_freshness_was_not_checked(tmp_path: Path, workspace: Workspace) -> None:
    assert write_dataset(tmp_path / "d", keys=workspace).freshness is Freshness.NOT_CHECKED
