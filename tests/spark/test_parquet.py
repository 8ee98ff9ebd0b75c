"""Sealed Parquet through Spark: round trips with pyarrow, column keys, modes, and attacks at the storage.

Attacks leave lengths as they are where they can, so that what refuses is not always the cheapest check.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from redoubt.errors import (
    AlreadyExists,
    CommitUnexpected,
    KeyDisabled,
    KeyUnknown,
    ModeRefused,
    NoCommit,
    OptionRefused,
    PartChanged,
    PartMissing,
    SealedError,
    StorageUnsupported,
)
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.sealed import parquet as arrow
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import LocalFile
from redoubt.sealed.maintain import collect_garbage
from redoubt.sealed.parquet_tail import Algorithm, read_crypto_metadata
from redoubt.sealed.verify import verify_dataset
from redoubt.spark.application import Job
from redoubt.spark.conf import COMMIT_PROTOCOL
from redoubt.spark.parquet import read_parquet, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

ROWS = 2000
SUM = sum(range(ROWS))
#: What an aggregate over a whole table answers.
WHOLE = (ROWS, SUM, "n6")


@pytest.fixture(scope="module", autouse=True)
def pii(workspace: Workspace) -> str:
    """A second primary key."""
    name = workspace.resolve("pii")
    workspace.provider_for(name).create(name)
    return str(name)


@pytest.fixture(scope="module")
def frame(spark: SparkSession) -> DataFrame:
    return spark.range(0, ROWS, 1, 2).selectExpr(
        "id", "concat('n', id % 7) name", "id * 0.5D x", "cast(id % 3 AS int) g", "struct(id AS a, array(id) AS b) s"
    )


@pytest.fixture
def table(frame: DataFrame, tmp_path: Path) -> Path:
    """A managed table of one commit, two parts."""
    path = tmp_path / "table"
    write_parquet(frame, str(path))
    return path


@pytest.fixture
def native(frame: DataFrame, tmp_path: Path) -> Path:
    """A table by an unmodified program, two parts."""
    path = tmp_path / "native"
    frame.write.parquet(str(path))
    return path


def whole(frame: DataFrame) -> tuple[Any, ...]:
    return tuple(frame.selectExpr("count(x)", "sum(id)", "max(name)").collect()[0])


def parts(table: Path, keys: Workspace) -> tuple[Part, ...]:
    return Dataset.open(str(table), keys=keys).parts


def refused(action: Callable[[], Any], *codes: str) -> None:
    """Assert that *action* fails and that one of *codes* is in what the user sees."""
    with pytest.raises(Exception) as failure:
        action()
    text = str(failure.value)
    assert any(f"[{code}]" in text for code in codes), text[:2000]


# --- round trips ------------------------------------------------------------------------------------------------------
def test_spark_reads_what_it_wrote(spark: SparkSession, table: Path) -> None:
    found = read_parquet(spark, str(table))
    assert whole(found) == WHOLE
    assert found.schema.simpleString() == (
        "struct<id:bigint,name:string,x:double,g:int,s:struct<a:bigint,b:array<bigint>>>"
    )


def test_an_unmodified_program_reads_what_it_wrote(spark: SparkSession, native: Path, workspace: Workspace) -> None:
    assert whole(spark.read.parquet(str(native))) == WHOLE
    assert whole(read_parquet(spark, str(native))) == WHOLE
    assert not verify_dataset(str(native), keys=workspace).faults
    assert not verify_dataset(str(native), keys=workspace).orphans


def test_pyarrow_reads_what_spark_wrote(table: Path, native: Path, workspace: Workspace) -> None:
    for path in (table, native):
        found = arrow.read_table(str(path), keys=workspace)
        assert (found.num_rows, sum(found["id"].to_pylist())) == (ROWS, SUM)


def test_spark_reads_what_pyarrow_wrote(spark: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    written = pa.table({"id": range(ROWS), "name": [f"n{i % 7}" for i in range(ROWS)], "x": [0.5] * ROWS})
    arrow.write_table(written, str(tmp_path / "t"), keys=workspace)
    assert whole(read_parquet(spark, str(tmp_path / "t"))) == WHOLE


def test_spark_and_pyarrow_append_to_one_table(
    spark: SparkSession, frame: DataFrame, table: Path, workspace: Workspace
) -> None:
    written = pa.table({"id": range(5), "name": ["z"] * 5, "x": [0.0] * 5, "more": range(5)})
    arrow.write_table(written, str(table), keys=workspace, mode="append")
    assert whole(read_parquet(spark, str(table))) == (ROWS + 5, SUM + 10, "z")
    assert read_parquet(spark, str(table)).where("more IS NOT NULL").count() == 5
    assert arrow.read_table(str(table), keys=workspace).num_rows == ROWS + 5


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_both_algorithms(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace, algorithm: Algorithm
) -> None:
    path = tmp_path / "t"
    write_parquet(frame, str(path), options={"redoubt.parquet.algorithm": algorithm.value})
    for part in parts(path, workspace):
        assert read_crypto_metadata(LocalFile(path / part.name), where="x").algorithm is algorithm
    assert whole(read_parquet(spark, str(path))) == WHOLE
    assert arrow.read_table(str(path), keys=workspace).num_rows == ROWS


def test_no_plaintext_lies_in_the_folder(spark: SparkSession, tmp_path: Path) -> None:
    marker = "c41e77d0a9b84f52bb0d"
    rows = spark.range(100).selectExpr(f"'{marker}' AS marker_column")
    write_parquet(rows, str(tmp_path / "managed"), options={"compression": "none"})
    rows.write.option("compression", "none").parquet(str(tmp_path / "native"))
    for name in ("managed", "native"):
        content = b"".join(file.read_bytes() for file in (tmp_path / name).rglob("*") if file.is_file())
        assert content
        assert marker.encode() not in content
        assert b"marker_column" not in content
    rows.write.option("compression", "none").option("redoubt.plaintext", "allow").parquet(str(tmp_path / "plain"))
    control = b"".join(file.read_bytes() for file in (tmp_path / "plain").glob("part*"))
    assert marker.encode() in control


def test_nothing_but_the_dataset_lies_in_the_folder(table: Path, native: Path, workspace: Workspace) -> None:
    for path in (table, native):
        report = verify_dataset(str(path), keys=workspace)
        assert (report.faults, report.orphans) == ((), ())


# --- modes, partitions, schemas ---------------------------------------------------------------------------------------
def test_modes(spark: SparkSession, frame: DataFrame, table: Path, workspace: Workspace) -> None:
    with pytest.raises(AlreadyExists):
        write_parquet(frame, str(table))
    before = Dataset.open(str(table), keys=workspace).commit_digest
    assert write_parquet(frame, str(table), mode="ignore").commit_digest == before
    write_parquet(frame, str(table), mode="append")
    assert read_parquet(spark, str(table)).count() == 2 * ROWS
    write_parquet(frame.limit(3), str(table), mode="overwrite")
    assert read_parquet(spark, str(table)).count() == 3
    with pytest.raises(ModeRefused):
        write_parquet(frame, str(table), mode="upsert")


def test_append_and_overwrite_may_come_first(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    for mode in ("append", "overwrite"):
        write_parquet(frame, str(tmp_path / mode), mode=mode)
        assert whole(read_parquet(spark, str(tmp_path / mode))) == WHOLE


def test_two_appenders_at_once(spark: SparkSession, frame: DataFrame, table: Path, native: Path) -> None:
    """Both commits, or one clear refusal; never rows of one of them without the other's record."""
    from concurrent.futures import ThreadPoolExecutor

    def append(path: Path) -> int:
        try:
            if path == table:
                write_parquet(frame, str(path), mode="append")
            else:
                frame.write.mode("append").parquet(str(path))
        except Exception:  # noqa: BLE001  (Spark's writers share one folder of temporary files: one may lose)
            return 0
        return 1

    for path, at_least in ((table, 2), (native, 0)):
        with ThreadPoolExecutor(2) as pool:
            done = sum(pool.map(append, [path, path]))
        assert done >= at_least
        assert read_parquet(spark, str(path)).count() == (1 + done) * ROWS


def test_a_read_goes_on_while_the_table_is_overwritten(spark: SparkSession, frame: DataFrame, table: Path) -> None:
    planned = read_parquet(spark, str(table))
    write_parquet(frame.limit(1), str(table), mode="overwrite")
    assert whole(planned) == WHOLE
    assert read_parquet(spark, str(table)).count() == 1


def test_partitions(spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace) -> None:
    path = str(tmp_path / "t")
    rows = frame.selectExpr("id", "x", "name", "g", "concat('0', g) AS code")
    for _ in range(2):
        write_parquet(rows, path, mode="append", partition_by=["g", "code"])
    found = read_parquet(spark, path)
    assert found.schema["code"].dataType.simpleString() == "string"
    assert [tuple(row) for row in found.groupBy("g", "code").count().orderBy("g").collect()] == [
        (0, "00", 1334),
        (1, "01", 1334),
        (2, "02", 1332),
    ]
    assert found.where("g = 1").selectExpr("sum(id)").collect()[0][0] == 2 * sum(range(1, ROWS, 3))
    assert "PartitionFilters: [isnotnull(g" in found.where("g = 1")._jdf.queryExecution().toString()
    pandas = arrow.read_pandas(path, keys=workspace)
    assert pandas.groupby(["g", "code"]).size().to_dict() == {(0, "00"): 1334, (1, "01"): 1334, (2, "02"): 1332}
    with pytest.raises(OptionRefused):
        write_parquet(rows, path, mode="append", partition_by=["g"])


def test_partition_values_keep_their_characters(spark: SparkSession, tmp_path: Path, workspace: Workspace) -> None:
    values = ["a/b", "köln", "50%", "x=y", "two words", "{[:;,'\"]}", ""]
    rows = spark.createDataFrame([(value, i) for i, value in enumerate(values)], "name string, id int")
    expected = [None if value == "" else value for value in values]
    write_parquet(rows, str(tmp_path / "t"), partition_by=["name"])
    found = read_parquet(spark, str(tmp_path / "t")).orderBy("id").collect()
    assert [row["name"] for row in found] == expected
    table = arrow.read_table(str(tmp_path / "t"), keys=workspace).sort_by("id")
    assert table["name"].to_pylist() == expected
    rows.write.partitionBy("name").parquet(str(tmp_path / "native"))
    assert [row["name"] for row in spark.read.parquet(str(tmp_path / "native")).orderBy("id").collect()] == expected


def test_an_append_adds_columns_and_keeps_types(spark: SparkSession, frame: DataFrame, table: Path) -> None:
    write_parquet(frame.withColumn("y", frame.id), str(table), mode="append")
    found = read_parquet(spark, str(table))
    assert found.columns == ["id", "name", "x", "g", "s", "y"]
    assert found.where("y IS NOT NULL").count() == ROWS
    with pytest.raises(OptionRefused, match="x is string"):
        write_parquet(frame.selectExpr("cast(x AS string) x"), str(table), mode="append")
    with pytest.raises(OptionRefused):
        write_parquet(frame.selectExpr("id AS ID"), str(table), mode="append")


def test_an_empty_frame_keeps_its_schema(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    for name, columns in {"flat": (), "partitioned": ("g",)}.items():
        write_parquet(frame.where("id < 0"), str(tmp_path / name), partition_by=columns)
        found = read_parquet(spark, str(tmp_path / name))
        assert found.count() == 0
        assert set(found.columns) == set(frame.columns)


def test_native_append_overwrite_and_catalog(spark: SparkSession, frame: DataFrame, native: Path) -> None:
    frame.write.mode("append").parquet(str(native))
    assert spark.read.parquet(str(native)).count() == 2 * ROWS
    frame.limit(4).write.mode("overwrite").parquet(str(native))
    assert spark.read.parquet(str(native)).count() == 4
    refused(lambda: frame.write.parquet(str(native)), "PATH_ALREADY_EXISTS")
    spark.sql("CREATE TABLE sealed_catalog USING parquet PARTITIONED BY (g) AS SELECT id, id % 2 AS g FROM range(10)")
    try:
        spark.sql("INSERT INTO sealed_catalog SELECT id, 7 FROM range(3)")
        assert tuple(spark.sql("SELECT count(*), sum(id) FROM sealed_catalog").collect()[0]) == (13, 48)
        spark.sql("INSERT OVERWRITE sealed_catalog PARTITION (g = 1) SELECT 100")
        assert tuple(spark.sql("SELECT count(*), sum(id) FROM sealed_catalog").collect()[0]) == (9, 123)
        spark.sql(f"ALTER TABLE sealed_catalog ADD PARTITION (g = 9) LOCATION '{native}/elsewhere'")
        refused(lambda: spark.sql("INSERT INTO sealed_catalog SELECT 1, 9"), "spark.option")
    finally:
        spark.sql("DROP TABLE sealed_catalog")


def test_native_append_after_one_that_died_before_its_files_were_moved(
    spark: SparkSession, frame: DataFrame, native: Path, workspace: Workspace
) -> None:
    """Hadoop's committer would move a dead job's finished tasks along with the next job's."""
    dead = native / "_temporary/0/task_202611211000001234567890123456789_0001_m_000000/part-dead.parquet"
    dead.parent.mkdir(parents=True)
    shutil.copy(native / parts(native, workspace)[0].name, dead)
    frame.write.mode("append").parquet(str(native))
    assert spark.read.parquet(str(native)).count() == 2 * ROWS
    assert not dead.exists()
    assert not list(native.rglob(dead.name))


def test_native_append_after_one_that_died_before_its_commit_record(
    spark: SparkSession, frame: DataFrame, native: Path, workspace: Workspace
) -> None:
    """The files lie in the folder and are listed nowhere: nobody reads them, and ``redoubt gc`` removes them."""
    frame.write.mode("append").parquet(str(native))
    listed = {part.name for part in parts(native, workspace)}
    frame.write.mode("append").parquet(str(native))
    left = sorted({part.name for part in parts(native, workspace)} - listed)
    (native / "_commits/00000003").unlink()
    assert read_parquet(spark, str(native)).count() == 2 * ROWS
    assert spark.read.parquet(str(native)).count() == 2 * ROWS
    frame.write.mode("append").parquet(str(native))
    assert read_parquet(spark, str(native)).count() == 3 * ROWS
    refused(lambda: spark.read.parquet(str(native / left[0])).collect(), "sealed.part_unlisted")
    foreign = native / "part-00000-foreign.snappy.parquet"
    for content in (b"PAR1 plaintext PAR1", (native / left[0]).read_bytes()):
        foreign.write_bytes(content)  # neither says that it is a part of this name
        assert collect_garbage(str(native), keys=workspace, older_than=-60, dry_run=True) == left
    foreign.unlink()
    assert collect_garbage(str(native), keys=workspace) == []
    assert collect_garbage(str(native), keys=workspace, older_than=-60) == left
    assert spark.read.parquet(str(native)).count() == 3 * ROWS
    verify_dataset(str(native), keys=workspace).check()


def test_layouts_are_not_mixed(frame: DataFrame, table: Path, native: Path) -> None:
    refused(lambda: frame.write.mode("append").parquet(str(table)), "spark.option")
    with pytest.raises(OptionRefused):
        write_parquet(frame, str(native), mode="append")
    refused(lambda: frame.write.parquet(str(table / "data" / "inside")), "spark.option")


def test_a_dynamic_partition_overwrite_keeps_the_other_partitions(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    """More in ``test_filesystem.py``; here that the record, and not the folder, says what is there."""
    rows = frame.drop("s")
    rows.write.partitionBy("g").parquet(str(tmp_path / "t"))
    writer = rows.where("g = 1").limit(1).write.mode("overwrite").option("partitionOverwriteMode", "dynamic")
    writer.partitionBy("g").parquet(str(tmp_path / "t"))
    assert dict(spark.read.parquet(str(tmp_path / "t")).groupBy("g").count().collect()) == {0: 667, 1: 1, 2: 666}
    assert read_parquet(spark, str(tmp_path / "t")).count() == 1334
    assert len(verify_dataset(str(tmp_path / "t"), keys=workspace).orphans) == 2


def test_both_data_source_versions(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    sources = spark.conf.get("spark.sql.sources.useV1SourceList")
    spark.conf.set("spark.sql.sources.useV1SourceList", "")
    try:
        frame.write.parquet(str(tmp_path / "v2"))
        assert whole(spark.read.parquet(str(tmp_path / "v2"))) == WHOLE
    finally:
        spark.conf.set("spark.sql.sources.useV1SourceList", str(sources))


def test_the_row_based_reader(spark: SparkSession, table: Path) -> None:
    spark.conf.set("spark.sql.parquet.enableVectorizedReader", "false")
    try:
        assert whole(read_parquet(spark, str(table))) == WHOLE
    finally:
        spark.conf.set("spark.sql.parquet.enableVectorizedReader", "true")


# --- keys -------------------------------------------------------------------------------------------------------------
class Withholding:
    """A key source that withholds one primary key, as its owner does who grants the others only."""

    def __init__(self, keys: Workspace, withheld: str) -> None:
        self._keys = keys
        self._withheld = withheld

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        return self._keys.new_data_key(key, context)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        for item in wrapped:
            if str(item.key) == self._withheld:
                raise KeyDisabled(f"{item.key} is not for this reader")
        return self._keys.unwrap(wrapped)


def test_columns_under_a_withheld_key(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace, pii: str
) -> None:
    path = str(tmp_path / "t")
    write_parquet(frame, path, column_keys={"pii": ["name", "s.b"]})
    assert whole(read_parquet(spark, path)) == WHOLE
    assert arrow.read_table(path, keys=workspace).num_rows == ROWS
    restricted = Withholding(workspace, pii)
    with Job(restricted) as job:
        found = read_parquet(spark, path, options={"redoubt.endpoint": str(job.endpoint)})
        assert tuple(found.selectExpr("count(*)", "sum(id)", "sum(s.a)").collect()[0]) == (ROWS, SUM, SUM)
        refused(lambda: found.selectExpr("max(name)").collect(), "key.disabled")
        refused(lambda: found.selectExpr("max(s.b)").collect(), "key.disabled")
    assert arrow.read_table(path, keys=restricted, columns=["id", "x"]).num_rows == ROWS
    with pytest.raises(KeyDisabled):
        arrow.read_table(path, keys=restricted, columns=["name"])
    assert arrow.duckdb_relation(path, keys=restricted).aggregate("sum(id)").fetchall() == [(SUM,)]


def test_native_column_keys(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace, pii: str
) -> None:
    path = str(tmp_path / "t")
    frame.write.option("redoubt.column.keys", f"{pii}:name,s").parquet(path)
    assert whole(spark.read.parquet(path)) == WHOLE
    with Job(Withholding(workspace, pii)) as job:
        found = spark.read.option("redoubt.endpoint", str(job.endpoint)).parquet(path)
        assert found.selectExpr("sum(id)").collect()[0][0] == SUM
        refused(lambda: found.selectExpr("max(name)").collect(), "key.disabled")
    assert arrow.read_table(path, keys=Withholding(workspace, pii), columns=["x"]).num_rows == ROWS


@pytest.mark.parametrize(
    "column_keys",
    [{"pii": ["nothing"]}, {"pii": ["g"]}, {"pii": ["name"], "default": ["name"]}, {"pii": ["a,b"]}],
    ids=["unknown column", "partition column", "two keys", "separator"],
)
def test_impossible_column_keys_are_refused(
    frame: DataFrame, tmp_path: Path, column_keys: dict[str, list[str]]
) -> None:
    with pytest.raises(OptionRefused):
        write_parquet(frame, str(tmp_path / "t"), column_keys=column_keys, partition_by=["g"])
    assert not (tmp_path / "t" / "_commits").exists()


def test_stock_key_tools_read_a_table_with_our_kms_client(
    spark: SparkSession, frame: DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "t"
    frame.write.option("redoubt.column.keys", "pii:name").parquet(str(path))
    stock = spark.read.option(
        "parquet.crypto.factory.class", "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory"
    )
    assert whole(stock.option("redoubt.kms.root", str(path)).parquet(str(path))) == WHOLE


def test_two_tables_under_different_keys_join_in_one_job(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    write_parquet(frame, str(tmp_path / "one"), key="default")
    write_parquet(frame, str(tmp_path / "two"), key="pii", column_keys={"default": ["x"]})
    frame.write.option("redoubt.key", "pii").parquet(str(tmp_path / "three"))
    one, two = (read_parquet(spark, str(tmp_path / name)) for name in ("one", "two"))
    three = spark.read.parquet(str(tmp_path / "three"))
    joined = one.join(two.select("id", "name"), "id").join(three.selectExpr("id", "x AS z"), "id")
    assert tuple(joined.selectExpr("count(*)", "sum(x + z)").collect()[0]) == (ROWS, float(SUM))


def test_without_a_key_nothing_is_written(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(KeyUnknown):
        write_parquet(frame, str(tmp_path / "managed"), key="nobody")
    refused(lambda: frame.write.option("redoubt.key", "nobody").parquet(str(tmp_path / "native")), "key.unknown")
    empty = frame.write.option("redoubt.endpoint", str(tmp_path))
    refused(lambda: empty.parquet(str(tmp_path / "no-endpoint")), "endpoint.unreachable", "endpoint.refused")
    spark.conf.set(
        "spark.sql.sources.commitProtocolClass",
        "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol",
    )
    try:
        refused(lambda: frame.write.parquet(str(tmp_path / "no-protocol")), "spark.option", "sealed.plaintext")
    finally:
        spark.conf.set("spark.sql.sources.commitProtocolClass", COMMIT_PROTOCOL)
    assert not list(tmp_path.rglob("*.parquet"))


def test_plaintext_is_read_and_written_by_explicit_choice_only(
    spark: SparkSession, frame: DataFrame, native: Path, tmp_path: Path
) -> None:
    plain = str(tmp_path / "plain")
    frame.write.option("redoubt.plaintext", "allow").parquet(plain)
    refused(lambda: spark.read.parquet(plain), "sealed.plaintext")
    refused(lambda: spark.read.schema(frame.schema).parquet(plain).count(), "sealed.plaintext")
    assert whole(spark.read.option("redoubt.plaintext", "allow").parquet(plain)) == WHOLE
    refused(lambda: spark.read.option("redoubt.plaintext", "allow").parquet(str(native)), "sealed.plaintext")
    inside = str(native / "more")
    refused(lambda: frame.write.option("redoubt.plaintext", "allow").parquet(inside), "sealed.plaintext")
    refused(lambda: frame.write.mode("append").parquet(plain), "sealed.plaintext")
    refused(lambda: spark.read.option("redoubt.plaintext", "yes").parquet(plain), "spark.option")


@pytest.mark.parametrize(
    "option",
    ["parquet.crypto.factory.class", "redoubt.write.root", "redoubt.plaintext", "redoubt.read.root", "Path"],
)
def test_options_that_would_weaken_are_refused(spark: SparkSession, frame: DataFrame, table: Path, option: str) -> None:
    with pytest.raises(OptionRefused):
        read_parquet(spark, str(table), options={option: "x"})
    with pytest.raises(OptionRefused):
        write_parquet(frame, str(table), mode="append", options={option: "x"})


def test_an_object_store_is_refused_with_advice(spark: SparkSession) -> None:
    with pytest.raises(StorageUnsupported, match="local"):
        read_parquet(spark, "s3://bucket/table?endpoint_override=127.0.0.1:1&scheme=http")


# --- attacks at the storage -------------------------------------------------------------------------------------------
def _fill(content: bytes, length: int) -> bytes:
    """Lengthen a Parquet file where no reader looks: after its leading magic."""
    assert len(content) <= length
    return content[:4] + b"\0" * (length - len(content)) + content[4:]


def _attack_swap(table: Path, files: list[Path], spare: Path) -> None:
    length = max(file.stat().st_size for file in files)
    one, other = (_fill(file.read_bytes(), length) for file in files)
    files[0].write_bytes(other[: files[0].stat().st_size] if len(one) == len(other) else other)
    files[1].write_bytes(one)


def _attack_foreign(table: Path, files: list[Path], spare: Path) -> None:
    shutil.copyfile(spare, files[0])


def _attack_plaintext(table: Path, files: list[Path], spare: Path) -> None:
    import pyarrow.parquet as pq

    length = files[0].stat().st_size
    pq.write_table(pa.table({"id": [1], "x": [1.0]}), files[0])
    files[0].write_bytes(_fill(files[0].read_bytes(), length))


def _attack_downgrade(table: Path, files: list[Path], spare: Path) -> None:
    content = bytearray(files[0].read_bytes())
    (length,) = struct.unpack("<I", content[-8:-4])
    content[-8 - length + 1] = 0x2C
    files[0].write_bytes(content)


def _attack_truncate(table: Path, files: list[Path], spare: Path) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-1])


def _attack_remove(table: Path, files: list[Path], spare: Path) -> None:
    files[0].unlink()


def _attack_wrong_keys(table: Path, files: list[Path], spare: Path) -> None:
    """Put another table's key files under this table's ids."""
    root = next(parent for parent in spare.parents if (parent / "_keys").is_dir())
    (foreign,) = (root / "_keys").iterdir()
    for folder in (table / "_keys").iterdir():
        shutil.copyfile(foreign / "00000001", folder / "00000001")


ATTACKS: dict[str, tuple[Callable[[Path, list[Path], Path], None], tuple[str, ...]]] = {
    "swapped siblings": (_attack_swap, ("sealed.identity", "sealed.part_changed")),
    "another table's part": (_attack_foreign, ("sealed.identity", "sealed.part_changed")),
    "plaintext part": (_attack_plaintext, ("sealed.plaintext",)),
    "downgraded algorithm": (_attack_downgrade, ("sealed.identity",)),
    "truncated part": (_attack_truncate, ("sealed.part_changed",)),
    "removed part": (_attack_remove, ("sealed.part_missing",)),
    "another table's keys": (_attack_wrong_keys, ("key.context", "sealed.identity")),
}


@pytest.fixture
def spare(frame: DataFrame, tmp_path: Path, workspace: Workspace) -> Path:
    """A file of another table under the same primary key."""
    write_parquet(frame, str(tmp_path / "spare"))
    return tmp_path / "spare" / parts(tmp_path / "spare", workspace)[0].name


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("ignore", ["false", "true"])
def test_attacks_on_a_managed_table(
    spark: SparkSession, table: Path, spare: Path, workspace: Workspace, attack: str, ignore: str
) -> None:
    act, codes = ATTACKS[attack]
    files = [table / part.name for part in parts(table, workspace)]
    planned = read_parquet(spark, str(table))
    act(table, files, spare)
    with _ignoring(spark, ignore):
        refused(lambda: whole(read_parquet(spark, str(table))), *codes)
        # Planned before the attack: the storage changes after the driver looked.
        with pytest.raises(Exception, match=r"\[(sealed|key)\.|FILE_NOT_EXIST|FAILED_READ_FILE"):
            whole(planned)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_on_a_native_table(
    spark: SparkSession, native: Path, spare: Path, workspace: Workspace, attack: str
) -> None:
    act, codes = ATTACKS[attack]
    files = [native / part.name for part in parts(native, workspace)]
    schema = spark.read.parquet(str(native)).schema
    act(native, files, spare)
    refused(lambda: whole(spark.read.parquet(str(native))), *codes)
    refused(lambda: whole(spark.read.schema(schema).parquet(str(native))), *codes)
    with _ignoring(spark, "true"):
        refused(lambda: whole(spark.read.schema(schema).parquet(str(native))), *codes, "spark.option")


class _ignoring:  # noqa: N801  (used as a statement)
    """The session settings with which Spark skips files that fail."""

    def __init__(self, spark: SparkSession, value: str) -> None:
        self._spark = spark
        self._value = value

    def _set(self, value: str) -> None:
        for name in ("ignoreCorruptFiles", "ignoreMissingFiles"):
            self._spark.conf.set(f"spark.sql.files.{name}", value)

    def __enter__(self) -> None:
        self._set(self._value)

    def __exit__(self, *_: object) -> None:
        self._set("false")


def test_an_added_part_is_never_read(spark: SparkSession, table: Path, native: Path, workspace: Workspace) -> None:
    part = table / parts(table, workspace)[0].name
    shutil.copyfile(part, part.with_name("part-00009.snappy.parquet"))
    assert whole(read_parquet(spark, str(table))) == WHOLE
    part = native / parts(native, workspace)[0].name
    shutil.copyfile(part, part.with_name("part-00009.snappy.parquet"))
    assert whole(spark.read.parquet(str(native))) == WHOLE
    assert whole(read_parquet(spark, str(native))) == WHOLE
    added = str(native / "part-00009.snappy.parquet")
    refused(lambda: whole(spark.read.parquet(added)), "sealed.part_unlisted")


def test_another_table_laid_over_a_partition_is_refused(
    spark: SparkSession, frame: DataFrame, native: Path, tmp_path: Path
) -> None:
    """Attack by copying alone: with partition pruning, or a folder's path, no file of the victim would be opened."""
    victim = tmp_path / "victim"
    frame.write.partitionBy("g").parquet(str(victim))
    schema = spark.read.parquet(str(victim)).schema
    shutil.rmtree(victim / "g=1")
    shutil.copytree(native, victim / "g=1")
    refused(lambda: whole(spark.read.schema(schema).parquet(str(victim)).where("g = 1")), "sealed.identity")
    refused(lambda: whole(spark.read.parquet(str(victim / "g=1"))), "sealed.identity")
    refused(lambda: whole(spark.read.schema(schema).parquet(str(victim))), "sealed.identity", "sealed.part_missing")


def test_another_table_laid_around_a_table_is_refused(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    """The same from above: the attacker's table lists a part where the victim's stand."""
    victim, other = tmp_path / "lake" / "g=1", tmp_path / "other"
    frame.write.parquet(str(victim))
    frame.write.partitionBy("g").parquet(str(other))
    for part in victim.glob("*.parquet"):
        part.unlink()
    shutil.copytree(other, victim.parent, dirs_exist_ok=True)
    refused(lambda: whole(spark.read.parquet(str(victim))), "sealed.identity")
    refused(lambda: whole(spark.read.schema(frame.schema).parquet(str(victim))), "sealed.identity")


def test_a_table_below_an_unrelated_folder_is_read(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> None:
    for name in ("day=1", "day=2"):
        frame.write.parquet(str(tmp_path / "lake" / name))
    assert spark.read.parquet(str(tmp_path / "lake")).count() == 2 * ROWS


def test_a_table_is_not_written_into_another(frame: DataFrame, native: Path) -> None:
    refused(lambda: frame.write.parquet(str(native / "g=1")), "spark.option")


def test_a_part_of_an_older_commit_is_refused(
    spark: SparkSession, frame: DataFrame, table: Path, workspace: Workspace
) -> None:
    old = parts(table, workspace)
    write_parquet(frame, str(table), mode="overwrite")
    new = parts(table, workspace)
    planned = read_parquet(spark, str(table))
    shutil.copyfile(table / old[0].name, table / new[0].name)
    refused(lambda: whole(planned), "sealed.identity")


def test_a_removed_part_is_not_missed_by_a_count(spark: SparkSession, native: Path, workspace: Workspace) -> None:
    (native / parts(native, workspace)[1].name).unlink()
    refused(lambda: spark.read.parquet(str(native)).count(), "sealed.part_missing")


def test_a_rollback_is_refused_when_the_digest_is_pinned(
    spark: SparkSession, frame: DataFrame, native: Path, table: Path, workspace: Workspace
) -> None:
    frame.write.mode("append").parquet(str(native))
    write_parquet(frame, str(table), mode="append")
    for path in (native, table):
        pinned = Dataset.open(str(path), keys=workspace).commit_digest
        assert read_parquet(spark, str(path), at_commit=pinned).count() == 2 * ROWS
        newest = {part.name for part in parts(path, workspace)}
        (path / "_commits" / "00000002").unlink()
        for name in newest - {part.name for part in parts(path, workspace)}:
            (path / name).unlink()
        with pytest.raises(CommitUnexpected):
            read_parquet(spark, str(path), at_commit=pinned)
        if path == native:
            pinning = spark.read.option("redoubt.read.commit", pinned)
            refused(partial(pinning.parquet, str(native)), "sealed.commit_unexpected")


def test_a_listing_that_hides_and_shortens_files_changes_nothing(
    spark: SparkSession, frame: DataFrame, table: Path, workspace: Workspace
) -> None:
    """The plan comes from the commit record: Spark asks the storage for no listing and no length."""
    found = read_parquet(spark, str(table))
    listed = {part.name: part.length for part in parts(table, workspace)}
    files = found._jdf.queryExecution().optimizedPlan().collectLeaves().head().relation().location().allFiles()
    planned = {}
    for index in range(files.size()):
        status = files.apply(index)
        planned[Path(status.getPath().toUri().getPath()).relative_to(table).as_posix()] = status.getLen()
    assert planned == listed


def test_a_missing_table_and_other_data(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(NoCommit):
        read_parquet(spark, str(tmp_path / "nothing"))


def test_a_missing_part_is_refused_when_planning(spark: SparkSession, table: Path, workspace: Workspace) -> None:
    first = parts(table, workspace)[0]
    (table / first.name).write_bytes((table / first.name).read_bytes() + b"\0")
    with pytest.raises(PartChanged):
        read_parquet(spark, str(table))
    (table / first.name).unlink()
    with pytest.raises(PartMissing):
        read_parquet(spark, str(table))


def test_random_tampering_through_spark_is_always_refused(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, workspace: Workspace
) -> None:
    """200 random cases in one session: never another answer, whatever the case."""
    path = tmp_path / "t"
    write_parquet(frame.drop("s").coalesce(1), str(path), options={"parquet.page.size": "2048"})
    (part,) = parts(path, workspace)
    file = path / part.name
    original = file.read_bytes()
    planned = read_parquet(spark, str(path))

    def scan() -> tuple[Any, ...]:
        # A query anew each time: an executed one keeps its answer.
        return tuple(planned.selectExpr("count(*)", "sum(id)", "sum(x)", "sum(g)", "max(name)").collect()[0])

    expected = scan()
    generator = random.Random(20261121)
    refusals = 0
    for case in range(200):
        content = bytearray(original)
        start = generator.randrange(len(content) - 64)
        match case % 4:
            case 0 | 1:
                content[start] ^= 1 << generator.randrange(8)
            case 2:
                content[start : start + 32] = generator.randbytes(32)
            case 3:
                end = generator.randrange(len(content) - 64)
                content[start : start + 64], content[end : end + 64] = (
                    content[end : end + 64],
                    content[start : start + 64],
                )
        file.write_bytes(content)
        try:
            answer = scan()
        except Exception:  # noqa: BLE001  (counted; what it says is the other tests' matter)
            refusals += 1
        else:
            assert answer == expected, f"case {case} gave another answer"
    file.write_bytes(original)
    assert scan() == expected
    assert refusals > 150


def test_a_write_that_fails_leaves_the_table_as_it_was(
    spark: SparkSession, frame: DataFrame, table: Path, workspace: Workspace
) -> None:
    broken = frame.selectExpr("if(id = 1999, raise_error('stop'), id) AS id", "name", "x", "g", "s")
    before = Dataset.open(str(table), keys=workspace).commit_digest
    with pytest.raises(Exception, match="stop"):
        write_parquet(broken, str(table), mode="append")
    assert Dataset.open(str(table), keys=workspace).commit_digest == before
    assert whole(read_parquet(spark, str(table))) == WHOLE
    with pytest.raises(SealedError):
        read_parquet(spark, str(table), at_commit="sha256:" + "0" * 64)
