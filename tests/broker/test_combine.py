"""Calls made together: each gets its own result, in order, and a failure reaches those of its batch and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from redoubt.broker.combine import Combiner
from redoubt.errors import StorageError


def test_call_that_comes_alone_is_a_batch_of_one() -> None:
    batches: list[Sequence[int]] = []

    def work(batch: Sequence[int]) -> Sequence[int]:
        batches.append(list(batch))
        return [item * 2 for item in batch]

    combiner = Combiner(work, largest=10)
    assert [combiner.call(item) for item in (1, 2)] == [2, 4]
    assert batches == [[1], [2]]


def test_calls_that_wait_are_made_together_in_batches_of_at_most_the_largest() -> None:
    batches: list[list[int]] = []
    entered, release = threading.Event(), threading.Event()

    def work(batch: Sequence[int]) -> Sequence[int]:
        batches.append(list(batch))
        entered.set()
        release.wait(30)
        return [item * 2 for item in batch]

    combiner = Combiner(work, largest=4)
    results: dict[int, int] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: combiner.call(i)})) for i in range(11)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(combiner._waiting) < 10:  # all have come while the first is under way
        threading.Event().wait(0.001)
    release.set()
    for thread in threads:
        thread.join(30)
    assert results == {i: i * 2 for i in range(11)}
    assert [len(batch) for batch in batches] == [1, 4, 4, 2]
    assert sorted(item for batch in batches for item in batch) == list(range(11))


def test_failure_reaches_its_batch_and_the_next_call_works() -> None:
    failing = True

    def work(batch: Sequence[int]) -> Sequence[int]:
        if failing:
            raise StorageError("the disk is full", hint="make room")
        return batch

    combiner = Combiner(work, largest=4)
    errors: list[StorageError] = []

    def call() -> None:
        try:
            combiner.call(1)
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [(error.what, error.hint) for error in errors] == [("the disk is full", "make room")] * 6
    assert len(set(map(id, errors))) == 6
    failing = False
    assert combiner.call(7) == 7


def test_work_that_gives_too_few_results_fails_its_callers() -> None:
    with pytest.raises(ValueError, match="zip"):
        Combiner[int, int](lambda batch: [], largest=4).call(1)
