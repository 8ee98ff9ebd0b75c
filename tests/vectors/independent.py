"""A second reader of sealed data, written from ``docs/format.md`` alone: it imports nothing of Redoubt.

It is no library. It shows that the page suffices to re-implement a reader, and opens the test vectors.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = bytes.fromhex("935245444f554254")
NIL = bytes(16)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869, section 2.3)."""
    out = block = b""
    for counter in range(1, -(-length // 64) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha512")
        out += block
    return out[:length]


def fields(*values: bytes) -> bytes:
    """Section "Field lists"."""
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def split_fields(data: bytes, count: int) -> list[bytes]:
    """The fields of a list, which has to have exactly *count*."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert len(data) >= 4 + size
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    assert len(found) == count
    return found


def open_body(data_key: bytes, context: bytes, body: bytes) -> bytes:
    """Section "Body"."""
    salt, commitment, chunks = body[:24], body[24:56], body[56:]
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\0" + salt + context
    derived = expand(data_key, info, 76)
    key, base_nonce = derived[:32], int.from_bytes(derived[32:44], "big")
    assert hmac.compare_digest(commitment, derived[44:])
    assert len(chunks) % 16400 >= 16  # the last chunk is short
    plain = b""
    for number, start in enumerate(range(0, len(chunks), 16400)):
        nonce = (base_nonce ^ number).to_bytes(12, "big")
        plain += AESGCM(key).decrypt(nonce, chunks[start : start + 16400], None)
    return plain


def split_header(file: bytes) -> tuple[list[bytes], bytes]:
    """Section "Header": its seven fields and its exact bytes."""
    assert file[:8] == MAGIC
    assert file[8:10] == b"\0\1"
    end = 12 + int.from_bytes(file[10:12], "big")
    return split_fields(file[12:end], 7), file[:end]


def unwrap(record: bytes, primary_keys: dict[int, bytes], dataset: bytes, data_key_id: bytes) -> bytes:
    """Section "Wrapped keys"."""
    label, *context, mechanism, ciphertext = split_fields(record, 8)
    assert (label, mechanism) == (b"redoubt/wrapped-key/v1", b"aes-256-gcm")
    assert context[:3] == [dataset, data_key_id, b"data"]
    primary = primary_keys[int.from_bytes(context[4], "big")]
    return AESGCM(primary).decrypt(ciphertext[:12], ciphertext[12:], fields(b"redoubt/wrap-context/v1", *context))


def subkey(data_key: bytes, label: str, *values: bytes) -> bytes:
    """Section "Wrapped keys", "Other uses of a data key"."""
    return expand(data_key, fields(b"redoubt/subkey/v1", label.encode(), *values), 32)


def open_standalone(file: bytes, primary_keys: dict[int, bytes]) -> bytes:
    """Section "Standalone sealed file"."""
    (purpose, data_key_id, dataset, *_), header = split_header(file)
    assert purpose == b"standalone"
    assert not any(file[len(header) : 4096])
    slots = {}
    for slot in (file[4096:6144], file[6144:8192]):
        if any(slot):
            assert hashlib.sha256(slot[:2016]).digest() == slot[2016:]
            end = 10 + int.from_bytes(slot[8:10], "big")
            assert not any(slot[end:2016])
            generation = int.from_bytes(slot[:8], "big")
            assert generation not in slots
            slots[generation] = slot[10:end]
    data_key = unwrap(slots[max(slots)], primary_keys, dataset, data_key_id)
    return open_body(data_key, header, file[8192:])


def open_dataset(files: dict[str, bytes], primary_keys: dict[int, bytes]) -> tuple[str, dict[str, bytes]]:
    """Section "Dataset": the head's digest and the plaintext of every part."""

    def data_key(data_key_id: bytes, dataset: bytes) -> bytes:
        folder = f"_keys/{UUID(bytes=data_key_id)}/"
        return unwrap(files[max(name for name in files if name.startswith(folder))], primary_keys, dataset, data_key_id)

    numbers = sorted(int(name[9:]) for name in files if name.startswith("_commits/"))
    assert numbers == list(range(1, len(numbers) + 1))
    name = f"_commits/{numbers[-1]:08d}"
    (purpose, key_id, dataset, commit_id, stated, media_type, _), header = split_header(files[name])
    assert (purpose, stated.decode(), media_type) == (b"commit", name, b"application/vnd.redoubt.commit+json")
    record: dict[str, Any] = json.loads(open_body(data_key(key_id, dataset), header, files[name][len(header) :]))
    commit = record["commit"]
    assert (commit["format"], commit["number"]) == (1, numbers[-1])
    assert (UUID(commit["dataset"]).bytes, UUID(commit["id"]).bytes) == (dataset, commit_id)
    plain = {}
    for part in commit["parts"]:
        file = files[part["name"]]
        key, its_commit = UUID(part["key"]).bytes, UUID(part["commit"]).bytes
        expected = [b"part", key, dataset, its_commit, part["name"].encode(), part["media_type"].encode(), b"identity"]
        found, part_header = split_header(file)
        assert found == expected
        assert len(file) == part["length"]
        assert file[len(part_header) :][:56].hex() == part["prefix"]
        assert hashlib.sha256(file).hexdigest() == part["sha256"]
        plain[part["name"]] = open_body(data_key(key, dataset), part_header, file[len(part_header) :])
    return "sha256:" + hashlib.sha256(files[name]).hexdigest(), plain
