"""`make bench`: run every benchmark, store the results and write ``docs/performance.md``.

python -m benchmarks.run [--scale 1] [--rounds 5] [--only KIND,…], of the kinds in ``KINDS``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyspark import SparkContext

from benchmarks import broker, cluster, evidence, files, startup, tables
from benchmarks.measure import RESULTS, store
from redoubt.keys.workspace import Workspace
from redoubt.spark import session, stop
from redoubt.workloads.tpch.demo import prepare

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
KINDS = ("evidence", "broker", "files", "startup", "csv", "parquet", "queries", "csv-queries", "cluster")

#: Where seconds are the claim: what is added to a start is the same for every program.
_DIFFERENCES = frozenset({"startup"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    chosen = set(arguments.only.split(","))
    with tempfile.TemporaryDirectory(prefix="redoubt-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        if "evidence" in chosen and (results := evidence.run(rounds=arguments.rounds)):
            store("evidence", results, notes={"dcap-qvl": version("dcap-qvl")})
        if "broker" in chosen:
            (folder / "broker").mkdir()
            store("broker", broker.run(folder / "broker", rounds=arguments.rounds), notes={})
        if "files" in chosen:
            (folder / "files").mkdir()
            store("files", files.run(folder / "files", rounds=arguments.rounds), notes={})
        if "startup" in chosen:
            (folder / "startup").mkdir()
            results = startup.run(folder / "startup", rounds=arguments.rounds)
            store("startup", results, notes={"spark": version("pyspark")})
        if chosen - {"evidence", "broker", "files", "startup"}:
            _spark(folder / "tables", chosen, arguments.scale, arguments.rounds)
    write_page()


def _end_jvm() -> None:
    """End the JVM that PySpark keeps for the next session of this process."""
    gateway: Any = SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


def _spark(folder: Path, chosen: set[str], scale: float, rounds: int) -> None:
    workspace = Workspace.init(folder)
    conf = {
        "spark.sql.shuffle.partitions": "8",
        "spark.driver.memory": "6g",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    spark = session("redoubt bench", keys=workspace, conf=conf)
    notes = {"scale": scale, "spark": version("pyspark"), "pyarrow": version("pyarrow")}
    try:
        data = prepare(spark, workspace, folder, scale=scale, say=print)
        runs = {
            "csv": tables.csv,
            "parquet": tables.parquet,
            "queries": tables.queries,
            "csv-queries": tables.csv_queries,
        }
        for kind, run in runs.items():
            if kind in chosen:
                store(kind, run(spark, data, rounds=rounds), notes=notes)
    finally:
        stop(spark)
    if "cluster" in chosen:  # drivers of its own, which need the memory
        _end_jvm()
        store("cluster", cluster.run(folder, scale=scale, rounds=rounds), notes=notes)


def write_page() -> None:
    """Write the Markdown page from the stored results."""
    lines = [
        "# Performance",
        "",
        "Written by `make bench`: interleaved runs in one process tree, first round dropped. Ratios are the claim: the",
        "median over the rounds of a case's time to the baseline's in the same round. Seconds (medians) depend on the",
        "machine. `more s` is the median over the rounds of the difference to the baseline in the same round.",
    ]
    for kind in KINDS:
        path = RESULTS / f"{kind}.json"
        if not path.exists():
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        machine = ", ".join(f"{name} {value}" for name, value in document["machine"].items())
        for result in document["results"]:
            lines += [
                "",
                f"## {result['title']}",
                "",
                f"{machine}.",
                "",
                "| case | median s | ratio |" + (" more s |" if kind in _DIFFERENCES else ""),
                "|---|---|---|" + ("---|" if kind in _DIFFERENCES else ""),
            ]
            baseline = result["cases"][result["baseline"]]["seconds"]
            lines += [
                f"| {case} | {_seconds(facts['median_seconds'])} | {facts['ratio']:.2f} |"
                + (f" {_more(facts['seconds'], baseline)} |" if kind in _DIFFERENCES else "")
                for case, facts in result["cases"].items()
            ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _more(seconds: list[float], baseline: list[float]) -> str:
    return f"{statistics.median(own - other for own, other in zip(seconds, baseline, strict=True)):.2f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.5f}"


if __name__ == "__main__":
    main()
