"""The keys that must not be disclosed, as markers: of a workspace, of its data, of Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.disclosure.markers import Marker

from redoubt.crypto.wrap import unwrap_key
from redoubt.keys import booked
from redoubt.keys.books import load_versions
from redoubt.keys.holder import KeyVersion
from redoubt.keys.keystore import Keystore
from redoubt.keys.registry import KEYSTORE_FILE, ROOT_KEY_FILE
from redoubt.keys.rootkey import read_root_key_file
from redoubt.keys.rows import SqliteBooks
from redoubt.keys.types import DataKey, WrappedKey
from redoubt.keys.workspace import DEFAULT_KEY, Workspace


def workspace_keys(workspace: Workspace) -> Iterator[Marker]:
    """Yield the root key, what it wraps with, and the primary key: none of them may ever leave the driver."""
    path = workspace.state_folder / ROOT_KEY_FILE
    keystore = Keystore(workspace.state_folder / KEYSTORE_FILE)
    yield Marker("root key", path.read_bytes())
    yield Marker("root key's wrapping key", read_root_key_file(path).wrapping_key(keystore.header.id))
    with keystore.reading() as db:
        [row] = load_versions(SqliteBooks(db), DEFAULT_KEY)
    assert row.wrapped is not None
    root = read_root_key_file(path).wrapping_key(keystore.header.id)
    version = KeyVersion(row.name, row.number, keystore.header.id)
    # No provider gives a primary key away, so it is unwrapped here.
    yield Marker(
        "primary key", unwrap_key(row.wrapped, wrapping_key=root, associated_data=booked._associated_data(version))
    )


def dataset_records(folder: Path) -> list[WrappedKey]:
    """Return the wrapped data keys of the datasets that lie in *folder*."""
    return [WrappedKey.decode(path.read_bytes()) for path in folder.glob("*/_keys/*/*") if path.is_file()]


def data_keys(workspace: Workspace, records: Sequence[WrappedKey]) -> Iterator[Marker]:
    """Yield the data keys that *records* wrap."""
    opened: list[DataKey] = list(workspace.unwrap(records))
    assert len(opened) == len(records) > 0
    for number, key in enumerate(opened):
        yield Marker(f"data key {number}", key.secret)


def spark_keys(told: Path) -> Iterator[Marker]:
    """Yield the secrets that Spark made for itself in this run."""
    for name, secret in json.loads(told.read_text()).items():
        if secret is not None:
            yield Marker(f"Spark's {name} secret", bytes.fromhex(secret))
