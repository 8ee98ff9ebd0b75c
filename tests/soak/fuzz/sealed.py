"""Targets: what lies on storage that others can write."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from types import MappingProxyType

from tests.sealed import test_commit, test_parquet_tail, test_slots
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.errors import CommitInvalid, HeaderInvalid, IdentityMismatch, KeyError_, SealedError, WorkspaceError
from redoubt.keys.config import new_config, parse_config
from redoubt.keys.names import KeyName
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.limits import SLOT_BYTES, SLOT_OFFSETS
from redoubt.sealed.commit import Commit
from redoubt.sealed.header import Header
from redoubt.sealed.parquet_keys import encode_material, parse_footer_material
from redoubt.sealed.parquet_tail import Algorithm, add_key_metadata, parse_crypto_metadata, read_crypto_metadata
from redoubt.sealed.slots import KeySlot, Preamble, repairable
from redoubt.sealed.transfer import StreamSink, seal_stream, unseal_stream

_SEALED = (SealedError,)
_PROVIDERS = MappingProxyType({"local": frozenset({"path"})})


def _quiet(_count: int) -> None:
    """Nobody watches the progress."""


class _Files:
    """A workspace, and a sealed file of several chunks in it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="redoubt-fuzz-")
        self.keys = Workspace.init(Path(self._folder.name))
        sealed = io.BytesIO()
        seal_stream(io.BytesIO(bytes(40_000)), StreamSink(sealed), keys=self.keys, progress=_quiet)
        self.sealed = sealed.getvalue()

    def unseal(self, data: bytes) -> object:
        out = io.BytesIO()
        unseal_stream(io.BytesIO(data), StreamSink(out), keys=self.keys, progress=_quiet)
        # Of the whole file only the slots, which the key's own authentication covers, can differ unnoticed.
        assert out.getvalue() == bytes(40_000)
        return None


def _header(data: bytes) -> object:
    header, length = Header.parse(data)
    assert header.encode() == data[:length]
    return header


def _wrapped(data: bytes) -> object:
    assert WrappedKey.decode(data).encode() == data
    return None


def _commit(data: bytes) -> object:
    assert Commit.decode(data).encode() == data
    return None


def _preamble(data: bytes) -> object:
    assert Preamble.parse(data).encode() == data
    return None


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    files = _Files()
    preambles = (test_slots.NEW, test_slots.rewrap(test_slots.NEW, 2), files.sealed[: len(test_slots.NEW)])
    slots = tuple(raw[at : at + SLOT_BYTES] for raw in preambles for at in SLOT_OFFSETS[:1])
    commits = (
        test_commit.commit(test_commit.part(), properties={"a": "b"}).encode(),
        test_commit.commit(test_commit.part("x"), test_commit.part("y/é")).encode(),
    )
    key = test_slots.wrapped()
    parquet = tuple(test_parquet_tail.encrypted_file(it) for it in Algorithm)
    footers = tuple(test_parquet_tail.footer_of(it) for it in parquet)
    material = _material()
    return (
        Target("header", _header, (test_slots.HEADER.encode(), files.sealed[:200]), _SEALED),
        Target("preamble", _preamble, preambles, _SEALED),
        Target("preamble-repairable", repairable, preambles, _SEALED),
        Target("slot", lambda data: KeySlot.parse(data, index=0), slots, _SEALED),
        Target("wrapped-key", _wrapped, (key.encode(),), (HeaderInvalid,)),
        Target("commit", _commit, commits, (CommitInvalid,), Shape.JSON),
        Target("sealed-file", files.unseal, (files.sealed,), (SealedError, KeyError_), slow=True),
        Target(
            "key-name", lambda data: KeyName.parse(data.decode(errors="replace")), (b"key:main/a-b.dev",), (KeyError_,)
        ),
        Target(
            "workspace-config",
            lambda data: parse_config(data, providers=_PROVIDERS),
            (new_config(KeyName.parse("key:main/default.dev")),),
            (WorkspaceError,),
            Shape.TOML,
        ),
        Target(
            "parquet-metadata", lambda data: parse_crypto_metadata(data, where="x"), (test_parquet_tail.VALID,), _SEALED
        ),
        Target("parquet-tail", _tail, tuple(map(_with_metadata, footers)), _SEALED),
        Target("parquet-footer", lambda data: add_key_metadata(data, b"{}"), footers, _SEALED),
        Target(
            "parquet-material",
            lambda data: parse_footer_material(data, dataset_id=test_parquet_tail.DATASET),
            (material,),
            (KeyError_, IdentityMismatch),
            Shape.JSON,
        ),
    )


def _key_name(data: bytes) -> object:
    return KeyName.parse(data.decode(errors="replace"))


def _metadata(data: bytes) -> object:
    return parse_crypto_metadata(data, where="x")


def _tail(data: bytes) -> object:
    return read_crypto_metadata(test_parquet_tail.Memory(data), where="x")


def _with_metadata(footer: bytes) -> bytes:
    return b"PARE" + add_key_metadata(footer, test_parquet_tail.MATERIAL)


def _material() -> bytes:
    context = WrapContext(test_parquet_tail.DATASET, test_parquet_tail.COMMIT, Purpose.DATA)
    return encode_material(bytes(32), data_key=DataKey(context=context, secret=bytes(32)))
