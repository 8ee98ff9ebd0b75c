"""Walking below a folder without following symbolic links: whoever can write there must not redirect what is done.

A path is checked and used at two moments; a descriptor is the folder itself. Every segment below the root is opened
from the descriptor of the one above it, with O_NOFOLLOW. The root is the caller's own choice and may be a link.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def folder_below(root: Path, name: str) -> Iterator[int]:
    """Yield a descriptor of the folder *name* ("" is the root) below *root*.

    Raises:
        OSError: it is missing, no folder, or a symbolic link on the way.
    """
    descriptor = os.open(root, _FOLDER)
    try:
        for segment in filter(None, name.split("/")):
            inner = os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def files_below(root: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (name relative to *root*, status) of everything that is no folder, below the folder *name*, recursively.

    Raises:
        OSError: a folder cannot be read; FileNotFoundError if *name* does not exist.
    """
    with folder_below(root, name) as start:
        base = f"{name}/" if name else ""
        for folder, _, files, descriptor in os.fwalk(".", dir_fd=start, onerror=_raise_unless_missing):
            inner = base if folder == "." else f"{base}{folder[2:]}/"
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    yield inner + file, os.stat(file, dir_fd=descriptor, follow_symlinks=False)


def remove_below(root: Path, name: str) -> None:
    """Remove the file *name* below *root*, if it is there, and the folders that this leaves empty.

    Raises:
        OSError: it cannot be removed, or a symbolic link is on the way.
    """
    *folders, last = name.split("/")
    with contextlib.suppress(FileNotFoundError), folder_below(root, "/".join(folders)) as folder:
        os.unlink(last, dir_fd=folder)
    while folders:
        *folders, emptied = folders
        try:
            with folder_below(root, "/".join(folders)) as folder:
                os.rmdir(emptied, dir_fd=folder)
        except OSError:
            return


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
