"""The collateral cache: refresh, outage, the end of grace, damage and crashes."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.evidence.pki_dcap import Intel

from redoubt.errors import CollateralUnavailable, EvidenceCollateral, StorageError, UsageError
from redoubt.evidence.collateral import CachePolicy, CollateralCache
from redoubt.evidence.dcap import DcapCollateral
from redoubt.limits import MAX_COLLATERAL_BYTES, MAX_COLLATERAL_WAITERS

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = CachePolicy(refresh=12 * HOUR, grace=72 * HOUR, retry=timedelta(minutes=1))


class Vendor:
    """A vendor that answers, fails or lies, as the test tells it."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: bytes | Exception = b"one"

    def __call__(self, key: str) -> bytes:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def parse(data: bytes) -> str:
    if not data.isalpha():
        raise EvidenceCollateral("not collateral")
    return data.decode()


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def cache(tmp_path: Path, vendor: Vendor) -> Callable[[], CollateralCache[str]]:
    """Return what opens the cache anew, as another process would."""
    return lambda: CollateralCache(tmp_path / "cache", fetch=vendor, parse=parse, policy=POLICY)


def test_fetched_once_while_fresh(cache: Callable[[], CollateralCache[str]], vendor: Vendor) -> None:
    opened = cache()
    assert opened.get("a", now=NOW).value == "one"
    assert opened.get("a", now=NOW + 12 * HOUR).value == "one"
    assert cache().get("a", now=NOW + 11 * HOUR).value == "one"
    assert vendor.calls == 1


def test_refreshed_in_time(cache: Callable[[], CollateralCache[str]], vendor: Vendor) -> None:
    cache().get("a", now=NOW)
    vendor.answer = b"two"
    found = cache().get("a", now=NOW + 13 * HOUR)
    assert (found.value, found.stale, found.fetched) == ("two", False, NOW + 13 * HOUR)


def test_keys_are_apart(cache: Callable[[], CollateralCache[str]], vendor: Vendor) -> None:
    opened = cache()
    opened.get("a", now=NOW)
    vendor.answer = b"two"
    assert opened.get("../../b", now=NOW).value == "two"
    assert opened.get("a", now=NOW).value == "one"


@pytest.mark.parametrize(
    "outage", [OSError("no route"), CollateralUnavailable("down"), b"<html>", b"", b"x" * (MAX_COLLATERAL_BYTES + 1)]
)
@pytest.mark.parametrize("restarted", [False, True])
def test_works_through_an_outage_and_fails_closed_after_grace(
    cache: Callable[[], CollateralCache[str]], vendor: Vendor, outage: bytes | Exception, restarted: bool
) -> None:
    opened = cache()
    opened.get("a", now=NOW)
    vendor.answer = outage
    opened = cache() if restarted else opened
    assert opened.get("a", now=NOW + 12 * HOUR).stale is False
    assert opened.get("a", now=NOW + 13 * HOUR).stale is True
    assert opened.get("a", now=NOW + 72 * HOUR).value == "one"
    with pytest.raises(CollateralUnavailable):
        opened.get("a", now=NOW + 72 * HOUR + timedelta(seconds=1))
    vendor.answer = b"two"
    assert opened.get("a", now=NOW + 73 * HOUR + timedelta(minutes=2)).value == "two"


def test_nothing_cached_and_no_vendor_fails_closed(cache: Callable[[], CollateralCache[str]], vendor: Vendor) -> None:
    vendor.answer = OSError("no route")
    with pytest.raises(CollateralUnavailable):
        cache().get("a", now=NOW)


def test_vendor_is_left_alone_after_a_failure(cache: Callable[[], CollateralCache[str]], vendor: Vendor) -> None:
    opened = cache()
    opened.get("a", now=NOW)
    vendor.answer = OSError("no route")
    for second in range(0, 59, 10):
        assert opened.get("a", now=NOW + 20 * HOUR + timedelta(seconds=second)).stale
    assert vendor.calls == 2
    opened.get("a", now=NOW + 20 * HOUR + timedelta(seconds=61))
    assert vendor.calls == 3


def test_clock_set_back_does_not_make_old_collateral_fresh(
    cache: Callable[[], CollateralCache[str]], vendor: Vendor
) -> None:
    cache().get("a", now=NOW)
    vendor.answer = OSError("no route")
    with pytest.raises(CollateralUnavailable):
        cache().get("a", now=NOW - HOUR)


def _only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").iterdir()
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data.replace(b"one", b"???"),
        lambda data: data.replace(b'"a"', b'"b"'),
        lambda data: data.replace(b"+00:00", b""),
        lambda data: b"[]" + data,
        lambda data: b"\xff\n" + data,
        lambda data: b"[" * 4000 + b"\n" + data,
    ],
)
def test_damaged_entry_is_as_good_as_none(
    cache: Callable[[], CollateralCache[str]], vendor: Vendor, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache().get("a", now=NOW)
    path = _only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache().get("a", now=NOW).value == "one"
    assert vendor.calls == 2
    path.write_bytes(damage(path.read_bytes()))
    vendor.answer = OSError("no route")
    with pytest.raises(CollateralUnavailable):
        cache().get("a", now=NOW)


def test_crash_while_writing_leaves_the_old_entry(
    cache: Callable[[], CollateralCache[str]], vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache().get("a", now=NOW)

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("redoubt.keys.private.os.fsync", crash)
    vendor.answer = b"two"
    with pytest.raises(StorageError):
        cache().get("a", now=NOW + 13 * HOUR)
    monkeypatch.undo()
    vendor.answer = OSError("no route")
    assert cache().get("a", now=NOW + 13 * HOUR).value == "one"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_entries_are_private(cache: Callable[[], CollateralCache[str]], tmp_path: Path) -> None:
    cache().get("a", now=NOW)
    assert stat.S_IMODE(_only_file(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "times", [(2, 1, 0), (-1, 1, 0), (1, 2, -1)], ids=["grace before refresh", "negative refresh", "negative retry"]
)
def test_impossible_policy_is_refused(times: tuple[int, int, int]) -> None:
    refresh, grace, retry = (hours * HOUR for hours in times)
    with pytest.raises(UsageError):
        CachePolicy(refresh=refresh, grace=grace, retry=retry)


def test_holds_intels_collateral(tmp_path: Path) -> None:
    collateral = Intel().collateral()
    cache = CollateralCache(tmp_path, fetch=lambda _: collateral, parse=DcapCollateral.parse, policy=CachePolicy())
    assert cache.get("00906EA10000", now=NOW).value.lists_until > NOW.timestamp()


def test_platforms_of_fancy_hold_no_more_threads_than_a_few(tmp_path: Path) -> None:
    """Any stranger's evidence names a platform; each waited for the vendor in a thread of the broker's few."""
    answers, asked = threading.Event(), threading.Event()

    def fetch(key: str) -> bytes:
        asked.set()
        assert answers.wait(10)
        return b"one"

    cache = CollateralCache(tmp_path / "cache", fetch=fetch, parse=parse, policy=POLICY)
    with ThreadPoolExecutor(MAX_COLLATERAL_WAITERS) as strangers:
        waiting = [strangers.submit(cache.get, str(it), now=NOW) for it in range(MAX_COLLATERAL_WAITERS)]
        assert asked.wait(10)
        deadline = time.monotonic() + 10
        while cache._places._value and time.monotonic() < deadline:
            time.sleep(0.001)
        with pytest.raises(CollateralUnavailable, match="as many wait"):
            cache.get("another", now=NOW)
        answers.set()
        assert [it.result().value for it in waiting] == ["one"] * MAX_COLLATERAL_WAITERS
    assert cache.get("another", now=NOW).value == "one"
