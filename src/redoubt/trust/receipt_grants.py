"""Whether the owners' manifests granted what a receipt says was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol
from uuid import UUID

from redoubt.errors import ReceiptGrant
from redoubt.trust.policy import Action
from redoubt.trust.receipt_values import Commit, Release
from redoubt.trust.signing import SignedManifest


class Holder(Protocol):
    """An attested program, as far as a grant names it."""

    @property
    def program(self) -> str:
        """Its digest."""

    @property
    def manifest(self) -> str:
        """The digest of the manifest that was applied to it."""

    @property
    def tees(self) -> tuple[str, ...]:
        """The manifest's names of the TEEs that it ran on."""


def check_granted(
    releases: Iterable[Release],
    commits: Iterable[Commit],
    by_ear: Mapping[UUID, Holder],
    known: Mapping[str, SignedManifest],
) -> None:
    """Check what was given by these attestations against the manifests that were applied; raises ReceiptGrant."""
    for release in releases:
        # Whoever may write may unwrap: an append reads what is there.
        allowed = {Action.READ, Action.WRITE} if release.action is Action.READ else {Action.WRITE}
        for ear in release.ears:
            _check(release, by_ear[ear], allowed, known)
    for commit in commits:
        _check(commit, by_ear[commit.ear], {Action.WRITE}, known)


def _check(given: Release | Commit, holder: Holder, actions: set[Action], known: Mapping[str, SignedManifest]) -> None:
    # What a program created belongs to a dataset of the manifest, unless the manifest names it by now.
    manifest = known[holder.manifest].manifest
    programs = {name for name, it in manifest.programs.items() if it.digest == holder.program}
    own = {name for name, it in manifest.datasets.items() if it.id == given.dataset}
    datasets = own or {name for name, it in manifest.datasets.items() if it.id == given.parent}
    allowed = actions if own or Action.READ in actions else actions | {Action.CREATE}
    if not any(
        it.program in programs and it.dataset in datasets and it.tee in holder.tees and it.actions & allowed
        for it in manifest.grants
    ):
        wanted = " or ".join(sorted(allowed))
        raise ReceiptGrant(f"manifest version {manifest.version} does not let this program {wanted} {given.dataset}")
