"""The simulated attester, as ``redoubt attest --tee simulated`` and the agent use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected, Finding
from redoubt_dev.key import DevelopmentKey
from redoubt_dev.simulated import WARNING, produce


def _now() -> datetime:
    return datetime.now(UTC)


def default_folder() -> Path:
    """Return where the key of this user's simulated machine lies (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local/state") / "redoubt-dev"


class SimulatedAttester:
    """A machine that does not exist."""

    name = "simulated"
    tees = frozenset({Tee.SIMULATED})

    def __init__(self, folder: Path | None = None, *, clock: Callable[[], datetime] = _now) -> None:
        self._folder = folder or default_folder()
        self._clock = clock

    def look(self) -> Finding:
        """Return that it is here: it always is."""
        return Finding(True, WARNING)

    def collect(self, report_data: bytes) -> Collected:
        """Return simulated evidence over *report_data*; raises WorkspaceError or StorageError for the key's file."""
        key = DevelopmentKey.load_or_create(self._folder)
        return Collected(Tee.SIMULATED, produce(key, report_data=report_data, now=self._clock()))
