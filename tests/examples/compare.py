"""Compares every Python example of pyspark under ``spark-submit`` and under ``redoubt submit``, and writes the page.

python -m tests.examples.compare                      # all of them; writes docs/examples.md
python -m tests.examples.compare pi.py ml/als_example.py --again    # these, even if they were compared before
python -m tests.examples.compare --page               # only the page, from what is stored

Both ways run at once. What was compared is stored after each batch: a run that was interrupted goes on where it was.
Ends with 0 if nothing differs and enough was compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import pyspark
from tests.examples.runner import Both, Way, run_alone, run_batch
from tests.examples.table import EXAMPLES, SKIPPED, Example

STORED: Final = Path(__file__).with_name("results.json")
PAGE: Final = Path(__file__).parents[2] / "docs/examples.md"
#: Issue C: at least so many.
ENOUGH: Final = 110
#: Examples on one JVM: what an example leaves behind in it should not be carried through all of them.
_BATCH: Final = 16


_INTRODUCTION: Final = """\
# Examples of Spark under `redoubt submit`

Every Python example inside the package `pyspark` {version}, run unmodified by `spark-submit` and by `redoubt submit`,
and what it printed compared. Written by `make test-examples`.

**{summary}.**

*alone*: each way one command, as a user types it. *batch*: a small application starts examples one after the other,
each a Python process of its own, started as `spark-submit` starts it, on the one JVM that `spark-submit` or `redoubt
submit` started; a start of a JVM for each would take hours. The examples lie in the measured image. Both ways get the
same settings and small data; `redoubt submit` is given `spark.hadoop.redoubt.plaintext=allow`, since examples read
Parquet that comes with Spark. *all*: what is printed is the same, byte for byte, but for unique ids of models and names
of temporary files.
"""
_HEAD: Final = ("| example | run | compared | because | result |", "|---|---|---|---|---|")


class Verdict(StrEnum):
    """What came of one example."""

    SAME = "the same"
    DIFFERS = "differs"
    FAILS = "fails under plain spark-submit too"
    NOT_RUN = "not run: its JVM ended early"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One compared example; seconds are those of the last run, the other way beside it."""

    verdict: Verdict
    alone: bool
    seconds: Mapping[str, float]


def judge(example: Example, both: Both) -> Verdict:
    """Compare the outputs of *example*."""
    plain, ours = both[Way.PLAIN], both[Way.REDOUBT]
    if plain.status != 0:
        return Verdict.FAILS
    same = ours.status == 0 and example.normalise(ours.stdout) == example.normalise(plain.stdout)
    return Verdict.SAME if same else Verdict.DIFFERS


def compare(examples: Sequence[Example], *, folder: Path, stored: dict[str, Row]) -> None:
    """Compare *examples*, each verdict put into *stored* and on stdout when it is known."""
    for example in (it for it in examples if it.alone):
        _note(example, run_alone(example, folder=folder / "alone" / example.name.replace("/", "_")), folder, stored)
    waiting = [it for it in examples if not it.alone]
    number = 0
    while waiting:
        number += 1
        batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
        found = run_batch(batch, folder=folder / f"batch-{number}")
        for example in batch:
            if example.name in found:
                _note(example, found[example.name], folder, stored)
        left = [it for it in batch if it.name not in found]
        if left and len(left) == len(batch):
            _put(left.pop(0).name, Row(verdict=Verdict.NOT_RUN, alone=False, seconds={}), stored)
        waiting = [*left, *waiting]


def _note(example: Example, both: Both, folder: Path, stored: dict[str, Row]) -> None:
    verdict = judge(example, both)
    seconds = {way.name.lower(): round(both[way].seconds, 1) for way in Way}
    _put(example.name, Row(verdict=verdict, alone=example.alone, seconds=seconds), stored)
    if verdict is not Verdict.SAME:
        for way in Way:
            kept = folder / "outputs" / f"{example.name.replace('/', '_')}.{way.name.lower()}.txt"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(f"{example.normalise(both[way].stdout)}\n--- status {both[way].status}\n{both[way].stdout}")
            print(f"  {way}: {kept}")


def _put(name: str, row: Row, stored: dict[str, Row]) -> None:
    stored[name] = row
    print(f"{row.verdict}: {name} {dict(row.seconds)}", flush=True)
    document = {"spark": pyspark.__version__, "rows": {it: asdict(stored[it]) for it in sorted(stored)}}
    STORED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load() -> dict[str, Row]:
    """Return what was compared, with this Spark."""
    if not STORED.exists():
        return {}
    document = json.loads(STORED.read_text(encoding="utf-8"))
    if document["spark"] != pyspark.__version__:
        return {}
    return {name: Row(**{**row, "verdict": Verdict(row["verdict"])}) for name, row in document["rows"].items()}


def summary(stored: Mapping[str, Row]) -> str:
    """Return the one line of what was compared."""
    verdicts = [stored[it.name].verdict for it in EXAMPLES if it.name in stored]
    compared = sum(it in (Verdict.SAME, Verdict.DIFFERS) for it in verdicts)
    alone = sum(it.name in stored and stored[it.name].alone for it in EXAMPLES)
    return (
        f"{compared} compared ({alone} of them as commands of their own), {verdicts.count(Verdict.SAME)} the same, "
        f"{len(SKIPPED) + len(EXAMPLES) - compared} skipped"
    )


def page(stored: Mapping[str, Row]) -> str:
    """Return ``docs/examples.md``."""
    lines = [_INTRODUCTION.format(version=pyspark.__version__, summary=summary(stored)), *_HEAD]
    for it in EXAMPLES:
        row = stored.get(it.name)
        run = "alone" if it.alone else "batch"
        words = " ".join([it.name, *it.arguments])
        lines.append(f"| {words} | {run} | {it.compared} | {it.reason} | {'not run' if row is None else row.verdict} |")
    lines += ["", "## Skipped", "", "| example | why |", "|---|---|"]
    lines += [f"| {name} | {why} |" for name, why in sorted(SKIPPED.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="examples (default: all that were not compared yet)")
    parser.add_argument("--again", action="store_true", help="compare again what was compared")
    parser.add_argument("--page", action="store_true", help="write the page only")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    given = parser.parse_args()
    stored = load()
    wanted = [it for it in EXAMPLES if not given.names or it.name in given.names]
    if unknown := set(given.names) - {it.name for it in EXAMPLES}:
        parser.error(f"no such examples, or skipped: {', '.join(sorted(unknown))}")
    if given.page:
        wanted = []
    if not given.again:
        wanted = [it for it in wanted if it.name not in stored or stored[it.name].verdict is not Verdict.SAME]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redoubt-examples-") as temporary:
        compare(wanted, folder=given.folder or Path(temporary), stored=stored)
    PAGE.write_text(page(stored), encoding="utf-8")
    print(f"{summary(stored)}; {time.monotonic() - began:.0f} s")
    verdicts = [it.verdict for it in stored.values()]
    return 0 if Verdict.DIFFERS not in verdicts and verdicts.count(Verdict.SAME) >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
