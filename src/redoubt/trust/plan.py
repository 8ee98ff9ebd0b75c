"""What a change of manifest would newly allow or forbid, before it is set.

Pure: two manifests in, lists of differences out. A *pair* is what a grant comes down to: this program (by digest) on
this TEE may do this to this dataset (by id). Names alone do not make a pair: a program whose digest changed is another
program. What changes without changing a pair (reference values, TCB policy, arguments, owners) is listed by field, as
looser, tighter, or changed where it is neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from redoubt.trust.encode import in_order
from redoubt.trust.fields import Path, dotted
from redoubt.trust.policy import Action, Binding, Dataset, Manifest, Program, TeeProfile, Value
from redoubt.trust.public_key import public_key_text

T = TypeVar("T")
Shown = tuple[Value, ...]


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """One thing that a manifest allows."""

    program: str
    digest: str
    tee: str
    dataset: str
    dataset_id: str
    action: Action


class Direction(StrEnum):
    """Which way a change goes."""

    LOOSER = "looser"
    TIGHTER = "tighter"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: which values it gained and lost."""

    path: Path
    direction: Direction
    added: Shown
    removed: Shown

    def __str__(self) -> str:
        parts = [*(f"+ {it}" for it in self.added), *(f"- {it}" for it in self.removed)]
        return f"{self.direction}: {dotted(self.path)}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference of two manifests. Empty when the new one allows exactly what the old one does."""

    allowed: tuple[Pair, ...]
    forbidden: tuple[Pair, ...]
    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs (version and predecessor aside)."""
        return not (self.allowed or self.forbidden or self.changes)


def plan(old: Manifest | None, new: Manifest) -> Plan:
    """Return what *new* allows, forbids and changes against *old* (None: against nothing, which allows nothing)."""
    before = pairs(old) if old is not None else frozenset()
    after = pairs(new)
    changes = tuple(_changes(old, new)) if old is not None else ()
    changes += tuple(_roles(old, new))
    return Plan(tuple(sorted(after - before)), tuple(sorted(before - after)), changes)


def pairs(manifest: Manifest) -> frozenset[Pair]:
    """Return everything that *manifest* allows."""
    return frozenset(
        Pair(
            grant.program,
            manifest.programs[grant.program].digest,
            grant.tee,
            grant.dataset,
            str(manifest.datasets[grant.dataset].id),
            action,
        )
        for grant in manifest.grants
        for action in grant.actions
    )


# --- fields -----------------------------------------------------------------------------------------------------------
def _changes(old: Manifest, new: Manifest) -> Iterator[Change]:
    yield from _level(("least_binding",), old.least_binding, new.least_binding)
    yield from _set(("owners",), _keys(old.owners), _keys(new.owners), more=Direction.CHANGED, fewer=Direction.CHANGED)
    yield from _set(("recipients",), _keys(old.recipients), _keys(new.recipients))
    named = ({f"{name} {it}" for name, it in each.brokers.items()} for each in (old, new))
    yield from _set(("brokers",), *named)
    for name, before, after in _both(old.datasets, new.datasets):
        yield from _dataset(("datasets", name), before, after)
    for name, was, now in _both(old.programs, new.programs):
        yield from _program(("programs", name), was, now)
    for name, first, second in _both(old.tees, new.tees):
        yield from _tee(("tees", name), first, second)
    for name in sorted(set(old.tees) ^ set(new.tees)):
        yield _named(("tees", name), name in new.tees)
    for name in sorted(set(old.datasets) ^ set(new.datasets)):
        yield _named(("datasets", name), name in new.datasets)
    for name in sorted(set(old.programs) ^ set(new.programs)):
        yield _named(("programs", name), name in new.programs)


def _dataset(path: Path, old: Dataset, new: Dataset) -> Iterator[Change]:
    changed = Direction.CHANGED
    yield from _set((*path, "id"), {str(old.id)}, {str(new.id)}, more=changed, fewer=changed)
    yield from _set((*path, "owners"), old.owners, new.owners, more=changed, fewer=changed)
    yield from _number((*path, "approvals"), old.approvals, new.approvals)
    yield from _set((*path, "keys"), set(map(str, old.keys)), set(map(str, new.keys)))
    yield from _set((*path, "recipients"), old.recipients, new.recipients)


def _program(path: Path, old: Program, new: Program) -> Iterator[Change]:
    changed = Direction.CHANGED
    yield from _set((*path, "digest"), {old.digest}, {new.digest}, more=changed, fewer=changed)
    yield from _level((*path, "binding"), old.least_binding, new.least_binding)
    spelled = (frozenset(" ".join(map(repr, it)) or "(none)" for it in each.arguments) for each in (old, new))
    yield from _set((*path, "arguments"), *spelled)
    for tee in sorted({*old.measurements, *new.measurements}):
        nothing: frozenset[str] = frozenset()
        values = (each.measurements.get(tee, nothing) for each in (old, new))
        yield from _set((*path, "measurements", tee), *values)


def _tee(path: Path, old: TeeProfile, new: TeeProfile) -> Iterator[Change]:
    changed = Direction.CHANGED
    yield from _set((*path, "kind"), {old.kind.value}, {new.kind.value}, more=changed, fewer=changed)
    # A profile that vouches for a stronger level lets more programs pass.
    yield from _level((*path, "binding"), new.binding, old.binding, added=new.binding, removed=old.binding)
    claims = ({it} - {None} for it in (old.program_claim, new.program_claim))
    shown = ({str(it) for it in each} for each in claims)
    yield from _set((*path, "program_claim"), *shown, more=changed, fewer=changed)
    for name in sorted({*old.reference, *new.reference}):
        where = (*path, "reference", name)
        yield from _allow_list(where, old.reference.get(name), new.reference.get(name))
    for name in sorted({*old.minimum, *new.minimum}):
        yield from _number((*path, "minimum", name), old.minimum.get(name), new.minimum.get(name))
    yield from _set((*path, "statuses"), old.statuses, new.statuses)
    fewer, more = Direction.LOOSER, Direction.TIGHTER
    advisories = (*path, "refused_advisories")
    yield from _set(advisories, old.refused_advisories, new.refused_advisories, more=more, fewer=fewer)
    yield from _allow_list((*path, "chips"), old.chips or None, new.chips or None)
    if old.debug != new.debug:
        yield Change((*path, "debug"), Direction.LOOSER if new.debug else Direction.TIGHTER, (new.debug,), (old.debug,))


# --- kinds of fields --------------------------------------------------------------------------------------------------
def _set(
    path: Path,
    old: frozenset[str] | set[str],
    new: frozenset[str] | set[str],
    *,
    more: Direction = Direction.LOOSER,
    fewer: Direction = Direction.TIGHTER,
) -> Iterator[Change]:
    """Yield what a set gained and what it lost; by default it is one of allowed values."""
    if new - old:
        yield Change(path, more, tuple(sorted(new - old)), ())
    if old - new:
        yield Change(path, fewer, (), tuple(sorted(old - new)))


def _allow_list(
    path: Path, old: frozenset[Value] | frozenset[str] | None, new: frozenset[Value] | frozenset[str] | None
) -> Iterator[Change]:
    """Yield what a list of allowed values gained and lost, where no list at all allows every value."""
    before, after = ({(type(it).__name__, it) for it in each or ()} for each in (old, new))
    added, removed = (in_order(it for _, it in each) for each in (after - before, before - after))
    if old is None and new is not None:
        yield Change(path, Direction.TIGHTER, added, ())
    elif new is None and old is not None:
        yield Change(path, Direction.LOOSER, (), removed)
    else:
        if added:
            yield Change(path, Direction.LOOSER, added, ())
        if removed:
            yield Change(path, Direction.TIGHTER, (), removed)


def _number(path: Path, old: int | None, new: int | None) -> Iterator[Change]:
    """Yield a change of a least number; none at all allows every number."""
    if old == new:
        return
    tighter = old is None or (new is not None and new > old)
    shown = (tuple(it for it in (each,) if it is not None) for each in (new, old))
    yield Change(path, Direction.TIGHTER if tighter else Direction.LOOSER, *shown)


def _level(
    path: Path, old: Binding, new: Binding, *, added: Binding | None = None, removed: Binding | None = None
) -> Iterator[Change]:
    if old is not new:
        direction = Direction.TIGHTER if new.strength > old.strength else Direction.LOOSER
        yield Change(path, direction, ((added or new).value,), ((removed or old).value,))


def _named(path: Path, is_new: bool) -> Change:  # noqa: FBT001 - which side has it
    name = (path[-1],)
    return Change(path, Direction.CHANGED, name if is_new else (), () if is_new else name)


def _roles(old: Manifest | None, new: Manifest) -> Iterator[Change]:
    every = (*(old.roles if old is not None else ()), *new.roles)
    for domain in sorted({it.domain for it in every}):
        before = _takers(old, domain) if old is not None else frozenset[str]()
        yield from _set(("roles", domain), before, _takers(new, domain))


def _takers(manifest: Manifest, domain: str) -> frozenset[str]:
    """Return, in words, which program of which digest may take which role of *domain* on which TEE."""
    return frozenset(
        f"{role}: {it.program} {manifest.programs[it.program].digest} on {it.tee}"
        for it in manifest.roles
        if it.domain == domain
        for role in it.roles
    )


def _keys(keys: Mapping[str, bytes]) -> set[str]:
    return {f"{name} {public_key_text(raw)}" for name, raw in keys.items()}


def _both(old: Mapping[str, T], new: Mapping[str, T]) -> Iterator[tuple[str, T, T]]:
    for name in sorted(set(old) & set(new)):
        yield name, old[name], new[name]
