"""Secrets that providers log in with: always from files or descriptors, never from arguments, environments or settings.

A credential is one line of visible ASCII, so that it can stand in a header and cannot end one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from redoubt.errors import ProviderSettingsInvalid
from redoubt.keys.private import read_private_file, read_regular_file
from redoubt.limits import MAX_CREDENTIAL_BYTES

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


def read_credential(path: Path, *, what: str) -> str:
    """Return the credential in the private file *path*; *what* names it in errors.

    Raises:
        NotFound: there is no such file.
        ProviderSettingsInvalid: it is open to others, a link, too large, empty, or not one line of visible ASCII.
        StorageError: it cannot be read.
    """
    content = read_private_file(path, limit_bytes=MAX_CREDENTIAL_BYTES, what=what, refusal=ProviderSettingsInvalid)
    return check_credential(content, what=f"{what} {path}")


def read_projected_token(path: Path, *, what: str) -> str:
    """Return the token in *path*, which may be a link and readable by others.

    Kubernetes projects service-account tokens as links to files of mode 0644 in a volume of the pod; whoever else runs
    in the pod has the same identity anyway.

    Raises:
        NotFound, StorageError: it cannot be read.
        ProviderSettingsInvalid: it is not a regular file, too large, or not one line of visible ASCII.
    """
    content = read_regular_file(path, limit_bytes=MAX_CREDENTIAL_BYTES, what=what, refusal=ProviderSettingsInvalid)
    return check_credential(content, what=f"{what} {path}")


def check_credential(content: bytes, *, what: str) -> str:
    """Return *content* without one line end at its end, if it is a credential; raises ProviderSettingsInvalid."""
    text = content.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
    if not _VISIBLE.fullmatch(text):
        raise ProviderSettingsInvalid(f"{what} is not one line of visible ASCII")
    return text


def read_pin(*, file: Path | None, descriptor: int | None) -> str:
    """Return the PIN in the private *file*, or what is left to read of *descriptor*, which can be done once.

    Raises:
        NotFound, StorageError, ProviderSettingsInvalid: it cannot be read, or is not one line of visible ASCII.
    """
    if file is not None:
        return read_credential(file, what="the PIN file")
    if descriptor is None:
        raise ProviderSettingsInvalid("neither 'pin_file' nor 'pin_fd' is set")
    try:
        with os.fdopen(descriptor, "rb") as opened:
            content = opened.read(MAX_CREDENTIAL_BYTES + 1)
    except OSError:
        raise ProviderSettingsInvalid(f"the PIN cannot be read from descriptor {descriptor}") from None
    return check_credential(content, what="the PIN")
