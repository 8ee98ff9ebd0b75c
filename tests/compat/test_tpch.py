"""TPC-H as the seeds run it: dbgen's files sealed as one dataset, a query on them, as on the plain files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from redoubt.compat.tpch import load_tables
from redoubt.errors import NoCommit, NotFound
from redoubt.keys.workspace import Workspace
from redoubt.sealed.transfer import folder_files, seal_folder
from redoubt.workloads.tpch.generate import generate
from redoubt.workloads.tpch.run import run_query
from redoubt.workloads.tpch.schema import TABLES

pytestmark = pytest.mark.spark


def test_a_query_on_sealed_dbgen_files_has_the_answer_of_the_plain_ones(
    spark: SparkSession, workspace: Workspace, tmp_path: Path
) -> None:
    made = generate(tmp_path / "made", scale=0.001, format="tbl", parts=1)
    plain, sealed = tmp_path / "dbgen", tmp_path / "dbgen-encrypted"
    plain.mkdir()
    for table in TABLES:
        (plain / f"{table}.tbl").write_bytes(b"".join(it.read_bytes() for it in made.table_files(table)))
    seal_folder(folder_files(plain), str(sealed), keys=workspace)
    rows = [
        run_query(spark, load_tables(spark, folder, sealed=folder is sealed, scale=0.001), 6, api="dataframe").rows
        for folder in (plain, sealed)
    ]
    assert rows[0] == rows[1]
    assert rows[0][0][0] is not None
    with pytest.raises(NoCommit):
        load_tables(spark, plain, sealed=True, scale=0.001)
    (plain / "region.tbl").unlink()
    with pytest.raises(NotFound, match=r"region\.tbl"):
        load_tables(spark, plain, sealed=False, scale=0.001)
