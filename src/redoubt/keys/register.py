"""The seam of the register of heads: which commit of a dataset is known to be there (hardening H6, H24).

A writer announces the digest of its commit record before the record is there, and registers it after. So a record that
is newer than the registered one is either announced, by somebody who may write, or nobody who may write made it.

A key source may also be a :class:`HeadRegister`; readers and writers of datasets ask it if it is one. The broker keeps
the register, agents and key endpoints pass it on. Where nothing is registered, or nobody keeps a register, the answer
is None: freshness is then not checked, and output says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from uuid import UUID


@dataclass(frozen=True, slots=True)
class CommitHead:
    """One commit of a dataset: its number, and the digest of its record (``sha256:…``)."""

    number: int
    digest: str


@runtime_checkable
class HeadRegister(Protocol):
    """Knows the newest commit that a writer registered."""

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        """Return the registered head of a dataset, None if none is known."""

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        """Register *head* in the place of *previous*; raises RegisterConflict if that is not what is registered."""

    def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
        """Return the commits after the registered one that writers announced, whether they are there or not."""

    def announce_head(self, dataset_id: UUID, head: CommitHead) -> None:
        """Announce a commit whose record is not there yet; raises RegisterConflict without a right to commit."""
