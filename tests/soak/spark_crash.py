"""Kills whole Spark applications with SIGKILL in the middle of a write, and looks at what is left.

Run as a program, ``python -m tests.soak.spark_crash``, it is the application: it is told what to write when its session
is up, says ``begin`` right before the write and ``end`` after it. :class:`SparkCrashMachine` starts it in a session of
processes of its own, whose temporary folders all lie below the machine's, and kills driver, JVM and Python workers
together a random while after ``begin``. The next application starts while the last one's remains are judged. All
compression is off, so that plaintext on disk would be seen by its bytes; :meth:`SparkCrashMachine.control` shows that
it would.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.soak.processes import kill_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from redoubt.keys.workspace import Workspace

CODEC = "io.redoubt.hadoop.SealedCodec"
DDL = "batch int, id bigint, mark string"
OLD_ROWS = 5000
NEW_ROWS = 60_000
_ROOT = Path(__file__).resolve().parents[2]

#: batch → (rows, sum of ids, rows whose mark is the one that was written).
State = dict[int, tuple[int, int, int]]


def new_rows(spark: SparkSession, marker: str, *, batch: int, count: int) -> DataFrame:
    """Rows with a mark of high entropy, which pass a shuffle on their way."""
    frame = spark.range(0, count, 1, 2).selectExpr(f"{batch} batch", "id", f"{_mark(marker)} mark")
    return frame.repartition(3, "mark")


def _mark(marker: str) -> str:
    return f"concat('{marker}', sha2(cast(id as string), 256))"


def _source(mode: str) -> Callable[[DataFrame, str], object]:
    return lambda frame, path: frame.write.format("sealed").option("format", "csv").mode(mode).save(path)


def _managed(mode: str) -> Callable[[DataFrame, str], object]:
    from redoubt.spark.io import write

    return lambda frame, path: write(frame, path, mode=mode, options={"compression": "none"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to write; ``layout`` names the dataset that it starts from, none for the codec's new folder."""

    layout: str | None
    write: Callable[[DataFrame, str], object]
    replaces: bool = False


SCENARIOS = {
    "Data Source append": Scenario("csv", _source("append")),
    "Data Source overwrite": Scenario("csv", _source("overwrite"), replaces=True),
    "managed Parquet append": Scenario("managed", _managed("append")),
    "managed Parquet overwrite": Scenario("managed", _managed("overwrite"), replaces=True),
    "native Parquet append": Scenario(
        "native", lambda frame, path: frame.write.mode("append").option("compression", "none").parquet(path)
    ),
    "codec": Scenario(
        None, lambda frame, path: frame.write.mode("overwrite").option("compression", CODEC).csv(path), replaces=True
    ),
}
#: Plaintext by Spark alone: not a scenario, but the proof that the search would find it.
CONTROL = "control"


def main() -> None:
    """Write batch 1 once; arguments are a temporary folder, a workspace or CONTROL, and the marker."""
    temporary, workspace, marker = sys.argv[1:]
    conf = {
        "spark.local.dir": temporary,
        "spark.sql.warehouse.dir": f"{temporary}/warehouse",
        # What starts quicker is killed more often.
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={temporary} -XX:-UsePerfData -XX:TieredStopAtLevel=1",
        "spark.shuffle.compress": "false",
        "spark.shuffle.spill.compress": "false",
        "spark.driver.memory": "1g",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    if workspace == CONTROL:
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.master("local[2]").config(map={**conf, "spark.ui.enabled": "false"}).getOrCreate()
    else:
        from redoubt.spark import session

        spark = session("crash", workspace=workspace, master="local[2]", conf=conf)
    frame = new_rows(spark, marker, batch=1, count=NEW_ROWS)
    print("ready", flush=True)
    name, target = sys.stdin.readline().rstrip("\n").split("\t")
    print("begin", flush=True)
    if name == CONTROL:
        frame.write.csv(target)
    else:
        SCENARIOS[name].write(frame, target)
    print("end", flush=True)
    time.sleep(600)  # with its temporary files, until it is killed


class Application:
    """One run of :func:`main`, with its temporary folder. Close it: that kills what is left of it."""

    def __init__(self, temporary: Path, workspace: str, marker: str) -> None:
        temporary.mkdir()
        self.temporary = temporary
        self._errors = temporary / "stderr"
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "XDG_RUNTIME_DIR", "SPARK_LOCAL_DIRS"), str(temporary))}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.spark_crash", str(temporary), workspace, marker],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )

    def write(self, name: str, target: Path, *, killed_after: float | None) -> float | None:
        """Run a scenario and kill it *killed_after* seconds after it began; return how long it took, None if killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._expect(b"ready\n")
        self._process.stdin.write(f"{name}\t{target}\n".encode())
        self._process.stdin.flush()
        self._expect(b"begin\n")
        start = time.monotonic()
        if killed_after is None:
            self._expect(b"end\n")
            return time.monotonic() - start
        time.sleep(killed_after)
        kill_session(self._process.pid)
        return killed_after if b"end\n" in self._process.stdout.read() else None

    def close(self) -> None:
        """Kill what is left."""
        kill_session(self._process.pid)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if pipe:
                    pipe.close()

    def _expect(self, line: bytes) -> None:
        assert self._process.stdout is not None
        found = self._process.stdout.readline()
        assert found == line, (found, self._errors.read_text()[-5000:])


class SparkCrashMachine:
    """A folder with one dataset a layout. *spark*, a session on the workspace *keys*, judges and writes again."""

    def __init__(self, base: Path, spark: SparkSession, keys: Workspace, *, seed: int = 0) -> None:
        self.base = base
        self.spark = spark
        self.keys = keys
        self.random = Random(seed)
        self.marker = uuid4().hex
        self.killed: dict[str, int] = dict.fromkeys(SCENARIOS, 0)
        self.survived = 0
        self.committed = 0  # of the killed
        self.leftovers = 0  # files that garbage collection removed
        self.longest: dict[str, float] = {}
        self._applications = 0
        self.old: State = {0: (OLD_ROWS, sum(range(OLD_ROWS)), OLD_ROWS)}
        self.new: State = {1: (NEW_ROWS, sum(range(NEW_ROWS)), NEW_ROWS)}
        frame = new_rows(spark, self.marker, batch=0, count=OLD_ROWS)
        for name in ("Data Source append", "managed Parquet append", "native Parquet append"):
            SCENARIOS[name].write(frame, str(base / "old" / str(SCENARIOS[name].layout)))
        self._next = self._start(str(keys.folder))

    def close(self) -> None:
        """End the application that was started in advance."""
        self._next.close()

    def control(self) -> None:
        """Assert that the search finds the plaintext of a Spark without sealed data: its output and its shuffle."""
        plain = self._start(CONTROL)
        try:
            plain.write(CONTROL, self.base / "target", killed_after=None)
        finally:
            plain.close()
        places = {path.relative_to(self.base).parts[0] for path in self._files_with_marker()}
        assert places == {"target", "2"}
        shutil.rmtree(self.base / "target")
        shutil.rmtree(self.base / "2")

    def crash(self, name: str) -> None:
        """Run one scenario, killed at a random point; the first time undisturbed, to learn how long it takes."""
        scenario, target = SCENARIOS[name], self.base / "target"
        if scenario.layout:
            shutil.copytree(self.base / "old" / scenario.layout, target)
        # Later is likelier: most of what can go wrong is at the end.
        longest = self.longest.get(name)
        delay = None if longest is None else self.random.triangular(0, longest, longest)
        application = self._next
        try:
            duration = application.write(name, target, killed_after=delay)
        finally:
            application.close()
        self._next = self._start(str(self.keys.folder))
        if delay is None and duration is not None:
            self.longest[name] = duration
        print(f"{name}: {'killed' if duration is None else 'ended'} after {delay or duration:.1f} s", flush=True)
        assert not self._files_with_marker()
        assert not [path for path in self._files() if "redoubt-tmp" in path.name]
        if scenario.layout is None:
            self._judge_codec(scenario, target, ended=duration is not None)
        else:
            self._judge(scenario, target, ended=duration is not None)
        if duration is None:
            self.killed[name] += 1
        else:
            self.survived += 1
        shutil.rmtree(target)
        shutil.rmtree(application.temporary)

    # --- judging ------------------------------------------------------------------------------------------------------
    def _judge(self, scenario: Scenario, target: Path, *, ended: bool) -> None:
        from redoubt.sealed.maintain import collect_garbage
        from redoubt.sealed.verify import verify_dataset

        after = self.new if scenario.replaces else self.old | self.new
        found = self._state(target)
        assert found == after if ended else found in (self.old, after), found
        if not ended:
            self.committed += found == after
        # The same write again, on top of whatever the dead one left.
        self._write_again(scenario, target)
        self.leftovers += len(collect_garbage(str(target), keys=self.keys, older_than=-60))
        again = self.new if scenario.replaces else _sum(found, self.new)
        assert self._state(target) == again
        report = verify_dataset(str(target), keys=self.keys)
        assert not [name for name in report.orphans if not name.startswith("_keys/")], report.orphans
        if scenario.layout == "native":
            assert self._read(self.spark.read.parquet(str(target))) == again

    def _judge_codec(self, scenario: Scenario, target: Path, *, ended: bool) -> None:
        """Standalone files are whole or not there; ``_SUCCESS`` alone says that all are, as with any Spark output."""
        from redoubt.sealed.local import LocalFile
        from redoubt.sealed.standalone import open_standalone

        files = sorted(target.glob("part-*"))
        for path in files:
            file = LocalFile(path)
            for _ in open_standalone(file, keys=self.keys, where=path.name).reader.stream():
                pass
            file.close()
        whole = (target / "_SUCCESS").exists()
        assert whole or not ended
        if whole:
            assert self._read(self.spark.read.schema(DDL).csv(str(target))) == self.new
        if not ended:
            self.committed += whole
        self._write_again(scenario, target)
        assert self._read(self.spark.read.schema(DDL).csv(str(target))) == self.new
        assert not self._files_with_marker()

    def _write_again(self, scenario: Scenario, target: Path) -> None:
        scenario.write(new_rows(self.spark, self.marker, batch=1, count=NEW_ROWS), str(target))

    def _state(self, target: Path) -> State:
        """Verify every byte of the dataset; then read it without Spark."""
        from redoubt.sealed import parquet
        from redoubt.sealed.verify import verify_dataset

        dataset = verify_dataset(str(target), keys=self.keys).check()
        if dataset.head.commit.properties["format"] == "parquet":
            table = parquet.read_table(str(target), keys=self.keys)
            columns = (table[name].to_pylist() for name in ("batch", "id", "mark"))
            return _state_of(zip(*columns, strict=True), self.marker)
        rows = []
        for part in dataset.parts:
            reader = dataset.open_part(part)
            for line in reader.read().decode().splitlines():
                batch, number, mark = line.split(",")
                rows.append((int(batch), int(number), mark))
            reader.close()
        return _state_of(rows, self.marker)

    def _read(self, frame: DataFrame) -> State:
        from pyspark.sql.functions import expr

        right = f"count_if(mark = {_mark(self.marker)})"
        found = frame.groupBy("batch").agg(expr("count(*)"), expr("sum(id)"), expr(right)).collect()
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    def _files_with_marker(self) -> list[Path]:
        marker = self.marker.encode()
        found = []
        for path in self._files():
            with suppress(FileNotFoundError):
                if path.is_file() and marker in path.read_bytes():
                    found.append(path)
        return found

    def _files(self) -> Iterator[Path]:
        """Every file of the machine and the workspace; folders of the next application may vanish meanwhile."""
        for root in (self.base, self.keys.folder):
            for folder, _, names in os.walk(root):
                yield from (Path(folder, name) for name in names)

    def _start(self, workspace: str) -> Application:
        self._applications += 1
        return Application(self.base / f"{self._applications}", workspace, self.marker)


def _state_of(rows: Iterable[tuple[int, int, str]], marker: str) -> State:
    state: State = {}
    for batch, number, mark in rows:
        right = mark == marker + hashlib.sha256(str(number).encode()).hexdigest()
        count, total, whole = state.get(batch, (0, 0, 0))
        state[batch] = (count + 1, total + number, whole + right)
    return state


def _sum(one: State, two: State) -> State:
    """Both states' rows together."""
    none = (0, 0, 0)
    return {
        batch: (a[0] + b[0], a[1] + b[1], a[2] + b[2])
        for batch in one.keys() | two.keys()
        for a, b in [(one.get(batch, none), two.get(batch, none))]
    }


if __name__ == "__main__":
    main()
