"""Unmodified readers and writers on sealed datasets: what ``spark.read`` and ``df.write`` see and leave (H2, H15).

Attacks keep lengths as they are where they can, so that what refuses is not always the cheapest check.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.jvm.samples import write_dataset

from redoubt.keys.workspace import Workspace
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.maintain import collect_garbage
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import WriteMode
from redoubt.spark import read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

ROWS = 400
SUM = sum(range(ROWS))
SCHEMA = "id bigint, name string"
FORMATS = ("csv", "json", "text", "orc")
MARKER = "c41e77d0a9b84f52bb0d"


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    """Two partitions of rows that hold the marker."""
    return spark.range(0, ROWS, 1, 2).selectExpr("id", f"concat('{MARKER}', id % 7) AS name")


def write(frame: DataFrame, path: Path, form: str, mode: str = "errorifexists") -> None:
    rows = frame.selectExpr("concat(id, ',', name) AS value") if form == "text" else frame
    rows.write.format(form).mode(mode).save(str(path))


def scan(spark: SparkSession, path: Path, form: str) -> tuple[int, int]:
    """Count and sum of the ids, by Spark's own reader."""
    if form == "text":
        rows = spark.read.text(str(path)).selectExpr("cast(split(value, ',')[0] AS bigint) AS id")
    else:
        rows = spark.read.format(form).schema(SCHEMA).load(str(path))
    count, total = rows.selectExpr("count(*)", "sum(id)").collect()[0]
    return count, total or 0


def parts(path: Path, keys: Workspace) -> tuple[Part, ...]:
    return Dataset.open(str(path), keys=keys).parts


def files(path: Path, keys: Workspace) -> list[Path]:
    return [path / part.name for part in parts(path, keys)]


def refused(action: Callable[[], Any], *codes: str) -> None:
    """Assert that *action* fails and that one of *codes* is in what the user sees."""
    with pytest.raises(Exception) as failure:
        action()
    text = str(failure.value)
    assert any(f"[{code}]" in text for code in codes), text[:2000]


def all_bytes(path: Path) -> bytes:
    found = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
    assert found
    return found


# --- round trips ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_sealed_and_read_again(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace, form: str
) -> None:
    write(frame, tmp_path / "t", form)
    assert scan(spark, tmp_path / "t", form) == (ROWS, SUM)
    stored = all_bytes(tmp_path / "t")
    assert MARKER.encode() not in stored
    assert b"ORC" not in stored[:3]
    report = verify_dataset(str(tmp_path / "t"), keys=workspace)
    assert (report.faults, report.orphans) == ((), ())
    assert not list((tmp_path / "t").rglob("*.crc"))


def test_the_marker_is_found_where_plaintext_was_granted(frame: DataFrame, tmp_path: Path) -> None:
    """The control of the test above: the grant writes what Spark would write."""
    frame.write.option("redoubt.plaintext", "allow").csv(str(tmp_path / "t"))
    assert MARKER.encode() in all_bytes(tmp_path / "t")
    assert (tmp_path / "t" / "_SUCCESS").exists()
    refused(lambda: frame.write.mode("append").csv(str(tmp_path / "t")), "sealed.plaintext")
    refused(lambda: frame.write.option("redoubt.plaintext", "yes").csv(str(tmp_path / "u")), "spark.option")


def test_python_reads_what_an_unmodified_program_wrote(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    write(frame, tmp_path / "t", "csv")
    assert read(spark, str(tmp_path / "t"), schema=SCHEMA).selectExpr("sum(id)").collect()[0][0] == SUM


def test_an_unmodified_program_reads_what_redoubt_wrote(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    """The Data Source twice, so that two commits have parts; managed Parquet with partition folders."""
    import redoubt.spark

    for _ in range(2):
        frame.write.format("sealed").option("format", "csv").mode("append").save(str(tmp_path / "t"))
    assert scan(spark, tmp_path / "t", "csv") == (2 * ROWS, 2 * SUM)
    redoubt.spark.write(frame.selectExpr("*", "id % 2 AS g"), str(tmp_path / "p"), partition_by=["g"])
    found = spark.read.parquet(str(tmp_path / "p"))
    assert found.columns == ["id", "name", "g"]
    assert found.where("g = 1").selectExpr("sum(id)").collect()[0][0] == sum(range(1, ROWS, 2))


def test_parts_of_the_same_name_in_two_commits_are_both_read(
    spark: SparkSession, tmp_path: Path, workspace: Workspace
) -> None:
    for number, mode in enumerate((WriteMode.CREATE, WriteMode.APPEND)):
        write_dataset(tmp_path / "t", {"same.csv.sealed": b"%d,x\n" % number}, keys=workspace, mode=mode)
    assert sorted(row.value for row in spark.read.text(str(tmp_path / "t")).collect()) == ["0,x", "1,x"]


def test_one_part_is_read_by_its_path(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    write(frame, tmp_path / "t", "csv")
    names = [
        row[0] for row in spark.read.text(str(tmp_path / "t")).selectExpr("input_file_name()").distinct().collect()
    ]
    assert len(names) == 2
    counts = [spark.read.text(name.removeprefix("file://")).count() for name in names]
    assert sum(counts) == ROWS
    assert spark.read.csv(str(tmp_path / "t" / "part-00001-*.csv")).count() == counts[0] == ROWS // 2
    refused(lambda: spark.read.text(str(tmp_path / "t" / "nothing.csv")), "PATH_NOT_FOUND")


def test_splits_cover_every_line_once(spark: SparkSession, tmp_path: Path) -> None:
    """Splits of 20 000 bytes over chunks of 16 384, by both of Spark's ways to read lines."""
    rows = spark.range(0, 9000, 1, 1).selectExpr("concat(id, repeat('x', cast(id % 37 AS int))) AS value")
    rows.write.text(str(tmp_path / "t"))
    spark.conf.set("spark.sql.files.maxPartitionBytes", "20000")
    try:
        lines = spark.read.text(str(tmp_path / "t"))
        assert lines.rdd.getNumPartitions() > 10
        assert lines.selectExpr("count(*)", "count(distinct value)").collect()[0] == (9000, 9000)
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    found = spark.sparkContext.textFile(str(tmp_path / "t"), 9)
    assert found.getNumPartitions() >= 9
    assert len(set(found.collect())) == found.count() == 9000


def test_plaintext_inputs_and_standalone_files_are_read_as_before(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.csv").write_text("1,x\n2,y\n")
    assert spark.read.csv(str(tmp_path / "plain")).count() == 2
    assert spark.sparkContext.textFile(str(tmp_path / "plain")).count() == 2


# --- modes ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["csv", "orc"])
def test_save_modes(spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace, form: str) -> None:
    path = tmp_path / "t"
    write(frame, path, form)
    first = Dataset.open(str(path), keys=workspace)
    refused(lambda: write(frame, path, form), "PATH_ALREADY_EXISTS")
    write(frame, path, form, "ignore")
    assert scan(spark, path, form) == (ROWS, SUM)
    write(frame, path, form, "append")
    assert scan(spark, path, form) == (2 * ROWS, 2 * SUM)
    write(frame.limit(3), path, form, "overwrite")
    assert scan(spark, path, form) == (3, 3)
    head = Dataset.open(str(path), keys=workspace)
    assert (head.id, head.head.commit.number, head.head.commit.operation.value) == (first.id, 3, "overwrite")
    assert collect_garbage(str(path), keys=workspace, older_than=-60)
    assert scan(spark, path, form) == (3, 3)


def test_an_append_of_another_format_is_refused(frame: DataFrame, tmp_path: Path) -> None:
    frame.write.parquet(str(tmp_path / "p"))
    refused(lambda: write(frame, tmp_path / "p", "csv", "append"), "spark.option")
    write(frame, tmp_path / "c", "csv")
    refused(lambda: frame.write.mode("append").parquet(str(tmp_path / "c")), "spark.option")
    refused(lambda: write(frame, tmp_path / "c" / "inside", "csv"), "spark.option")
    refused(
        lambda: frame.write.option("redoubt.plaintext", "allow").csv(str(tmp_path / "c" / "in")), "sealed.plaintext"
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_partitions_and_their_overwrites(spark: SparkSession, frame: DataFrame, tmp_path: Path, form: str) -> None:
    path = str(tmp_path / "t")
    rows = frame.selectExpr("id", "name", "id % 4 AS g", "concat('a b/', id % 2) AS h")
    rows.write.format(form).partitionBy("g", "h").save(path)
    schema = "id bigint, name string, g int, h string"

    def groups() -> dict[int, int]:
        found = spark.read.format(form).schema(schema).load(path)
        assert {row[0] for row in found.select("h").distinct().collect()} <= {"a b/0", "a b/1"}
        return dict(map(tuple, found.groupBy("g").count().collect()))

    assert groups() == {0: 100, 1: 100, 2: 100, 3: 100}
    one = rows.where("g = 1").limit(7)
    one.write.format(form).mode("append").partitionBy("g", "h").save(path)
    assert groups()[1] == 107
    dynamic = one.write.format(form).mode("overwrite").option("partitionOverwriteMode", "dynamic")
    dynamic.partitionBy("g", "h").save(path)
    assert groups() == {0: 100, 1: 7, 2: 100, 3: 100}


def test_tables_of_the_catalog(spark: SparkSession, frame: DataFrame) -> None:
    rows = frame.selectExpr("id", "name", "cast(id % 2 AS int) AS g")
    rows.write.format("csv").partitionBy("g").saveAsTable("fs_table")
    try:
        assert spark.table("fs_table").where("g = 1").count() == ROWS // 2
        rows.limit(5).write.format("csv").mode("append").partitionBy("g").saveAsTable("fs_table")
        assert spark.table("fs_table").count() == ROWS + 5
        spark.sql("INSERT OVERWRITE fs_table PARTITION (g = 1) SELECT 1, 'one'")
        assert dict(spark.sql("SELECT g, count(*) FROM fs_table GROUP BY g").collect()) == {0: ROWS // 2 + 3, 1: 1}
        rows.limit(4).write.format("csv").mode("overwrite").partitionBy("g").saveAsTable("fs_table")
        assert spark.table("fs_table").count() == 4
        spark.sql("INSERT INTO fs_table VALUES (9, 'nine', 0)")
        assert spark.table("fs_table").count() == 5
        spark.sql("ALTER TABLE fs_table DROP PARTITION (g = 1)")
        assert {row[0] for row in spark.table("fs_table").select("g").collect()} == {0}
    finally:
        spark.sql("DROP TABLE fs_table")


def test_rdds_are_saved_sealed(spark: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    lines = spark.sparkContext.parallelize([f"{MARKER}{i}" for i in range(100)], 3)
    lines.saveAsTextFile(str(tmp_path / "text"))
    lines.map(lambda line: (line, 1)).saveAsNewAPIHadoopFile(
        str(tmp_path / "new"),
        "org.apache.hadoop.mapreduce.lib.output.SequenceFileOutputFormat",
        "org.apache.hadoop.io.Text",
        "org.apache.hadoop.io.IntWritable",
    )
    assert spark.sparkContext.textFile(str(tmp_path / "text")).count() == 100
    assert len(spark.sparkContext.sequenceFile(str(tmp_path / "new")).collect()) == 100
    assert [part.name.split("/")[-1] for part in parts(tmp_path / "text", workspace)] == [
        f"part-0000{i}.sealed" for i in range(3)
    ]
    for name in ("text", "new"):
        assert MARKER.encode() not in all_bytes(tmp_path / name)
        assert not verify_dataset(str(tmp_path / name), keys=workspace).orphans
    with pytest.raises(Exception, match="already exists"):
        lines.saveAsTextFile(str(tmp_path / "text"))


def test_a_model_is_saved_sealed_and_loaded(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.feature import StringIndexer

    rows = spark.createDataFrame([(MARKER,), ("b",)], "name string")
    model = Pipeline(stages=[StringIndexer(inputCol="name", outputCol="n")]).fit(rows)
    for _ in range(2):
        model.write().overwrite().save(str(tmp_path / "model"))
    assert MARKER.encode() not in all_bytes(tmp_path / "model")
    assert len(list((tmp_path / "model").rglob("_commits"))) >= 3
    loaded = PipelineModel.load(str(tmp_path / "model"))
    assert loaded.transform(rows).count() == 2
    metadata = next((tmp_path / "model" / "stages").glob("*/metadata/data/*/*"))
    metadata.unlink()
    refused(lambda: PipelineModel.load(str(tmp_path / "model")), "sealed.part_missing")


def test_streams_and_checkpoints_do_not_write_in_clear(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    frame.write.json(str(tmp_path / "in"))
    stream = spark.readStream.schema(SCHEMA).json(str(tmp_path / "in"))

    def run(form: str, where: Path) -> None:
        started = stream.writeStream.format(form).option("checkpointLocation", str(where / "state")).queryName("q_fs")
        started.trigger(availableNow=True).start(
            **({"path": str(where / "out")} if form == "csv" else {})
        ).awaitTermination()

    refused(lambda: run("csv", tmp_path / "file"), "sealed.plaintext")
    run("memory", tmp_path / "memory")
    assert spark.table("q_fs").count() == ROWS
    spark.sparkContext.setCheckpointDir(str(tmp_path / "checkpoint"))
    refused(lambda: frame.checkpoint(), "sealed.plaintext")
    assert frame.localCheckpoint().count() == ROWS
    left = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert MARKER.encode() not in left


# --- tasks that fail --------------------------------------------------------------------------------------------------
def test_a_write_that_fails_leaves_nothing_to_read(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "t"
    write(frame, path, "csv")
    before = sorted(path.rglob("*"))
    broken = frame.selectExpr("if(id = 399, raise_error('stop'), id) AS id", "name")
    for mode in ("append", "overwrite"):
        with pytest.raises(Exception, match="stop"):
            write(broken, path, "csv", mode)
        assert scan(spark, path, "csv") == (ROWS, SUM)
    assert sorted(path.rglob("*")) == before
    with pytest.raises(Exception, match="stop"):
        write(broken, tmp_path / "new", "csv")
    assert MARKER.encode() not in b"".join(f.read_bytes() for f in (tmp_path / "new").rglob("*") if f.is_file())


def test_of_two_attempts_that_both_end_one_is_listed(spark: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    """Spark's calls for a task and its speculative copy, the loser's also after it has committed."""
    jvm: Any = spark._jvm
    hadoop = jvm.org.apache.hadoop
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    job = hadoop.mapreduce.task.JobContextImpl(conf, hadoop.mapreduce.JobID("202611260000", 1))
    protocol = jvm.io.redoubt.commit.SealedCommitProtocol("job", str(tmp_path / "t"), False)
    protocol.setupJob(job)
    attempts, messages = [], []
    for attempt in range(3):
        name = hadoop.mapreduce.TaskAttemptID("202611260000", 1, hadoop.mapreduce.TaskType.MAP, 0, attempt)
        context = hadoop.mapreduce.task.TaskAttemptContextImpl(job.getConfiguration(), name)
        protocol.setupTask(context)
        spec = jvm.org.apache.spark.internal.io.FileNameSpec("", ".txt")
        file = hadoop.fs.Path(protocol.newTaskTempFile(context, jvm.scala.Option.empty(), spec))
        out = file.getFileSystem(job.getConfiguration()).create(file, False)
        out.write(bytearray(b"attempt %d\n" % attempt))
        if attempt == 2:
            with pytest.raises(Exception, match="was not closed"):
                protocol.commitTask(context)
        else:
            out.close()
            messages.append(protocol.commitTask(context))
        attempts.append(context)
    protocol.abortTask(attempts[0])
    winner = jvm.java.util.ArrayList()
    winner.add(messages[1])
    protocol.commitJob(job, jvm.scala.jdk.javaapi.CollectionConverters.asScala(winner).toSeq())
    protocol.abortJob(job)  # Spark calls it when what comes after the commit fails
    assert [row.value for row in spark.read.text(str(tmp_path / "t")).collect()] == ["attempt 1"]
    report = verify_dataset(str(tmp_path / "t"), keys=workspace)
    assert (report.faults, len(report.orphans)) == ((), 2)


# --- attacks at the storage -------------------------------------------------------------------------------------------
def _swap(path: Path, victims: list[Path], other: Path) -> None:
    contents = [victim.read_bytes() for victim in victims]
    victims[0].write_bytes(contents[1][: len(contents[0])].ljust(len(contents[0]), b"\0"))
    victims[1].write_bytes(contents[0][: len(contents[1])].ljust(len(contents[1]), b"\0"))


def _foreign(path: Path, victims: list[Path], other: Path) -> None:
    shutil.copyfile(other, victims[0])


def _remove(path: Path, victims: list[Path], other: Path) -> None:
    victims[1].unlink()


def _truncate(path: Path, victims: list[Path], other: Path) -> None:
    victims[0].write_bytes(victims[0].read_bytes()[:-1])


def _plaintext(path: Path, victims: list[Path], other: Path) -> None:
    length = victims[0].stat().st_size
    victims[0].write_bytes(b"1,forged\n".ljust(length, b"\n"))


def _flip(path: Path, victims: list[Path], other: Path) -> None:
    content = bytearray(victims[0].read_bytes())
    content[-40] ^= 1
    victims[0].write_bytes(content)


def _records(path: Path, victims: list[Path], other: Path) -> None:
    shutil.rmtree(path / "_commits")


ATTACKS: dict[str, tuple[Callable[[Path, list[Path], Path], None], tuple[str, ...]]] = {
    "swapped parts": (_swap, ("sealed.identity",)),
    "part of another dataset": (_foreign, ("sealed.identity",)),
    "removed part": (_remove, ("sealed.part_missing",)),
    "truncated part": (_truncate, ("sealed.part_changed",)),
    "plaintext put in": (_plaintext, ("sealed.not_sealed",)),
    "flipped bit": (_flip, ("sealed.chunk",)),
    "removed records": (_records, ("sealed.no_commit",)),
}


@pytest.fixture
def hidden_errors(spark: SparkSession) -> Iterator[None]:
    """Settings with which Spark skips what fails: they must change nothing."""
    names = [f"spark.sql.files.{name}" for name in ("ignoreCorruptFiles", "ignoreMissingFiles")]
    for name in names:
        spark.conf.set(name, "true")
    yield
    for name in names:
        spark.conf.set(name, "false")


@pytest.fixture(scope="module", params=FORMATS)
def made(
    request: pytest.FixtureRequest, frame: DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A format, and a folder with two datasets of it."""
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("t", "other"):
        write(frame, folder / name, request.param)
    return request.param, folder


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_on_a_dataset(
    spark: SparkSession,
    made: tuple[str, Path],
    tmp_path: Path,
    workspace: Workspace,
    hidden_errors: None,
    attack: str,
) -> None:
    act, codes = ATTACKS[attack]
    form, folder = made
    path = tmp_path / "t"
    shutil.copytree(folder / "t", path)
    assert scan(spark, path, form) == (ROWS, SUM)
    act(path, files(path, workspace), files(folder / "other", workspace)[0])
    refused(lambda: scan(spark, path, form), *codes)
    refused(lambda: spark.sparkContext.textFile(str(path)).count(), *codes)


def test_an_added_part_is_never_read(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "t"
    write(frame, path, "csv")
    victim = files(path, workspace)[0]
    shutil.copyfile(victim, victim.with_name("part-00009.csv.sealed"))
    (path / "added.csv").write_text("1,forged\n")
    (path / "g=1").mkdir()
    (path / "g=1" / "added.csv").write_text("1,forged\n")
    assert scan(spark, path, "csv") == (ROWS, SUM)
    for added in ("added.csv", "g=1", "g=1/added.csv"):
        refused(lambda name=added: spark.read.csv(str(path / name)).collect(), "sealed.part_unlisted")  # type: ignore[misc]


def test_an_older_commit_s_part_is_refused(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "t"
    write(frame, path, "csv")
    old = files(path, workspace)
    write(frame, path, "csv", "overwrite")
    shutil.copyfile(old[0], files(path, workspace)[0])
    refused(lambda: scan(spark, path, "csv"), "sealed.identity")


def test_a_rolled_back_dataset_is_refused_when_its_commit_is_pinned(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "t"
    write(frame, path, "csv")
    write(frame, path, "csv", "append")
    pinned = spark.read.schema(SCHEMA).option(
        "redoubt.read.commit", Dataset.open(str(path), keys=workspace).commit_digest
    )
    assert pinned.csv(str(path)).count() == 2 * ROWS
    (path / "_commits" / "00000002").unlink()
    refused(lambda: pinned.csv(str(path)).count(), "sealed.commit_unexpected")
    for name in ("_commits", "_keys", "data"):
        shutil.rmtree(path / name)
    refused(lambda: pinned.csv(str(path)).count(), "sealed.commit_unexpected")
    (path / "forged.csv").write_text("1,forged\n")
    refused(lambda: pinned.csv(str(path)).count(), "sealed.commit_unexpected")
    assert spark.read.csv(str(path)).count() == 1  # a plaintext input, as documented


def test_a_dataset_laid_over_a_partition_is_refused(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    frame.selectExpr("*", "id % 2 AS g").write.partitionBy("g").csv(str(tmp_path / "t"))
    write(frame, tmp_path / "other", "csv")
    shutil.copytree(tmp_path / "other", tmp_path / "t" / "g=1")
    refused(lambda: spark.read.csv(str(tmp_path / "t" / "g=1")).collect(), "sealed.identity")


def test_files_in_a_dataset_are_changed_by_writes_alone(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    """Hadoop's own calls, as a program in the JVM makes them."""
    write(frame, tmp_path / "t", "csv")
    jvm: Any = spark._jvm
    Path_ = jvm.org.apache.hadoop.fs.Path  # noqa: N806
    conf = spark._jsparkSession.sessionState().newHadoopConf()
    system = Path_(str(tmp_path)).getFileSystem(conf)
    (name, *_) = [status.getPath() for status in system.listStatus(Path_(str(tmp_path / "t")))]
    for action in (
        lambda: system.delete(name, False),
        lambda: system.rename(name, Path_(str(tmp_path / "elsewhere"))),
        lambda: system.create(name),
        lambda: system.append(name),
        lambda: system.create(Path_(str(tmp_path / "t" / "new.csv"))),
    ):
        refused(action, "spark.option")
    attempt = "_temporary/0/_temporary/attempt_202611260000_0001_m_000000_0/part-00000"
    refused(lambda: system.create(Path_(str(tmp_path / "out" / attempt))), "sealed.plaintext")
    assert system.exists(Path_(str(tmp_path / "t" / "_SUCCESS")))
    assert not system.delete(Path_(str(tmp_path / "t" / "nothing")), False)
    assert scan(spark, tmp_path / "t", "csv") == (ROWS, SUM)
    assert system.rename(Path_(str(tmp_path / "t")), Path_(str(tmp_path / "u")))
    assert scan(spark, tmp_path / "u", "csv") == (ROWS, SUM)
    assert system.delete(Path_(str(tmp_path / "u")), True)
