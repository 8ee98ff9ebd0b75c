"""Intel's collateral for the platforms that attest here, fetched from a PCCS and kept on disk.

The cache and its rules are :class:`redoubt.evidence.collateral.CollateralCache`. A platform is named by what its own
certificate says, before anything is proved: so nothing is kept for one that the service does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from redoubt.broker.pccs import Platform
from redoubt.evidence.azure_encoding import parse_azure
from redoubt.evidence.claims import Tee
from redoubt.evidence.collateral import CachePolicy, CollateralCache
from redoubt.evidence.dcap import DcapCollateral
from redoubt.protocol.evidence_body import EvidenceBody

#: A platform → its collateral, as JSON of ``dcap-qvl``; raises OSError or a RedoubtError.
Fetch = Callable[[Platform], bytes]


class IntelCollateral:
    """Collateral by platform. Safe for several threads."""

    def __init__(self, folder: Path, *, fetch: Fetch, policy: CachePolicy | None = None) -> None:
        self._cache = CollateralCache(
            folder, fetch=lambda key: fetch(Platform(*key.split("-"))), parse=_parse, policy=policy or CachePolicy()
        )

    def get(self, body: EvidenceBody, *, now: datetime) -> bytes:
        """Return the collateral for the platform of *body*.

        Raises:
            EvidenceError: its quote names no platform.
            CollateralUnavailable: none may be used.
        """
        quote = parse_azure(body.evidence, tee=body.tee).proof if body.tee is Tee.AZ_TDX_VTPM else body.evidence
        platform = Platform.of(quote)
        return self._cache.get(f"{platform.tee}-{platform.fmspc}-{platform.authority}", now=now).value


def _parse(data: bytes) -> bytes:
    DcapCollateral.parse(data)  # refuses what is none, before it is kept
    return data
