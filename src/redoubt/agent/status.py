"""What a running program was attested as, in a file for people: who looks at a cluster reads one for each role.

Nothing in it is secret, and nobody may decide anything by it: whoever runs the machine can write such a file. The
broker's audit log is what counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from redoubt.agent.attest import Attestation, AttestedAgent
from redoubt.evidence.claims import JSON
from redoubt.evidence.claims import digest as sha256_text
from redoubt.keys.private import replace_private_file
from redoubt.pki.spiffe import SpiffeId

_LOOK_SECONDS: Final = 2.0


class StatusFile:
    """Written while its context lasts, again whenever the attestation was renewed, and removed at its end."""

    def __init__(self, path: Path, agent: AttestedAgent, *, member: SpiffeId | None) -> None:
        self._path = path
        self._agent = agent
        self._member = member
        self._since = datetime.now(UTC)
        self._closed = threading.Event()
        self._written: str | None = None
        self._thread = threading.Thread(target=self._keep, name="redoubt-status", daemon=True)

    def __enter__(self) -> Self:
        self._write(self._agent.current())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(_LOOK_SECONDS)
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            held = self._agent.held
            if held is not None and held.token != self._written:
                with contextlib.suppress(OSError):
                    self._write(held)

    def _write(self, attested: Attestation) -> None:
        result = attested.result
        facts: dict[str, JSON] = {
            "pid": os.getpid(),
            "folder": str(Path.cwd()),
            "name": None if self._member is None else str(self._member),
            "ear": sha256_text(attested.token.encode()),
            "issuer": result.issuer,
            "verdict": result.status,
            "tee": result.tee.value,
            "binding": result.binding.value,
            "evidence": result.evidence,
            "program": result.program,
            "manifest": result.manifest,
            "since": self._since.isoformat(timespec="seconds"),
            "expires": result.valid_until.isoformat(timespec="seconds"),
        }
        replace_private_file(self._path, json.dumps(facts, indent=1).encode())
        self._written = attested.token
