"""Key files: generations replaced by compare-and-swap."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import pytest

from redoubt.errors import AlreadyExists, KeyFileMissing, NotFound, SlotDamaged
from redoubt.keys.names import KeyName
from redoubt.keys.types import WrapContext, WrappedKey
from redoubt.limits import MAX_KEY_GENERATION
from redoubt.sealed import keyfiles
from redoubt.sealed.local import LocalStorage
from redoubt.sealed.storage import Entry, Storage

CONTEXT = WrapContext(uuid4(), uuid4())
ID = CONTEXT.data_key_id
FIRST = WrappedKey(CONTEXT, KeyName.parse("key:main/default.dev"), 1, "aes-256-gcm", bytes(60))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = LocalStorage(tmp_path)
    keyfiles.write_first(storage, FIRST)
    return storage


def version(number: int) -> WrappedKey:
    return replace(FIRST, version=number)


def test_the_highest_generation_counts(storage: Storage) -> None:
    assert keyfiles.read_current(storage, ID) == (1, FIRST)
    assert keyfiles.replace(storage, generation=1, wrapped=version(2))
    assert keyfiles.read_current(storage, ID) == (2, version(2))
    assert keyfiles.data_key_ids(storage) == [ID]


def test_a_key_file_is_never_overwritten(storage: Storage) -> None:
    with pytest.raises(AlreadyExists):
        keyfiles.write_first(storage, version(9))
    assert keyfiles.read_current(storage, ID) == (1, FIRST)


def test_of_many_replacements_at_once_exactly_one_wins(storage: Storage) -> None:
    start = Barrier(8)

    def swap(number: int) -> bool:
        start.wait()
        return keyfiles.replace(storage, generation=1, wrapped=version(number))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(swap, range(2, 10)))
    assert won.count(True) == 1
    assert keyfiles.read_current(storage, ID) == (2, version(2 + won.index(True)))


def test_older_generations_are_removed_and_newer_ones_stay(storage: Storage) -> None:
    for number in (1, 2, 3):
        keyfiles.replace(storage, generation=number, wrapped=version(number + 1))
    keyfiles.remove_older(storage, ID, 3)
    assert sorted(entry.name[-1] for entry in storage.list("_keys")) == ["3", "4"]


def test_a_reader_that_finds_its_generation_gone_lists_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalStorage.read

    def read(self: LocalStorage, name: str, *, limit: int) -> bytes:
        if name.endswith("1"):  # a re-wrap comes between listing and reading
            monkeypatch.setattr(LocalStorage, "read", real)
            assert keyfiles.replace(storage, generation=1, wrapped=version(2))
            keyfiles.remove_older(storage, ID, 2)
            raise NotFound("gone")
        return real(self, name, limit=limit)

    monkeypatch.setattr(LocalStorage, "read", read)
    assert keyfiles.read_current(storage, ID) == (2, version(2))


def test_a_listing_that_met_a_replacement_is_made_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is no snapshot: it can miss the new generation, and then the old one when it asks for its size."""
    real = LocalStorage.list

    def miss(self: LocalStorage, prefix: str = "") -> Iterator[Entry]:
        monkeypatch.setattr(LocalStorage, "list", real)
        return iter(())

    monkeypatch.setattr(LocalStorage, "list", miss)
    assert keyfiles.read_current(storage, ID) == (1, FIRST)


def test_a_generation_that_no_writer_reaches_is_not_replaced(storage: Storage) -> None:
    """Its successor's name would have nine digits, which no reader sees: the key would be lost."""
    storage.put_if_absent(keyfiles.key_file_name(ID, MAX_KEY_GENERATION), FIRST.encode())
    with pytest.raises(SlotDamaged):
        keyfiles.replace(storage, generation=MAX_KEY_GENERATION, wrapped=version(2))


def test_no_key_file_is_an_error(storage: Storage) -> None:
    with pytest.raises(KeyFileMissing):
        keyfiles.read_current(storage, uuid4())


def test_other_files_are_passed_over(storage: Storage) -> None:
    names = [f"_keys/{ID}/2", f"_keys/{ID}/00000000", f"_keys/{ID}/sub/00000009", f"_keys/{str(ID).upper()}/00000009"]
    names += ["_keys/nonsense/00000009", f"_keys/{ID}/.00000002.x.redoubt-tmp"]
    for name in names:
        storage.put_if_absent(name, b"")
        assert keyfiles.parse_key_file_name(name) is None
    assert keyfiles.read_current(storage, ID) == (1, FIRST)
    assert keyfiles.data_key_ids(storage) == [ID]
