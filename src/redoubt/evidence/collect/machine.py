"""What this machine has: its attesters in the order in which they are tried, and why one was chosen.

Enclaves come first (inside one, the interfaces of the machine around it are not ours), then the confidential VM's, then
the TPM, which proves the least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redoubt.errors import TeeMissing
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Attester, Collected, Finding
from redoubt.evidence.collect.gramine import Gramine
from redoubt.evidence.collect.occlum import Occlum
from redoubt.evidence.collect.sev_guest import SevGuest
from redoubt.evidence.collect.tpm import Tpm
from redoubt.evidence.collect.tsm import ConfigfsTsm


@dataclass(frozen=True, slots=True)
class Considered:
    """One attester that was looked at."""

    attester: Attester
    finding: Finding


def attesters(root: Path = Path("/")) -> tuple[Attester, ...]:
    """Return every attester that Redoubt knows, in the order of preference."""
    return (Gramine(root), Occlum(root), ConfigfsTsm(root), SevGuest(root), Tpm(root))


def consider(candidates: Sequence[Attester]) -> tuple[Considered, ...]:
    """Return what each of *candidates* finds on this machine."""
    return tuple(Considered(it, it.look()) for it in candidates)


def choose_attester(considered: Sequence[Considered], *, tee: Tee | None) -> Attester:
    """Return the first attester that is present and can give evidence of this *tee*, or of any; raises TeeMissing."""
    for it in considered:
        if it.finding.present and (tee is None or tee in it.attester.tees):
            return it.attester
    raise _missing(considered, tee)


def collect(considered: Sequence[Considered], report_data: bytes, *, tee: Tee | None) -> tuple[Attester, Collected]:
    """Return evidence of the first attester that is present, and of this *tee* if one is named.

    Raises:
        TeeMissing: there is none, or it is of another TEE.
        AttestError: the attester fails. No other one is tried then: a weaker one would hide the failure.
    """
    for it in considered:
        if it.finding.present and (tee is None or tee in it.attester.tees):
            collected = it.attester.collect(report_data)
            if tee is None or collected.tee is tee:
                return it.attester, collected
    raise _missing(considered, tee)


def _missing(considered: Sequence[Considered], tee: Tee | None) -> TeeMissing:
    wanted = "a TEE" if tee is None else f"the TEE {tee}"
    reasons = "; ".join(f"{it.attester.name}: {it.finding.why}" for it in considered)
    return TeeMissing(f"this machine does not have {wanted} ({reasons})")
