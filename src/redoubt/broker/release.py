"""What an attestation result allows: the rules of key release, pure.

The rules, in the order in which they are applied:

1. The result is this broker's own, current, and of the kind that it issues (hardware, or simulated in development).
2. It was appraised under the manifest that is in force *now*: a revoked grant ends with the manifest, not the token.
3. Data keys need a program claim that evidence binds: the level ``asserted`` releases none (hardening H3, H4).
4. The dataset is the one that is authenticated in the wrapped key's context, never one that the caller names beside it
   (hardening H5). A grant gives this program, on a TEE that its evidence satisfied, the action on that dataset, or on
   the one that a created dataset belongs to (:mod:`redoubt.broker.created`).
5. The primary key is one that the manifest lists for the dataset.

A role of a trust domain needs the same: a binding that counts, and an entry of the manifest that names program, TEE,
domain and role together.

A resource belongs to the dataset that its repository is named after; any grant on that dataset reaches it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from redoubt.errors import AttesterUnauthenticated, EarError, GrantRefused, KeyError_, RoleRefused, TokenError
from redoubt.evidence.tokens import Issuer
from redoubt.keys.names import KeyName
from redoubt.trust.ear_verify import AttestationResult, verify_ear
from redoubt.trust.policy import Action, Binding, Dataset, Manifest
from redoubt.trust.signing import SignedManifest

#: Who may read may unwrap, and so may who appends to what is there.
UNWRAPS: Final = frozenset({Action.READ, Action.WRITE})
WRITES: Final = frozenset({Action.WRITE})
CREATES: Final = frozenset({Action.CREATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A dataset that the attested program may use, or make: only the functions below make one."""

    result: AttestationResult
    program: str
    name: str
    dataset: Dataset
    #: The dataset is not the manifest's *name* itself, but one that was created in it, or will be.
    created: bool
    #: A grant to write reaches it, too: whoever may only create adds nothing to what is there.
    writes: bool


def authenticate(
    token: bytes, *, issuer: Issuer, policy: SignedManifest, simulated: bool, now: datetime
) -> AttestationResult:
    """Return the result in *token* if the broker that is *issuer* issued it under *policy*, and it still holds.

    Raises:
        AttesterUnauthenticated: it is another's, expired, of another manifest, or of the wrong kind.
    """
    try:
        return verify_ear(
            token,
            issuer=issuer,
            manifest=policy.digest,
            nonce=None,  # it was compared before the token was issued; afterwards the key in `cnf` is what binds
            now=now,
            accept_warning=True,  # the manifest has judged: what it tolerates shows as a warning
            simulated=simulated,
        )
    except (TokenError, EarError) as error:
        raise AttesterUnauthenticated(f"the attestation result is not accepted: {error.what}") from None


def named(policy: SignedManifest, dataset_id: UUID) -> str | None:
    """Return the manifest's name of a dataset."""
    return next((it for it, dataset in policy.manifest.datasets.items() if dataset.id == dataset_id), None)


def release_dataset(
    result: AttestationResult,
    *,
    policy: SignedManifest,
    dataset_id: UUID,
    parent: UUID | None = None,
    actions: AbstractSet[Action],
) -> Release:
    """Return the dataset with this id if *result* allows one of the *actions* on it.

    *parent* is what a created dataset belongs to. One that the manifest names is judged by its name alone.

    Raises:
        GrantRefused: nothing allows it.
    """
    _check_bound(result)
    own = named(policy, dataset_id)
    name = named(policy, parent) if own is None and parent is not None else own
    if name is None:
        raise GrantRefused(f"the manifest has no dataset {dataset_id}")
    return _release(result, policy.manifest, name, actions, created=own is None)


def release_new(result: AttestationResult, *, policy: SignedManifest, key: str | None) -> Release:
    """Return the one dataset in which *result* allows to create new ones, under the primary key that *key* names.

    Raises:
        GrantRefused: there is none, or more than one.
    """
    _check_bound(result)
    manifest = policy.manifest
    found = []
    for name, dataset in sorted(manifest.datasets.items()):
        if key is not None and not any(_means(key, it) for it in dataset.keys):
            continue
        with contextlib.suppress(GrantRefused):
            found.append(_release(result, manifest, name, CREATES, created=True))
    if not found:
        raise GrantRefused("no grant lets this program, on this TEE, create a dataset under that key")
    if len(found) > 1:
        names = ", ".join(it.name for it in found[:8])
        raise GrantRefused(f"the manifest does not say in which of these a new dataset is made: {names}")
    return found[0]


def release_resource(result: AttestationResult, *, policy: SignedManifest, repository: str) -> str:
    """Return the name of the program that may fetch resources of *repository*; raises GrantRefused."""
    return _granted(result, policy.manifest, repository, frozenset(Action))


def release_role(result: AttestationResult, *, policy: SignedManifest, domain: str, role: str) -> str:
    """Return the name of the program that may be certified as *role* in *domain*; raises RoleRefused."""
    if not result.binding.covers(Binding.AGENT):
        raise RoleRefused("the program was only asserted: nothing binds it to the evidence")
    manifest = policy.manifest
    program = next((it for it, found in manifest.programs.items() if found.digest == result.program), None)
    for grant in manifest.roles:
        if (grant.program, grant.domain) == (program, domain) and grant.tee in result.tees and role in grant.roles:
            return grant.program
    raise RoleRefused(f"no entry of `roles` lets this program, on this TEE, be {role[:64]!r} in {domain[:64]!r}")


def check_key(release: Release, key: KeyName) -> None:
    """Return if *key* may wrap data keys of the dataset; raises GrantRefused."""
    if key not in release.dataset.keys:
        raise GrantRefused(f"the manifest does not list {key} for the dataset {release.name!r}")


def choose_key(release: Release, text: str | None) -> KeyName:
    """Return the key of the dataset that *text* names, in full or short; None means its only one.

    Raises:
        GrantRefused: it names none of them, or more than one.
    """
    keys = sorted(release.dataset.keys)
    found = keys if text is None else [it for it in keys if _means(text, it)]
    if len(found) != 1:
        meant = "which key is meant" if text is None else f"a key that {text[:160]!r} means"
        raise GrantRefused(f"the manifest does not say {meant} for the dataset {release.name!r}")
    return found[0]


def _check_bound(result: AttestationResult) -> None:
    if not result.binding.covers(Binding.AGENT):
        raise GrantRefused("no data key is released: nothing in the evidence binds the program")


def _means(text: str, key: KeyName) -> bool:
    try:
        return KeyName.resolve(text, namespace=key.namespace, assurance=key.assurance) == key
    except KeyError_:
        return False


def _release(
    result: AttestationResult, manifest: Manifest, name: str, actions: AbstractSet[Action], *, created: bool
) -> Release:
    program, writes = _granted(result, manifest, name, actions), True
    try:
        _granted(result, manifest, name, WRITES)
    except GrantRefused:
        writes = False
    dataset = manifest.datasets[name]
    return Release(result=result, program=program, name=name, dataset=dataset, created=created, writes=writes)


def _granted(result: AttestationResult, manifest: Manifest, dataset: str, actions: AbstractSet[Action]) -> str:
    program = next((it for it, found in manifest.programs.items() if found.digest == result.program), None)
    for grant in manifest.grants:
        if (
            (grant.program, grant.dataset) == (program, dataset)
            and grant.tee in result.tees
            and grant.actions & actions
        ):
            return grant.program
    wanted = " or ".join(sorted(actions))
    raise GrantRefused(f"no grant lets this program, on this TEE, {wanted} the dataset {dataset[:64]!r}")
