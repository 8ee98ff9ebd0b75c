"""The attested half of ``redoubt tpch demo``: the queries, as the program that the broker releases keys to.

Run by the agent as ``python -m redoubt.cli.tpch_job FOLDER SCALE MASTER``. It has no workspace: its keys come from the
agent's endpoint. What it found goes to ``lines.json`` in FOLDER, talk to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from redoubt import spark as engine
from redoubt.cli.engine_log import engine_log
from redoubt.workloads.tpch import demo

LINES = "lines.json"
#: TPC-H at small scales on one machine: as many shuffle partitions as a laptop has cores, and room for broadcasts.
CONF = {
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "4g",
    "spark.log.level": "ERROR",
    "spark.ui.showConsoleProgress": "false",
}


def main(folder: Path, scale: float, master: str) -> None:
    """Run every query of the demonstration on the data below *folder*; raises AnswerMismatch."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    lines = []
    with engine_log(say) as captured:
        with captured():
            spark = engine.session("redoubt tpch demo", master=master, conf=CONF)
        try:
            for line in demo.run(spark, demo.Data.below(folder, scale)):
                say(f"Q{line.number:02d} on sealed {line.source}: {line.rows} rows, as DuckDB has them")
                lines.append(dataclasses.asdict(line))
        finally:
            engine.stop(spark)
    (folder / LINES).write_text(json.dumps(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
