"""Calls that wait for one another anyway, made together: one transaction, and one sync of the disk, for all of them.

While one batch is under way, the calls of other threads gather; one of them then leads the next batch. A call that
comes alone is a batch of one and waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from redoubt.errors import RedoubtError

In = TypeVar("In")
Out = TypeVar("Out")


class _Call(Generic[In, Out]):
    """One call: what it asks, and what came of it once ``ended`` is set."""

    def __init__(self, asked: In) -> None:
        self.asked: Final = asked
        self.ended = False
        #: Its one result.
        self.results: list[Out] = []
        self.failure: BaseException | None = None


class Combiner(Generic[In, Out]):
    """Makes calls of several threads in batches of at most *largest*, in the order in which they came."""

    def __init__(self, work: Callable[[Sequence[In]], Sequence[Out]], *, largest: int) -> None:
        """Use *work*, which gives a result for each of a batch, or raises for all of it."""
        self._work = work
        self._largest = largest
        self._changed = threading.Condition()
        self._waiting: list[_Call[In, Out]] = []
        self._busy = False

    def call(self, asked: In) -> Out:
        """Return the result for *asked*; raises what its batch raised."""
        mine: _Call[In, Out] = _Call(asked)
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                while self._busy and not mine.ended:
                    self._changed.wait()
                if mine.ended:
                    return _outcome(mine)
                self._busy = True
                # In order: with more calls than fit one batch, this one may be in the next.
                batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            self._make(batch)

    def _make(self, batch: Sequence[_Call[In, Out]]) -> None:
        try:
            for call, result in zip(batch, self._work([it.asked for it in batch]), strict=True):
                call.results.append(result)
        except BaseException as error:  # noqa: BLE001 - each caller of the batch raises it
            for call in batch:
                call.failure = error
        finally:
            with self._changed:
                for call in batch:
                    call.ended = True
                self._busy = False
                self._changed.notify_all()


def _outcome(call: _Call[In, Out]) -> Out:
    if isinstance(call.failure, RedoubtError):
        # Each thread raises an error of its own: one object would collect the tracebacks of all.
        raise type(call.failure)(call.failure.what, hint=call.failure.hint) from call.failure
    if call.failure is not None:
        raise call.failure
    return call.results[0]
