"""A provider over books and a holder: what a primary key may do, whoever keeps the books and whoever holds the bytes.

What it holds to:

* keys exist only in the classes that the books may hold (hardening H25);
* every wrap is counted, and every live wrap is referenced, in one transaction and before it is handed out: a crash can
  leave a reference without a wrap, which refuses a destroy too many, never one too few;
* creating, rotating and destroying run inside a write transaction: processes that share the books take turns, and a
  crash or a lost race leaves at most a key with its holder that no version points to;
* data keys are wrapped and unwrapped outside of any transaction, so that a slow holder stops nobody; what the books say
  is checked before, and for a wrap again when it is counted;
* a version is destroyed with its holder before the books say so: "destroyed" is never said of a key that is there;
* a batch is all or nothing.

States, counts and references are as trustworthy as the database: who can write it could also have deleted it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from redoubt.errors import (
    AssuranceRefused,
    KeyDestroyed,
    KeyDisabled,
    KeyError_,
    KeyExists,
    KeyReferenced,
    RedoubtError,
    WrapLimitReached,
    WrapRefused,
)
from redoubt.keys.books import (
    MAX_VERSION,
    BookKeeper,
    Books,
    Reference,
    VersionRow,
    key_info,
    load_version,
    load_versions,
)
from redoubt.keys.holder import KeyHolder, KeyVersion, Unwrapped, Wrapped
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo, KeyState
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_KEY_BATCH, MAX_WRAPS_PER_KEY_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFacts:
    """Whose books these are: ``place`` and ``damaged`` are how errors speak of them."""

    identity: bytes
    assurances: frozenset[Assurance]
    place: str
    damaged: type[RedoubtError]


@dataclass(frozen=True, slots=True)
class _Usable:
    """An enabled version, with what its holder needs to find it."""

    row: VersionRow
    version: KeyVersion
    entry: bytes


class HeldProvider:
    """Primary keys of one holder; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(
        self,
        books: BookKeeper,
        facts: BookFacts,
        holder: KeyHolder,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the books of *holder*'s keys in *books*; it is asked when key bytes are needed, never by listing."""
        self._books = books
        self._facts = facts
        self._holder = holder
        self._clock = clock

    @property
    def assurances(self) -> frozenset[Assurance]:
        """The classes whose keys may exist here."""
        return self._facts.assurances

    def probe(self) -> str:
        """Reach the holder, prove the credential, and return one line on what answered.

        Raises:
            KeyError_, WorkspaceError: what is wrong.
        """
        return self._holder.probe()

    # --- the life of primary keys -------------------------------------------------------------------------------------
    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key with version 1.

        Raises:
            KeyExists: the name is taken, be it by a destroyed key.
            AssuranceRefused: its class cannot be here.
            WorkspaceError: the root key, or the holder's credential, is missing or wrong.
        """
        self._check_class(name)
        self._holder.ready()

        def work(books: Books) -> KeyInfo:
            if books.versions(name):
                raise KeyExists(f"{name} exists already")
            self._insert(books, name, 1)
            return key_info(books, name)

        return self._books.writing(work, repeatable=False)

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key, ordered by name."""
        return self._books.reading(lambda books: tuple(key_info(books, name) for name in books.names()))

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key; KeyUnknown if there is none."""
        return self._books.reading(lambda books: key_info(books, name))

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version, enabled whatever the state of the older ones, which keep unwrapping."""
        self._check_class(name)
        self._holder.ready()

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            self._insert(books, name, load_versions(books, name)[-1].number + 1)
            return key_info(books, name)

        return self._books.writing(work, repeatable=False)

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable one version, or all that are not destroyed.

        Raises:
            KeyUnknown: no such key or version.
            KeyDestroyed: that version, or every version, is destroyed.
            KeyError_: *state* is DESTROYED.
        """
        if state is KeyState.DESTROYED:
            raise KeyError_("a state change cannot destroy a key", hint="Use `redoubt keys destroy NAME --version N`.")

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            chosen = load_versions(books, name) if version is None else [load_version(books, name, version)]
            alive = [row for row in chosen if row.state is not KeyState.DESTROYED]
            if not alive:
                raise KeyDestroyed(f"{chosen[-1].label} is destroyed")
            for row in alive:
                books.set_state(row, state)
            return key_info(books, name)

        return self._books.writing(work, repeatable=True)

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Destroy the key bytes of a version for ever and keep its row; a second time changes nothing.

        SQLite zeroes the bytes in the file; PostgreSQL keeps them until its vacuum, and in its log and archives;
        copies, and blocks that the disk still holds, are out of reach.

        Raises:
            KeyUnknown: no such key or version.
            KeyReferenced: it still wraps data keys and *even_if_referenced* is false.
        """

        def work(books: Books) -> KeyInfo:
            books.lock([name])
            row = load_version(books, name, version)
            references = books.count_references(row)
            if row.state is not KeyState.DESTROYED and references and not even_if_referenced:
                raise KeyReferenced(f"{row.label} still wraps {references} data key(s)")
            if row.wrapped is not None:
                self._holder.destroy(self._version(row), row.wrapped)
            books.erase(row)
            return key_info(books, name)

        return self._books.writing(work, repeatable=True)

    # --- data keys ----------------------------------------------------------------------------------------------------
    def wrap(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        """Wrap *keys* under the newest version.

        Raises:
            KeyUnknown, KeyDisabled, KeyDestroyed: the key, or its newest version, cannot be used.
            WrapLimitReached: the version would pass its limit of wraps.
            KeyError_: more than ``MAX_KEY_BATCH`` keys.
        """
        _check_batch(keys)
        self._check_class(name)
        self._holder.ready()
        return self._count(self._wrap_newest(name, keys))

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap, in order.

        Raises:
            WrapRefused: a record was changed or belongs to another context, key or version.
            KeyUnknown, KeyDisabled, KeyDestroyed: a record's key version cannot be used.
            KeyError_: more than ``MAX_KEY_BATCH`` records.
        """
        _check_batch(wrapped)
        self._holder.ready()
        return self._open(wrapped)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Wrap again under the newest version of each record's key, in order; :meth:`release` the old ones later.

        Raises what :meth:`unwrap` and :meth:`wrap` raise.
        """
        _check_batch(wrapped)
        self._holder.ready()
        opened = self._open(wrapped)
        again: dict[int, WrappedKey] = {}
        for name in {record.key for record in wrapped}:
            places = [place for place, record in enumerate(wrapped) if record.key == name]
            again.update(zip(places, self._wrap_newest(name, [opened[p] for p in places]), strict=True))
        return self._count([again[place] for place in range(len(wrapped))])

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references that these wraps hold; one that holds none changes nothing."""
        _check_batch(wrapped)
        references = [Reference.of(record) for record in wrapped]
        self._books.writing(lambda books: books.release(references), repeatable=True)

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget references by older versions of the same keys and contexts: the data carries *wrapped* now."""
        _check_batch(wrapped)
        references = [Reference.of(record) for record in wrapped]
        self._books.writing(lambda books: books.settle(references), repeatable=True)

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return the contexts still wrapped by a version, or by any version, each once, ordered by dataset id."""

        def work(books: Books) -> set[WrapContext]:
            chosen = load_versions(books, name) if version is None else [load_version(books, name, version)]
            return {context for row in chosen for context in books.contexts(row)}

        return tuple(sorted(self._books.reading(work), key=lambda it: (it.dataset_id, it.data_key_id, it.purpose)))

    # --- inside -------------------------------------------------------------------------------------------------------
    def _check_class(self, name: KeyName) -> None:
        if name.assurance not in self.assurances:
            raise AssuranceRefused(f"{name} cannot live in {self._facts.place}")

    def _version(self, row: VersionRow) -> KeyVersion:
        return KeyVersion(row.name, row.number, self._facts.identity)

    def _insert(self, books: Books, name: KeyName, number: int) -> None:
        if number > MAX_VERSION:
            raise KeyError_(f"{name} has as many versions as the format allows")
        row = VersionRow(name, number, KeyState.ENABLED, int(self._clock()), wraps=0, wrapped=None)
        books.insert(replace(row, wrapped=self._holder.create(self._version(row))))

    def _usable(self, row: VersionRow) -> _Usable:
        self._check_class(row.name)
        if row.state is KeyState.DISABLED:
            raise KeyDisabled(f"{row.label} is disabled")
        if row.wrapped is None:
            raise KeyDestroyed(f"{row.label} is destroyed")
        return _Usable(row, self._version(row), row.wrapped)

    def _open(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        groups: dict[tuple[KeyName, int], list[int]] = {}
        for place, record in enumerate(wrapped):
            groups.setdefault((record.key, record.version), []).append(place)
        usable = self._books.reading(lambda books: {of: self._usable(load_version(books, *of)) for of in groups})
        opened: dict[int, DataKey] = {}
        for of, places in groups.items():
            key = usable[of]
            records = [wrapped[place] for place in places]
            mechanism = self._holder.mechanism(key.version, key.entry)
            for record in records:
                if record.mechanism != mechanism:
                    raise WrapRefused(f"a wrapped key of {record.key} has the unknown mechanism {record.mechanism!r}")
            items = [Wrapped(it.ciphertext, it.context.encode(key=it.key, version=it.version)) for it in records]
            for place, secret in zip(places, self._holder.unwrap(key.version, key.entry, items), strict=True):
                opened[place] = DataKey(context=wrapped[place].context, secret=secret)
        return tuple(opened[place] for place in range(len(wrapped)))

    def _wrap_newest(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        key = self._books.reading(lambda books: self._usable(load_versions(books, name)[-1]))
        _check_room(key.row, len(keys))
        contexts = [WrapContext(it.dataset_id, it.id, it.purpose) for it in keys]
        number = key.row.number
        items = [
            Unwrapped(it.secret, context.encode(key=name, version=number))
            for it, context in zip(keys, contexts, strict=True)
        ]
        mechanism = self._holder.mechanism(key.version, key.entry)
        return tuple(
            WrappedKey(context, name, number, mechanism, ciphertext)
            for context, ciphertext in zip(
                contexts, self._holder.wrap(key.version, key.entry, items) if items else (), strict=True
            )
        )

    def _count(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Count and reference *wrapped*, if their versions may still be used, and hand them out."""
        groups: dict[tuple[KeyName, int], list[Reference]] = {}
        for record in wrapped:
            groups.setdefault((record.key, record.version), []).append(Reference.of(record))

        def work(books: Books) -> None:
            books.lock([name for name, _ in groups])
            for of, references in groups.items():
                row = self._usable(load_version(books, *of)).row
                _check_room(row, len(references))
                books.count_wraps(row, references)

        if groups:
            self._books.writing(work, repeatable=True)  # twice is a reference too many, never one too few
        return tuple(wrapped)


def _check_room(row: VersionRow, wraps: int) -> None:
    if row.wraps + wraps > MAX_WRAPS_PER_KEY_VERSION:
        raise WrapLimitReached(f"{row.label} has wrapped {row.wraps} data keys")


def _check_batch(batch: Sequence[object]) -> None:
    if len(batch) > MAX_KEY_BATCH:
        raise KeyError_(f"a batch of {len(batch)} keys is over the limit of {MAX_KEY_BATCH}")
