"""What jars name besides themselves: ``Class-Path`` of their manifest, and jars of their index, which Java loads too.

Sources: JAR File Specification ("Class-Path", "JAR Index"; Java 17 follows the index, 18 and later do not), PKWARE
APPNOTE 4.3 (zip). Decides that each name stays within what is measured: a relative path without ``..``, without signs
that mean something in a URL, below a folder that is measured as a whole.

A jar is read as Java reads it: by the directory that its last end record names, and names in any case. Of several
manifests each counts, whichever Java would take; one that cannot be read is refused.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from redoubt.errors import ProgramFailed
from redoubt.limits import MAX_JAR_DIRECTORY_BYTES, MAX_JAR_MANIFEST_BYTES

_END: Final = b"PK\x05\x06"
_END_RECORD: Final = struct.Struct("<4s4H2IH")
_LONGEST_END: Final = _END_RECORD.size + 0xFFFF
_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_END_RECORD64: Final = struct.Struct("<4sQ2H2I4Q")
_ENTRY_SIGNATURE: Final = b"PK\x01\x02"
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_MANIFEST: Final = b"META-INF/MANIFEST.MF"
_INDEX: Final = b"META-INF/INDEX.LIST"
_NAMES: Final = (_MANIFEST, _INDEX)
_CLASS_PATH: Final = re.compile(rb"^Class-Path[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_CONTINUED: Final = re.compile(rb"(?:\r\n|\r|\n) ")
_LINE: Final = re.compile(rb"\r\n|\r|\n")
#: Nothing that a URL would read in another way: no scheme, no escape, no query, no backslash.
_SAFE: Final = re.compile(r"[A-Za-z0-9_+@,=~$.()/-]+")
#: Left out of what is measured.
_CACHES: Final = "__pycache__"


def check_class_path(jar: Path, measured: Collection[Path]) -> None:
    """Return if whatever *jar* names lies below one of the folders *measured*; what is no archive names nothing.

    Raises:
        ProgramFailed: it names something else, or cannot be read.
    """
    for name in _named_by(jar):
        parts = PurePosixPath(name).parts
        place = jar.parent / name
        if (
            not _SAFE.fullmatch(name)
            or name.startswith("/")
            or not {"..", _CACHES}.isdisjoint(parts)
            or not any(place.is_relative_to(it) for it in measured)
        ):
            raise ProgramFailed(
                f"{jar} names {name[:64]!r} as part of its class path, which nothing measures",
                hint="Give each jar by itself, and take the entry out of the jar's manifest or index.",
            )


def _named_by(jar: Path) -> Iterator[str]:
    try:
        with jar.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _END_RECORD.size:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as archive:
                for name, content in _manifests(archive):
                    lines = _index(content) if name == _INDEX else _class_path(content)
                    yield from (it.decode("utf-8", "replace") for it in lines)
    except (OSError, ValueError, struct.error, zlib.error):
        raise ProgramFailed(f"{jar} cannot be read as a jar") from None


def _class_path(content: bytes) -> Iterator[bytes]:
    unfolded = _LINE.sub(b"\n", _CONTINUED.sub(b"", content))
    for value in _CLASS_PATH.findall(unfolded):
        yield from value.split()


def _index(content: bytes) -> Iterator[bytes]:
    return (line for it in _LINE.split(content) if (line := it.strip()).lower().endswith(b".jar"))


def _manifests(archive: mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name in upper case, content) of every manifest and index in the directory of *archive*."""
    directory = _directory(archive)
    if directory is None:
        return
    begin, end, base = directory
    if end - begin > MAX_JAR_DIRECTORY_BYTES:
        raise ValueError("the directory is too long")
    entries = archive[begin:end]
    folded = entries.upper()  # faster by far than a search that ignores case
    for name in _NAMES:
        found = folded.find(name)
        while found >= 0:
            if found >= _ENTRY.size:
                signature, *fields = _ENTRY.unpack_from(entries, found - _ENTRY.size)
                method, packed, unpacked, length, local = fields[3], fields[7], fields[8], fields[9], fields[15]
                if signature == _ENTRY_SIGNATURE and length == len(name):
                    yield name, _content(archive, base + local, method, packed, unpacked)
            found = folded.find(name, found + 1)


def _directory(archive: mmap.mmap) -> tuple[int, int, int] | None:
    """Return begin and end of the directory and where offsets count from, as ``java.util.zip`` finds them."""
    at, first = archive.rfind(_END), max(0, len(archive) - _LONGEST_END)
    while at >= first:
        if at + _END_RECORD.size <= len(archive):
            *_, entries, size, offset, comment = _END_RECORD.unpack_from(archive, at)
            begin, base = at - size, at - size - offset
            # Something may stand behind the comment; then the directory must show that it is one.
            if at + _END_RECORD.size + comment == len(archive) or (
                base >= 0
                and archive[begin : begin + 4] == _ENTRY_SIGNATURE
                and archive[base : base + 4] == _LOCAL_SIGNATURE
            ):
                return _directory64(archive, at, entries, size, offset) or _checked(begin, at, base)
        at = archive.rfind(_END, 0, at)
    return None


def _directory64(archive: mmap.mmap, end: int, entries: int, size: int, offset: int) -> tuple[int, int, int] | None:
    locator = end - _LOCATOR64.size
    if locator < 0 or archive[locator : locator + 4] != b"PK\x06\x07":
        return None
    _, _, at, _ = _LOCATOR64.unpack_from(archive, locator)
    if at + _END_RECORD64.size > len(archive) or archive[at : at + 4] != b"PK\x06\x06":
        return None
    entries64, size64, offset64 = _END_RECORD64.unpack_from(archive, at)[-3:]
    same = ((entries64, entries, 0xFFFF), (size64, size, 0xFFFFFFFF), (offset64, offset, 0xFFFFFFFF))
    if any(value != short != absent for value, short, absent in same):
        return None
    return _checked(at - size64, at, at - size64 - offset64)


def _checked(begin: int, end: int, base: int) -> tuple[int, int, int]:
    if base < 0:
        raise ValueError("the directory would begin before the archive")
    return begin, end, base


def _content(archive: mmap.mmap, at: int, method: int, packed: int, unpacked: int) -> bytes:
    signature, *fields = _LOCAL.unpack_from(archive, at)
    if signature != _LOCAL_SIGNATURE or max(packed, unpacked) > MAX_JAR_MANIFEST_BYTES or method not in (0, 8):
        raise ValueError("no entry, or too large")
    begins = at + _LOCAL.size + fields[-2] + fields[-1]
    raw = archive[begins : begins + packed]
    if method == 0:
        return raw
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    content = stream.decompress(raw, MAX_JAR_MANIFEST_BYTES)
    if not stream.eof:
        raise ValueError("cut short, or larger than it says")
    return content
