"""The manifests of a workspace: ``.redoubt/manifest/<version>.json``, one signed envelope each, never replaced.

The history is verified from its first manifest whenever it is read: a file that was changed, swapped or taken out of
the middle is an error. Whoever can write the folder can still take away the newest ones; that is noticed by whoever
remembers a later digest: the broker, and the owners' own copies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from redoubt.errors import AlreadyExists, ManifestChain, ManifestMissing, ManifestRollback
from redoubt.limits import MAX_ENVELOPE_BYTES
from redoubt.sealed.local import LocalStorage
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest

FOLDER: Final = "manifest"
_NAME: Final = re.compile(r"([0-9]{8})\.json")


class ManifestStore:
    """The manifests below a workspace's state folder."""

    def __init__(self, state_folder: Path) -> None:
        self._storage = LocalStorage(state_folder / FOLDER)

    def history(self) -> tuple[SignedManifest, ...]:
        """Return every manifest from the first on, verified; none if nothing was ever set.

        Raises:
            ManifestError: one is missing, was changed, or does not follow the one before.
            StorageError: the folder cannot be read.
        """
        found: list[SignedManifest] = []
        for text in self.envelopes():
            found.append(verify_manifest(Envelope.parse(text), previous=found[-1] if found else None))
        return tuple(found)

    def envelopes(self) -> tuple[bytes, ...]:
        """Return the signed envelopes as they were stored, oldest first; nothing in them is verified here.

        Raises:
            ManifestChain: one is missing.
            StorageError: the folder cannot be read.
        """
        versions = sorted(int(match[1]) for it in self._storage.list() if (match := _NAME.fullmatch(it.name)))
        for place, version in enumerate(versions, start=1):
            if version != place:
                raise ManifestChain(f"version {place} is missing from {self._storage.location}")
        return tuple(self._storage.read(_file(version), limit=MAX_ENVELOPE_BYTES) for version in versions)

    def current(self) -> SignedManifest:
        """Return the manifest in force; raises as :meth:`history`, and ManifestMissing if none is set."""
        history = self.history()
        if not history:
            raise ManifestMissing(f"{self._storage.location} holds no manifest")
        return history[-1]

    def put(self, envelope: Envelope) -> SignedManifest:
        """Make the manifest in *envelope* the current one, and return it.

        Raises:
            ManifestError: it does not follow the current one, or its owners have not signed it; nothing was changed.
            StorageError: the folder cannot be written.
        """
        history = self.history()
        verified = verify_manifest(envelope, previous=history[-1] if history else None)
        version = verified.manifest.version
        try:
            self._storage.put_if_absent(_file(version), envelope.encode())
        except AlreadyExists:
            raise ManifestRollback(f"another version {version} was set meanwhile") from None
        return verified


def _file(version: int) -> str:
    return f"{version:08d}.json"
