"""A seeded machine that spoils sealed data in every way an owner of the storage could, and judges what readers do.

A case is a class of tampering and random positions, both from the case's number. The judgement:

* reading everything raises a :class:`SealedError` or :class:`KeyError_` with its own code; or
* it returns exactly the right bytes, and then either nothing was changed, or what was changed is not read, and
  ``verify`` names it.

Anything else (a wrong byte, another exception) is a failure of the format or of its reader.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from uuid import UUID

from tests.sealed.memory import MemoryFile, MemoryStorage
from tests.sealed.samples import write_dataset

from redoubt.errors import KeyError_, RedoubtError, SealedError
from redoubt.keys.cache import CachingKeySource
from redoubt.keys.provider import KeySource
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import BODY_PREFIX_BYTES, CHUNK_CIPHERTEXT_BYTES, PREAMBLE_BYTES, SLOT_BYTES, SLOT_OFFSETS
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.header import Header
from redoubt.sealed.standalone import open_standalone, write_standalone
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import WriteMode

Files = dict[str, bytes]


class WrongKeys:
    """A key source whose data keys are one bit off."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        raise NotImplementedError

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[DataKey]:
        return [
            DataKey(context=record.context, secret=bytes([key.secret[0] ^ 1]) + key.secret[1:])
            for record, key in zip(wrapped, self._keys.unwrap(wrapped), strict=True)
        ]


# --- spoiling one file ------------------------------------------------------------------------------------------------
def flip(random: Random, raw: bytes) -> bytes:
    position = random.randrange(len(raw))
    return raw[:position] + bytes([raw[position] ^ 1 << random.randrange(8)]) + raw[position + 1 :]


def truncate(random: Random, raw: bytes) -> bytes:
    near_end = random.random() < 0.3
    return raw[: -random.randint(1, min(40, len(raw)))] if near_end else raw[: random.randrange(len(raw))]


def extend(random: Random, raw: bytes) -> bytes:
    extra = random.choice([1, 15, 16, 17, CHUNK_CIPHERTEXT_BYTES, random.randint(1, 20_000)])
    return raw + (bytes(extra) if random.random() < 0.5 else random.randbytes(extra))


def overwrite(random: Random, raw: bytes) -> bytes:
    start = random.randrange(len(raw))
    length = random.randint(1, min(300, len(raw) - start))
    new = bytes(length) if random.random() < 0.3 else random.randbytes(length)
    return raw[:start] + new + raw[start + length :]


def cut_out(random: Random, raw: bytes) -> bytes:
    start = random.randrange(len(raw))
    return raw[:start] + raw[start + random.randint(1, 100) :]


def edit_header(random: Random, raw: bytes) -> bytes:
    """A header in canonical form that says something else."""
    header, length = Header.parse(raw)
    other = UUID(int=random.getrandbits(128))
    edits: list[dict[str, object]] = [
        {"data_key_id": other},
        {"dataset_id": other},
        {"media_type": "text/plain"},
    ]
    if header.part_name:
        edits += [{"commit_id": other}, {"part_name": header.part_name + "x"}]
    rest = raw[PREAMBLE_BYTES // 2 :] if not header.part_name else raw[length:]
    edited = replace(header, **random.choice(edits)).encode()  # type: ignore[arg-type]
    return (edited.ljust(PREAMBLE_BYTES // 2, b"\0") if not header.part_name else edited) + rest


def _chunks(raw: bytes) -> tuple[bytes, list[bytes]]:
    header, length = Header.parse(raw)
    start = (length if header.part_name else PREAMBLE_BYTES) + BODY_PREFIX_BYTES
    return raw[:start], [raw[at : at + CHUNK_CIPHERTEXT_BYTES] for at in range(start, len(raw), CHUNK_CIPHERTEXT_BYTES)]


def swap_chunks(random: Random, raw: bytes) -> bytes:
    head, chunks = _chunks(raw)
    one, other = random.randrange(len(chunks)), random.randrange(len(chunks))
    chunks[one], chunks[other] = chunks[other], chunks[one]
    return head + b"".join(chunks)


def repeat_chunk(random: Random, raw: bytes) -> bytes:
    head, chunks = _chunks(raw)
    chunks.insert(random.randrange(len(chunks) + 1), random.choice(chunks))
    return head + b"".join(chunks)


def remove_chunk(random: Random, raw: bytes) -> bytes:
    head, chunks = _chunks(raw)
    del chunks[random.randrange(len(chunks))]
    return head + b"".join(chunks)


#: What can be done to any file, and to files with a body.
ANY_FILE: Mapping[str, Callable[[Random, bytes], bytes]] = {
    "bit flipped": flip,
    "truncated": truncate,
    "extended": extend,
    "bytes overwritten": overwrite,
    "bytes cut out": cut_out,
}
BODY_FILE: Mapping[str, Callable[[Random, bytes], bytes]] = {
    **ANY_FILE,
    "header edited": edit_header,
    "chunks swapped": swap_chunks,
    "chunk repeated": repeat_chunk,
    "chunk removed": remove_chunk,
}


# --- datasets ---------------------------------------------------------------------------------------------------------
class DatasetMachine:
    """Spoils a dataset of three commits; the third replaced what the first two wrote."""

    def __init__(self, keys: KeySource) -> None:
        self.keys: KeySource = CachingKeySource(keys)
        storage = MemoryStorage()
        big = bytes(i * 29 & 255 for i in range(3 * 16384 + 100))
        write_dataset(storage, self.keys, contents={"a": b"old a", "b": big[::-1]})
        write_dataset(storage, self.keys, mode=WriteMode.APPEND, contents={"c": b"old c"})
        older = dict(storage.files)
        write_dataset(storage, self.keys, mode=WriteMode.OVERWRITE, contents={"a": b"new a", "b": big})
        head = write_dataset(storage, self.keys, mode=WriteMode.APPEND, contents={"c": b"new c", "twin": b"new t"})
        self.older: Files = older
        self.files: Files = dict(storage.files)
        self.parts = [part.name for part in head.parts]
        self.old_parts = sorted(name for name in older if name.startswith("data/"))
        self.digest = head.commit_digest
        other = MemoryStorage()
        write_dataset(other, self.keys, contents={"a": b"other", "b": big})
        self.other: Files = dict(other.files)
        self.expected = self.read(self.files, self.keys)
        self.classes: dict[str, Callable[[Random, Files], None]] = {
            **{f"part: {name}": self._on(self.parts, edit) for name, edit in BODY_FILE.items()},
            **{f"commit: {name}": self._on(self._names("_commits"), edit) for name, edit in BODY_FILE.items()},
            **{f"key file: {name}": self._on(self._names("_keys"), edit) for name, edit in ANY_FILE.items()},
            **{f"orphan: {name}": self._on(self.old_parts, edit) for name, edit in ANY_FILE.items()},
            "parts swapped": self._swap(self.parts),
            "part removed": self._remove(self.parts),
            "part in another's place": self._copy(self.parts, self.parts),
            "part added": self._add,
            "part of an older commit": self._copy(self.old_parts, self.parts),
            "part of another dataset": self._take("data"),
            "commit records swapped": self._swap(self._names("_commits")),
            "commit record removed": self._remove(self._names("_commits")),
            "commit record in another's place": self._copy(self._names("_commits"), self._names("_commits")),
            "commit record of another dataset": self._take("_commits"),
            "commit record renumbered": self._renumber,
            "commit record replaced by a part": self._copy(self.parts, self._names("_commits")),
            "key files swapped": self._swap(self._names("_keys")),
            "key file removed": self._remove(self._names("_keys")),
            "key file of another dataset": self._take("_keys"),
            "newer key file of another key": self._newer_key,
            "dataset rolled back": self._roll_back,
            "dataset exchanged": self._exchange,
        }

    def _names(self, folder: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(folder + "/"))

    @staticmethod
    def _on(names: Sequence[str], edit: Callable[[Random, bytes], bytes]) -> Callable[[Random, Files], None]:
        def spoil(random: Random, files: Files) -> None:
            name = random.choice(names)
            files[name] = edit(random, files[name])

        return spoil

    @staticmethod
    def _swap(names: Sequence[str]) -> Callable[[Random, Files], None]:
        def spoil(random: Random, files: Files) -> None:
            one, other = random.sample(names, 2)
            files[one], files[other] = files[other], files[one]

        return spoil

    @staticmethod
    def _remove(names: Sequence[str]) -> Callable[[Random, Files], None]:
        def spoil(random: Random, files: Files) -> None:
            for name in random.sample(names, random.choice([1, 1, 2])):
                del files[name]

        return spoil

    @staticmethod
    def _copy(sources: Sequence[str], targets: Sequence[str]) -> Callable[[Random, Files], None]:
        def spoil(random: Random, files: Files) -> None:
            files[random.choice(targets)] = files[random.choice(sources)]

        return spoil

    def _add(self, random: Random, files: Files) -> None:
        source = random.choice(self.parts)
        folder = random.choice([source.rpartition("/")[0], "data", "data/deep/er"])
        files[f"{folder}/{random.getrandbits(32):08x}"] = files[source]

    def _take(self, folder: str) -> Callable[[Random, Files], None]:
        def spoil(random: Random, files: Files) -> None:
            theirs = random.choice([name for name in sorted(self.other) if name.startswith(folder + "/")])
            files[random.choice(self._names(folder) if folder != "data" else self.parts)] = self.other[theirs]

        return spoil

    def _renumber(self, random: Random, files: Files) -> None:
        names = self._names("_commits")
        files[f"_commits/{len(names) + 1:08d}"] = files[random.choice(names)]

    def _newer_key(self, random: Random, files: Files) -> None:
        mine, theirs = random.sample(self._names("_keys"), 2)
        content = random.choice([files[theirs], self.other[next(n for n in self.other if n.startswith("_keys/"))]])
        files[mine[:-8] + f"{random.randint(2, 99_999_999):08d}"] = content

    def _roll_back(self, random: Random, files: Files) -> None:
        for name in sorted(files):
            if name not in self.older:
                del files[name]

    def _exchange(self, random: Random, files: Files) -> None:
        files.clear()
        files.update(self.other)

    def read(self, files: Files, keys: KeySource, random: Random | None = None) -> dict[str, bytes]:
        """Read every part: as a stream, or in ranges."""
        pin = None if random is None else self.digest
        dataset = Dataset.open(MemoryStorage(files), keys=keys, at_commit=pin)
        found = {}
        for part in dataset.parts:
            reader = dataset.open_part(part)
            if random is None or random.random() < 0.5:
                found[part.name] = b"".join(map(bytes, reader.stream()))
            else:
                middle = random.randint(0, reader.size)
                found[part.name] = reader.read(0, middle) + reader.read(middle)
        return found

    def case(self, number: int, codes: Counter[str]) -> None:
        """Run one case; raise AssertionError if the judgement is bad."""
        random = Random(f"dataset/{number}")
        kind = random.choice(["wrong key", *self.classes])
        files, keys = dict(self.files), self.keys
        if kind == "wrong key":
            keys = WrongKeys(keys)
        else:
            self.classes[kind](random, files)
        changed = {name for name in files.keys() | self.files.keys() if files.get(name) != self.files.get(name)}
        try:
            found = self.read(files, keys, random)
        except (SealedError, KeyError_) as error:
            codes[f"{kind}: {error.code}"] += 1
            assert changed or keys is not self.keys, f"case {number} ({kind}): an untouched dataset is refused"
            return
        assert found == self.expected, f"case {number} ({kind}): WRONG DATA"
        codes[f"{kind}: right data"] += 1
        gone = {name for name in changed if name not in files}
        if changed - (gone & set(self.old_parts)):
            assert self._flagged(files, changed), f"case {number} ({kind}): verify says nothing of {sorted(changed)}"

    def _flagged(self, files: Files, changed: set[str]) -> bool:
        try:
            report = verify_dataset(MemoryStorage(files), keys=self.keys, at_commit=self.digest, workers=1)
        except RedoubtError:
            return True
        return bool(report.faults) or changed <= set(report.orphans)


# --- standalone files -------------------------------------------------------------------------------------------------
@dataclass
class _Sink:
    content: bytes = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.content += bytes(data)

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class StandaloneMachine:
    """Spoils a standalone file that was re-wrapped once, so that both slots hold keys."""

    def __init__(self, keys: KeySource) -> None:
        self.keys: KeySource = CachingKeySource(keys)
        self.plain = bytes(i * 31 & 255 for i in range(3 * 16384 + 77))
        self.file, self.other = (self._rewrapped(self._write(self.plain)) for _ in range(2))
        self.classes: dict[str, Callable[[Random, bytes], bytes]] = {
            **BODY_FILE,
            "header bit flipped": self._within(0, 200, flip),
            "slot edited": self._within(SLOT_OFFSETS[0], PREAMBLE_BYTES, flip),
            "slot overwritten": self._within(SLOT_OFFSETS[0], PREAMBLE_BYTES, overwrite),
            "slot edited and its checksum made right": self._reseal,
            "slots swapped": lambda _, raw: self._slots(raw, 1, 0),
            "slot in both places": lambda random, raw: self._slots(raw, *[random.randrange(2)] * 2),
            "slots of another file": lambda _, raw: raw[:4096] + self.other[4096:8192] + raw[8192:],
            "preamble of another file": lambda _, raw: self.other[:8192] + raw[8192:],
            "body of another file": lambda _, raw: raw[:8192] + self.other[8192:],
            "chunk of another file": self._foreign_chunk,
        }

    def _write(self, plain: bytes) -> bytes:
        sink = _Sink()
        writer = write_standalone(sink, keys=self.keys, media_type="text/csv")
        writer.write(plain)
        writer.finish()
        return sink.content

    @staticmethod
    def _rewrapped(raw: bytes) -> bytes:
        """Slot 1 holds the same wrap in the next generation: what a re-wrap writes, without its rotation."""
        payload = struct.pack(">Q", 2) + raw[4096 + 8 : 4096 + 2016]
        return raw[:6144] + payload + hashlib.sha256(payload).digest() + raw[8192:]

    @staticmethod
    def _within(start: int, end: int, edit: Callable[[Random, bytes], bytes]) -> Callable[[Random, bytes], bytes]:
        return lambda random, raw: raw[:start] + edit(random, raw[start:end]) + raw[end:]

    @staticmethod
    def _slots(raw: bytes, *order: int) -> bytes:
        slots = [raw[offset : offset + SLOT_BYTES] for offset in SLOT_OFFSETS]
        return raw[:4096] + b"".join(slots[index] for index in order) + raw[8192:]

    @staticmethod
    def _reseal(random: Random, raw: bytes) -> bytes:
        offset = random.choice(SLOT_OFFSETS)
        record_end = 10 + int.from_bytes(raw[offset + 8 : offset + 10], "big")
        payload = bytearray(raw[offset : offset + SLOT_BYTES - 32])
        payload[random.randrange(8, record_end + 5)] ^= 1 << random.randrange(8)
        return raw[:offset] + payload + hashlib.sha256(payload).digest() + raw[offset + SLOT_BYTES :]

    def _foreign_chunk(self, random: Random, raw: bytes) -> bytes:
        head, chunks = _chunks(raw)
        _, theirs = _chunks(self.other)
        position = random.randrange(len(chunks))
        chunks[position] = theirs[position]
        return head + b"".join(chunks)

    def read(self, raw: bytes, keys: KeySource, random: Random) -> bytes:
        """Read everything: as a stream, or in ranges."""
        reader = open_standalone(MemoryFile(raw), keys=keys, where="the file").reader
        if random.random() < 0.5:
            return b"".join(map(bytes, reader.stream()))
        middle = random.randint(0, reader.size)
        return reader.read(0, middle) + reader.read(middle)

    def case(self, number: int, codes: Counter[str]) -> None:
        """Run one case; raise AssertionError if the judgement is bad."""
        random = Random(f"standalone/{number}")
        kind = random.choice(["wrong key", *self.classes])
        raw, keys = self.file, self.keys
        if kind == "wrong key":
            keys = WrongKeys(keys)
        else:
            raw = self.classes[kind](random, raw)
        try:
            found = self.read(raw, keys, random)
        except (SealedError, KeyError_) as error:
            codes[f"{kind}: {error.code}"] += 1
            assert raw != self.file or keys is not self.keys, f"case {number} ({kind}): an untouched file is refused"
            return
        codes[f"{kind}: right data"] += 1
        assert found == self.plain, f"case {number} ({kind}): WRONG DATA"
        # Which slot stands where is not authenticated: both hold the same data key. The slot that does not count is
        # checked for its form and its identity; a wrap in it that would not open is never used: re-wrap overwrites it.
        assert raw == self.file or kind in {"slots swapped", "slot edited and its checksum made right"}, (
            f"case {number} ({kind}): a change was not noticed"
        )
