"""Generating TPC-H tables: what is refused, and that a failure leaves nothing behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from redoubt.errors import AlreadyExists, UsageError, WorkloadError
from redoubt.workloads.tpch import generate as module
from redoubt.workloads.tpch.generate import Dataset, find_generator, generate
from redoubt.workloads.tpch.schema import TABLES


def _fake_generator(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    program = directory / "fake-tpchgen"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "find_generator", lambda: program)


def test_generated_tables_are_one_directory_each(tmp_path: Path) -> None:
    dataset = generate(tmp_path / "new" / "data", scale=0.001, format="csv", parts=3, threads=1)
    assert dataset == Dataset(tmp_path / "new" / "data", 0.001, "csv")
    assert sorted(path.name for path in dataset.directory.iterdir()) == sorted(TABLES)
    assert [path.name for path in dataset.table_files("lineitem")] == [f"lineitem.{part}.csv" for part in (1, 2, 3)]
    assert dataset.size() == sum(path.stat().st_size for path in dataset.directory.rglob("*.csv")) > 0
    assert [path.name for path in dataset.directory.parent.iterdir()] == ["data"]


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    first = generate(directory, scale=0.001, format="tbl")
    second = generate(tmp_path / "again", scale=0.001, format="tbl")
    for table in TABLES:
        assert [file.read_bytes() for file in first.table_files(table)] == [
            file.read_bytes() for file in second.table_files(table)
        ]


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(AlreadyExists, match="not an empty directory"):
        generate(tmp_path, scale=0.001, format="csv")
    with pytest.raises(AlreadyExists, match="not an empty directory"):
        generate(tmp_path / "mine", scale=0.001, format="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale factor must be between"),
        ({"scale": -1.0}, "scale factor must be between"),
        ({"scale": float("nan")}, "scale factor must be between"),
        ({"scale": 1e9}, "scale factor must be between"),
        ({"format": "orc"}, "unknown format 'orc'; the formats are tbl, csv, parquet"),
        ({"parts": 0}, "number of parts"),
        ({"parts": 10**6}, "number of parts"),
        ({"threads": 0}, "number of threads"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate(tmp_path / "data", **{"scale": 0.001, "format": "csv", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_generator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_installed_programs", list)
    monkeypatch.setattr(module, "_scripts_program", lambda: tmp_path / "absent")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(WorkloadError, match="tpchgen-cli, is not installed"):
        find_generator()


def test_the_generator_is_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find_generator().is_file()
    monkeypatch.setattr(module, "_installed_programs", list)
    assert find_generator().is_file()


def test_a_failing_generator_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_generator(monkeypatch, tmp_path, "echo no space left >&2; exit 3")
    with pytest.raises(WorkloadError, match="exit status 3: no space left"):
        generate(tmp_path / "data", scale=0.001, format="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["fake-tpchgen"]


def test_success_without_files_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_generator(monkeypatch, tmp_path, "exit 0")
    with pytest.raises(WorkloadError, match="reported success but wrote no file for region, nation"):
        generate(tmp_path / "data", scale=0.001, format="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["fake-tpchgen"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkloadError, match="cannot generate TPC-H tables in"):
        generate(tmp_path / "file" / "data", scale=0.001, format="csv")


def test_unknown_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no table '\.\./secret'"):
        Dataset(tmp_path, 0.001, "csv").table_directory("../secret")
