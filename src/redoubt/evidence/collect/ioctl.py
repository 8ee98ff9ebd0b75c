"""Calls of device drivers, with the one seam that tests replace."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redoubt.evidence.collect.attester import Finding, failed

#: ``fcntl.ioctl`` with a buffer that the driver changes in place.
Ioctl = Callable[[int, int, bytearray], object]


def real_ioctl(descriptor: int, request: int, argument: bytearray) -> object:
    """Call the driver."""
    return fcntl.ioctl(descriptor, request, argument, True)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open the device *path* for the block; what the operating system refuses within it is an AttestError."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failed(path, error) from error


def look_for_device(path: Path, access: int) -> Finding:
    """Return whether *path* is something else than a folder that this process may open with this *access*."""
    try:
        status = path.stat()
    except OSError as error:
        return Finding(False, f"{path}: {error.strerror}")
    if stat.S_ISDIR(status.st_mode):
        return Finding(False, f"{path} is a folder, not this interface")
    if not os.access(path, access):
        return Finding(False, f"{path} exists, but this user may not use it")
    return Finding(True, f"{path} exists")
