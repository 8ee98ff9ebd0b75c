"""What an owner remembers of a broker: which key it has, and the newest head of its audit log that was seen.

One 0600 file a broker in the workspace, ``.redoubt/brokers/<SHA-256 of the URL>.json``. It is what makes a rolled-back
store visible: the broker itself cannot know, since everything that it knows was rolled back too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redoubt.errors import NotFound, StorageError, WorkspaceError
from redoubt.evidence.strict_json import parse_object
from redoubt.keys.private import DIRECTORY_MODE, read_private_file, replace_private_file
from redoubt.limits import MAX_TOKEN_BYTES
from redoubt.protocol.messages import write_object

FOLDER: Final = "brokers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The last contact with one broker."""

    broker: str
    #: The signed head, as it came.
    head: str


class BrokerMemory:
    """The brokers that a workspace has seen."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / FOLDER

    def recall(self, url: str) -> Remembered | None:
        """Return what is known of the broker at *url*; raises WorkspaceError for a file that is not ours."""
        try:
            return self._read(self.path(url))
        except NotFound:
            return None

    @staticmethod
    def _read(path: Path) -> Remembered:
        what = "what is remembered of the broker"
        text = read_private_file(path, limit_bytes=2 * MAX_TOKEN_BYTES, what=what)
        found = parse_object(text, what=what, limit=2 * MAX_TOKEN_BYTES, refusal=WorkspaceError)
        broker, head = found.get("broker"), found.get("head")
        if set(found) != {"url", "broker", "head"} or not isinstance(broker, str) or not isinstance(head, str):
            raise WorkspaceError(f"{path} is not what `redoubt broker verify` writes")
        return Remembered(broker=broker, head=head)

    def ids(self) -> frozenset[str]:
        """Return the ids of all brokers that were seen; raises WorkspaceError for a file that is not ours."""
        return frozenset(self._read(it).broker for it in sorted(self._folder.glob("*.json")))

    def remember(self, url: str, seen: Remembered) -> None:
        """Keep *seen* in the place of what was known; raises StorageError."""
        try:
            self._folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            text = write_object({"url": url, "broker": seen.broker, "head": seen.head})
            replace_private_file(self.path(url), text)
        except OSError as error:
            raise StorageError(f"{self._folder} cannot be written: {error.strerror or error}") from None

    def path(self, url: str) -> Path:
        """Return the file of the broker at *url*; without it the next contact is a first one."""
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
