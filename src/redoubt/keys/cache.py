"""Unwrapped data keys in memory: one unwrap a wrapped record, bounded, cleared when the job ends."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from redoubt.keys.provider import KeySource
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_CACHED_DATA_KEYS


class CachingKeySource:
    """A key source that asks another one at most once for each wrapped key; at most MAX_CACHED_DATA_KEYS are kept."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._cache: OrderedDict[bytes, DataKey] = OrderedDict()
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
            known = {record: self._cache[record] for record in records if record in self._cache}
        missing = [item for item, record in zip(wrapped, records, strict=True) if record not in known]
        if missing:
            for item, data_key in zip(missing, self._source.unwrap(missing), strict=True):
                self._keep(item, data_key)
                known[item.encode()] = data_key
        return [known[record] for record in records]

    def clear(self) -> None:
        """Forget every key."""
        with self._lock:
            self._cache.clear()

    def _keep(self, wrapped: WrappedKey, data_key: DataKey) -> None:
        with self._lock:
            self._cache[wrapped.encode()] = data_key
            while len(self._cache) > MAX_CACHED_DATA_KEYS:
                self._cache.popitem(last=False)
