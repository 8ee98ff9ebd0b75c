"""A counter in a TPM 2.0 that can only go up: an NV index of type counter, through tpm2-tools.

Source: TPM 2.0 Library part 1, section 37.2.5 "NV counters". A counter that is removed and made again begins above
every value that any counter of the TPM ever had, so not even the TPM's owner can put it back.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from redoubt.errors import AnchorUnusable, AttestError
from redoubt.evidence.collect.tpm import run_tool

#: The range of NV indices that the owner of a TPM may give away (TCG registry of reserved handles, 2.2).
FIRST_INDEX: Final = 0x01800000
LAST_INDEX: Final = 0x01BFFFFF
_COUNTER_BYTES: Final = 8
_ATTRIBUTES: Final = "nt=counter|ownerread|ownerwrite|authread|authwrite"


class TpmCounter:
    """The counter at one NV index of ``/dev/tpmrm0``, or of the TPM that TPM2TOOLS_TCTI names."""

    def __init__(self, index: int, *, environment: Mapping[str, str] | None = None) -> None:
        self._index = f"{index:#010x}"
        known = os.environ if environment is None else environment
        self._environment = {"TPM2TOOLS_TCTI": "device:/dev/tpmrm0", **known}

    def define(self) -> None:
        """Make the counter, with a first value of its own, unless it exists; raises AnchorUnusable."""
        if int(self._index, 16) in self._defined():
            return
        self._run("tpm2_nvdefine", self._index, "-C", "o", "-s", str(_COUNTER_BYTES), "-a", _ATTRIBUTES)
        self.increment()  # an index that was never written cannot be read

    def read(self) -> int:
        """Return its value; raises AnchorUnusable."""
        if int(self._index, 16) not in self._defined():
            raise AnchorUnusable(
                f"this TPM has no NV index {self._index}",
                hint="Begin it with `redoubt broker anchor`; if it was begun before, this is another TPM.",
            )
        with tempfile.TemporaryDirectory(prefix="redoubt-tpm-") as folder:
            file = Path(folder) / "value"
            self._run("tpm2_nvread", self._index, "-C", "o", "-s", str(_COUNTER_BYTES), "-o", str(file))
            value = file.read_bytes()
        if len(value) != _COUNTER_BYTES:
            raise AnchorUnusable(f"the NV index {self._index} holds no counter")
        return int.from_bytes(value, "big")

    def increment(self) -> None:
        """Add one to its value; raises AnchorUnusable."""
        self._run("tpm2_nvincrement", self._index, "-C", "o")

    def _defined(self) -> frozenset[int]:
        lines = self._run("tpm2_getcap", "handles-nv-index").splitlines()
        return frozenset(int(it.removeprefix("-").strip(), 16) for it in lines if it.strip())

    def _run(self, *command: str) -> str:
        try:
            return run_tool(command, self._environment)
        except AttestError as error:
            raise AnchorUnusable(error.what) from None
