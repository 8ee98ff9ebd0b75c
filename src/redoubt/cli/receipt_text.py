"""Receipts as people and programs read them: one screen, one object; and datasets on disk beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from redoubt.cli.output import Json, counted
from redoubt.errors import ReceiptDataset
from redoubt.keys.register import CommitHead
from redoubt.trust.policy import Action, Manifest
from redoubt.trust.receipt import Receipt
from redoubt.trust.receipt_proved import Member, Proved
from redoubt.trust.receipt_values import Commit, Release, Reported
from redoubt.trust.receipt_verify import VerifiedReceipt

_SIMULATED = "SIMULATED: of a development broker; it proves nothing about hardware"
_SHOWN = 12


def receipt_json(proved: Proved, reported: Reported) -> dict[str, Json]:
    """Return both parts as the object that ``--json`` prints."""
    return {"proved": proved.to_json(), "reported": reported.to_json()}


def shown(receipt: Receipt) -> str:
    """Return an unverified receipt as text."""
    loud = [_SIMULATED] if receipt.simulated else []
    head = f"says that the broker {receipt.envelope.key_id} signed it at {receipt.proved.at.isoformat()}"
    return "\n".join([*loud, head, *_facts(receipt.proved, receipt.reported)])


def verified(found: VerifiedReceipt) -> str:
    """Return a verified receipt as text."""
    names = found.manifest.manifest.brokers.items() if found.manifest is not None else ()
    named = next((f", {name!r} of the manifest" for name, it in names if it == found.broker), "")
    lines = [_SIMULATED] if found.simulated else []
    lines.append(f"VERIFIED: signed by the broker {found.broker}{named}, at {found.proved.at.isoformat()}")
    manifest = None if found.manifest is None else found.manifest.manifest
    lines += _facts(found.proved, found.reported, manifest, [f", status {it.status}" for it in found.results])
    lines.append(f"audit      row {found.audit.end.number} of the broker's log, {found.audit.end.digest}")
    if found.manifest is None:
        lines.append("NOT COMPARED with the owners' manifest: pass --manifest")
    return "\n".join(lines)


def _facts(
    proved: Proved, reported: Reported, manifest: Manifest | None = None, statuses: Sequence[str] = ()
) -> Iterator[str]:
    known = manifest.programs.items() if manifest is not None else ()
    program = next((f"  {name}" for name, it in known if it.digest == reported.program), "")
    yield f"program    {reported.program}{program}"
    yield f"arguments  {reported.arguments}"
    owners = "" if manifest is None else f"  version {manifest.version}, owners {', '.join(sorted(manifest.owners))}"
    for digest in dict.fromkeys(it.manifest for it in proved.roles):
        yield f"manifest   {digest}{owners if digest == proved.roles[-1].manifest else ''}"
    yield from _limited(
        f"ran on     {it.tee}, binding {it.binding}{status}, evidence {it.evidence}, {it.at.isoformat()}"
        for it, status in zip(proved.roles, statuses or [""] * len(proved.roles), strict=True)
    )
    if proved.name is not None:
        yield f"as         {proved.name}"
    yield from _limited(_member(it, {found.digest: name for name, found in known}) for it in proved.members)
    names = {} if manifest is None else {it.id: name for name, it in manifest.datasets.items()}
    yield from _limited(
        f"input      {it.dataset}{_named(it, names)}  {_commit(it.head)}, {counted(it.data_keys, 'key')}"
        for it in proved.releases
        if it.action is Action.READ
    )
    yield from _limited(f"secret     {it.path}" for it in proved.resources)
    yield from _limited(f"output     {it.dataset}{_named(it, names)}  {head}" for it, head in _outputs(proved))
    engine = ", ".join(f"{name} {version}" for name, version in sorted(reported.engine.items()))
    yield f"reported   {engine}"
    yield f"           {reported.started.isoformat()} to {reported.ended.isoformat()}, exit status {reported.status}"


def _member(member: Member, names: Mapping[str, str]) -> str:
    """Return one line of another role of the trust domain: who it was, and whether it was given data."""
    last = member.roles[-1]
    keys = sum(it.data_keys for it in member.releases)
    given = f", {counted(keys, 'data key')}" if keys else ""
    program = names.get(last.program, last.program)
    return (
        f"with       {member.name.role}  {program}  {last.tee}, binding {last.binding}, evidence {last.evidence}, "
        f"result {last.token}{given}"
    )


def _named(it: Release | Commit, names: Mapping[UUID, str]) -> str:
    if it.dataset in names:
        return f"  {names[it.dataset]}"
    return "" if it.parent is None else f"  created in {names.get(it.parent, it.parent)}"


def _outputs(proved: Proved) -> Iterator[tuple[Release | Commit, str]]:
    """Yield each dataset that was written: with its last commit, or without one, as with files and plain tables."""
    last = {it.dataset: it for it in proved.commits}
    for commit in last.values():
        yield commit, _commit(commit.head)
    for it in proved.releases:
        if it.action is Action.WRITE and it.dataset not in last:
            yield it, "keys to write were given, no commit was registered"


def _commit(head: CommitHead | None) -> str:
    return "no commit was registered" if head is None else f"commit {head.number} {head.digest}"


def _limited(lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    yield from every[:_SHOWN]
    if len(every) > _SHOWN:
        yield f"           and {len(every) - _SHOWN} more (--json)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A dataset on disk that is as the receipt says."""

    path: str
    #: ``input`` or ``output``.
    role: str
    head: CommitHead
    #: The number of its newest commit now.
    newest: int

    def __str__(self) -> str:
        moved = "" if self.newest == self.head.number else f"; its newest commit is {self.newest} now"
        return f"{self.path}: the {self.role} of the receipt, commit {self.head.number}{moved}"


def compare_dataset(found: VerifiedReceipt, path: str) -> Compared:
    """Return how the dataset at *path* stands in a verified receipt. Its parts are not read.

    Raises:
        ReceiptDataset: it is not in the receipt, or its commit record is another one.
        SealedError, StorageError: there is no dataset, or it cannot be read.
    """
    from redoubt.sealed.public_head import StoredHistory

    history = StoredHistory.open(path)
    role, head = _expected(found.proved, history.dataset, path)
    stored = history.commit(head.number)
    if stored is None:
        raise ReceiptDataset(f"{path} has no commit {head.number}: it ends with {history.numbers[-1]}")
    if stored != head:
        raise ReceiptDataset(f"commit {head.number} of {path} is {stored.digest}; the receipt has {head.digest}")
    return Compared(path=path, role=role, head=head, newest=history.numbers[-1])


def _expected(proved: Proved, dataset: UUID, path: str) -> tuple[str, CommitHead]:
    written: Mapping[UUID, CommitHead] = {it.dataset: it.head for it in proved.commits}
    read = {it.dataset: it.head for it in proved.releases if it.action is Action.READ and it.head is not None}
    if dataset in written:
        return "output", written[dataset]
    if dataset in read:
        return "input", read[dataset]
    if any(it.dataset == dataset for it in proved.releases):
        raise ReceiptDataset(
            f"the job had keys of {path}, dataset {dataset}, but the receipt proves no commit of it",
            why="No commit of the dataset was registered at the broker when the job read it.",
            hint="Register it (`redoubt register`), and run the job again: the next receipt names the commit.",
        )
    raise ReceiptDataset(f"the receipt proves no commit of {path}, dataset {dataset}")
