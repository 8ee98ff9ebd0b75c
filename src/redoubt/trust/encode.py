"""A manifest as a tree of plain values: the same shape as its TOML, sets sorted, defaults written out.

Optional parts that are absent stay absent, since a manifest's reader knows no empty sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from redoubt.evidence.claims import JSON
from redoubt.trust.policy import Dataset, Grant, Manifest, Program, RoleGrant, TeeProfile, Value
from redoubt.trust.public_key import public_key_text

WRAPPER: Final = "redoubt_manifest"


def to_tree(manifest: Manifest) -> dict[str, JSON]:
    """Return everything in *manifest* but the number of the format."""
    return _present(
        {
            "version": manifest.version,
            "previous": manifest.previous,
            "least_binding": manifest.least_binding.value,
            "owners": _keys(manifest.owners),
            "recipients": _keys(manifest.recipients),
            "brokers": {name: {"id": it} for name, it in manifest.brokers.items()},
            "datasets": {name: _dataset(it) for name, it in manifest.datasets.items()},
            "programs": {name: _program(it) for name, it in manifest.programs.items()},
            "tees": {name: _tee(it) for name, it in manifest.tees.items()},
            "grants": [_grant(it) for it in manifest.grants],
            "roles": [_role(it) for it in manifest.roles],
        }
    )


def _keys(keys: Mapping[str, bytes]) -> dict[str, JSON]:
    return {name: {"key": public_key_text(raw)} for name, raw in keys.items()}


def _dataset(dataset: Dataset) -> JSON:
    return _present(
        {
            "id": str(dataset.id),
            "owners": sorted(dataset.owners),
            "approvals": dataset.approvals,
            "keys": sorted(map(str, dataset.keys)),
            "recipients": sorted(dataset.recipients),
        }
    )


def _program(program: Program) -> JSON:
    return _present(
        {
            "digest": program.digest,
            "binding": program.least_binding.value,
            "arguments": [list(it) for it in program.arguments],
            "measurements": {tee: sorted(values) for tee, values in program.measurements.items()},
        }
    )


def _tee(profile: TeeProfile) -> JSON:
    return _present(
        {
            "kind": profile.kind.value,
            "binding": profile.binding.value,
            "program_claim": profile.program_claim,
            "reference": {name: list(in_order(values)) for name, values in profile.reference.items()},
            "minimum": dict(profile.minimum),
            "statuses": sorted(profile.statuses),
            "refused_advisories": sorted(profile.refused_advisories),
            "chips": sorted(profile.chips),
            "debug": profile.debug,
        }
    )


def _grant(grant: Grant) -> JSON:
    return {
        "program": grant.program,
        "tee": grant.tee,
        "dataset": grant.dataset,
        "actions": sorted(it.value for it in grant.actions),
    }


def _role(grant: RoleGrant) -> JSON:
    return {"program": grant.program, "tee": grant.tee, "domain": grant.domain, "roles": sorted(grant.roles)}


def in_order(values: Iterable[Value]) -> tuple[Value, ...]:
    """Return reference values in their one order: texts, then numbers, then booleans."""
    return tuple(sorted(values, key=lambda it: (isinstance(it, bool), not isinstance(it, str), str(it).zfill(20))))


def _present(tree: dict[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in tree.items() if value is not None and value not in ({}, [])}
