"""The manifest in force, of a history that several brokers may extend.

The history is verified from its first manifest when it is first read, and from where it was known when it has grown:
each request looks at the newest known one and what follows it, or a long history would be read for each. A newest one
that is gone, or another one, means that the store was put back: nothing is released under it. What came before follows
from the newest, since each manifest names the one before by its digest.
"""

from __future__ import annotations

import threading

from redoubt.broker.ports import ManifestHistory
from redoubt.errors import ManifestMissing, RegisterRollback
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest


class PolicyHistory:
    """The verified manifests of a store. Safe for several threads."""

    def __init__(self, store: ManifestHistory) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._newest: bytes | None = None
        self._verified: list[SignedManifest] = []

    def all(self) -> tuple[SignedManifest, ...]:
        """Return every manifest, oldest first.

        Raises:
            ManifestError: one does not follow the one before, or is not signed.
            RegisterRollback: manifests that were in force are gone.
        """
        while True:
            known = len(self._verified)
            found = list(self._store.envelopes(start=max(1, known)))  # not under the lock: threads read side by side
            with self._lock:
                if len(self._verified) != known:
                    continue  # another thread was faster, and what was found begins before its newest
                if self._newest is not None and found[:1] != [self._newest]:
                    raise RegisterRollback("the store's history of manifests is not the one that was in force before")
                for envelope in found if self._newest is None else found[1:]:
                    previous = self._verified[-1] if self._verified else None
                    self._verified.append(verify_manifest(Envelope.parse(envelope), previous=previous))
                    self._newest = envelope
                return tuple(self._verified)

    def current(self) -> SignedManifest:
        """Return the manifest in force; raises as :meth:`all`, and ManifestMissing if none was ever set."""
        history = self.all()
        if not history:
            raise ManifestMissing("no manifest was set at this broker, so it releases nothing")
        return history[-1]

    def add(self, envelope: Envelope) -> SignedManifest:
        """Put the manifest in *envelope* in force, and return it.

        Raises:
            ManifestError: it does not follow the one in force, its owners have not signed it, or another came first.
        """
        history = self.all()
        verified = verify_manifest(envelope, previous=history[-1] if history else None)
        self._store.append(verified.manifest.version, envelope.encode())
        return verified
