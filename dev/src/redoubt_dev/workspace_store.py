"""The development broker's store: the workspace's own keys and manifests, and an SQLite store for the rest.

Data that was sealed without a broker opens through it, since primary keys stay where they are: nothing is rewritten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.broker.core import Event, system_clock
from redoubt.broker.location import SqliteLocation
from redoubt.broker.ports import (
    AuditLog,
    CommitRegister,
    CreatedDatasets,
    ReceiptStore,
    RefusalStore,
    RegisteredHead,
    ResourceStore,
    SessionStore,
)
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.errors import KeyError_, NamespaceUnmapped, StorageError, StoreExists
from redoubt.evidence.claims import JSON
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.private import (
    DIRECTORY_MODE,
    create_private_file,
    read_private_file,
    replace_private_file,
    sync_directory,
)
from redoubt.keys.provider import KeyInfo, KeyState, Provider
from redoubt.keys.register import CommitHead
from redoubt.keys.rootkey import create_root_key_file
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.pki.build import Certified
from redoubt.pki.server import make_ca
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.protocol.messages import write_object
from redoubt.trust.receipt_audit import GRANTED
from redoubt.trust.refusal import Refusal
from redoubt.trust.signing import Envelope
from redoubt.trust.store import ManifestStore

FOLDER: Final = "broker"
#: Where `redoubt explain ID` looks.
REFUSALS: Final = "refusals"
#: The kind of provider whose keys are not this broker's to release.
_ELSEWHERE: Final = "broker"
_STORE: Final = "store.sqlite"
_ROOT_KEY: Final = "root.key"
_CA: Final = "ca.pem"
_KEY_SET: Final = "broker.jwks"
_MAX_CA_BYTES: Final = 16 * 1024


class WorkspaceProvider:
    """All keys of a workspace behind one :class:`redoubt.keys.provider.Provider`, by their namespaces.

    But for those that lie at a broker: that one decides about them, by real evidence, and it could be this one.
    """

    assurances = frozenset({Assurance.DEV})

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key."""
        return self._of(name).create(name)

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key."""
        return self._workspace.list_keys(without=_ELSEWHERE)

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key."""
        return self._of(name).describe(name)

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version."""
        return self._of(name).rotate(name)

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable versions."""
        return self._of(name).set_state(name, state, version=version)

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Destroy a version."""
        provider = self._of(name)
        return provider.destroy(name, version=version, even_if_referenced=even_if_referenced)

    def wrap(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        """Wrap data keys."""
        return self._of(name).wrap(name, keys)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap data keys."""
        for record in wrapped:
            self._of(record.key)
        return self._workspace.unwrap(wrapped)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Wrap again, all under one namespace: a batch is all or nothing."""
        return self._one_provider(wrapped).rewrap(wrapped)

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget references."""
        self._one_provider(wrapped).release(wrapped)

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget references by older versions."""
        self._one_provider(wrapped).settle(wrapped)

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return what is still wrapped."""
        return self._of(name).references(name, version=version)

    def _of(self, name: KeyName) -> Provider:
        mapping = self._workspace.config.namespaces.get(name.namespace)
        if mapping is not None and mapping.provider == _ELSEWHERE:
            raise NamespaceUnmapped(f"{name} lies at a broker, and a development broker does not serve such keys")
        return self._workspace.provider_for(name)

    def _one_provider(self, wrapped: Sequence[WrappedKey]) -> Provider:
        names = {it.key for it in wrapped} or {self._workspace.config.default_key}
        first, *others = (self._of(it) for it in names)
        if any(it is not first for it in others):
            raise KeyError_("a batch is all or nothing, so it is of keys that one provider holds")
        return first


class WorkspaceManifests:
    """The workspace's own manifests: ``redoubt manifest set`` puts one in force here too."""

    def __init__(self, workspace: Workspace) -> None:
        self._store = ManifestStore(workspace.state_folder)

    def envelopes(self) -> Sequence[bytes]:
        """Return all of them, oldest first."""
        return self._store.envelopes()

    def append(self, version: int, envelope: bytes) -> None:
        """Add the next one; raises ManifestRollback if another came first."""
        self._store.put(Envelope.parse(envelope))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStore:
    """A :class:`redoubt.broker.ports.BrokerStore` in a workspace."""

    sql: SqlStore
    provider: WorkspaceProvider
    manifests: WorkspaceManifests
    ca: Certified

    @classmethod
    def open(cls, workspace: Workspace) -> WorkspaceStore:
        """Open the store below ``.redoubt/broker``, made now if there is none; raises StorageError or BrokerError."""
        folder = workspace.state_folder / FOLDER
        location, source = SqliteLocation(folder / _STORE), FileRoot(folder / _ROOT_KEY)
        try:
            folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            _once(folder / _ROOT_KEY, create_root_key_file)
            _once(folder / _CA, _write_ca)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from None
        try:
            sql = SqlStore.open(location, source=source) if location.path.exists() else None
            sql = sql or SqlStore.create(location, source=source)
        except StoreExists:  # another process was first
            sql = SqlStore.open(location, source=source)
        return cls(
            sql=sql,
            provider=WorkspaceProvider(workspace),
            manifests=WorkspaceManifests(workspace),
            ca=_read_ca(folder / _CA),
        )

    @property
    def sessions(self) -> SessionStore:
        """Challenges."""
        return self.sql.sessions

    @property
    def resources(self) -> ResourceStore:
        """Secrets by name."""
        return self.sql.resources

    @property
    def audit(self) -> AuditLog:
        """Decisions."""
        return self.sql.audit

    @property
    def register(self) -> CommitRegister:
        """Head commits."""
        return self.sql.register

    @property
    def created(self) -> CreatedDatasets:
        """Datasets that programs made."""
        return self.sql.created

    @property
    def refusals(self) -> RefusalStore:
        """Records of refusals."""
        return self.sql.refusals

    @property
    def receipts(self) -> ReceiptStore:
        """Receipts of jobs."""
        return self.sql.receipts

    @property
    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The development broker's key."""
        return self.sql.signing_key

    def check(self) -> None:
        """Check that the store answers."""
        self.sql.check()

    def close(self) -> None:
        """Let go of the file."""
        self.sql.close()


def write_refusal(workspace: Workspace, record: Refusal) -> None:
    """Put *record* where `redoubt explain` finds it; raises StorageError."""
    folder = workspace.state_folder / REFUSALS
    try:
        folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        replace_private_file(folder / f"{record.id}.json", record.encode())
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from None


def write_key_set(workspace: Workspace, key: ec.EllipticCurvePublicKey) -> None:
    """Put the development broker's public *key* where `redoubt receipt verify --simulated` finds it; StorageError."""
    path = workspace.state_folder / FOLDER / _KEY_SET
    try:
        replace_private_file(path, write_object(BrokerFacts.key_set(key)))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None


def _once(path: Path, make: Callable[[Path], object]) -> None:
    if path.exists():
        return
    with contextlib.suppress(FileExistsError):  # another process was first: its file is the one
        make(path)
        sync_directory(path.parent)


def _write_ca(path: Path) -> None:
    made = make_ca("redoubt development broker", now=datetime.now(UTC))
    create_private_file(path, made.certificate + made.key)


def _read_ca(path: Path) -> Certified:
    content = read_private_file(path, limit_bytes=_MAX_CA_BYTES, what="the development broker's CA")
    certificate, mark, key = content.partition(b"-----BEGIN PRIVATE KEY-----")
    return Certified(certificate, mark + key)


def register_head(workspace: Workspace, dataset_id: UUID, head: CommitHead) -> None:
    """Register *head* at the workspace's development broker by its owner's word; raises StorageError or BrokerError."""
    store = WorkspaceStore.open(workspace)
    try:
        facts: dict[str, JSON] = {"event": Event.REGISTER.value, "decision": GRANTED, "dataset": str(dataset_id)}
        registered = RegisteredHead(number=head.number, digest=head.digest)
        store.register.put(dataset_id, registered)
        store.audit.append({**facts, "head": registered.to_json(), "owner": "workspace"}, at=system_clock())
    finally:
        store.close()
