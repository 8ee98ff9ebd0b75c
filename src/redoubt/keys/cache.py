"""Unwrapped data keys in memory: one unwrap a wrapped record, bounded in number and time, cleared when the job ends."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from uuid import UUID

from redoubt.keys.provider import KeySource
from redoubt.keys.register import CommitHead, HeadRegister
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import CACHED_KEY_SECONDS, MAX_CACHED_DATA_KEYS


class CachingKeySource:
    """A key source that keeps what another one unwrapped: at most MAX_CACHED_DATA_KEYS, each for CACHED_KEY_SECONDS.

    A use does not prolong a key's time: when it is over the source is asked again, and may refuse by then.
    """

    def __init__(self, source: KeySource, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        #: Key and end of its time; the next to end comes first.
        self._cache: OrderedDict[bytes, tuple[DataKey, float]] = OrderedDict()
        self._lock = threading.Lock()

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        """Make a data key; see :class:`redoubt.keys.provider.KeySource`."""
        data_key, wrapped = self._source.new_data_key(key, context)
        self._keep(wrapped, data_key)
        return data_key, wrapped

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[DataKey]:
        """Unwrap, from memory where the very same record was unwrapped before."""
        records = [item.encode() for item in wrapped]
        with self._lock:
            self._drop_expired()
            known = {record: self._cache[record][0] for record in records if record in self._cache}
        missing = [item for item, record in zip(wrapped, records, strict=True) if record not in known]
        if missing:
            for item, data_key in zip(missing, self._source.unwrap(missing), strict=True):
                self._keep(item, data_key)
                known[item.encode()] = data_key
        return [known[record] for record in records]

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        """Return what the source says, if it is a register; heads are never kept."""
        return self._source.registered_head(dataset_id) if isinstance(self._source, HeadRegister) else None

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        """Pass *head* on to the source, if it is a register."""
        if isinstance(self._source, HeadRegister):
            self._source.register_head(dataset_id, previous=previous, head=head)

    def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
        """Return what the source says, if it is a register."""
        return self._source.announced_heads(dataset_id) if isinstance(self._source, HeadRegister) else frozenset()

    def announce_head(self, dataset_id: UUID, head: CommitHead) -> None:
        """Pass *head* on to the source, if it is a register."""
        if isinstance(self._source, HeadRegister):
            self._source.announce_head(dataset_id, head)

    def clear(self) -> None:
        """Forget every key."""
        with self._lock:
            self._cache.clear()

    def _keep(self, wrapped: WrappedKey, data_key: DataKey) -> None:
        record = wrapped.encode()
        with self._lock:
            self._drop_expired()
            self._cache[record] = (data_key, self._clock() + CACHED_KEY_SECONDS)
            self._cache.move_to_end(record)
            while len(self._cache) > MAX_CACHED_DATA_KEYS:
                self._cache.popitem(last=False)

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._cache and next(iter(self._cache.values()))[1] <= now:
            self._cache.popitem(last=False)
