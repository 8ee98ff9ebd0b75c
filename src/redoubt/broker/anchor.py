"""The store's state, anchored in a counter that can only go up: a store that is put back is noticed at the next start.

Each anchoring writes the counter's next value as a row of the audit log, and then raises the counter. So the newest row
has the counter's value, or one more if the broker died in between. A counter that is ahead of the newest row has seen
rows that the store no longer has. What was undone since the last anchoring is not noticed here
(``docs/operations.md``, "What rollback detection can see").

A store without any row of the counter is refused too, or a state from before the first would pass: the first anchoring
is an operator's own act, and so is the one after an honest restore.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from redoubt.broker.core import Event, system_clock
from redoubt.broker.ports import AuditLog
from redoubt.errors import AnchorUnusable, RedoubtError, StoreRolledBack
from redoubt.evidence.claims import JSON
from redoubt.limits import ANCHOR_SECONDS
from redoubt.trust.receipt_audit import GRANTED

_COUNTER: Final = "counter"
_VALUE: Final = "value"


class Counter(Protocol):
    """A number that nobody can make smaller. Methods raise AnchorUnusable."""

    def read(self) -> int:
        """Return it."""

    def increment(self) -> None:
        """Add one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One counter and the log that speaks of it, under *name*. One running broker has it at a time."""

    audit: AuditLog
    counter: Counter
    name: str

    def begin(self) -> int:
        """Anchor the store as it is now, whatever it was before, and return the counter's value."""
        return self._put(self.counter.read() + 1)

    def advance(self) -> int:
        """Anchor the store as it is now, and return the counter's value.

        Raises:
            StoreRolledBack: the store lacks the counter's newest row.
            AnchorUnusable: the counter was never begun here, is another one, or cannot be used.
        """
        row = self.audit.newest({"event": Event.ANCHORED.value, _COUNTER: self.name})
        value = self.counter.read()
        written = None if row is None else row.event.get(_VALUE)
        if not isinstance(written, int):
            raise AnchorUnusable(
                f"the audit log has no row of the counter {self.name!r}: it is not begun, or the store is older",
                hint="If the store is the newest there is: `redoubt broker anchor`.",
            )
        if value > written:
            raise StoreRolledBack(f"the counter {self.name!r} is at {value}, and the newest row of it says {written}")
        if value < written - 1:
            raise AnchorUnusable(f"the counter {self.name!r} is at {value}, below {written} of the log: another one")
        return self._put(written + 1 if value == written else written)

    def _put(self, value: int) -> int:
        event: dict[str, JSON] = {"event": Event.ANCHORED.value, "decision": GRANTED, _VALUE: value}
        self.audit.append({**event, _COUNTER: self.name}, at=system_clock())
        self.counter.increment()
        return value


@contextmanager
def kept(anchor: Anchor, *, stop: Callable[[], None], every: float = ANCHOR_SECONDS) -> Iterator[None]:
    """Anchor again and again while the block runs, and when it ends; a store that was put back meanwhile ends it.

    *stop* makes the block end. Raises what :meth:`Anchor.advance` does.
    """
    ended = threading.Event()
    failures: list[RedoubtError] = []

    def keep() -> None:
        while not ended.wait(every):
            try:
                anchor.advance()
            except RedoubtError as error:
                failures.append(error)
                stop()
                return

    thread = threading.Thread(target=keep, name="redoubt-anchor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]
    anchor.advance()
