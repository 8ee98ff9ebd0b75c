"""Every Python example of pyspark that runs here prints the same under ``redoubt submit`` as under ``spark-submit``."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.examples.runner import Result, Way, run_batch
from tests.examples.table import EXAMPLES, FOLDER, SKIPPED, Example, exact

#: In the normal suite too.
QUICK = ("pi.py", "sort.py", "wordcount.py")
Both = Mapping[Way, Mapping[str, Result]]


def _run(examples: list[Example], factory: pytest.TempPathFactory) -> Both:
    folder = factory.mktemp("examples")
    return {way: run_batch(way, examples, folder=folder / way.name.lower()) for way in Way}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return _run(list(EXAMPLES), tmp_path_factory)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return _run([it for it in EXAMPLES if it.name in QUICK], tmp_path_factory)


def _same(example: Example, both: Both) -> None:
    plain, ours = (both[way][example.name] for way in Way)
    if plain.status != 0:
        pytest.skip(f"ends with {plain.status} under plain spark-submit too: {plain.stdout[-200:]}")
    assert ours.status == 0, ours.stdout[-4000:]
    assert example.normalise(ours.stdout) == example.normalise(plain.stdout)


@pytest.mark.examples
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda it: it.name)
def test_the_same_output_as_with_spark_submit(example: Example, every: Both) -> None:
    _same(example, every)


@pytest.mark.examples
@pytest.mark.timeout(4 * 3600)
def test_enough_examples_run(every: Both) -> None:
    assert sum(it.status == 0 for it in every[Way.REDOUBT].values()) >= 110


@pytest.mark.spark
@pytest.mark.parametrize("name", QUICK)
def test_quick_ones_print_the_same(name: str, quick: Both) -> None:
    (example,) = (it for it in EXAMPLES if it.name == name)
    assert quick[Way.PLAIN][name].status == 0
    _same(example, quick)


def test_every_example_is_run_or_skipped_for_a_reason() -> None:
    there = {it.relative_to(FOLDER).as_posix() for it in FOLDER.rglob("*.py") if it.name != "__init__.py"}
    assert there == {*SKIPPED, *(it.name for it in EXAMPLES)}
    assert all(bool(it.reason) == (it.normalise is not exact) for it in EXAMPLES)
