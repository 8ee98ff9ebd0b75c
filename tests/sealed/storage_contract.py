"""The contract of :class:`redoubt.sealed.storage.Storage`: the tests of every storage subclass it.

A subclass gives the fixture ``storage``, empty.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from redoubt.errors import AlreadyExists, NotFound, SealedError
from redoubt.sealed.objects import storage_for
from redoubt.sealed.storage import SinkGuard, Storage


class StorageContract:
    """Subclass this and give the fixture ``storage``."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    def test_it_is_a_storage(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)

    @pytest.mark.parametrize("size", [0, 1, 100_000, 6 * 1024 * 1024])
    def test_what_a_sink_finished_can_be_read(self, storage: Storage, size: int) -> None:
        content = os.urandom(size)
        with SinkGuard(storage.create("data/x/part")) as guard:
            guard.sink.write(memoryview(content)[: size // 2])
            guard.sink.write(bytearray(content[size // 2 :]))
        assert storage.read("data/x/part", limit=size) == content
        assert storage.size("data/x/part") == size

    def test_reads_are_positional_and_short_only_at_the_end(self, storage: Storage) -> None:
        storage.put_if_absent("x", b"0123456789")
        file = storage.open("x")
        out = bytearray(4)
        assert file.size == 10
        assert (file.read_into(3, memoryview(out)), bytes(out)) == (4, b"3456")
        assert (file.read_into(8, memoryview(out)), bytes(out[:2])) == (2, b"89")
        assert (file.read_into(0, memoryview(out)), bytes(out)) == (4, b"0123")
        assert file.read_into(10, memoryview(out)) == 0
        file.close()

    def test_an_open_object_may_be_read_by_several_threads(self, storage: Storage) -> None:
        content = os.urandom(200_000)
        storage.put_if_absent("x", content)
        file = storage.open("x")

        def read(start: int) -> bytes:
            out = bytearray(1000)
            assert file.read_into(start, memoryview(out)) == 1000
            return bytes(out)

        with ThreadPoolExecutor(8) as pool:
            starts = range(0, 199_000, 5000)
            assert list(pool.map(read, starts)) == [content[start : start + 1000] for start in starts]
        file.close()

    def test_an_object_is_written_once(self, storage: Storage) -> None:
        storage.put_if_absent("x", b"first")
        with pytest.raises(AlreadyExists):
            storage.create("x").finish()
        with pytest.raises(AlreadyExists):
            storage.put_if_absent("x", b"second")
        assert storage.read("x", limit=10) == b"first"

    def test_of_many_put_if_absent_at_once_exactly_one_succeeds(self, storage: Storage) -> None:
        for round_number in range(5):
            start = Barrier(8)

            def put(number: int, name: str = f"_commits/{round_number}", start: Barrier = start) -> bool:
                start.wait()
                try:
                    storage.put_if_absent(name, b"by %d" % number)
                except AlreadyExists:
                    return False
                return True

            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(put, range(8)))
            assert won.count(True) == 1
            assert storage.read(f"_commits/{round_number}", limit=10) == b"by %d" % won.index(True)

    def test_an_aborted_object_does_not_exist(self, storage: Storage) -> None:
        sink = storage.create("data/x")
        sink.write(b"half")
        sink.abort()
        with pytest.raises(NotFound):
            storage.open("data/x")
        assert [entry.name for entry in storage.list()] == []

    def test_abort_after_a_failed_finish_is_harmless(self, storage: Storage) -> None:
        sink = storage.create("x")
        sink.finish()
        sink.abort()

    @pytest.mark.parametrize("operation", ["open", "size"])
    def test_a_missing_object_is_not_found(self, storage: Storage, operation: str) -> None:
        with pytest.raises(NotFound):
            getattr(storage, operation)("no/such")
        with pytest.raises(NotFound):
            storage.read("no/such", limit=1)

    def test_an_object_over_the_limit_is_refused(self, storage: Storage) -> None:
        storage.put_if_absent("x", b"12345")
        with pytest.raises(SealedError, match="at most 4"):
            storage.read("x", limit=4)

    def test_lists_are_recursive_and_start_at_a_folder(self, storage: Storage) -> None:
        names = {"a", "b/c", "b/d/e", "bb/f", "b/köln x+y.csv"}
        for name in names:
            storage.put_if_absent(name, name.encode())
        assert {entry.name for entry in storage.list()} == names
        assert {entry.name: entry.size for entry in storage.list("b")} == {
            "b/c": 3,
            "b/d/e": 5,
            "b/köln x+y.csv": len("b/köln x+y.csv".encode()),
        }
        assert all(entry.modified > 1e9 for entry in storage.list())

    def test_a_folder_that_does_not_exist_holds_nothing(self, storage: Storage) -> None:
        assert list(storage.list("no/such")) == []
        assert list(storage.list()) == []

    def test_deletion_is_idempotent_and_leaves_the_rest(self, storage: Storage) -> None:
        storage.put_if_absent("data/a/x", b"1")
        storage.put_if_absent("data/b/y", b"2")
        storage.delete("data/a/x")
        storage.delete("data/a/x")
        assert [entry.name for entry in storage.list()] == ["data/b/y"]

    def test_the_location_opens_the_same_place(self, storage: Storage) -> None:
        storage.put_if_absent("x", b"1")
        assert storage_for(storage.location).read("x", limit=1) == b"1"
