"""Legacy files and folders become one sealed dataset, by one commit: everything is checked before anything is written.

The sources stay as they are. A file that is refused is named, and nothing is written then. While it is sealed each
file is checked once more, since it can change on a foreign storage in between; a commit comes only after all of that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redoubt.compat.files import LegacyKeys, OpenedFile, open_legacy
from redoubt.compat.names import Layout
from redoubt.crypto.legacy_keys import meta_key
from redoubt.errors import KeyError_, LegacyError, NotFound, UsageError
from redoubt.keys.private import read_regular_file
from redoubt.keys.provider import KeySource
from redoubt.limits import MAX_LEGACY_META_BYTES
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import LocalFile
from redoubt.sealed.transfer import SEALED_SUFFIX, Progress, folder_files, media_type_of
from redoubt.sealed.write import DatasetWrite, WriteMode

META: Final = ".meta"
#: What Hadoop and the predecessor put beside data.
_BESIDE: Final = ("_SUCCESS", META)
_SUFFIXES: Final = (".cbc", ".encrypted")


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import, and its name in the dataset."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Sources:
    """What is imported, and what is left out because it holds no data."""

    files: tuple[Source, ...]
    left_out: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Sources:
        """Return the files that *paths*, files and folders, stand for.

        Raises:
            NotFound: one names nothing.
            UsageError: a folder holds a link, or two files would have one name.
        """
        found: list[Source] = []
        left_out: list[Path] = []
        for path in paths:
            if path.is_dir():
                every = folder_files(path)
            elif path.is_file():
                every = [(path, path.name)]
            else:
                raise NotFound(f"{path} names no file or folder")
            for file, name in every:
                if file.name in _BESIDE or (file.name.startswith(".") and file.name.endswith(".crc")):
                    left_out.append(file)
                else:
                    found.append(Source(file, _plain_name(name)))
        if not found:
            raise NotFound("nothing to import: the folders hold no data")
        if len({it.name for it in found}) != len(found):
            raise UsageError("two files would have one name in the dataset", hint="Import them one by one.")
        return cls(tuple(found), tuple(left_out))


@dataclass(frozen=True, slots=True)
class Imported:
    """One file, as it was found."""

    source: Source
    file: OpenedFile


def check_all(
    sources: Sources, keys: LegacyKeys, *, layout: Layout | None = None, progress: Progress = lambda _: None
) -> tuple[Imported, ...]:
    """Check every file whole, and return what was found; writes nothing.

    Raises:
        LegacyError, KeyError_: a file, which is named, is not authentic, or its key cannot be had.
    """
    found = []
    for source in sources.files:
        with _opened(source, keys, layout) as file:
            found.append(Imported(source, file))
            progress(source.path.stat().st_size)
    return tuple(found)


def seal_all(
    sources: Sources,
    location: str,
    *,
    legacy: LegacyKeys,
    layout: Layout | None = None,
    keys: KeySource,
    key: str | None = None,
    mode: WriteMode = WriteMode.CREATE,
    progress: Progress = lambda _: None,
) -> Dataset:
    """Seal the content of *sources* as one commit of the dataset at *location*; call :func:`check_all` first.

    Raises:
        LegacyError, KeyError_: a file changed since it was checked; the dataset is as before.
        AlreadyExists, CommitConflict: as the mode says.
    """
    write = DatasetWrite.begin(location, keys=keys, mode=mode, key=key)
    parts = []
    for source in sources.files:
        with _opened(source, legacy, layout) as file:
            part = write.parts.part(source.name + SEALED_SUFFIX, media_type=media_type_of(source.name))
            try:
                for block in file.blocks():
                    part.write(block)
                    progress(len(block))
                parts.append(part.finish())
            except BaseException:
                part.abort()
                raise
    return write.commit(parts)


@contextlib.contextmanager
def _opened(source: Source, keys: LegacyKeys, layout: Layout | None) -> Iterator[OpenedFile]:
    with contextlib.closing(LocalFile(source.path)) as file, _naming(source.path):
        yield open_legacy(file, keys, layout=layout, meta=_meta_of(source.path.parent))


def _meta_of(folder: Path) -> Callable[[], str | None]:
    def read() -> str | None:
        path = folder / META
        if not path.is_file():
            return None
        what = f"{path}"
        content = read_regular_file(path, limit_bytes=MAX_LEGACY_META_BYTES, what=what, refusal=LegacyError)
        return meta_key(content, what=what)

    return read


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (LegacyError, KeyError_) as error:
        raise type(error)(f"{path}: {error.what}", hint=error.hint, why=error.why) from error


def _plain_name(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and not name.endswith(f"/{suffix}") and name != suffix:
            return name.removesuffix(suffix)
    return name
