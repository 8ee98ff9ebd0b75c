"""The vendor's collateral on disk: refreshed in time, used through an outage, refused after it.

The one module of this room that touches the disk; how to fetch is the caller's function. The cache is trusted with
nothing but availability: whoever changes it makes verification fail, since vendors sign what it holds and say until
when it is valid. The grace time shortens that, and never lengthens it.

Decides, for an entry of age *a*: fresh (a ≤ refresh) is used as it is; else a fetch is tried, and if the vendor does
not answer, or answers with something that is no collateral, the old entry serves while a ≤ grace. Then nothing does.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Generic, TypeVar

from redoubt.errors import CollateralUnavailable, NotFound, RedoubtError, StorageError, UsageError
from redoubt.evidence.claims import unix_time
from redoubt.keys.private import DIRECTORY_MODE, read_private_file, replace_private_file
from redoubt.limits import MAX_COLLATERAL_BYTES, MAX_COLLATERAL_PLATFORMS

T = TypeVar("T")
V = TypeVar("V")
#: Separates the envelope (one line of JSON) from the collateral.
_ENVELOPE_END: Final = b"\n"
_MAX_ENVELOPE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How old collateral may be."""

    #: After this, a newer one is fetched.
    refresh: timedelta = timedelta(hours=12)
    #: After this, the old one is not used even if the vendor does not answer.
    grace: timedelta = timedelta(days=7)
    #: After a failed fetch the vendor is left alone for this long.
    retry: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.refresh <= self.grace or self.retry < timedelta(0):
            raise UsageError("a collateral cache needs 0 ≤ refresh ≤ grace and 0 ≤ retry")


@dataclass(frozen=True, slots=True)
class Cached(Generic[T]):
    """Parsed collateral with its age."""

    value: T
    fetched: datetime
    #: Whether it is past its refresh time, because the vendor does not answer.
    stale: bool


class CollateralCache(Generic[T]):
    """Collateral by key (such as an FMSPC) in a private folder.

    *fetch* returns the vendor's bytes for a key, and raises OSError or a RedoubtError when it cannot; *parse* returns
    the parsed collateral or raises a RedoubtError.
    """

    def __init__(
        self, folder: Path, *, fetch: Callable[[str], bytes], parse: Callable[[bytes], T], policy: CachePolicy
    ) -> None:
        self._folder = folder
        self._fetch = fetch
        self._parse = parse
        self._policy = policy
        # Keys are words of evidence that nothing has proved yet: what is kept by them is bounded.
        self._parsed: OrderedDict[str, Cached[T]] = OrderedDict()
        self._failed: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching = threading.Lock()

    def get(self, key: str, *, now: datetime) -> Cached[T]:
        """Return the collateral of *key*. Raises CollateralUnavailable when none may be used."""
        unix_time(now)
        known = self._known(key)
        age = None if known is None else now - known.fetched
        # Negative: the clock was set back, so the age is unknown and only a new answer will do.
        if known is not None and age is not None and timedelta(0) <= age <= self._policy.refresh:
            return known
        usable = known is not None and age is not None and timedelta(0) <= age <= self._policy.grace
        # One fetch at a time. Whoever can do without does not wait for others', which may be for platforms of fancy.
        reason = "another fetch is under way"
        if self._fetching.acquire(blocking=not usable):
            try:
                found = self._refresh(key, now, known)
            finally:
                self._fetching.release()
            if isinstance(found, Cached):
                return found
            reason = found
        if known is not None and usable:
            return Cached(known.value, known.fetched, stale=True)
        state = "none is cached" if known is None else f"the cached one was fetched at {known.fetched.isoformat()}"
        raise CollateralUnavailable(f"no usable collateral for {key}: {reason}, and {state}")

    def _known(self, key: str) -> Cached[T] | None:
        with self._lock:
            if (known := self._parsed.get(key)) is not None:
                return known
        loaded = self._load(key)
        if loaded is not None:
            with self._lock:
                _put(self._parsed, key, loaded)
        return loaded

    def _refresh(self, key: str, now: datetime, known: Cached[T] | None) -> Cached[T] | str:
        """Fetch and store the collateral of *key*, unless another did since *known* was seen; or say why not."""
        with self._lock:
            failed, parsed = self._failed.get(key), self._parsed.get(key)
        if parsed is not None and parsed is not known:
            return parsed
        if failed is not None and timedelta(0) <= now - failed < self._policy.retry:
            return "the last fetch failed a moment ago"
        try:
            data = self._fetch(key)
            if len(data) > MAX_COLLATERAL_BYTES:
                raise CollateralUnavailable(f"the answer is larger than {MAX_COLLATERAL_BYTES} bytes")
            new = Cached(self._parse(data), now, stale=False)
        except (OSError, RedoubtError) as error:
            with self._lock:
                _put(self._failed, key, now)
            return f"the vendor's answer could not be used ({error})"
        with self._lock:
            _put(self._parsed, key, new)
            self._failed.pop(key, None)
        self._store(key, data, now)
        return new

    def _path(self, key: str) -> Path:
        # A digest: keys come from evidence that nothing has proved yet.
        return self._folder / f"{sha256(key.encode()).hexdigest()}.collateral"

    def _store(self, key: str, data: bytes, now: datetime) -> None:
        envelope = json.dumps({"fetched": now.astimezone(UTC).isoformat(), "key": key, "version": 1})
        try:
            self._folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            replace_private_file(self._path(key), envelope.encode() + _ENVELOPE_END + data)
        except OSError as error:
            raise StorageError(f"the collateral cache {self._folder} cannot be written: {error.strerror}") from None

    def _load(self, key: str) -> Cached[T] | None:
        """Return what is on disk for *key*, or None if that is nothing, or not what :meth:`_store` writes."""
        try:
            content = read_private_file(
                self._path(key), limit_bytes=MAX_COLLATERAL_BYTES + _MAX_ENVELOPE_BYTES, what="collateral"
            )
            envelope, found, data = content.partition(_ENVELOPE_END)
            fields = json.loads(envelope)
            if (
                not found
                or set(fields) != {"fetched", "key", "version"}
                or (fields["key"], fields["version"]) != (key, 1)
            ):
                return None
            fetched = datetime.fromisoformat(fields["fetched"])
            return None if fetched.tzinfo is None else Cached(self._parse(data), fetched, stale=False)
        except (NotFound, ValueError, TypeError, RecursionError, RedoubtError):
            # A damaged entry is as good as none: the vendor is asked, and if it does not answer, nothing is used.
            return None


def _put(entries: OrderedDict[str, V], key: str, value: V) -> None:
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > MAX_COLLATERAL_PLATFORMS:
        entries.popitem(last=False)
