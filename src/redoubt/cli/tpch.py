"""``redoubt tpch``: the 22 TPC-H queries on plain and sealed data."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from redoubt.cli.engine_log import engine_log
from redoubt.cli.output import Json, counted
from redoubt.cli.progress import waiting
from redoubt.cli.session import Session, command, group
from redoubt.errors import NotFound, UsageError, WorkloadError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from redoubt.keys.provider import KeySource
    from redoubt.keys.workspace import Workspace
    from redoubt.workloads.tpch.demo import Line

app = group("Generate TPC-H tables, seal them, run the 22 queries and check the answers.")


class TextFormat(StrEnum):
    """Formats of tables on disk."""

    TBL = "tbl"
    CSV = "csv"
    PARQUET = "parquet"


class Api(StrEnum):
    """How a query is put to Spark."""

    SQL = "sql"
    DATAFRAME = "dataframe"


ScaleOption = Annotated[float, typer.Option("--scale", metavar="F", help="Scale factor; 1 is about 1 GB of csv.")]
FormatOption = Annotated[TextFormat, typer.Option("--format", help="Format of the tables.")]
MasterOption = Annotated[str, typer.Option("--master", metavar="URL", help="Spark master.")]


@command(app, example="redoubt tpch generate plain/ --scale 0.1 --format csv")
def generate(
    session: Session,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    scale: ScaleOption = 0.1,
    format: FormatOption = TextFormat.PARQUET,
    parts: Annotated[int, typer.Option("--parts", metavar="N", help="Files a table.")] = 2,
) -> None:
    """Generate the eight tables, one folder each."""
    from redoubt.workloads.tpch.generate import generate as make

    dataset = make(directory, scale=scale, format=_format(format), parts=parts)
    session.output.result(
        {"directory": str(directory), "scale": scale, "format": format.value, "bytes": dataset.size()},
        text=f"generated TPC-H at scale {scale:g} as {format} in {directory} ({dataset.size():,} bytes)",
    )


@command(app, example="redoubt tpch seal plain/ sealed/ --format csv")
def seal(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `tpch generate` made.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Where the sealed tables go.")],
    scale: ScaleOption = 0.1,
    format: FormatOption = TextFormat.PARQUET,
    key: Annotated[str | None, typer.Option("--key", metavar="NAME", help="Primary key (default: `default`).")] = None,
    master: MasterOption = "local[*]",
) -> None:
    """Seal generated tables, one dataset a table. Parquet is written anew by Spark."""
    from redoubt.workloads.tpch.generate import Dataset
    from redoubt.workloads.tpch.seal import seal_parquet, seal_text
    from redoubt.workloads.tpch.tables import load_plain

    plain = Dataset(_existing(source), scale, _format(format))
    if plain.format == "parquet":
        with _spark(session, session.workspace, master) as spark:
            tables = load_plain(spark, plain)
            seal_parquet(lambda table: getattr(tables, table), target, key=key, say=session.output.say)
    else:
        seal_text(plain, target, keys=session.workspace, key=key, say=session.output.say)
    session.output.result({"sealed": str(target), "format": format.value}, text=f"sealed {source} as {target}")


@command(app, example="redoubt tpch run sealed/ --sealed --queries 1,6,13 --output answers/")
def run(
    session: Session,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Tables, plain or sealed.")],
    scale: ScaleOption = 0.1,
    format: FormatOption = TextFormat.PARQUET,
    sealed: Annotated[bool, typer.Option("--sealed/--plain", help="Whether the tables are sealed.")] = True,
    queries: Annotated[str, typer.Option("--queries", metavar="1,6,…", help="Which of the 22 (default: all).")] = "",
    api: Annotated[Api, typer.Option("--api", help="SQL text or DataFrame code.")] = Api.SQL,
    output: Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Write answers and TIMES.txt.")] = None,
    output_sealed: Annotated[bool, typer.Option("--output-sealed", help="Seal the answers.")] = False,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="DIR", help="Compare with DuckDB on these plain tables.")
    ] = None,
    master: MasterOption = "local[*]",
) -> None:
    """Run queries and print a table of rows and seconds."""
    from redoubt.workloads.tpch.check import Answer, compare, expected_answer
    from redoubt.workloads.tpch.generate import Dataset
    from redoubt.workloads.tpch.run import run_queries, write_answers
    from redoubt.workloads.tpch.seal import load_sealed
    from redoubt.workloads.tpch.tables import load_plain

    numbers = _numbers(queries)
    dataset = Dataset(_existing(directory), scale, _format(format))
    reference = None if check is None else Dataset(_existing(check), scale, _format(format))
    with _spark(session, session.workspace, master) as spark:
        tables = load_sealed(spark, dataset) if sealed else load_plain(spark, dataset)
        answers = run_queries(
            spark,
            tables,
            numbers,
            api=api.value,
            done=lambda it: session.output.say(f"Q{it.number:02d} {it.seconds:.2f} s"),
        )
        if output is not None:
            write_answers(spark, answers, output, sealed=output_sealed)
    verified = 0
    if reference is not None:
        for answer in answers:
            actual = Answer(tuple(answer.frame.columns), answer.rows)
            compare(answer.number, actual=actual, expected=expected_answer(reference, answer.number))
            verified += 1
    rows = [(f"Q{it.number:02d}", len(it.rows), f"{it.seconds:.2f}") for it in answers]
    data: list[Json] = [{"query": it.number, "rows": len(it.rows), "seconds": it.seconds} for it in answers]
    session.output.table(
        {"queries": data, "verified": verified if check else None}, columns=("query", "rows", "seconds"), rows=rows
    )
    if check is not None:
        session.output.say(f"{verified} of {len(answers)} verified")


@command(app, example="redoubt tpch demo --scale 0.1")
def demo(
    session: Session,
    scale: ScaleOption = 0.1,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Leave keys and data there.")] = None,
    master: MasterOption = "local[*]",
) -> None:
    """Generate, create keys, seal, then run all 22 queries on sealed data as an attested program, each answer checked.

    The broker is an embedded one for development and the evidence is simulated, so redoubt-dev must be installed.
    """
    from redoubt.keys.workspace import Workspace
    from redoubt.workloads.tpch import demo as demonstration

    with _folder(keep) as folder:
        workspace = Workspace.init(folder)
        after = "removed at the end" if keep is None else "kept"
        session.output.say(f"made a workspace in {folder} ({after}) with the key {workspace.config.default_key}")
        with _spark(session, workspace, master) as spark:
            demonstration.prepare(spark, workspace, folder, scale=scale, say=session.output.say)
        lines, receipt = _run_attested(session, workspace, folder, scale=scale, master=master)
    parquet = [line for line in lines if line.source == "parquet"]
    rows: list[tuple[object, ...]] = [
        (
            f"Q{line.number:02d}",
            line.source,
            f"{line.plain_seconds:.2f}",
            f"{line.sealed_seconds:.2f}",
            f"{line.sealed_seconds / line.plain_seconds:.2f}",
            line.rows,
            "yes",
        )
        for line in lines
    ]
    for source in ("parquet", "csv"):
        plain = sum(line.plain_seconds for line in lines if line.source == source)
        sealed = sum(line.sealed_seconds for line in lines if line.source == source)
        rows.append(("total", source, f"{plain:.2f}", f"{sealed:.2f}", f"{sealed / plain:.2f}", "", ""))
    columns = ("query", "from", "plain s", "sealed s", "ratio", "rows", "verified")
    data_lines: list[Json] = [
        {
            "query": line.number,
            "from": line.source,
            "plain_seconds": line.plain_seconds,
            "sealed_seconds": line.sealed_seconds,
            "rows": line.rows,
        }
        for line in lines
    ]
    session.output.table({"lines": data_lines, "verified": len(parquet)}, columns=columns, rows=rows)
    if receipt is not None:
        verify = f"redoubt --workspace {keep} receipt verify {receipt} --simulated"
        session.output.say(
            f"signed receipt: {verify}" if keep is not None else "--keep DIR leaves the receipt there, too"
        )
    session.output.say(f"{len(parquet)} of 22 verified")


def _numbers(text: str) -> list[int]:
    from redoubt.workloads.tpch.sql import QUERY_NUMBERS

    if not text:
        return list(QUERY_NUMBERS)
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--queries {text!r} is not a list of numbers such as 1,6,13") from None
    if unknown := [number for number in numbers if number not in QUERY_NUMBERS]:
        raise UsageError(f"TPC-H has queries 1 to 22, not {unknown[0]}")
    return numbers


def _existing(directory: Path) -> Path:
    if not directory.is_dir():
        raise NotFound(f"{directory} is not a folder that exists")
    return directory


def _format(chosen: TextFormat) -> Literal["tbl", "csv", "parquet"]:
    return chosen.value


def _run_attested(
    session: Session, workspace: Workspace, folder: Path, *, scale: float, master: str
) -> tuple[list[Line], Path | None]:
    """Run the queries as a program of its own, which the workspace's development broker attests and gives the keys.

    Returns what it measured, and its receipt.
    """
    from redoubt.agent.exec import Execution, execute
    from redoubt.agent.measure import ProgramSpec, measure
    from redoubt.cli.agent_local import describe, development_agent
    from redoubt.cli.agent_receipt import keep_receipt
    from redoubt.cli.tpch_job import LINES
    from redoubt.workloads.tpch.demo import Line

    say = session.output.say
    words = (sys.executable, "-m", "redoubt.cli.tpch_job", str(folder.absolute()), repr(scale), master)
    started = time.perf_counter()
    with waiting("measuring the program", say=say):
        program = measure(ProgramSpec(command=words), caller=dict(os.environ))
    with program:
        say(f"measured the program in {time.perf_counter() - started:.1f} s: {program.descriptor.digest}")
        with development_agent(workspace, words, program, say=say) as agent:
            outcome = execute(program, agent, execution=Execution(), attested=lambda it: say(describe(it)))
    receipt = keep_receipt(session, outcome, file=folder / "receipt.json", required=False)
    datasets = {dataset for dataset, _ in outcome.released}
    say(f"the broker released {counted(len(outcome.released), 'data key')} of {counted(len(datasets), 'dataset')}")
    if outcome.status != 0:
        raise WorkloadError(f"the attested program ended with status {outcome.status}")
    return [Line(**it) for it in json.loads((folder / LINES).read_text(encoding="utf-8"))], receipt


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="redoubt-tpch-") as folder:
        yield Path(folder)


@contextmanager
def _spark(session: Session, keys: KeySource, master: str) -> Iterator[SparkSession]:
    from redoubt import spark as engine
    from redoubt.cli.tpch_job import CONF

    with engine_log(session.output.say) as captured:
        with captured():
            spark = engine.session("redoubt tpch", keys=keys, master=master, conf=CONF)
        try:
            yield spark
        finally:
            engine.stop(spark)
