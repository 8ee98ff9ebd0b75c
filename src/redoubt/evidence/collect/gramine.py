"""SGX quotes inside Gramine: write 64 bytes to ``user_report_data``, read ``quote``.

Source: gramine.readthedocs.io, "Attestation and Secret Provisioning", low-level ``/dev/attestation`` interface. The
folder exists only where the manifest says ``sgx.remote_attestation = "dcap"``; outside of SGX the type is ``none``.
"""

from __future__ import annotations

from pathlib import Path

from redoubt.errors import AttestError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import (
    Collected,
    Finding,
    check_report_data_length,
    read_bounded,
    write_whole,
)
from redoubt.limits import MAX_QUOTE_BYTES

_DCAP = b"dcap"
_TYPE_BYTES = 64


class Gramine:
    """Gramine's ``/dev/attestation``."""

    name = "gramine"
    tees = frozenset({Tee.SGX})

    def __init__(self, root: Path = Path("/")) -> None:
        self._folder = root / "dev/attestation"

    def look(self) -> Finding:
        """Return whether this process runs in Gramine with DCAP attestation."""
        kind_file = self._folder / "attestation_type"
        if not kind_file.exists():
            return Finding(False, f"{kind_file} does not exist")
        try:
            kind = read_bounded(kind_file, limit=_TYPE_BYTES).strip()
        except AttestError as error:
            return Finding(False, error.what)
        return Finding(kind == _DCAP, f"{kind_file} says {kind.decode('ascii', 'backslashreplace')}")

    def collect(self, report_data: bytes) -> Collected:
        """Return an SGX quote over *report_data*; raises AttestError."""
        check_report_data_length(report_data)
        write_whole(self._folder / "user_report_data", report_data)
        return Collected(Tee.SGX, read_bounded(self._folder / "quote", limit=MAX_QUOTE_BYTES))
