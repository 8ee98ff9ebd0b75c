"""Targets: files and keys of BigDL PPML, which whoever keeps them may have changed."""

from __future__ import annotations

from tests.crypto import legacy_writer as writer
from tests.crypto.legacy_writer import AZURE_KEY, Memory
from tests.soak.fuzz.engine import Target
from tests.soak.fuzz.mutation import Shape

from redoubt.crypto.legacy_bigdl import GenA, GenB, open_native
from redoubt.crypto.legacy_fernet import open_fernet
from redoubt.crypto.legacy_keys import DataKeyText, key_line, meta_key, unwrap_plain_text, unwrap_simple
from redoubt.errors import LegacyError

_PLAIN = b"name,age,job\njack,18,Developer\nalex,20,Researcher\n"
_KEY = DataKeyText(AZURE_KEY)
_REFUSALS = (LegacyError,)


def _gen_a(data: bytes) -> object:
    source = Memory(data)
    # Of an accepted file only what the IV decides, its first block, can differ.
    assert b"".join(GenA.parse(source).open(source, _KEY).blocks())[16:] == _PLAIN[16:]
    return None


def _gen_b(data: bytes) -> object:
    source = Memory(data)
    assert b"".join(GenB.parse(source).open(source, _KEY).blocks())[16:] == _PLAIN[16:]
    return None


def _native(data: bytes) -> object:
    return list(open_native(Memory(data), AZURE_KEY, accept_unauthenticated=True).blocks())


def _fernet(data: bytes) -> object:
    assert open_fernet(Memory(data), AZURE_KEY) == _PLAIN
    return None


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    raw = bytes(range(32))
    wrapped = writer.simple_key()[0]
    gen_a = tuple(writer.gen_a(AZURE_KEY, _PLAIN, bits=it) for it in (128, 256))
    gen_b = tuple(writer.gen_b(AZURE_KEY, _PLAIN, wrapped=it) for it in ("", "d3JhcHBlZA=="))
    return (
        Target("legacy-gen-a", _gen_a, gen_a, _REFUSALS),
        Target("legacy-gen-b", _gen_b, gen_b, _REFUSALS),
        Target("legacy-native", _native, (writer.native(raw, _PLAIN),), _REFUSALS),
        Target("legacy-fernet", _fernet, (writer.fernet(raw, _PLAIN),), _REFUSALS),
        Target(
            "legacy-meta",
            lambda data: meta_key(data, what="it"),
            (b'{"encryptedDataKey":"abc="}\n',),
            _REFUSALS,
            Shape.JSON,
        ),
        Target("legacy-key-file", lambda data: key_line(data, what="it"), (b"1234566543219876\n",), _REFUSALS),
        Target("legacy-simple-key", _simple, (wrapped.encode(),), _REFUSALS),
        Target(
            "legacy-plain-text-key",
            lambda data: unwrap_plain_text(AZURE_KEY, data.decode("latin-1")),
            (writer.wrap_plain_text(raw, writer.PLAIN_KEY).encode(),),
            _REFUSALS,
        ),
    )


def _simple(data: bytes) -> object:
    return unwrap_simple(writer.SIMPLE_PRIMARY, data.decode("latin-1"))
