"""How often one peer (:func:`redoubt.broker.gate.peer_of`) may ask: a token bucket each, for a bounded number of them.

Decides nothing about who a peer is: the limit holds before anything is parsed. Refused requests cost more, so guessing
is slower than working. Where there are more peers than places, the one that was quiet longest is forgotten, and
begins again with a full bucket.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

from redoubt.errors import RateLimited
from redoubt.limits import MAX_RATE_LIMITED_PEERS, PEER_BURST, PEER_REQUESTS_PER_SECOND


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimiter:
    """Buckets by peer. Times are seconds of any clock that does not go back."""

    def __init__(self, *, per_second: float = PEER_REQUESTS_PER_SECOND, burst: float = PEER_BURST) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, peer: str, *, now: float) -> None:
        """Take one request from the bucket of *peer*; raises RateLimited, whose hint says how long to wait."""
        with self._lock:
            bucket = self._bucket(peer, now)
            if bucket.tokens < 1:
                wait = math.ceil((1 - bucket.tokens) / self._per_second)
                raise RateLimited("more requests than are served from one address", hint=str(wait))
            bucket.tokens -= 1

    def charge(self, peer: str, cost: float, *, now: float) -> None:
        """Take *cost* more, for a request that was refused; the bucket may fall below zero, by one burst at most."""
        with self._lock:
            bucket = self._bucket(peer, now)
            bucket.tokens = max(bucket.tokens - cost, -self._burst)

    def _bucket(self, peer: str, now: float) -> _Bucket:
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = _Bucket(self._burst, now)
            if len(self._buckets) > MAX_RATE_LIMITED_PEERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._per_second)
        bucket.filled = now
        return bucket
