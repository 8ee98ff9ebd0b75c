"""The test vectors: they are what the generator writes, and four readers agree on them."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.vectors import generate, independent

from redoubt.crypto import chunked, wrap
from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.sealed.commit import Commit, digest_of
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.header import Header
from redoubt.sealed.local import LocalFile, LocalStorage
from redoubt.sealed.slots import Preamble
from redoubt.sealed.standalone import open_standalone

VECTORS: dict[str, Any] = json.loads(generate.VECTORS.read_text())
DATA_KEY = bytes.fromhex(VECTORS["data_key"])
PRIMARY_KEYS = {int(version): bytes.fromhex(key) for version, key in VECTORS["primary_keys"].items()}


class VectorKeys:
    """A key source that holds the primary keys of the vectors."""

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        raise NotImplementedError

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[DataKey]:
        return [
            DataKey(
                context=item.context,
                secret=wrap.unwrap_key(
                    item.ciphertext,
                    wrapping_key=PRIMARY_KEYS[item.version],
                    associated_data=item.context.encode(key=item.key, version=item.version),
                ),
            )
            for item in wrapped
        ]


def test_the_file_is_what_its_generator_writes() -> None:
    assert generate.VECTORS.read_text() == generate.render()


def test_the_independent_reader_imports_nothing_of_redoubt() -> None:
    tree = ast.parse(Path(independent.__file__).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert names
    assert not [name for name in names if name.startswith(("redoubt", "tests"))]


@pytest.mark.parametrize("vector", VECTORS["field_lists"], ids=lambda v: f"{len(v['fields'])} fields")
def test_field_lists(vector: dict[str, Any]) -> None:
    fields = tuple(bytes.fromhex(field) for field in vector["fields"])
    assert encode_fields(*fields) == independent.fields(*fields) == bytes.fromhex(vector["encoded"])
    assert decode_fields(bytes.fromhex(vector["encoded"]), count=len(fields), what="a vector") == fields


@pytest.mark.parametrize("vector", VECTORS["headers"], ids=lambda v: v["purpose"])
def test_headers(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["encoded"])
    header, length = Header.parse(encoded + b"body")
    assert length == len(encoded)
    assert header.encode() == encoded
    stated = {name: str(getattr(header, name)) for name in vector if name != "encoded"}
    assert stated == {name: value for name, value in vector.items() if name != "encoded"}
    raw, again = independent.split_header(encoded)
    assert again == encoded
    assert [raw[0].decode(), str(UUID(bytes=raw[1])), raw[4].decode()] == [
        vector["purpose"],
        vector["data_key_id"],
        vector["part_name"],
    ]


@pytest.mark.parametrize("vector", VECTORS["bodies"], ids=lambda v: f"{v['plaintext_size']} bytes")
def test_bodies(vector: dict[str, Any]) -> None:
    body, context = bytes.fromhex(vector["body"]), bytes.fromhex(vector["context"])
    plain = generate.plaintext(vector["plaintext_size"])
    assert hashlib.sha256(plain).hexdigest() == vector["plaintext_sha256"]
    derived = chunked.derive(data_key=DATA_KEY, salt=bytes.fromhex(vector["salt"]), context=context)
    assert [value.hex() for value in derived] == [vector[name] for name in ("key", "base_nonce", "commitment")]
    decryptor = Cobblestone256Decryptor(DATA_KEY, context)
    assert decryptor.update(body) + decryptor.finalize() == plain
    assert independent.open_body(DATA_KEY, context, body) == plain
    assert chunked.decrypt(body, data_key=DATA_KEY, context=context) == plain


@pytest.mark.parametrize("vector", VECTORS["wrapped_keys"], ids=lambda v: f"version {v['version']}")
def test_wrapped_keys(vector: dict[str, Any]) -> None:
    record = bytes.fromhex(vector["record"])
    wrapped = WrappedKey.decode(record)
    assert wrapped.encode() == record
    assert wrapped.context.encode(key=wrapped.key, version=wrapped.version).hex() == vector["associated_data"]
    primary = AESGCM(PRIMARY_KEYS[vector["version"]])
    sealed = wrapped.ciphertext[12:]
    assert primary.decrypt(wrapped.ciphertext[:12], sealed, bytes.fromhex(vector["associated_data"])) == DATA_KEY
    ids = UUID(vector["dataset_id"]).bytes, UUID(vector["data_key_id"]).bytes
    assert independent.unwrap(record, PRIMARY_KEYS, *ids) == DATA_KEY


@pytest.mark.parametrize("vector", VECTORS["subkeys"])
def test_subkeys(vector: dict[str, Any]) -> None:
    fields = tuple(bytes.fromhex(field) for field in vector["fields"])
    derived = wrap.subkey(DATA_KEY, label=vector["label"], fields=fields)
    assert derived == independent.subkey(DATA_KEY, vector["label"], *fields) == bytes.fromhex(vector["subkey"])


def test_subkeys_are_all_different() -> None:
    assert len({vector["subkey"] for vector in VECTORS["subkeys"]}) == len(VECTORS["subkeys"])


@pytest.mark.parametrize("name", ["file", "rewrapped_file"])
def test_standalone_files(name: str, tmp_path: Path) -> None:
    vector = VECTORS["standalone"]
    file, plain = bytes.fromhex(vector[name]), bytes.fromhex(vector["plaintext"])
    assert independent.open_standalone(file, PRIMARY_KEYS) == plain
    path = tmp_path / "file.sealed"
    path.write_bytes(file)
    opened = open_standalone(LocalFile(path), keys=VectorKeys(), where="the vector")
    assert opened.reader.read() == plain
    assert opened.preamble.encode() == file[:8192]
    opened.reader.close()


def test_slots() -> None:
    vector = VECTORS["standalone"]
    preamble = Preamble.parse(bytes.fromhex(vector["rewrapped_file"])[:8192])
    assert [slot.encode().hex() for slot in preamble.slots if slot] == vector["slots"]
    assert preamble.slot.generation == 2


def test_dataset(tmp_path: Path) -> None:
    vector = VECTORS["dataset"]
    files = {name: bytes.fromhex(content) for name, content in vector["files"].items()}
    digest, plain = independent.open_dataset(files, PRIMARY_KEYS)
    assert digest == vector["commit_digest"] == digest_of(files["_commits/00000001"])
    assert list(plain.values()) == [bytes.fromhex(vector["part_plaintext"])]
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    dataset = Dataset.open(LocalStorage(tmp_path), keys=VectorKeys(), at_commit=digest)
    assert dataset.head.commit == Commit.decode(vector["commit_json"].encode())
    assert dataset.head.commit.encode().decode() == vector["commit_json"]
    (part,) = dataset.parts
    assert dataset.open_part(part).read() == plain[part.name]
