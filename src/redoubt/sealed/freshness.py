"""Whether a dataset is as new as the register says (hardening H24).

The rules, for a head that is authentic already:

1. Nothing registered, or no register: nothing is said.
2. The registered commit is newer than the head: the dataset was rolled back.
3. Else it is the head, or one that the head's chain of predecessors leads to. The chain is walked through authentic
   records, each naming the digest of the one before: a fork that leaves the registered commit out is a rollback too.

A writer registers its commit after it is durable. If that is lost (a crash, no broker), the register lags behind, which
rule 3 allows for.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from redoubt.errors import RegisterConflict, RegisterRollback
from redoubt.keys.register import CommitHead, HeadRegister
from redoubt.limits import COMMIT_ATTEMPTS


def registered_head(keys: object, dataset_id: UUID) -> CommitHead | None:
    """Return what *keys* knows of a dataset's head, None if it keeps no register."""
    return keys.registered_head(dataset_id) if isinstance(keys, HeadRegister) else None


def check_registered(
    known: CommitHead, head: CommitHead, *, previous_of: Callable[[int], str | None], where: str
) -> None:
    """Check that *head*, read after *known* was, is or follows it; *previous_of* gives the digest that record n names.

    Raises:
        RegisterRollback: the dataset is not what was registered, or older.
    """
    if known.number > head.number:
        raise RegisterRollback(f"{where} ends with commit {head.number}; commit {known.number} is registered")
    digest: str | None = head.digest
    for number in range(head.number, known.number, -1):
        digest = previous_of(number)
    if digest != known.digest:
        raise RegisterRollback(f"commit {known.number} of {where} is not the one that is registered")


def register(keys: object, dataset_id: UUID, head: CommitHead) -> None:
    """Register *head*, which is durable and follows what was registered; does nothing without a register.

    Raises:
        RegisterConflict: others registered commits all the time.
    """
    if not isinstance(keys, HeadRegister):
        return
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        known = keys.registered_head(dataset_id)
        if known is not None and known.number >= head.number:
            return  # somebody committed on top of this commit meanwhile, and registered that
        try:
            keys.register_head(dataset_id, previous=known, head=head)
        except RegisterConflict:
            if attempt == COMMIT_ATTEMPTS:
                raise
        else:
            return
