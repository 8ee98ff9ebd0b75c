"""A dataset's whole life on S3 (moto's real HTTP server): what other tests do on local disk, once through the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sealed.samples import CONTENTS, read_dataset, write_dataset, write_parts

from redoubt.errors import CommitConflict, NoCommit, PartChanged, PartMissing, SealedError
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.maintain import collect_garbage, rewrap_dataset
from redoubt.sealed.objects import ObjectStorage, storage_for
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import DatasetWrite, WriteMode


@pytest.fixture
def keys(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "workspace")


def test_a_datasets_life(s3_location: str, keys: Workspace) -> None:
    with pytest.raises(NoCommit):
        Dataset.open(s3_location, keys=keys)
    write_dataset(s3_location, keys)
    write_dataset(s3_location, keys, mode=WriteMode.APPEND, contents={"new": b"n"})
    expected = {**CONTENTS, "new": b"n"}
    assert read_dataset(verify_dataset(s3_location, keys=keys).check()) == expected
    Dataset.open(s3_location, keys=keys).check_lengths()

    name = keys.resolve(None)
    keys.provider_for(name).rotate(name)
    before = set(storage_for(s3_location).list("data"))
    assert rewrap_dataset(s3_location, keys=keys, provider_for=keys.provider_for).replaced == 2
    assert set(storage_for(s3_location).list("data")) == before
    keys.provider_for(name).destroy(name, version=1)
    assert read_dataset(verify_dataset(s3_location, keys=keys).check()) == expected

    write_dataset(s3_location, keys, mode=WriteMode.OVERWRITE, contents={"last": b"l"})
    assert len(collect_garbage(s3_location, keys=keys, older_than=-3600)) == len(expected)
    assert read_dataset(verify_dataset(s3_location, keys=keys).check()) == {"last": b"l"}


def test_appenders_at_once(s3_location: str, keys: Workspace) -> None:
    write_dataset(s3_location, keys, contents={})
    writes = [DatasetWrite.begin(s3_location, keys=keys, mode=WriteMode.APPEND) for _ in range(3)]
    parts = [write_parts(write, {f"by-{number}": b"x"}) for number, write in enumerate(writes)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda pair: pair[0].commit(pair[1]), zip(writes, parts, strict=True)))
    dataset = verify_dataset(s3_location, keys=keys).check()
    assert set(read_dataset(dataset)) == {"by-0", "by-1", "by-2"}


def test_creators_at_once(s3_location: str, keys: Workspace) -> None:
    writes = [DatasetWrite.begin(s3_location, keys=keys, mode=WriteMode.CREATE) for _ in range(3)]

    def commit(write: DatasetWrite) -> bool:
        try:
            write.commit([])
        except CommitConflict:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(commit, writes)).count(True) == 1


def test_a_commit_whose_answer_was_lost(s3_location: str, keys: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library retries by itself and then meets its own object."""
    write = DatasetWrite.begin(s3_location, keys=keys, mode=WriteMode.CREATE)
    storage = write.storage
    assert isinstance(storage, ObjectStorage)
    real = ObjectStorage.put_if_absent

    def put(self: ObjectStorage, name: str, data: bytes) -> None:
        real(self, name, data)
        real(self, name, data)

    monkeypatch.setattr(ObjectStorage, "put_if_absent", put)
    assert write.commit([]).head.commit.number == 1


def test_tampering_is_seen(s3_location: str, keys: Workspace) -> None:
    dataset = write_dataset(s3_location, keys, contents={"a": b"aaaa", "b": b"bbbb"})
    storage = dataset.storage
    one, other = dataset.parts
    content = storage.read(one.name, limit=10**6)
    storage.delete(one.name)
    with pytest.raises(PartMissing):
        dataset.check_lengths()
    with pytest.raises(PartMissing):
        read_dataset(Dataset.open(s3_location, keys=keys))
    storage.put_if_absent(one.name, content[:-1])
    with pytest.raises(PartChanged):
        read_dataset(Dataset.open(s3_location, keys=keys))
    storage.delete(one.name)
    storage.put_if_absent(one.name, storage.read(other.name, limit=10**6))
    with pytest.raises(SealedError):
        read_dataset(Dataset.open(s3_location, keys=keys))
    assert len(verify_dataset(s3_location, keys=keys).faults) == 1
