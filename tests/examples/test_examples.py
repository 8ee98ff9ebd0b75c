"""Python examples of pyspark print the same under ``redoubt submit`` as under ``spark-submit``.

Three of them here; all of them by ``make test-examples`` (:mod:`tests.examples.compare`), whose results are stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.examples.compare import ENOUGH, PAGE, Verdict, judge, load, page
from tests.examples.runner import Both, Way, run_batch
from tests.examples.table import EXAMPLES, FOLDER, SKIPPED, exact

QUICK = ("pi.py", "sort.py", "wordcount.py")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Both]:
    return run_batch([it for it in EXAMPLES if it.name in QUICK], folder=tmp_path_factory.mktemp("examples"))


@pytest.mark.spark
@pytest.mark.parametrize("name", QUICK)
def test_quick_ones_print_the_same(name: str, quick: Mapping[str, Both]) -> None:
    (example,) = (it for it in EXAMPLES if it.name == name)
    both = quick[name]
    assert judge(example, both) is Verdict.SAME, both[Way.REDOUBT].stdout[-4000:]


def test_every_example_is_run_or_skipped_for_a_reason() -> None:
    there = {it.relative_to(FOLDER).as_posix() for it in FOLDER.rglob("*.py") if it.name != "__init__.py"}
    assert there == {*SKIPPED, *(it.name for it in EXAMPLES)}
    assert all(bool(it.reason) == (it.normalise is not exact) for it in EXAMPLES)


def test_the_page_is_what_was_compared_and_that_is_enough() -> None:
    stored = load()
    assert PAGE.read_text() == page(stored), "python -m tests.examples.compare --page"
    assert Verdict.DIFFERS not in {it.verdict for it in stored.values()}
    assert sum(it.verdict is Verdict.SAME for it in stored.values()) >= ENOUGH
    assert sum(it.alone and it.verdict is Verdict.SAME for it in stored.values()) >= 15
