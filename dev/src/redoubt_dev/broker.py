"""The development broker: a whole broker in a workspace, for simulated evidence and nothing else.

It binds loopback only, and says what it is in every result: they are of the simulated issuer, type and profile, which
no production relying party takes. It tells refused attesters the reasons, and puts each record where
``redoubt explain ID`` looks. What it releases is what the workspace's own keystore holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Self

from redoubt.broker.core import Settings
from redoubt.broker.rate import RateLimiter
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.verifiers import Verifier
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.key_set import KeySet
from redoubt.keys.workspace import Workspace
from redoubt.limits import ROLE_CERTIFICATE_SECONDS
from redoubt.pki.server import make_server_certificate
from redoubt.protocol.evidence_body import EvidenceBody
from redoubt_dev import simulated
from redoubt_dev.attester import default_folder
from redoubt_dev.key import DevelopmentKey
from redoubt_dev.workspace_store import WorkspaceStore, write_key_set, write_refusal

NAME: Final = "redoubt-dev-broker"
LOOPBACK: Final = "127.0.0.1"
WARNING: Final = "DEVELOPMENT BROKER: it takes simulated evidence, which proves nothing about hardware; loopback only"
#: Its one peer is this machine: the limit is there, and out of the way of benchmarks.
_PER_SECOND: Final = 100_000.0


class DevelopmentBroker:
    """A broker in this process, while its context lasts."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        port: int = 0,
        attesters: KeySet | None = None,
        bootstrap_owners: frozenset[bytes] = frozenset(),
        certificate_seconds: int = ROLE_CERTIFICATE_SECONDS,
    ) -> None:
        """Prepare the store of *workspace*.

        *attesters* are the development keys whose simulated evidence is taken; by default this user's own.
        *bootstrap_owners* are public keys that may set the first manifest, as at a production broker.
        *certificate_seconds* is how long certificates of roles hold.

        Raises:
            StorageError, BrokerError, WorkspaceError: the workspace's store cannot be used.
        """
        keys = attesters or DevelopmentKey.load_or_create(default_folder()).key_set
        self._store = WorkspaceStore.open(workspace)
        hosts = (LOOPBACK, "localhost")
        identity = make_server_certificate(self._store.ca, name=NAME, hosts=hosts, now=datetime.now(UTC))
        try:
            self._running = RunningBroker(
                self._store,
                address=Address(LOOPBACK, port),
                identity=identity,
                settings=Settings(
                    name=NAME,
                    development=True,
                    bootstrap_owners=bootstrap_owners,
                    certificate_seconds=certificate_seconds,
                ),
                verifiers=simulated_verifiers(keys),
                limiter=RateLimiter(per_second=_PER_SECOND, burst=_PER_SECOND),
                on_refusal=lambda record: write_refusal(workspace, record),
            )
        except BaseException:
            self._store.close()
            raise
        write_key_set(workspace, self._store.signing_key.public_key())
        self.port = self._running.port
        self.url = f"https://{LOOPBACK}:{self.port}"
        self.id = self._running.core.id
        #: The certificate (PEM) that clients pin; the same for every broker of this workspace.
        self.ca_pem: bytes = self._store.ca.certificate

    @property
    def ca(self) -> bytes:
        """The certificate that clients pin."""
        return self.ca_pem

    def start(self) -> Self:
        """Serve in a thread of this process; returns when the broker answers. Raises BrokerError."""
        self._running.start()
        return self

    def serve(self) -> None:
        """Serve in this thread until the process is told to stop."""
        self._running.serve()

    def close(self) -> None:
        """Stop, and let go of the store. May be called twice."""
        self._running.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def simulated_verifiers(keys: KeySet) -> Mapping[Tee, Verifier]:
    """Return the one table of verifiers that has simulated evidence: by machines with these development *keys*."""

    def verify(body: EvidenceBody, report_data: bytes, now: datetime) -> Verified:
        return simulated.verify(body.evidence, keys=keys, expected=Expected(report_data=report_data), now=now)

    return MappingProxyType({Tee.SIMULATED: verify})
