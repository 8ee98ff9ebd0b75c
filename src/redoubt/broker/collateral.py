"""Intel's collateral for the platforms that attest here, fetched from a PCCS and kept on disk.

The cache and its rules are :class:`redoubt.evidence.collateral.CollateralCache`. A platform is named by what its own
certificate says, before anything is proved: so the number of platforms that are fetched for is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from redoubt.errors import CollateralUnavailable
from redoubt.evidence.azure_encoding import parse_azure
from redoubt.evidence.claims import Tee
from redoubt.evidence.collateral import CachePolicy, CollateralCache
from redoubt.evidence.dcap import DcapCollateral
from redoubt.limits import MAX_COLLATERAL_PLATFORMS
from redoubt.protocol.evidence_body import EvidenceBody

#: A quote → the collateral that it needs, as JSON of ``dcap-qvl``; raises OSError or a RedoubtError.
Fetch = Callable[[bytes], bytes]


class IntelCollateral:
    """Collateral by platform. Safe for several threads."""

    def __init__(self, folder: Path, *, fetch: Fetch, policy: CachePolicy | None = None) -> None:
        self._quotes: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._cache = CollateralCache(
            folder, fetch=lambda key: fetch(self._quotes[key]), parse=_parse, policy=policy or CachePolicy()
        )

    def get(self, body: EvidenceBody, *, now: datetime) -> bytes:
        """Return the collateral for the platform of *body*.

        Raises:
            EvidenceError: its quote names no platform.
            CollateralUnavailable: none may be used.
        """
        quote = parse_azure(body.evidence, tee=body.tee).proof if body.tee is Tee.AZ_TDX_VTPM else body.evidence
        key = platform_of(quote)
        with self._lock:
            if key not in self._quotes and len(self._quotes) >= MAX_COLLATERAL_PLATFORMS:
                raise CollateralUnavailable(f"more than {MAX_COLLATERAL_PLATFORMS} platforms were seen")
            self._quotes[key] = quote
        return self._cache.get(key, now=now).value


def platform_of(quote: bytes) -> str:
    """Return the name of the platform that *quote* says it is of: its FMSPC and CA; raises EvidenceError."""
    from dcap_qvl import parse_quote as parse

    from redoubt.evidence.quote import parse_quote

    canonical = parse_quote(quote).canonical
    try:
        parsed = parse(canonical)
        return f"{parsed.fmspc()}-{parsed.ca()}"
    except ValueError as error:
        raise CollateralUnavailable(f"the quote names no platform: {error}") from None


def fetch_from(url: str) -> Fetch:
    """Return a function that fetches collateral from the PCCS at *url* (Intel's own, or a cache of it)."""

    def fetch(quote: bytes) -> bytes:
        import asyncio

        from dcap_qvl import get_collateral

        async def ask() -> str:
            return str((await get_collateral(url, quote)).to_json())

        try:
            return asyncio.run(ask()).encode()
        except (ValueError, RuntimeError) as error:
            raise CollateralUnavailable(f"the PCCS did not answer: {str(error)[:200]}") from None

    return fetch


def _parse(data: bytes) -> bytes:
    DcapCollateral.parse(data)  # refuses what is none, before it is kept
    return data
