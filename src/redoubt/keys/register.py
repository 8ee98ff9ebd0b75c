"""The seam of the register of heads: which commit of a dataset is known to be there (hardening H24).

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
