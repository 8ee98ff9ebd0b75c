"""Whether a dataset is as new as the register says, and newer by commits of writers alone (hardening H6, H24).

The rules, for a head that is authentic already:

1. Nothing registered, or no register: nothing is said.
2. The registered commit is newer than the head: the dataset was rolled back.
3. Else it is the head, or one that the head's chain of predecessors leads to. The chain is walked through authentic
   records, each being the one whose digest the next one names: a fork that leaves the registered commit out is a
   rollback too, and so is one behind a record that was put between.
4. Each commit after the registered one was announced. Every reader of a dataset holds a data key under which a record
   can be sealed; to announce takes a grant to write.

A writer announces its commit before the record is there, and registers it after. If the latter is lost (a crash), the
register lags behind, which rules 3 and 4 allow for. What it registers, or leaves to others who came first, is one
history with what is registered: storage may have shown each of two writers another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from redoubt.errors import CommitUnannounced, RegisterConflict, RegisterRollback
from redoubt.keys.register import CommitHead, HeadRegister
from redoubt.limits import COMMIT_ATTEMPTS

T = TypeVar("T")
#: Gives the digest that a commit's record names as its predecessor's; RegisterRollback if the record is another one.
PreviousOf = Callable[[CommitHead], str | None]


def fresh(
    keys: object,
    read: Callable[[], T],
    *,
    facts: Callable[[T], tuple[UUID, CommitHead]],
    previous_of: PreviousOf,
    where: str,
) -> tuple[T, bool]:
    """Return what *read* gives, once its head stands the rules, and whether a head is registered.

    *facts* are its dataset and head. What does not stand is read again: others may have committed and registered
    between two looks.

    Raises:
        RegisterRollback: the dataset is not what was registered, or older.
        CommitUnannounced: it is newer, by somebody who may not write it.
    """
    found = read()
    if not isinstance(keys, HeadRegister):
        return found, False
    dataset_id, head = facts(found)
    known = keys.registered_head(dataset_id)
    for _ in range(COMMIT_ATTEMPTS):
        if known is None:
            return found, False
        try:
            later = check_registered(known, head, previous_of=previous_of, where=where)
            if later:
                _check_announced(later, keys.announced_heads(dataset_id), where=where)
        except (RegisterRollback, CommitUnannounced):
            before = known, head
            found = read()
            dataset_id, head = facts(found)
            known = keys.registered_head(dataset_id)
            if (known, head) == before:
                raise
        else:
            return found, True
    raise RegisterRollback(f"{where} and what is registered of it change all the time")


def check_registered(
    known: CommitHead, head: CommitHead, *, previous_of: PreviousOf, where: str
) -> frozenset[CommitHead]:
    """Return the commits after *known*, which is registered, up to *head*, which is it or follows it.

    Raises:
        RegisterRollback: the dataset is not what was registered, or older.
    """
    if known.number > head.number:
        raise RegisterRollback(f"{where} ends with commit {head.number}; commit {known.number} is registered")
    later = []
    digest: str | None = head.digest
    for number in range(head.number, known.number, -1):
        if digest is None:
            break
        later.append(CommitHead(number, digest))
        digest = previous_of(later[-1])
    if digest != known.digest:
        raise RegisterRollback(f"commit {known.number} of {where} is not one that leads to commit {head.number}")
    return frozenset(later)


def _check_announced(later: frozenset[CommitHead], announced: frozenset[CommitHead], *, where: str) -> None:
    if strange := sorted(it.number for it in later - announced):
        raise CommitUnannounced(f"commit {strange[0]} of {where} was announced by nobody who may write it")


def announce(keys: object, dataset_id: UUID, head: CommitHead) -> None:
    """Announce *head*, whose record is not there yet; does nothing without a register.

    Raises:
        RegisterConflict: a commit of that number is registered, or there is no right to commit.
    """
    if isinstance(keys, HeadRegister):
        keys.announce_head(dataset_id, head)


def register(keys: object, dataset_id: UUID, head: CommitHead, *, previous_of: PreviousOf, where: str) -> None:
    """Register *head*, which is durable; does nothing without a register, or if a commit on top of it is registered.

    Raises:
        RegisterConflict: others registered commits all the time.
        RegisterRollback: *head* does not follow what is registered, nor is it followed by that.
    """
    if not isinstance(keys, HeadRegister):
        return
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        known = keys.registered_head(dataset_id)
        if known is not None and known.number >= head.number:
            check_registered(head, known, previous_of=previous_of, where=where)
            return  # somebody committed on top of this commit meanwhile, and registered that
        if known is not None:
            check_registered(known, head, previous_of=previous_of, where=where)
        try:
            keys.register_head(dataset_id, previous=known, head=head)
        except RegisterConflict:
            if attempt == COMMIT_ATTEMPTS:
                raise
        else:
            return
