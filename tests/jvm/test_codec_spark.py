"""Unmodified Spark programs read and write sealed files through the codec."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark import RDD
from pyspark.sql import SparkSession
from tests.jvm.conftest import hadoop_configuration, java_of
from tests.jvm.samples import lines, read_standalone, rows, seal_file, write_dataset

from redoubt.keys.workspace import Workspace
from redoubt.limits import CHUNK_PLAINTEXT_BYTES, PREAMBLE_BYTES
from redoubt.sealed.slots import Preamble

pytestmark = pytest.mark.spark

CODEC = "io.redoubt.hadoop.SealedCodec"
ROWS = rows(4000)


@pytest.fixture
def sealed_csv(tmp_path: Path, workspace: Workspace) -> Path:
    return seal_file(tmp_path / "rows.csv.sealed", lines(ROWS), keys=workspace)


@pytest.fixture
def small_splits(sealed_spark: SparkSession) -> Iterator[SparkSession]:
    """A session whose readers cut a file of some chunks into many splits."""
    sealed_spark.conf.set("spark.sql.files.maxPartitionBytes", "20000")
    sealed_spark.conf.set("spark.sql.files.openCostInBytes", "0")
    yield sealed_spark
    sealed_spark.conf.unset("spark.sql.files.maxPartitionBytes")
    sealed_spark.conf.unset("spark.sql.files.openCostInBytes")


# --- reading ----------------------------------------------------------------------------------------------------------
def test_text_file_in_many_splits(sealed_spark: SparkSession, sealed_csv: Path) -> None:
    read = sealed_spark.sparkContext.textFile(str(sealed_csv), minPartitions=9)
    assert read.getNumPartitions() >= 9
    assert read.collect() == ROWS


def test_new_api_text_file(sealed_spark: SparkSession, sealed_csv: Path) -> None:
    read: RDD[tuple[int, str]] = sealed_spark.sparkContext.newAPIHadoopFile(
        str(sealed_csv),
        "org.apache.hadoop.mapreduce.lib.input.TextInputFormat",
        "org.apache.hadoop.io.LongWritable",
        "org.apache.hadoop.io.Text",
    )
    assert read.values().collect() == ROWS


def test_whole_text_files(sealed_spark: SparkSession, sealed_csv: Path) -> None:
    [(name, text)] = sealed_spark.sparkContext.wholeTextFiles(str(sealed_csv.parent)).collect()
    assert name.endswith("rows.csv.sealed")
    assert text.encode() == lines(ROWS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("chunks", [3, 3.5])
def test_text_with_every_line_end(
    small_splits: SparkSession, tmp_path: Path, workspace: Workspace, end: str, chunks: float
) -> None:
    size = math.floor(chunks * CHUNK_PLAINTEXT_BYTES)
    content = lines(ROWS, end)[:size]
    seal_file(tmp_path / "a.txt.sealed", content, keys=workspace)
    read = small_splits.read.text(str(tmp_path / "a.txt.sealed"))
    assert read.rdd.getNumPartitions() > 1
    assert [row.value for row in read.collect()] == content.decode().removesuffix(end).split(end)


def test_text_with_a_custom_separator(small_splits: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    seal_file(tmp_path / "a.txt.sealed", lines(ROWS, "<-->"), keys=workspace)
    read = small_splits.read.option("lineSep", "<-->").text(str(tmp_path / "a.txt.sealed"))
    assert [row.value for row in read.collect()] == ROWS


def test_csv_with_header_and_inferred_schema(small_splits: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    seal_file(tmp_path / "a.csv.sealed", lines(["number,text", *ROWS]), keys=workspace)
    read = small_splits.read.csv(str(tmp_path), header=True, inferSchema=True)
    assert read.dtypes == [("number", "int"), ("text", "string")]
    assert read.rdd.getNumPartitions() > 1
    assert sorted((row.number, row.text) for row in read.collect()) == [
        (number, row.split(",")[1]) for number, row in enumerate(ROWS)
    ]


def test_csv_across_lines_is_read_whole(small_splits: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    content = "".join(f'{number},"first\nsecond {"x" * (number % 100)}"\n' for number in range(1000))
    seal_file(tmp_path / "a.csv.sealed", content.encode(), keys=workspace)
    read = small_splits.read.csv(str(tmp_path), multiLine=True, inferSchema=True)
    assert read.count() == 1000
    assert read.rdd.getNumPartitions() == 1


@pytest.mark.parametrize("multi_line", [False, True])
def test_json(small_splits: SparkSession, tmp_path: Path, workspace: Workspace, multi_line: bool) -> None:
    records = [{"number": number, "text": "x" * (number % 90)} for number in range(1500)]
    content = json.dumps(records, indent=1) if multi_line else "\n".join(map(json.dumps, records))
    seal_file(tmp_path / "a.json.sealed", content.encode(), keys=workspace)
    read = small_splits.read.json(str(tmp_path), multiLine=multi_line)
    assert sorted((row.asDict() for row in read.collect()), key=lambda row: row["number"]) == records


def test_whole_text(sealed_spark: SparkSession, sealed_csv: Path) -> None:
    [row] = sealed_spark.read.text(str(sealed_csv), wholetext=True).collect()
    assert row.value.encode() == lines(ROWS)


def test_sql_on_a_file(sealed_spark: SparkSession, sealed_csv: Path) -> None:
    [row] = sealed_spark.sql(f"select count(*), count(distinct _c0) from csv.`{sealed_csv}`").collect()
    assert tuple(row) == (len(ROWS), len(ROWS))


@pytest.mark.parametrize("name", ["a b.csv.sealed", "a%20b.csv.sealed", "größe+1.csv.sealed", "x=1#2.csv.sealed"])
def test_names_that_need_escapes(sealed_spark: SparkSession, tmp_path: Path, workspace: Workspace, name: str) -> None:
    seal_file(tmp_path / name, lines(ROWS), keys=workspace)
    assert sealed_spark.read.csv(str(tmp_path)).count() == len(ROWS)
    assert sealed_spark.sparkContext.textFile(str(tmp_path)).count() == len(ROWS)


# --- datasets ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def dataset(tmp_path: Path, workspace: Workspace) -> dict[str, Path]:
    parts = {"0.csv.sealed": lines(ROWS[:2500]), "1.csv.sealed": lines(ROWS[2500:])}
    return write_dataset(tmp_path / "dataset", parts, keys=workspace)


READERS: dict[str, Callable[[SparkSession, str], int]] = {
    "csv": lambda spark, path: spark.read.csv(path).count(),
    "csv inferred": lambda spark, path: spark.read.csv(path, inferSchema=True, header=False).count(),
    "text": lambda spark, path: spark.read.text(path).count(),
    "textFile": lambda spark, path: spark.sparkContext.textFile(path, 5).count(),
    "multiLine with schema": lambda spark, path: spark.read.csv(path, multiLine=True, schema="a int, b string").count(),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_parts_of_a_dataset(
    small_splits: SparkSession, dataset: dict[str, Path], reader: Callable[[SparkSession, str], int]
) -> None:
    assert reader(small_splits, str(dataset["0.csv.sealed"].parent)) == len(ROWS)


def test_a_dataset_folder_is_read_recursively(
    small_splits: SparkSession, tmp_path: Path, dataset: dict[str, Path]
) -> None:
    assert len(dataset) == 2
    read = small_splits.read.option("recursiveFileLookup", "true").csv(str(tmp_path / "dataset"))
    assert read.count() == len(ROWS)


# --- writing ----------------------------------------------------------------------------------------------------------
def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.startswith("part-"))


def test_csv_is_written_and_read_back(sealed_spark: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    frame = sealed_spark.range(10000).selectExpr("id", "repeat('x', cast(id % 50 as int)) as text").repartition(3)
    frame.write.option("compression", CODEC).csv(str(tmp_path / "out"))
    files = files_of(tmp_path / "out")
    assert len(files) == 3
    assert all(path.name.endswith(".csv.sealed") for path in files)
    assert sum(read_standalone(path, keys=workspace).count(b"\n") for path in files) == 10000
    read = sealed_spark.read.csv(str(tmp_path / "out"), schema="id long, text string", nullValue="?", emptyValue="")
    assert read.exceptAll(frame).count() == 0
    assert frame.exceptAll(read).count() == 0


def test_every_file_has_its_own_keys(sealed_spark: SparkSession, tmp_path: Path) -> None:
    sealed_spark.range(100).repartition(3).write.option("compression", CODEC).json(str(tmp_path / "out"))
    headers = [Preamble.parse(path.read_bytes()[:PREAMBLE_BYTES]).header for path in files_of(tmp_path / "out")]
    assert len({header.data_key_id for header in headers}) == len({header.dataset_id for header in headers}) == 3


def test_save_as_text_file_with_empty_partitions(
    sealed_spark: SparkSession, tmp_path: Path, workspace: Workspace
) -> None:
    written = sealed_spark.sparkContext.parallelize(["one", "two"], 5)
    written.saveAsTextFile(str(tmp_path / "out"), CODEC)
    files = files_of(tmp_path / "out")
    assert len(files) == 5
    assert sorted(read_standalone(path, keys=workspace) for path in files)[:3] == [b"", b"", b""]
    assert sorted(sealed_spark.sparkContext.textFile(str(tmp_path / "out")).collect()) == ["one", "two"]


def test_key_and_media_type_come_from_the_configuration(
    sealed_spark: SparkSession, tmp_path: Path, workspace: Workspace
) -> None:
    workspace.provider_for(workspace.resolve("codec")).create(workspace.resolve("codec"))
    writer = sealed_spark.range(1).coalesce(1).write.option("compression", CODEC).option("redoubt.key", "codec")
    writer.option("redoubt.media-type", "text/csv").csv(str(tmp_path / "out"))
    [file] = files_of(tmp_path / "out")
    preamble = Preamble.parse(file.read_bytes()[:PREAMBLE_BYTES])
    assert preamble.header.media_type == "text/csv"
    assert str(preamble.slot.wrapped.key) == "key:main/codec.dev"


@pytest.mark.parametrize("setting", [("redoubt.endpoint", "/nonexistent"), ("redoubt.key", "no-such-key")])
def test_without_endpoint_or_key_nothing_is_written(
    sealed_spark: SparkSession, tmp_path: Path, setting: tuple[str, str]
) -> None:
    writer = sealed_spark.range(1).write.option("compression", CODEC).option(*setting)
    with pytest.raises(Exception, match=r"\[(endpoint\.unreachable|key\.unknown)\]"):
        writer.csv(str(tmp_path / "out"))
    assert not any(path.is_file() and path.stat().st_size for path in (tmp_path / "out").rglob("*"))


def test_the_codec_is_found_without_configuration(sealed_spark: SparkSession) -> None:
    hadoop = java_of(sealed_spark).org.apache.hadoop
    factory = hadoop.io.compress.CompressionCodecFactory(hadoop_configuration(sealed_spark))
    path = hadoop.fs.Path("a.csv.sealed")
    assert factory.getCodec(path).getClass().getName() == CODEC
