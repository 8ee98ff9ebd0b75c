"""Makes ``sealed-v1.json``: every structure of ``docs/format.md`` with every intermediate value, from fixed keys.

``python -m tests.vectors.generate`` writes the file, ``--check`` compares it with what would be written.
``tests/vectors/independent.py`` opens the same file without a line of Redoubt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redoubt.crypto import wrap
from redoubt.crypto.chunked import derive
from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.hazmat import encrypt_with_salt
from redoubt.keys.names import KeyName
from redoubt.keys.types import WrapContext, WrappedKey
from redoubt.limits import BODY_PREFIX_BYTES
from redoubt.sealed.commit import Commit, Operation, Part, PartKind, commit_name, digest_of
from redoubt.sealed.dataset import commit_header
from redoubt.sealed.header import NIL, FilePurpose, Header
from redoubt.sealed.slots import KeySlot, Preamble

VECTORS = Path(__file__).with_name("sealed-v1.json")
BODY_SIZES = (0, 1, 16383, 16384, 16385)

_DATA_KEY = bytes(range(32))
_PRIMARY_KEYS = {1: bytes(range(32, 64)), 2: bytes(range(64, 96))}
_KEY = KeyName.parse("key:main/default.dev")
_DATASET = UUID("5d9b8a0e-0000-4000-8000-000000000001")
_DATA_KEY_ID = UUID("5d9b8a0e-0000-4000-8000-000000000002")
_COMMIT = UUID("5d9b8a0e-0000-4000-8000-000000000003")
_FILE = UUID("5d9b8a0e-0000-4000-8000-000000000004")
_WRITE = UUID("5d9b8a0e-0000-4000-8000-000000000005")


def plaintext(size: int) -> bytes:
    """Return bytes that differ from chunk to chunk: byte *i* is ``(i * 7 + i // 256) mod 256``."""
    return bytes((i * 7 + i // 256) & 255 for i in range(size))


def build() -> dict[str, Any]:
    """Return the document."""
    return {
        "format": 1,
        "data_key": _DATA_KEY.hex(),
        "primary_keys": {str(version): key.hex() for version, key in _PRIMARY_KEYS.items()},
        "field_lists": [
            {"fields": [f.hex() for f in fields], "encoded": encode_fields(*fields).hex()} for fields in _LISTS
        ],
        "headers": [_header(header) for header in _HEADERS],
        "bodies": [_body(size) for size in BODY_SIZES],
        "wrapped_keys": [_wrapped_json(_wrapped(_DATASET, version), version) for version in _PRIMARY_KEYS],
        "subkeys": [_subkey(label, fields) for label, fields in _SUBKEYS],
        "standalone": _standalone(),
        "dataset": _dataset(),
    }


def render() -> str:
    """Return the content of the file."""
    return json.dumps(build(), indent=1) + "\n"


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        if VECTORS.read_text() != render():
            print(f"{VECTORS} is not what its generator writes", file=sys.stderr)
            return 1
    else:
        VECTORS.write_text(render())
    return 0


_PART_NAME = f"data/{_COMMIT}/part-00000-köln.csv.sealed"
_PART_HEADER = Header(FilePurpose.PART, _DATA_KEY_ID, _DATASET, _COMMIT, _PART_NAME, "text/csv")
_FILE_HEADER = Header(FilePurpose.STANDALONE, _DATA_KEY_ID, _FILE, NIL, "", "application/octet-stream")
_HEADERS = (_PART_HEADER, commit_header(_DATA_KEY_ID, _DATASET, _COMMIT, number=1), _FILE_HEADER)
_LISTS: tuple[tuple[bytes, ...], ...] = ((), (b"",), (b"a", b"", b"bc"), (bytes(300),))
_SUBKEYS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("example", ()),
    ("example", (b"a", b"bc")),
    ("example2", (b"ab", b"c")),
)


def _salt(number: int) -> bytes:
    return hashlib.sha512(b"redoubt test vector salt %d" % number).digest()[:24]


def _header(header: Header) -> dict[str, Any]:
    return {
        "purpose": header.purpose.value,
        "data_key_id": str(header.data_key_id),
        "dataset_id": str(header.dataset_id),
        "commit_id": str(header.commit_id),
        "part_name": header.part_name,
        "media_type": header.media_type,
        "compression": header.compression.value,
        "encoded": header.encode().hex(),
    }


def _body(size: int) -> dict[str, Any]:
    context = _PART_HEADER.encode()
    salt = _salt(size)
    key, base_nonce, commitment = derive(data_key=_DATA_KEY, salt=salt, context=context)
    body = encrypt_with_salt(plaintext(size), data_key=_DATA_KEY, context=context, salt=salt)
    return {
        "plaintext_size": size,
        "plaintext_sha256": hashlib.sha256(plaintext(size)).hexdigest(),
        "context": context.hex(),
        "salt": salt.hex(),
        "key": key.hex(),
        "base_nonce": base_nonce.hex(),
        "commitment": commitment.hex(),
        "body": body.hex(),
    }


def _wrapped(dataset: UUID, version: int) -> WrappedKey:
    context = WrapContext(dataset, _DATA_KEY_ID)
    nonce = bytes([version] * 12)
    sealed = AESGCM(_PRIMARY_KEYS[version]).encrypt(nonce, _DATA_KEY, context.encode(key=_KEY, version=version))
    return WrappedKey(context, _KEY, version, "aes-256-gcm", nonce + sealed)


def _wrapped_json(wrapped: WrappedKey, version: int) -> dict[str, Any]:
    return {
        "dataset_id": str(wrapped.context.dataset_id),
        "data_key_id": str(wrapped.context.data_key_id),
        "purpose": wrapped.context.purpose.value,
        "key": str(wrapped.key),
        "version": version,
        "associated_data": wrapped.context.encode(key=wrapped.key, version=version).hex(),
        "nonce": wrapped.ciphertext[:12].hex(),
        "record": wrapped.encode().hex(),
    }


def _subkey(label: str, fields: tuple[bytes, ...]) -> dict[str, Any]:
    derived = wrap.subkey(_DATA_KEY, label=label, fields=fields)
    return {"label": label, "fields": [field.hex() for field in fields], "subkey": derived.hex()}


def _standalone() -> dict[str, Any]:
    context = _FILE_HEADER.encode()
    new = Preamble.new(_FILE_HEADER, _wrapped(_FILE, 1))
    rewrapped = bytearray(new.encode())
    offset, slot = new.replacement(_wrapped(_FILE, 2))
    rewrapped[offset : offset + len(slot)] = slot
    text = b"one sealed file\n"
    return {
        "plaintext": text.hex(),
        "slots": [KeySlot(generation, _wrapped(_FILE, generation)).encode().hex() for generation in (1, 2)],
        "file": (
            new.encode() + (body := encrypt_with_salt(text, data_key=_DATA_KEY, context=context, salt=_salt(-1)))
        ).hex(),
        "rewrapped_file": (bytes(rewrapped) + body).hex(),
    }


def _dataset() -> dict[str, Any]:
    text = b"city,people\nk\xc3\xb6ln,1087353\n"
    header = _PART_HEADER.encode()
    part_file = header + encrypt_with_salt(text, data_key=_DATA_KEY, context=header, salt=_salt(-2))
    part = Part(
        name=_PART_NAME,
        kind=PartKind.PART,
        commit=_COMMIT,
        key=_DATA_KEY_ID,
        owner=_DATASET,
        length=len(part_file),
        prefix=part_file[len(header) : len(header) + BODY_PREFIX_BYTES].hex(),
        sha256=hashlib.sha256(part_file).hexdigest(),
        media_type="text/csv",
    )
    commit = Commit(
        dataset=_DATASET,
        id=_COMMIT,
        number=1,
        previous=None,
        operation=Operation.CREATE,
        write=_WRITE,
        created="2026-01-02T03:04:05Z",
        parts=(part,),
        properties={"format": "csv", "header": "true", "ü\n\u2028": '"\\'},
    )
    commit_context = commit_header(_DATA_KEY_ID, _DATASET, _COMMIT, number=1).encode()
    record = commit_context + encrypt_with_salt(
        commit.encode(), data_key=_DATA_KEY, context=commit_context, salt=_salt(-3)
    )
    return {
        "part_plaintext": text.hex(),
        "commit_json": commit.encode().decode(),
        "commit_digest": digest_of(record),
        "files": {
            _PART_NAME: part_file.hex(),
            f"_keys/{_DATA_KEY_ID}/00000001": _wrapped(_DATASET, 1).encode().hex(),
            commit_name(1): record.hex(),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
