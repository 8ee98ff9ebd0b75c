"""Interleaved measurement: every round runs every case once, so that a noisy machine disturbs all cases alike.

Only ratios are claims; seconds are shown for orientation. A ratio is the median over the rounds of one case's time to
the baseline's in the same round: where the machine's speed drifts, a ratio of two medians compares two machines. The
first rounds warm caches and compilers and are dropped.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time. ``prepare`` runs before each run, untimed."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds of every kept run, by case, and the case that the others are compared with."""

    title: str
    baseline: str
    seconds: dict[str, list[float]]

    def median(self, case: str) -> float:
        """Median seconds of *case*."""
        return statistics.median(self.seconds[case])

    def ratio(self, case: str, baseline: str | None = None) -> float:
        """Median over the rounds of *case*'s seconds to the baseline's."""
        pairs = zip(self.seconds[case], self.seconds[baseline or self.baseline], strict=True)
        return statistics.median(own / other for own, other in pairs)


def interleave(title: str, cases: Sequence[Case], *, rounds: int = 5, warmups: int = 1) -> Result:
    """Time *cases*, each once a round; the first is the baseline. Every second round runs them in reverse order."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(warmups + rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            case.prepare()
            gc.collect()
            start = time.perf_counter()
            case.run()
            took = time.perf_counter() - start
            if number >= warmups:
                seconds[case.name].append(took)
            print(f"{title}: round {number} {case.name} {took:.2f} s", flush=True)
    return Result(title, cases[0].name, seconds)


def store(name: str, results: Sequence[Result], *, notes: dict[str, object]) -> Path:
    """Write *results* to ``benchmarks/results/<name>.json`` with what the machine is (no names, no paths)."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **notes},
        "results": [
            {
                "title": result.title,
                "baseline": result.baseline,
                "cases": {
                    case: {
                        "median_seconds": round(result.median(case), 6),
                        "ratio": round(result.ratio(case), 3),
                        "seconds": [round(value, 6) for value in values],
                    }
                    for case, values in result.seconds.items()
                },
            }
            for result in results
        ],
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
