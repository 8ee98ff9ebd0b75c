"""What the parts of one manifest say of each other: names that must exist, values that must not repeat.

Decides, after every field is sound by itself, that no grant or dataset refers to something undefined, that nobody's
key, id or measurement stands for two things, that simulated evidence is granted nothing under a hardware-class key, and
that no trust domain mixes it with other evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redoubt.errors import ManifestAssurance, ManifestDangling, ManifestDuplicate, ManifestError
from redoubt.evidence.claims import Tee
from redoubt.keys.names import Assurance
from redoubt.trust.fields import Path, Problems
from redoubt.trust.policy import Manifest
from redoubt.trust.tee_rules import IMAGE_CLAIMS


def check_references(manifest: Manifest, problems: Problems) -> None:
    """Note what does not fit together."""
    _check_owners(manifest, problems)
    _check_programs(manifest, problems)
    _check_grants(manifest, problems)
    _check_roles(manifest, problems)


def _check_owners(manifest: Manifest, problems: Problems) -> None:
    # A key that stood for two owners would count twice where two approvals are needed.
    _unique(((("owners", name, "key"), key) for name, key in manifest.owners.items()), problems)
    _unique(((("recipients", name, "key"), key) for name, key in manifest.recipients.items()), problems)
    _unique(((("brokers", name, "id"), it) for name, it in manifest.brokers.items()), problems)
    _unique(((("datasets", name, "id"), it.id) for name, it in manifest.datasets.items()), problems)
    for name, dataset in manifest.datasets.items():
        _known(dataset.owners, manifest.owners, ("datasets", name, "owners"), problems)
        _known(dataset.recipients, manifest.recipients, ("datasets", name, "recipients"), problems)
    owning = {owner for it in manifest.datasets.values() for owner in it.owners}
    for owner in sorted(set(manifest.owners) - owning):
        problems.add(("owners", owner), ManifestDangling, "owns no dataset, so nothing would need this signature")


def _check_programs(manifest: Manifest, problems: Problems) -> None:
    _unique(((("programs", name, "digest"), it.digest) for name, it in manifest.programs.items()), problems)
    images = {name for name, it in manifest.tees.items() if it.program_claim in IMAGE_CLAIMS}
    _unique(
        (
            (("programs", name, "measurements", tee), (tee, value))
            for name, program in manifest.programs.items()
            for tee, values in program.measurements.items()
            for value in values
        ),
        problems,
    )
    for name, program in manifest.programs.items():
        _known(program.measurements, images, ("programs", name, "measurements"), problems)


def _check_grants(manifest: Manifest, problems: Problems) -> None:
    _unique(
        ((("grants", f"[{place}]"), (it.program, it.tee, it.dataset)) for place, it in enumerate(manifest.grants)),
        problems,
    )
    for place, grant in enumerate(manifest.grants):
        path: Path = ("grants", f"[{place}]")
        before = len(problems.found)
        _known([grant.program], manifest.programs, (*path, "program"), problems)
        _known([grant.tee], manifest.tees, (*path, "tee"), problems)
        _known([grant.dataset], manifest.datasets, (*path, "dataset"), problems)
        if len(problems.found) > before:
            continue
        profile = manifest.tees[grant.tee]
        program = manifest.programs[grant.program]
        if profile.program_claim in IMAGE_CLAIMS and grant.tee not in program.measurements:
            reason = f"has no measurements for the TEE {grant.tee!r}, which shows programs by them"
            problems.add(("programs", grant.program, "measurements"), ManifestDangling, reason)
        hardware = any(it.assurance is Assurance.HARDWARE for it in manifest.datasets[grant.dataset].keys)
        if profile.kind is Tee.SIMULATED and hardware:
            reason = f"grants {grant.dataset!r}, whose keys are of class hw, to simulated evidence"
            problems.add((*path, "tee"), ManifestAssurance, reason)


def _check_roles(manifest: Manifest, problems: Problems) -> None:
    _unique(
        ((("roles", f"[{place}]"), (it.program, it.tee, it.domain)) for place, it in enumerate(manifest.roles)),
        problems,
    )
    simulated: dict[str, bool] = {}
    for place, grant in enumerate(manifest.roles):
        path: Path = ("roles", f"[{place}]")
        before = len(problems.found)
        _known([grant.program], manifest.programs, (*path, "program"), problems)
        _known([grant.tee], manifest.tees, (*path, "tee"), problems)
        if len(problems.found) > before:
            continue
        kind = manifest.tees[grant.tee].kind is Tee.SIMULATED
        if simulated.setdefault(grant.domain, kind) is not kind:
            reason = f"the trust domain {grant.domain!r} has roles on simulated and on other evidence"
            problems.add((*path, "tee"), ManifestAssurance, reason)


def _known(names: Iterable[str], known: Mapping[str, object] | set[str], path: Path, problems: Problems) -> None:
    for name in sorted(set(names) - set(known)):
        problems.add(path, ManifestDangling, f"{name!r} is not defined")


def _unique(
    values: Iterable[tuple[Path, object]], problems: Problems, *, kind: type[ManifestError] = ManifestDuplicate
) -> None:
    seen: dict[object, Path] = {}
    for path, value in values:
        if value in seen:
            problems.add(path, kind, f"is the same as {'.'.join(seen[value])}")
        seen.setdefault(value, path)
