"""One target of the fuzz tests, and the loop that throws changed samples at it.

A run finds: an exception that the target does not document, an input that takes more processor time than
:data:`DEADLINE_SECONDS`, and memory that grows beyond :data:`MEMORY_KIB`. What it finds is repeated by its seed, and is
printed as base64.
"""

from __future__ import annotations

import base64
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType

from tests.soak.fuzz.mutation import Shape, mutate

from redoubt.errors import RedoubtError

DEADLINE_SECONDS = 2.0
MEMORY_KIB = 300 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """A parser or verifier, valid inputs, and the errors that it documents."""

    name: str
    run: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refusals: tuple[type[RedoubtError], ...]
    shape: Shape = Shape.BINARY
    #: Takes a large part of a millisecond or more: gets a tenth of the runs.
    slow: bool = False
    #: The samples are refused, for what lies behind them.
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run without findings did."""

    runs: int
    accepted: int
    seconds: float
    grown_kib: int


class Finding(AssertionError):
    """An input that a target did not handle as documented."""


class TooSlow(BaseException):
    """The deadline of one input has passed; no handler of the target may catch it."""


def fuzz(target: Target, *, runs: int, seed: int, deadline: float = DEADLINE_SECONDS) -> Outcome:
    """Run *target* on *runs* changed samples; raises Finding."""
    rng = Random(f"{target.name}/{seed}")
    accepted, start, before = 0, time.process_time(), _peak_kib()
    with _alarms():
        for number in range(runs):
            data = mutate(rng, rng.choice(target.samples), target.samples, target.shape)
            accepted += run_one(target, data, where=f"seed {seed}, run {number}", deadline=deadline)
    grown = _peak_kib() - before
    if grown > MEMORY_KIB:
        raise Finding(f"{target.name}: the peak memory grew by {grown} KiB in {runs} runs")
    return Outcome(runs, accepted, time.process_time() - start, grown)


def run_one(target: Target, data: bytes, *, where: str, deadline: float = DEADLINE_SECONDS) -> bool:
    """Return whether *target* accepts *data*; raises Finding if it does anything but accept or refuse it."""
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, deadline)
        try:
            target.run(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except target.refusals:
        return False
    except (Exception, TooSlow) as error:
        shown = base64.b64encode(data).decode()
        raise Finding(f"{target.name}, {where}: {type(error).__name__}: {error}\ninput (base64): {shown}") from error
    return True


@contextmanager
def _alarms() -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow("it takes too long")

    previous = signal.signal(signal.SIGVTALRM, late)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
