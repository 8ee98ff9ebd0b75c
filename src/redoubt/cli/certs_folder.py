"""The folder of ``redoubt certs`` on disk: it appears whole or not at all, and no file of it is ever open to others."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redoubt.errors import AlreadyExists, CertificatesIncomplete, NotFound
from redoubt.keys.private import (
    DIRECTORY_MODE,
    create_private_file,
    read_private_file,
    replace_private_file,
    sync_directory,
)


def refuse_existing(folder: Path) -> None:
    """Raise AlreadyExists if *folder* is there, a dangling link included."""
    if os.path.lexists(folder):
        raise AlreadyExists(
            f"{folder} exists",
            hint=f"Name another folder, or renew what is in it: `redoubt certs rotate {folder}`.",
        )


def create_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make *folder* with these *files*, on disk when this returns.

    Raises:
        AlreadyExists: *folder* is there.
        NotFound: the folder that it would stand in is not.
    """
    refuse_existing(folder)
    try:
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except FileNotFoundError:
        raise NotFound(f"{folder.parent} does not exist") from None
    try:
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            create_private_file(path, content)
        for inner in (*(it for it in staging.iterdir() if it.is_dir()), staging):
            sync_directory(inner)
        try:
            staging.rename(folder)
        except OSError:  # somebody made it since; an empty folder alone would be replaced
            refuse_existing(folder)
            raise
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_directory(folder.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other rotations of *folder* out; raises NotFound or CertificatesIncomplete if it is none of ours."""
    try:
        descriptor = os.open(folder / "ca", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        if folder.is_dir():
            raise CertificatesIncomplete(f"{folder} holds no CA") from None
        raise NotFound(f"{folder} does not exist", hint="Make it: `redoubt certs generate`.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(folder: Path, name: str, *, limit: int) -> bytes:
    """Return the file *name* of *folder*; raises NotFound, or CertificatesIncomplete if others can read it."""
    return read_private_file(folder / name, limit_bytes=limit, what="the file", refusal=CertificatesIncomplete)


def replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put *files* in the place of those in *folder*, one after the other in this order."""
    for name, content in files.items():
        replace_private_file(folder / name, content)
