"""The development manifest of a workspace: these programs, on a simulated TEE, may read and write all of its data.

What they write to new places belongs to the dataset ``new-data``, which exists in the manifest alone.

It is an ordinary signed manifest with an owner of its own, ``developer``, whose key lies beside the data keys. So a
program that was changed is refused as in production, for the same reason and with the same explanation; but whoever
has the workspace can allow it again with one command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redoubt.errors import ManifestUnsigned
from redoubt.keys.names import LABEL, Assurance
from redoubt.keys.workspace import Workspace
from redoubt.trust.manifest import parse_manifest
from redoubt.trust.owner_key import create_owner_key, read_owner_key
from redoubt.trust.policy import Action, Binding, Manifest
from redoubt.trust.public_key import public_key_text
from redoubt.trust.signing import Envelope, SignedManifest
from redoubt.trust.store import ManifestStore
from redoubt_dev.simulated import WARNING

OWNER: Final = "developer"
TEE: Final = "laptop"
_KEY_FILE: Final = Path("owners") / f"{OWNER}.pem"
#: In it programs may create datasets.
_NEW: Final = "new-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProgram:
    """A program as the development manifest names it."""

    digest: str
    #: Alternatives, each one pattern an argument.
    arguments: tuple[tuple[str, ...], ...]
    #: What it may be in which trust domain.
    roles: frozenset[tuple[str, str]] = frozenset()
    #: Whether it may use the workspace's data; a program with a role need not.
    data: bool = True


def program_name(words: Sequence[str]) -> str:
    """Return a name for the program that *words* start: of its script or module."""
    candidates = [it for it in words[1:] if not it.startswith("-")] or list(words)
    stem = Path(candidates[0]).stem.lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")[:32]
    return name if LABEL.fullmatch(name) else "program"


def current_manifest(workspace: Workspace) -> SignedManifest | None:
    """Return the manifest in force in *workspace*, None if none was ever set; raises ManifestError."""
    history = ManifestStore(workspace.state_folder).history()
    return history[-1] if history else None


def draft(workspace: Workspace, current: SignedManifest | None, name: str, program: TrustedProgram) -> Manifest:
    """Return what :func:`draft_all` does for one program."""
    return draft_all(workspace, current, {name: program})


def draft_all(workspace: Workspace, current: SignedManifest | None, trusted: Mapping[str, TrustedProgram]) -> Manifest:
    """Return the development manifest that follows *current* and trusts the programs *trusted*, as they are now.

    Other programs stay; arguments and roles that were allowed to a program of one of the names stay allowed. Data that
    was sealed since is added.

    Raises:
        ManifestUnsigned: *current* is not a development manifest, so its owners decide.
        ManifestError, KeyError_: such a manifest is not possible.
    """
    key = _owner_key(workspace)
    _check_ours(current, key)
    programs = _known(current)
    for name, program in trusted.items():
        same = [it for other, it in programs.items() if other == name or it.digest == program.digest]
        allowed = dict.fromkeys([*program.arguments, *(each for it in same for each in it.arguments)])
        roles = program.roles.union(*(it.roles for it in same))
        programs = {other: it for other, it in programs.items() if it.digest != program.digest}
        programs[name] = replace(program, arguments=tuple(allowed), roles=roles)
    text = _text(key, previous=current, programs=programs, datasets=_datasets(workspace, current))
    return parse_manifest(text.encode())


def sign_and_set(workspace: Workspace, manifest: Manifest) -> SignedManifest:
    """Sign *manifest* as the developer and make it the one in force; raises ManifestError or StorageError."""
    envelope = Envelope.of(manifest).signed(_owner_key(workspace))
    return ManifestStore(workspace.state_folder).put(envelope)


def _known(current: SignedManifest | None) -> dict[str, TrustedProgram]:
    if current is None:
        return {}
    taken = [(it.program, (it.domain, role)) for it in current.manifest.roles for role in it.roles]
    return {
        name: TrustedProgram(
            digest=it.digest,
            arguments=it.arguments,
            roles=frozenset(role for program, role in taken if program == name),
            data=any(grant.program == name for grant in current.manifest.grants),
        )
        for name, it in current.manifest.programs.items()
    }


def _owner_key(workspace: Workspace) -> Ed25519PrivateKey:
    path = workspace.state_folder / _KEY_FILE
    return read_owner_key(path) if path.exists() else create_owner_key(path)


def _check_ours(current: SignedManifest | None, key: Ed25519PrivateKey) -> None:
    ours = {OWNER: key.public_key().public_bytes_raw()}
    if current is not None and dict(current.manifest.owners) != ours:
        raise ManifestUnsigned(
            "the manifest in force has other owners than this workspace's developer",
            hint="Change it with `redoubt manifest`, and let its owners sign.",
        )


def _datasets(workspace: Workspace, current: SignedManifest | None) -> dict[str, tuple[UUID, set[str]]]:
    """Return name → (id, keys) of everything that is sealed under development keys of the workspace."""
    found: dict[UUID, set[str]] = {}
    for info in workspace.list_keys():
        if info.name.assurance is Assurance.DEV:
            for context in workspace.provider_for(info.name).references(info.name):
                found.setdefault(context.dataset_id, set()).add(str(info.name))
    named = {f"d-{it}": (it, keys) for it, keys in sorted(found.items())}
    if current is not None:
        # A dataset stays, even if nothing is wrapped for it at the moment: its owner must not lose it unasked.
        for name, dataset in current.manifest.datasets.items():
            if dataset.id not in found:
                named[name] = (dataset.id, set(map(str, dataset.keys)))
    named.setdefault(_NEW, (uuid4(), {str(workspace.config.default_key)}))
    return named


def _text(
    key: Ed25519PrivateKey,
    *,
    previous: SignedManifest | None,
    programs: Mapping[str, TrustedProgram],
    datasets: Mapping[str, tuple[UUID, set[str]]],
) -> str:
    tree: dict[str, Any] = {"format": 1, "version": 1, "least_binding": Binding.AGENT.value}
    if previous is not None:
        tree |= {"version": previous.manifest.version + 1, "previous": previous.digest}
    tree["owners"] = {OWNER: {"key": public_key_text(key.public_key().public_bytes_raw())}}
    tree["datasets"] = {
        name: {"id": str(dataset_id), "owners": [OWNER], "keys": sorted(keys)}
        for name, (dataset_id, keys) in datasets.items()
    }
    tree["programs"] = {
        name: {"digest": it.digest, "arguments": [list(each) for each in it.arguments]} for name, it in programs.items()
    }
    reference = {"simulated.warning": [WARNING]}
    tree["tees"] = {TEE: {"kind": "simulated", "binding": Binding.AGENT.value, "reference": reference}}
    actions, all_actions = [Action.READ.value, Action.WRITE.value], [it.value for it in Action]
    tree["grants"] = [
        {"program": program, "tee": TEE, "dataset": dataset, "actions": all_actions if dataset == _NEW else actions}
        for program, it in programs.items()
        if it.data
        for dataset in datasets
    ]
    roles = [
        {"program": name, "tee": TEE, "domain": domain, "roles": sorted(role for at, role in it.roles if at == domain)}
        for name, it in programs.items()
        for domain in sorted({at for at, _ in it.roles})
    ]
    return tomlkit.dumps({**tree, **({"roles": roles} if roles else {})})
