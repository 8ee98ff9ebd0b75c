"""Where the unix sockets of a job lie: private folders with short paths."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from redoubt.errors import EndpointError

#: Linux takes 107 bytes for a socket's address; Spark 4.3 refuses a longer folder than this one for its own.
_MAX_FOLDER_LENGTH: Final = 60
_RANDOM_LENGTH: Final = 8


def make_socket_folder(prefix: str) -> Path:
    """Make and return a folder of mode 0700: in the user's own tmpfs if there is one, never in a deep TMPDIR.

    Raises:
        EndpointError: no such folder can be made.
    """
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp's are private
        length = len(base) + 1 + len(prefix) + _RANDOM_LENGTH
        if base and length <= _MAX_FOLDER_LENGTH and os.access(base, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    raise EndpointError(
        "there is no folder with a path short enough for unix sockets",
        hint=f"Set TMPDIR or XDG_RUNTIME_DIR to a writable folder of at most {_MAX_FOLDER_LENGTH - 20} characters.",
    )
