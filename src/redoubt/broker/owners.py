"""What owners may do at the broker, and how it knows them.

An owner is a key that the manifest in force names. Before the first manifest it is one of the operator's bootstrap
keys, which may create keys and set version 1, and have no power afterwards.

Keys: whoever manages a primary key (rotates, disables, destroys, wraps under it) must be an owner of *every* dataset
that the manifest lists it for, so nobody loses data by another's hand; a key that no dataset uses is any owner's.
Data keys come out only to an owner of the very dataset that is authenticated in their record, encrypted to a key that
the signed request brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from redoubt.broker.attested import check_resource_path
from redoubt.broker.core import Core, Event
from redoubt.broker.ports import CreatedDatasets
from redoubt.errors import NonceReplayed, OwnerForbidden, OwnerUnauthenticated
from redoubt.evidence.claims import JSON
from redoubt.keys.names import KeyName
from redoubt.keys.types import WrappedKey
from redoubt.protocol.owner_token import OwnerRequest, verify_owner_token
from redoubt.trust.policy import Dataset, Manifest
from redoubt.trust.public_key import public_key_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who signed a request: only :meth:`Owners.authenticate` makes one."""

    key: bytes
    #: Their names in the manifest in force; none before the first manifest.
    names: frozenset[str]
    #: None before the first manifest.
    manifest: Manifest | None

    @property
    def facts(self) -> dict[str, JSON]:
        """How the owner stands in the audit log."""
        return {"owner": public_key_text(self.key), "names": sorted(self.names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Why somebody owns a dataset: the manifest's entry, of it or of the one that it was created in."""

    dataset: Dataset
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Authentication and authorisation of owners."""

    core: Core

    def authenticate(self, token: str, request: OwnerRequest) -> Owner:
        """Return who signed *request* with *token*; raises OwnerUnauthenticated. A token is good for one request."""
        now = self.core.clock()
        try:
            verified = verify_owner_token(token, request, now=now)
            owner = self._find(verified.key)
            self.core.store.sessions.use_once(verified.token_id, expires=verified.expires)
        except NonceReplayed:
            replayed = OwnerUnauthenticated("the token was used before")
            self.core.refused(Event.UNAUTHENTICATED, replayed, {"path": request.path})
            raise replayed from None
        except OwnerUnauthenticated as error:
            self.core.refused(Event.UNAUTHENTICATED, error, {"path": request.path})
            raise
        return owner

    def _find(self, key: bytes) -> Owner:
        history = self.core.policy.all()
        if not history:
            if key not in self.core.settings.bootstrap_owners:
                raise OwnerUnauthenticated("no manifest is set, and the key is none of the broker's bootstrap owners")
            return Owner(key=key, names=frozenset(), manifest=None)
        manifest = history[-1].manifest
        names = frozenset(name for name, it in manifest.owners.items() if it == key)
        if not names:
            raise OwnerUnauthenticated("the key is no owner's by the manifest in force")
        return Owner(key=key, names=names, manifest=manifest)


def check_manages(owner: Owner, key: KeyName) -> None:
    """Return if *owner* may manage *key*; raises OwnerForbidden."""
    if owner.manifest is None:
        return
    for name, dataset in owner.manifest.datasets.items():
        if key in dataset.keys and not dataset.owners & owner.names:
            raise OwnerForbidden(f"{key} wraps data keys of {name!r}, of which you are no owner")


def find_owned(owner: Owner, dataset_id: UUID, created: CreatedDatasets) -> Owned | None:
    """Return what makes *owner* an owner of a dataset; None if nothing does."""
    datasets = {} if owner.manifest is None else {it.id: it for it in owner.manifest.datasets.values()}
    parent = None if dataset_id in datasets else created.parent(dataset_id)
    dataset = datasets.get(dataset_id if parent is None else parent)
    if dataset is None or not dataset.owners & owner.names:
        return None
    return Owned(dataset=dataset, created=parent is not None)


def check_opens(owner: Owner, records: Sequence[WrappedKey], created: CreatedDatasets) -> frozenset[UUID]:
    """Return which datasets of *records* programs created, if *owner* may have all the data keys.

    Raises:
        OwnerForbidden: they may not.
    """
    made = set()
    for record in records:
        dataset_id = record.context.dataset_id
        owned = find_owned(owner, dataset_id, created)
        if owned is None or record.key not in owned.dataset.keys:
            if owner.manifest is None:
                raise OwnerForbidden("nothing is opened before the first manifest is set: nobody owns a dataset yet")
            raise OwnerForbidden(f"you are no owner of the dataset {dataset_id}, or it does not use {record.key}")
        if owned.created:
            made.add(dataset_id)
    return frozenset(made)


def check_resource(owner: Owner, path: str) -> None:
    """Return if *owner* may store a resource at *path*; raises OwnerForbidden, or ResourceMissing for no such name."""
    check_resource_path(path)
    repository = path.partition("/")[0]
    dataset = None if owner.manifest is None else owner.manifest.datasets.get(repository)
    if dataset is None or not dataset.owners & owner.names:
        raise OwnerForbidden(f"a repository is named after a dataset, and you own none that is called {repository!r}")
