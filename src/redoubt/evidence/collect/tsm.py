"""TDX quotes and SNP reports through configfs-tsm, the kernel's one interface for both.

Source: Linux ``Documentation/ABI/testing/configfs-tsm-report``. An entry is a folder; ``inblob`` takes the report data,
``outblob`` gives the evidence, ``auxblob`` the certificate table, ``provider`` names the TEE. ``generation`` counts
writes: unless it moved by exactly ours, somebody else wrote to our entry and the evidence may be over other data.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from redoubt.errors import AttesterRaced, AttestError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import (
    Collected,
    Finding,
    check_report_data_length,
    failed,
    read_bounded,
    write_whole,
)
from redoubt.limits import MAX_AUXILIARY_BYTES, MAX_QUOTE_BYTES, TSM_ATTEMPTS

_PROVIDERS: Final[Mapping[str, Tee]] = MappingProxyType({"tdx_guest": Tee.TDX, "sev_guest": Tee.SNP})
_SMALL_BYTES: Final = 64


class Entries(Protocol):
    """The folder of entries: the seam at which a test plays the kernel."""

    def make(self, entry: Path) -> None:
        """Make *entry*; the kernel fills it with files."""

    def remove(self, entry: Path) -> None:
        """Remove *entry* with its files."""

    def write(self, file: Path, data: bytes) -> None:
        """Write *data* to *file* in one call."""

    def read(self, file: Path, limit: int) -> bytes:
        """Return the content of *file*, 1 to *limit* bytes."""


class KernelEntries:
    """The real configfs: removing an entry's folder removes its files."""

    def make(self, entry: Path) -> None:
        """Make *entry*."""
        entry.mkdir(mode=0o700)

    def remove(self, entry: Path) -> None:
        """Remove *entry*."""
        entry.rmdir()

    def write(self, file: Path, data: bytes) -> None:
        """Write *data* to *file*."""
        write_whole(file, data)

    def read(self, file: Path, limit: int) -> bytes:
        """Return the content of *file*."""
        return read_bounded(file, limit=limit)


class ConfigfsTsm:
    """``/sys/kernel/config/tsm/report``."""

    name = "configfs-tsm"
    tees = frozenset({Tee.TDX, Tee.SNP})

    def __init__(
        self, root: Path = Path("/"), *, entries: Entries | None = None, privilege_level: int | None = None
    ) -> None:
        self._folder = root / "sys/kernel/config/tsm/report"
        self._entries = entries or KernelEntries()
        self._privilege_level = privilege_level

    def look(self) -> Finding:
        """Return whether the kernel offers the interface, with a TEE behind it that Redoubt knows."""
        if not self._folder.is_dir():
            return Finding(False, f"{self._folder} does not exist")
        entry = self._new_entry()
        try:
            self._make(entry)
            try:
                provider = self._provider(entry)
            finally:
                self._remove(entry)
        except AttestError as error:
            return Finding(False, error.what)
        return Finding(provider in _PROVIDERS, f"{self._folder} has the provider {provider}")

    def collect(self, report_data: bytes) -> Collected:
        """Return evidence over *report_data*.

        Raises:
            AttesterRaced: other writers used our entry in every attempt.
            AttestError: the kernel refuses, or its provider is unknown.
        """
        check_report_data_length(report_data)
        for _ in range(TSM_ATTEMPTS):
            entry = self._new_entry()
            self._make(entry)
            try:
                collected = self._attempt(entry, report_data)
            finally:
                self._remove(entry)
            if collected is not None:
                return collected
        raise AttesterRaced(f"{self._folder}: other writers used the entry in {TSM_ATTEMPTS} attempts")

    def _attempt(self, entry: Path, report_data: bytes) -> Collected | None:
        """Return the evidence, or None if *entry* was written to by somebody else meanwhile."""
        provider = self._provider(entry)
        if provider not in _PROVIDERS:
            raise AttestError(f"{entry}: the provider {provider} is of no TEE that Redoubt knows")
        generation = self._generation(entry)
        self._entries.write(entry / "inblob", report_data)
        writes = 1
        if self._privilege_level is not None:
            self._entries.write(entry / "privlevel", str(self._privilege_level).encode())
            writes += 1
        evidence = self._entries.read(entry / "outblob", MAX_QUOTE_BYTES)
        tee = _PROVIDERS[provider]
        auxiliary = self._auxiliary(entry) if tee is Tee.SNP else None
        if self._generation(entry) != generation + writes:
            return None
        return Collected(tee, evidence, auxiliary)

    def _auxiliary(self, entry: Path) -> bytes | None:
        # A host without certificates leaves the file empty or absent: the verifier then brings its own.
        try:
            return self._entries.read(entry / "auxblob", MAX_AUXILIARY_BYTES)
        except AttestError:
            return None

    def _new_entry(self) -> Path:
        return self._folder / f"redoubt-{secrets.token_hex(8)}"

    def _make(self, entry: Path) -> None:
        try:
            self._entries.make(entry)
        except OSError as error:
            raise failed(entry, error) from error

    def _remove(self, entry: Path) -> None:
        try:
            self._entries.remove(entry)
        except OSError as error:
            raise failed(entry, error) from error

    def _provider(self, entry: Path) -> str:
        return self._entries.read(entry / "provider", _SMALL_BYTES).decode("ascii", "backslashreplace").strip()

    def _generation(self, entry: Path) -> int:
        text = self._entries.read(entry / "generation", _SMALL_BYTES).strip()
        if not text.isdigit():
            raise AttestError(f"{entry}/generation is not a number")
        return int(text)
