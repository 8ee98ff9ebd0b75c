"""The Data Source ``sealed`` in a real session: every format and mode, and every class of tamper that it must see."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.errors import PySparkException
from tests.sealed.samples import write_dataset

from redoubt.errors import AlreadyExists
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import AtomicFile
from redoubt.sealed.maintain import adopt
from redoubt.sealed.transfer import seal_file, seal_folder, unseal_folder
from redoubt.sealed.verify import verify_dataset
from redoubt.spark import io

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

pytestmark = pytest.mark.spark

DDL = "id bigint, name string, amount decimal(10,2), day date"
COLUMNAR_INPUT = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
CODEC = "io.redoubt.hadoop.SealedCodec"


def rows(frame: DataFrame) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in frame.collect())


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.range(1000).selectExpr(
        "id",
        "case when id % 7 = 0 then null else concat('n,\"', id) end name",
        "cast(id / 4 as decimal(10,2)) amount",
        "date_add(date'2026-01-01', cast(id % 300 as int)) day",
    )


def sealed(spark: SparkSession, path: Path, form: str, **options: str) -> DataFrame:
    ddl = "value string" if form == "text" else DDL
    return spark.read.format("sealed").options(format=form, **options).schema(ddl).load(str(path))


def text_dataset(path: Path, keys: Workspace, lines: str) -> Path:
    """Seal *lines* as the one file of a dataset."""
    plain = path.with_name(f"{path.name}-plain")
    plain.write_text(lines)
    seal_folder([(plain, "part")], str(path), keys=keys)
    return path


def planned_columns(frame: DataFrame) -> list[str]:
    """Return the columns that Spark's optimised plan reads from the source."""
    plan = frame._jdf.queryExecution().optimizedPlan().collectLeaves().head()
    return [field.name() for field in plan.scan().readSchema().fields()]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_only_the_needed_columns_are_read(spark: SparkSession, frame: DataFrame, tmp_path: Path, form: str) -> None:
    frame.repartition(3).write.format("sealed").option("format", form).mode("append").save(str(tmp_path / "d"))
    whole = sealed(spark, tmp_path / "d", form)
    some = whole.where("id >= 10").select("amount", "day")
    assert planned_columns(some) == ["id", "amount", "day"]
    assert rows(some) == rows(frame.where("id >= 10").select("amount", "day"))
    assert planned_columns(whole.groupBy().count()) == ["day"]  # the narrowest
    assert whole.count() == 1000
    assert rows(whole) == rows(frame)


@pytest.mark.parametrize(("mode", "kept"), [("PERMISSIVE", ["1", "x"]), ("DROPMALFORMED", ["1"])])
def test_a_record_is_judged_by_columns_that_no_query_asks_for(
    spark: SparkSession, workspace: Workspace, tmp_path: Path, mode: str, kept: list[str]
) -> None:
    made = text_dataset(tmp_path / "d", workspace, "1,2\nx,not a number\n")
    read = spark.read.format("sealed").options(format="csv", mode=mode).schema("a string, b int").load(str(made))
    assert [row.a for row in read.select("a").collect()] == kept
    assert read.count() == len(kept)


def test_corrupt_records_are_found_without_the_columns_that_make_them(
    spark: SparkSession, workspace: Workspace, tmp_path: Path
) -> None:
    made = text_dataset(tmp_path / "d", workspace, "1,2\nx,not a number\n")
    read = spark.read.format("sealed").options(format="csv").schema("a string, b int, _corrupt_record string")
    found = read.load(str(made)).select("_corrupt_record").collect()
    assert [row._corrupt_record for row in found] == [None, "x,not a number"]


@pytest.mark.parametrize("columnar", ["true", "false"])
def test_python_functions_see_and_keep_every_row(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, columnar: str
) -> None:
    """Spark keeps a source's batches in a queue while a Python worker is busy; they must outlive the next one."""
    from pyspark.sql.functions import udf
    from pyspark.sql.pandas.functions import pandas_udf

    few = frame.selectExpr("id", "repeat(cast(id as string), 100) name", "amount", "day")
    many = few.crossJoin(spark.range(30).toDF("n")).drop("n").coalesce(1)
    many.write.format("sealed").option("format", "csv").mode("append").save(str(tmp_path / "d"))
    read = sealed(spark, tmp_path / "d", "csv")
    turn = udf(lambda text: text[::-1], "string")
    turn_all: Callable[..., Column] = pandas_udf(lambda texts: texts.str[::-1], "string")  # type: ignore[call-overload]
    spark.conf.set(COLUMNAR_INPUT, columnar)
    try:
        turned = read.withColumn("a", turn("name")).withColumn("b", turn_all("name"))
        found = turned.selectExpr("count(*)", "sum(id)", "count_if(reverse(a) = name and b = a)").collect()
    finally:
        spark.conf.unset(COLUMNAR_INPUT)
    assert tuple(found[0]) == (30_000, 30 * 499_500, 30_000)


def test_needed_fields_of_a_nested_column(spark: SparkSession, workspace: Workspace, tmp_path: Path) -> None:
    made = text_dataset(tmp_path / "d", workspace, '{"a": {"b": 1, "c": "x"}, "d": 2}\n')
    read = spark.read.format("sealed").options(format="json").schema("a struct<b int, c string>, d int").load(str(made))
    assert [tuple(row) for row in read.select("a.c").collect()] == [("x",)]


def test_a_frame_joined_with_itself_sees_one_commit(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    """Its scans ask for other columns, at other times; an append between them must show in none or in both."""
    frame.write.format("sealed").option("format", "csv").mode("append").save(str(tmp_path / "d"))
    whole = sealed(spark, tmp_path / "d", "csv")
    assert whole.select("id").count() == 1000
    frame.limit(10).write.format("sealed").option("format", "csv").mode("append").save(str(tmp_path / "d"))
    assert whole.select("day").count() == 1000
    assert sealed(spark, tmp_path / "d", "csv").select("day").count() == 1010


@pytest.mark.parametrize("form", ["csv", "json"])
def test_round_trip(spark: SparkSession, frame: DataFrame, tmp_path: Path, form: str) -> None:
    frame.repartition(3).write.format("sealed").option("format", form).mode("append").save(str(tmp_path / "d"))
    assert rows(sealed(spark, tmp_path / "d", form)) == rows(frame)
    assert rows(io.read(spark, str(tmp_path / "d"))) == rows(frame)
    frame.limit(10).write.format("sealed").option("format", form).mode("append").save(str(tmp_path / "d"))
    assert sealed(spark, tmp_path / "d", form).count() == 1010
    frame.limit(5).write.format("sealed").option("format", form).mode("overwrite").save(str(tmp_path / "d"))
    assert sealed(spark, tmp_path / "d", form).count() == 5


def test_text(spark: SparkSession, tmp_path: Path) -> None:
    lines = spark.createDataFrame([("a",), ("",), ("ü b",)], "value string").coalesce(1)
    lines.write.format("sealed").option("format", "text").mode("append").save(str(tmp_path / "d"))
    assert [row.value for row in sealed(spark, tmp_path / "d", "text").collect()] == ["a", "", "ü b"]


@pytest.fixture
def in_kolkata(spark: SparkSession) -> Iterator[None]:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Kolkata")
    yield
    spark.conf.set("spark.sql.session.timeZone", before or "")


@pytest.mark.usefixtures("in_kolkata")
@pytest.mark.parametrize(("form", "line"), [("csv", "2026-01-02 03:04:05"), ("json", '{"at":"2026-01-02 03:04:05"}')])
def test_timestamps_are_in_the_zone_of_the_session(
    spark: SparkSession, workspace: Workspace, tmp_path: Path, form: str, line: str
) -> None:
    (tmp_path / "plain").write_text(line + "\n")
    seal_folder([(tmp_path / "plain", f"a.{form}")], str(tmp_path / "d"), keys=workspace)
    reader = spark.read.format("sealed").option("format", form).schema("at timestamp")
    plain = spark.read.format(form).schema("at timestamp").load(str(tmp_path / "plain"))
    assert rows(reader.load(str(tmp_path / "d"))) == rows(plain)
    assert rows(reader.option("timeZone", "UTC").load(str(tmp_path / "d"))) != rows(plain)
    io.write(plain, str(tmp_path / "written"), format=form)
    written = Dataset.open(str(tmp_path / "written"), keys=workspace)
    unseal_folder(written, tmp_path / "open", replace=False, progress=lambda _: None)
    assert "2026-01-02T03:04:05.000+05:30" in "".join(path.read_text() for path in (tmp_path / "open").iterdir())

    spark.conf.unset("spark.sql.session.timeZone")
    with pytest.raises(PySparkException, match=r"\[spark.option\]"):
        spark.read.format("sealed").options(format=form).schema("at timestamp").load(str(tmp_path / "d")).collect()


def test_every_line_once_whatever_the_splits(spark: SparkSession, workspace: Workspace, tmp_path: Path) -> None:
    generator = random.Random(5)
    text = "".join(f"{number},{'x' * generator.randrange(60)},1.00,2026-01-01\n" for number in range(20_000))
    (tmp_path / "a.csv").write_text("id,name,amount,day\n" + text)
    seal_folder([(tmp_path / "a.csv", "a.csv")], str(tmp_path / "d"), keys=workspace)
    for split in ("1000000000", "100000", "16384", "9999"):
        frame = sealed(spark, tmp_path / "d", "csv", header="true", maxSplitBytes=split)
        found = frame.selectExpr("count(*)", "sum(id)", "sum(length(name))").collect()[0]
        assert found[0] == 20_000
        assert found[1] == sum(range(20_000))
        assert found[2] == text.count("x")


def test_all_modes_of_write(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    target = str(tmp_path / "d")
    io.write(frame.limit(3), target, format="csv")
    with pytest.raises(AlreadyExists):
        io.write(frame.limit(3), target, format="csv")
    io.write(frame.limit(3), target, format="csv", mode="ignore")
    assert io.read(spark, target).count() == 3
    io.write(frame.limit(3), target, format="csv", mode="append")
    assert io.read(spark, target).count() == 6
    io.write(frame.limit(2), target, format="csv", mode="overwrite")
    assert io.read(spark, target).count() == 2


def test_modes_that_spark_refuses_are_refused(frame: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(PySparkException):
        frame.write.format("sealed").option("format", "csv").save(str(tmp_path / "d"))


def test_unknown_option_is_refused(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    io.write(frame.limit(3), str(tmp_path / "d"), format="csv")
    with pytest.raises(PySparkException, match=r"\[spark.option\]"):
        sealed(spark, tmp_path / "d", "csv", unescapedQuoteHandling="BACK_TO_DELIMITER").collect()


@pytest.mark.parametrize("form", ["csv", "json", "text"])
def test_dataset_without_any_part_has_no_rows(
    spark: SparkSession, workspace: Workspace, tmp_path: Path, form: str
) -> None:
    write_dataset(tmp_path / "d", keys=workspace, contents={}, properties={"format": form})
    assert sealed(spark, tmp_path / "d", form).collect() == []
    assert sealed(spark, tmp_path / "d", form).count() == 0


def test_pinned_commit(spark: SparkSession, frame: DataFrame, workspace: Workspace, tmp_path: Path) -> None:
    io.write(frame.limit(3), str(tmp_path / "d"), format="csv")
    digest = Dataset.open(str(tmp_path / "d"), keys=workspace).commit_digest
    assert sealed(spark, tmp_path / "d", "csv", atCommit=digest).count() == 3
    io.write(frame.limit(3), str(tmp_path / "d"), format="csv", mode="append")
    with pytest.raises(PySparkException, match=r"\[sealed.commit_unexpected\]"):
        sealed(spark, tmp_path / "d", "csv", atCommit=digest).count()


def test_no_plaintext_beside_the_data(frame: DataFrame, tmp_path: Path) -> None:
    io.write(frame.selectExpr("concat('MARK', id) value"), str(tmp_path / "d"), format="text")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"MARK1" in path.read_bytes()]


# --- the three ways in read each other (must show 8) ------------------------------------------------------------------
def test_data_source_codec_and_command_read_each_other(
    spark: SparkSession, frame: DataFrame, workspace: Workspace, tmp_path: Path
) -> None:
    expected = rows(frame)
    by_source, by_codec, by_command = tmp_path / "source", tmp_path / "codec", tmp_path / "command"
    io.write(frame, str(by_source), format="csv")
    frame.write.option("compression", CODEC).csv(str(by_codec))
    plain = tmp_path / "plain"
    frame.coalesce(1).write.option("redoubt.plaintext", "allow").csv(str(plain))
    files = [(file, file.name) for file in sorted(plain.glob("part-*"))]
    seal_folder(files, str(by_command), keys=workspace)

    for dataset in (by_source, by_command):
        assert rows(sealed(spark, dataset, "csv")) == expected
        found = spark.read.schema(DDL).option("recursiveFileLookup", "true").csv(str(dataset / "data"))
        assert rows(found) == expected
        verify_dataset(str(dataset), keys=workspace).check()
    assert rows(sealed(spark, by_codec, "csv", loose="true")) == expected
    assert rows(spark.read.schema(DDL).csv(str(by_codec))) == expected
    unseal_folder(
        Dataset.open(str(by_source), keys=workspace), tmp_path / "out", replace=False, progress=lambda _: None
    )
    assert rows(spark.read.schema(DDL).csv(str(tmp_path / "out"))) == expected
    adopt(str(by_codec), keys=workspace)
    assert rows(sealed(spark, by_codec, "csv")) == expected
    next(by_codec.glob("part-*.sealed")).unlink()
    with pytest.raises(PySparkException, match=r"\[sealed.part_missing\]"):
        sealed(spark, by_codec, "csv").count()


# --- tamper -----------------------------------------------------------------------------------------------------------
Tamper = Callable[[Path, Path], object]


def parts(dataset: Path) -> list[Path]:
    return sorted((dataset / "data").rglob("*.sealed"))


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def swap(first: Path, second: Path) -> None:
    spare = first.with_suffix(".spare")
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


TAMPERS: dict[str, Tamper] = {
    "bit flipped in the header": lambda made, _: flip(parts(made)[0], 40),
    "bit flipped in the salt": lambda made, _: flip(parts(made)[0], -parts(made)[0].stat().st_size + 260),
    "bit flipped in the body": lambda made, _: flip(parts(made)[0], -100),
    "part truncated": lambda made, _: parts(made)[0].write_bytes(parts(made)[0].read_bytes()[:-1]),
    "part extended": lambda made, _: parts(made)[0].write_bytes(parts(made)[0].read_bytes() + b"x"),
    "part emptied": lambda made, _: parts(made)[0].write_bytes(b""),
    "parts swapped": lambda made, _: swap(*parts(made)[:2]),
    "part removed": lambda made, _: parts(made)[0].unlink(),
    "part of another dataset": lambda made, other: shutil.copy(parts(other)[0], parts(made)[0]),
    "plaintext part": lambda made, _: parts(made)[0].write_text("1,a,1.00,2026-01-01\n"),
    "commit record edited": lambda made, _: flip(made / "_commits" / "00000001", -20),
    "commit record of another dataset": lambda made, other: (
        shutil.copy(other / "_commits" / "00000001", made / "_commits" / "00000001") and None
    ),
    "key file edited": lambda made, _: flip(next((made / "_keys").rglob("00000001")), -1),
    "key file of another dataset": lambda made, other: (
        shutil.copy(next((other / "_keys").rglob("00000001")), next((made / "_keys").rglob("00000001"))) and None
    ),
    "key file removed": lambda made, _: shutil.rmtree(made / "_keys"),
}


@pytest.fixture(scope="module")
def pair(frame: DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    for name in ("one", "two"):
        io.write(frame.repartition(3), str(folder / name), format="csv")
    return folder / "one", folder / "two"


@pytest.mark.parametrize("tamper", TAMPERS)
def test_tamper_is_refused(spark: SparkSession, pair: tuple[Path, Path], tmp_path: Path, tamper: str) -> None:
    shutil.copytree(pair[0], tmp_path / "made")
    TAMPERS[tamper](tmp_path / "made", pair[1])
    with pytest.raises(PySparkException, match=r"\[(sealed|key)\.[a-z_]+\]"):
        sealed(spark, tmp_path / "made", "csv").collect()


def test_added_part_is_not_read(spark: SparkSession, pair: tuple[Path, Path], frame: DataFrame, tmp_path: Path) -> None:
    shutil.copytree(pair[0], tmp_path / "made")
    shutil.copy(parts(pair[1])[0], parts(tmp_path / "made")[0].with_name("part-99999-1.csv.sealed"))
    assert rows(sealed(spark, tmp_path / "made", "csv")) == rows(frame)


def test_part_of_an_older_commit_is_refused(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    target = tmp_path / "made"
    io.write(frame.coalesce(1), str(target), format="csv")
    (old,) = parts(target)
    io.write(frame.coalesce(1), str(target), format="csv", mode="overwrite")
    (new,) = [part for part in parts(target) if part != old]
    shutil.copy(old, new)
    with pytest.raises(PySparkException, match=r"\[sealed\."):
        sealed(spark, target, "csv").collect()


@pytest.mark.parametrize("cases", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_random_faults_never_give_a_wrong_row(
    spark: SparkSession, pair: tuple[Path, Path], frame: DataFrame, tmp_path: Path, cases: int
) -> None:
    generator = random.Random(cases)
    expected = rows(frame)
    for case in range(cases):
        made = tmp_path / str(case)
        shutil.copytree(pair[0], made)
        victim = generator.choice([path for path in sorted(made.rglob("*")) if path.is_file()])
        raw = bytearray(victim.read_bytes())
        kind = generator.choice(["flip", "cut", "extend", "zero"])
        position = generator.randrange(len(raw))
        if kind == "flip":
            raw[position] ^= 1 << generator.randrange(8)
        elif kind == "cut":
            raw = raw[:position]
        elif kind == "extend":
            raw += generator.randbytes(generator.randrange(1, 40))
        else:
            raw[position : position + 16] = bytes(len(raw[position : position + 16]))
        changed = bytes(raw) != victim.read_bytes()
        victim.write_bytes(raw)
        if changed:
            with pytest.raises(PySparkException, match=r"\[(sealed|key|storage)\.[a-z_]+\]"):
                sealed(spark, made, "csv").collect()
        else:
            assert rows(sealed(spark, made, "csv")) == expected
        shutil.rmtree(made)


def test_a_loose_file_and_a_folder_without_commit(spark: SparkSession, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,a,1.00,2026-01-01\n")
    seal_file(tmp_path / "a.csv", AtomicFile(tmp_path / "a.csv.sealed", replace=False), keys=workspace)
    assert sealed(spark, tmp_path / "a.csv.sealed", "csv", loose="true").count() == 1
    with pytest.raises(PySparkException, match=r"\[sealed.no_commit\]"):
        sealed(spark, tmp_path, "csv").count()
