"""What was found where: channel by channel, item by item."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.disclosure.markers import Hit, Marker, names


class Channel(StrEnum):
    """Where a run may disclose something."""

    STDOUT = "standard output"
    LOG = "log"
    UI = "user interface"
    EVENT_LOG = "event log"
    COMMAND_LINES = "command lines"
    ENVIRONMENTS = "environments"
    FILES = "files"
    LOOPBACK = "loopback"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Channel → item (a file, a page, a stream) → its hits; items without hits are listed too."""

    channels: dict[Channel, dict[str, frozenset[Hit]]]

    def found(self, channel: Channel) -> set[str]:
        """Return the names of the markers found on *channel*."""
        return {name for hits in self.channels[channel].values() for name in names(hits)}

    def files(self, pattern: re.Pattern[str]) -> dict[str, set[str]]:
        """Return the files whose name matches, with the names of the markers in each."""
        files = self.channels[Channel.FILES]
        return {name: names(hits) for name, hits in files.items() if pattern.search(name)}

    def where(self, marker: Marker) -> set[Channel]:
        """Return the channels on which *marker* was found."""
        return {channel for channel in self.channels if marker.name in self.found(channel)}


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file below *folder*."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def numbered(seen: dict[bytes, str]) -> Iterator[tuple[str, bytes]]:
    """Yield each content under a number and its name."""
    for number, (content, name) in enumerate(seen.items()):
        yield f"{number} {name}", content


def each_once(*sources: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield what the sources yield; of items with one name and length the first."""
    seen: set[tuple[str, int]] = set()
    for source in sources:
        for name, content in source:
            if (name, len(content)) not in seen:
                seen.add((name, len(content)))
                yield name, content
