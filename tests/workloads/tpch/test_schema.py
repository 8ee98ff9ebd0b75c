"""The declared schema is the schema of the generated files, in every format."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from redoubt.workloads.tpch.generate import Dataset
from redoubt.workloads.tpch.schema import TABLES, TBL_TRAILER
from redoubt.workloads.tpch.tables import Tables, load_plain


@pytest.mark.spark
@pytest.mark.parametrize("name", TABLES)
def test_schema_is_that_of_the_parquet_files(spark: SparkSession, tpch_plain: Dataset, name: str) -> None:
    inferred = spark.read.option("redoubt.plaintext", "allow").parquet(str(tpch_plain.table_directory(name))).schema
    # Not only equal to what Spark reads: the files' own types, which reading with a schema would hide.
    assert inferred == TABLES[name].struct_type()
    assert StructType.fromDDL(TABLES[name].ddl()) == inferred


@pytest.mark.spark
@pytest.mark.parametrize("name", TABLES)
def test_all_formats_hold_the_same_table(
    spark: SparkSession, tables: Tables, tpch_csv: Dataset, tpch_tbl: Dataset, name: str
) -> None:
    parquet = getattr(tables, name)
    assert parquet.schema == TABLES[name].struct_type()
    rows = parquet.count()
    for other in (tpch_csv, tpch_tbl):
        text = getattr(load_plain(spark, other), name)
        assert text.schema == parquet.schema
        assert text.count() == rows > 0
        assert text.exceptAll(parquet).isEmpty()


@pytest.mark.parametrize("name", TABLES)
def test_csv_files_each_start_with_the_column_names(tpch_csv: Dataset, name: str) -> None:
    files = tpch_csv.table_files(name)
    assert len(files) == (1 if name in {"nation", "region"} else 2)
    for file in files:
        with file.open(newline="", encoding="ascii") as lines:
            assert tuple(next(csv.reader(lines))) == TABLES[name].column_names


@pytest.mark.parametrize("name", TABLES)
def test_tbl_lines_end_with_a_separator(tpch_tbl: Dataset, name: str) -> None:
    for file in tpch_tbl.table_files(name):
        for line in file.read_text("ascii").splitlines():
            *cells, trailer = line.split("|")
            assert len(cells) == len(TABLES[name].columns)
            assert trailer == ""


@pytest.mark.parametrize("name", TABLES)
def test_only_tbl_has_a_trailing_column(name: str) -> None:
    table = TABLES[name]
    assert table.ddl("tbl") == f"{table.ddl('csv')}, {TBL_TRAILER} STRING"
    assert table.ddl("csv") == table.ddl("parquet") == table.ddl()
    assert tuple(table.duckdb_columns("csv")) == table.column_names
    assert tuple(table.duckdb_columns("tbl")) == (*table.column_names, TBL_TRAILER)


def test_importing_needs_neither_engine() -> None:
    modules = ", ".join(f"redoubt.workloads.tpch.{name}" for name in ("schema", "sql", "generate", "tables", "check"))
    program = f"import sys, {modules}; print(sorted({{'pyspark', 'duckdb'}} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"
