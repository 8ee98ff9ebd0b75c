"""Quotes of a TPM 2.0, through the tpm2-tools that every distribution keeps up to date.

The attestation key is made at enrolment and stays at a persistent handle; its public half is what the owner enrols.
No secret passes through an argument: keys never leave the TPM, and the nonce is public.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from redoubt.errors import AttestError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Collected, Finding, check_report_data_length, read_bounded
from redoubt.limits import MAX_EVIDENCE_JSON_BYTES, MAX_PCR_INDEX, TPM_COMMAND_SECONDS

#: The first handle of the range that the owner of a TPM may use for keys (TCG registry of reserved handles, 2.3.1).
DEFAULT_HANDLE: Final = 0x81010002
#: A TPM whose largest digest is SHA-384 quotes at most 50 bytes; a SHA-384 without its fill always fits.
_LONGEST_PORTABLE: Final = 48
_DIGEST_BYTES: Final = 32
#: In what tpm2_readpublic says of a key.
_SCHEME: Final = re.compile(r"^scheme:\n +value: (\w+)$", re.MULTILINE)
_SCHEME_HASH: Final = re.compile(r"^scheme-halg:\n +value: (\w+)$", re.MULTILINE)


class Tpm:
    """``/dev/tpmrm0``, or the TPM that TPM2TOOLS_TCTI names."""

    name = "tpm"
    tees = frozenset({Tee.TPM})

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        handle: int = DEFAULT_HANDLE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._device = root / "dev/tpmrm0"
        self._handle = handle
        self._environment = os.environ if environment is None else environment

    def look(self) -> Finding:
        """Return whether a TPM and the tools to use it are here."""
        tcti = self._environment.get("TPM2TOOLS_TCTI")
        if tcti is None and not self._device.exists():
            return Finding(False, f"{self._device} does not exist")
        if tcti is None and not os.access(self._device, os.R_OK | os.W_OK):
            return Finding(False, f"{self._device} exists, but this user may not use it")
        if shutil.which("tpm2_quote", path=self._environment.get("PATH")) is None:
            return Finding(False, "a TPM is here, but the commands of tpm2-tools are not installed")
        return Finding(True, f"{self._device} exists" if tcti is None else f"TPM2TOOLS_TCTI is {tcti}")

    def collect(self, report_data: bytes) -> Collected:
        """Return a quote of all registers of the SHA-256 bank, with *report_data* as its nonce; raises AttestError."""
        check_report_data_length(report_data)
        nonce = report_data
        if not any(report_data[_LONGEST_PORTABLE:]):
            nonce = report_data[:_LONGEST_PORTABLE]
        handle = f"{self._handle:#010x}"
        registers = ",".join(map(str, range(MAX_PCR_INDEX + 1)))
        with tempfile.TemporaryDirectory(prefix="redoubt-tpm-") as name:
            folder = Path(name)
            message, signature, values, key = (folder / it for it in ("message", "signature", "values", "key"))
            described = self._run("tpm2_readpublic", "-c", handle, "-f", "der", "-o", str(key))
            algorithms = _algorithms(described)
            self._run(
                *("tpm2_quote", "-c", handle, "-l", f"sha256:{registers}", "-q", nonce.hex(), *algorithms),
                *("-m", str(message), "-s", str(signature), "-o", str(values), "-F", "values"),
            )
            read = [read_bounded(it, limit=MAX_EVIDENCE_JSON_BYTES) for it in (message, signature, values, key)]
        return Collected(Tee.TPM, encode(*read))

    def _run(self, *command: str) -> str:
        tcti = {} if "TPM2TOOLS_TCTI" in self._environment else {"TPM2TOOLS_TCTI": f"device:{self._device}"}
        return run_tool(command, {**self._environment, **tcti})


def encode(message: bytes, signature: bytes, values: bytes, key: bytes) -> bytes:
    """Return the evidence that :mod:`redoubt.evidence.tpm` reads; *values* are the registers one after another."""
    registers = [values[at : at + _DIGEST_BYTES].hex() for at in range(0, len(values), _DIGEST_BYTES)]
    quote = {
        "message": base64.b64encode(message).decode(),
        "signature": base64.b64encode(signature).decode(),
        "pcrs": registers,
    }
    return json.dumps({"ak_public": base64.b64encode(key).decode(), "tpm_quote": quote}).encode()


def _algorithms(described: str) -> tuple[str, ...]:
    # tpm2_quote assumes RSASSA for every RSA key: a key that is fixed to another scheme or hash must be asked by name.
    scheme, digest = _SCHEME.search(described), _SCHEME_HASH.search(described)
    return (
        *(("--scheme", scheme[1]) if scheme is not None and scheme[1] != "null" else ()),
        *("-g", digest[1] if digest is not None and digest[1] != "null" else "sha256"),
    )


def run_tool(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what a command of tpm2-tools prints; raises AttestError."""
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=TPM_COMMAND_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AttestError(f"{command[0]} did not run: {type(error).__name__}") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise AttestError(
            f"{command[0]} failed: {next((it for it in errors if ' - ' in it), 'no reason given')[:200]}",
            hint="Check that the attestation key was made at this handle, and that this user may use the TPM.",
        )
    return done.stdout
