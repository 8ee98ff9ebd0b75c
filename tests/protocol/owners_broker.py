"""A broker with the store of production, over HTTPS in this process, and clients of its owners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.broker.world import ALICE, BOB, public

from redoubt.broker.core import Settings
from redoubt.broker.location import SqliteLocation
from redoubt.broker.rate import RateLimiter
from redoubt.broker.root import FileRoot
from redoubt.broker.server import Address, RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.keys.rootkey import create_root_key_file
from redoubt.pki.server import make_ca, make_server_certificate
from redoubt.protocol.https import BrokerConnection, Brokers
from redoubt.protocol.owner_client import OwnerClient
from redoubt.protocol.owner_provider import BrokerProvider
from redoubt.trust.manifest import parse_manifest
from redoubt.trust.signing import Envelope

CA = make_ca("the tests' CA", now=datetime.now(UTC))
#: A broker of the tests is slow at most, never away for long.
PATIENCE = 0.3


def manifest(datasets: Sequence[UUID], names: Sequence[str], *, key: Ed25519PrivateKey = ALICE) -> Envelope:
    """A first manifest: *key* owns these datasets, under the keys of these names; BOB owns another."""
    keys = ", ".join(f'"key:main/{it}.dev"' for it in names)
    tables = "".join(
        f'[datasets.d{place}]\nid = "{it}"\nowners = ["alice"]\nkeys = [{keys}]\n' for place, it in enumerate(datasets)
    )
    toml = f"""\
format = 1
version = 1
[owners]
alice = {{ key = "{public(key)}" }}
bob = {{ key = "{public(BOB)}" }}
{tables}
[datasets.bobs]
id = "{UUID(int=3)}"
owners = ["bob"]
keys = ["key:main/bobs.dev"]
[programs.job]
digest = "sha256:{"ab" * 32}"
[tees.laptop]
kind = "simulated"
binding = "agent"
[tees.laptop.reference]
"simulated.warning" = ["SIMULATED: proves nothing about hardware"]
[[grants]]
program = "job"
tee = "laptop"
dataset = "d0"
actions = ["read"]
"""
    return Envelope.of(parse_manifest(toml.encode())).signed(key).signed(BOB)


@dataclass(frozen=True)
class OwnersBroker:
    """One running broker."""

    running: RunningBroker
    store: SqlStore

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.running.port}"

    @property
    def id(self) -> str:
        return self.running.core.id

    def client(self, key: Ed25519PrivateKey | None = ALICE, *, broker_id: str | None = None) -> OwnerClient:
        return client_of(self.url, key, broker_id=broker_id)

    def provider(self, key: Ed25519PrivateKey = ALICE) -> BrokerProvider:
        return BrokerProvider(self.client(key))


def client_of(
    url: str, key: Ed25519PrivateKey | None = ALICE, *, ca: bytes = CA.certificate, broker_id: str | None = None
) -> OwnerClient:
    connection = BrokerConnection(Brokers(urls=(url,), ca=ca), patience=PATIENCE)
    return OwnerClient(connection, key=key, broker_id=broker_id)


@contextmanager
def running_broker(folder: Path) -> Iterator[OwnersBroker]:
    """Run an empty broker whose bootstrap owner is ALICE."""
    create_root_key_file(folder / "root.key")
    store = SqlStore.create(SqliteLocation(folder / "store.sqlite"), source=FileRoot(folder / "root.key"))
    try:
        with RunningBroker(
            store,
            address=Address("127.0.0.1", 0),
            identity=make_server_certificate(CA, name="tests", hosts=("127.0.0.1",), now=datetime.now(UTC)),
            settings=Settings(bootstrap_owners=frozenset({ALICE.public_key().public_bytes_raw()})),
            verifiers={},
            limiter=RateLimiter(per_second=1e6, burst=1e6),
        ) as running:
            yield OwnersBroker(running, store)
    finally:
        store.close()
