"""A workspace with a development manifest and a running development broker, and what tests do to both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.broker.client import Client, SimulatedMachine

from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.trust.manifest import parse_manifest
from redoubt.trust.public_key import public_key_text
from redoubt.trust.signing import Envelope, SignedManifest
from redoubt.trust.store import ManifestStore
from redoubt_dev import DevelopmentBroker, DevelopmentKey

ALICE, BOB, MALLORY = (Ed25519PrivateKey.from_private_bytes(bytes([it]) * 32) for it in (1, 2, 3))
PROGRAM, OTHER_PROGRAM = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
INPUT, OUTPUT, BOBS = UUID(int=1), UUID(int=2), UUID(int=3)


def public(key: Ed25519PrivateKey) -> str:
    return public_key_text(key.public_key().public_bytes_raw())


TOML = f"""\
format = 1
version = 1
least_binding = "agent"

[owners]
alice = {{ key = "{public(ALICE)}" }}
bob = {{ key = "{public(BOB)}" }}

[datasets.input]
id = "{INPUT}"
owners = ["alice"]
keys = ["key:main/default.dev"]

[datasets.output]
id = "{OUTPUT}"
owners = ["alice"]
keys = ["key:main/default.dev", "key:main/second.dev"]

[datasets.bobs]
id = "{BOBS}"
owners = ["bob"]
keys = ["key:main/bobs.dev"]

[programs.job]
digest = "{PROGRAM}"
arguments = [[], ["--month", "*"]]

[programs.bobs]
digest = "{OTHER_PROGRAM}"

[tees.laptop]
kind = "simulated"
binding = "agent"

[tees.laptop.reference]
"simulated.warning" = ["SIMULATED: proves nothing about hardware"]

[[grants]]
program = "job"
tee = "laptop"
dataset = "input"
actions = ["read"]

[[grants]]
program = "job"
tee = "laptop"
dataset = "output"
actions = ["write"]

[[grants]]
program = "bobs"
tee = "laptop"
dataset = "bobs"
actions = ["read", "write"]
"""


def envelope(toml: str = TOML, *keys: Ed25519PrivateKey) -> Envelope:
    """The manifest, signed by *keys* (default: all owners)."""
    signed = Envelope.of(parse_manifest(toml.encode()))
    for key in keys or (ALICE, BOB):
        signed = signed.signed(key)
    return signed


def successor(previous: SignedManifest, toml: str = TOML) -> Envelope:
    """The next version of the manifest."""
    version = previous.manifest.version + 1
    head = f'version = {version}\nprevious = "{previous.digest}"'
    return envelope(toml.replace("version = 1", head, 1))


@dataclass
class World:
    """One workspace with its broker."""

    workspace: Workspace
    broker: DevelopmentBroker
    machine_key: DevelopmentKey
    manifests: ManifestStore = field(init=False)

    def __post_init__(self) -> None:
        self.manifests = ManifestStore(self.workspace.state_folder)

    @property
    def client(self) -> Client:
        return Client(self.broker.port, self.broker.ca_pem, self.broker.id)

    def machine(self, program: str | None = PROGRAM, arguments: tuple[str, ...] = ()) -> SimulatedMachine:
        return SimulatedMachine(self.client, self.machine_key, program, arguments)

    def sealed_key(self, dataset: UUID = INPUT, key: str = "default") -> tuple[DataKey, WrappedKey]:
        """A data key of *dataset*, as whoever sealed it made it."""
        return self.workspace.new_data_key(key, WrapContext(dataset, uuid4()))


@contextmanager
def running_world(folder: Path, toml: str | None = TOML) -> Iterator[World]:
    """Make a workspace in *folder* and run its development broker."""
    workspace = Workspace.init(folder)
    for name in ("second", "bobs"):
        workspace.provider_for(workspace.resolve(name)).create(workspace.resolve(name))
    if toml is not None:
        ManifestStore(workspace.state_folder).put(envelope(toml))
    machine = DevelopmentKey.generate()
    with DevelopmentBroker(workspace, attesters=machine.key_set) as broker:
        yield World(workspace, broker, machine)
