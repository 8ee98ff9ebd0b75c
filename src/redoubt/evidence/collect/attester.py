"""What every interface of a TEE offers: whether it is there, and evidence over 64 bytes of report data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from redoubt.errors import AttestError, UsageError
from redoubt.evidence.claims import Tee
from redoubt.limits import REPORT_DATA_BYTES


@dataclass(frozen=True, slots=True)
class Collected:
    """Evidence as its verifier takes it.

    ``auxiliary`` is what helps to verify it: the certificate table of SNP. It is no part of what was signed.
    """

    tee: Tee
    evidence: bytes
    auxiliary: bytes | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an interface is usable here, and how that was seen."""

    present: bool
    why: str


class Attester(Protocol):
    """One interface to one TEE, or to several."""

    @property
    def name(self) -> str:
        """The interface, as people call it."""

    @property
    def tees(self) -> frozenset[Tee]:
        """The TEEs whose evidence it can give."""

    def look(self) -> Finding:
        """Return whether the interface is here, without asking it for evidence."""

    def collect(self, report_data: bytes) -> Collected:
        """Return evidence over *report_data*, exactly 64 bytes.

        Raises:
            AttestError: the interface refuses, fails or answers nonsense.
        """


def check_report_data_length(report_data: bytes) -> None:
    """Return if *report_data* has 64 bytes; raises UsageError. Padding is the protocol's business, not a device's."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError(f"report data must be {REPORT_DATA_BYTES} bytes, not {len(report_data)}")


def read_bounded(path: Path, *, limit: int) -> bytes:
    """Return the content of *path*, a virtual file; raises AttestError if it fails, is empty or exceeds *limit*."""
    try:
        # Unbuffered: some virtual files make their content anew for every read from their start.
        with path.open("rb", buffering=0) as file:
            content = bytearray()
            while len(content) <= limit and (block := file.read(limit + 1 - len(content))):
                content += block
    except OSError as error:
        raise failed(path, error) from error
    if not 0 < len(content) <= limit:
        raise AttestError(f"{path} returned {len(content)} bytes; 1 to {limit} were expected")
    return bytes(content)


def write_whole(path: Path, data: bytes) -> None:
    """Write *data* to *path*, a virtual file, in one call; raises AttestError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failed(path, error) from error
    if written != len(data):
        raise AttestError(f"{path} took {written} of {len(data)} bytes")


def failed(path: Path, error: OSError) -> AttestError:
    """Return the error for what the operating system said about *path*."""
    hint = "Run it as a user who may use the device." if isinstance(error, PermissionError) else None
    return AttestError(f"{path}: {error.strerror or type(error).__name__}", hint=hint)
