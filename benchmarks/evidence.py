"""Verifying SGX and TDX quotes with their collateral, against ``dcap_qvl.verify`` alone on the same public vectors."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Case, Result, interleave
from redoubt.evidence.dcap_proof import REMEMBERED
from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import Request, verify_request

SHARED = Path(os.environ.get("REDOUBT_SHARED") or Path(__file__).parents[2] / "shared")
#: Runs of every quote in one timed run, and rounds for one that was asked for: a run lasts a tenth of a second, so that
#: a machine's other work falls on all cases alike.
REPEATS, ROUNDS = 10, 5


@dataclass(frozen=True, slots=True)
class Quote:
    """One accepted vector, as both verifiers want it."""

    request: Request
    collateral: Any
    seconds: int


def run(*, rounds: int) -> list[Result]:
    """Return the results for each TEE, or none (and say why) where the public vectors are not there."""
    manifest = SHARED / "vectors" / "manifest.json"
    if not manifest.exists():
        print(f"evidence: skipped, no public vectors at {manifest.parent}; set REDOUBT_SHARED")
        return []
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    results = []
    for kind in (Kind.SGX, Kind.TDX):
        quotes = [
            _quote(kind, entry, manifest.parent)
            for entry in entries
            if entry["tee"] == kind and entry["verdict"] == "accept" and "collateral" in entry
        ]
        title = f"verify {len(quotes)} {kind} quotes x {REPEATS}"
        results.append(interleave(title, _cases(quotes), rounds=rounds * ROUNDS))
    return results


def _quote(kind: Kind, entry: dict[str, Any], folder: Path) -> Quote:
    from dcap_qvl import QuoteCollateralV3

    collateral = (folder / entry["collateral"]).read_bytes()
    request = Request(
        kind=kind,
        evidence=(folder / entry["file"]).read_bytes(),
        now=datetime.fromtimestamp(entry["verify_at"], UTC),
        collateral=collateral,
    )
    return Quote(request, QuoteCollateralV3.from_json(collateral.decode()), entry["verify_at"])


def _cases(quotes: Sequence[Quote]) -> list[Case]:
    from dcap_qvl import QuotePolicy, QuoteVerifier, verify

    verifier = QuoteVerifier(None)

    def bare() -> None:
        for _ in range(REPEATS):
            for each in quotes:
                verify(each.request.evidence, each.collateral, each.seconds)

    def detailed() -> None:
        for _ in range(REPEATS):
            for each in quotes:
                policy = QuotePolicy.claims_only(each.seconds)
                verifier.verify_with_policy(each.request.evidence, each.collateral, each.seconds, policy).to_json()

    def again() -> None:
        for _ in range(REPEATS):
            for each in quotes:
                verify_request(each.request)

    def first() -> None:
        for _ in range(REPEATS):
            REMEMBERED.clear()
            for each in quotes:
                verify_request(each.request)

    return [
        Case("dcap_qvl.verify, collateral parsed before", bare),
        Case("dcap_qvl alone, with the details that claims need", detailed),
        Case("redoubt, an enclave quoted again", again),
        Case("redoubt, the first quote of every enclave", first),
    ]
