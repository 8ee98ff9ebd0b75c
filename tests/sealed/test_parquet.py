"""Sealed Parquet tables without Spark: round trips through every reader, and what an attacker at the storage can do."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.sealed.samples import write_dataset

from redoubt.errors import (
    AlreadyExists,
    CommitUnexpected,
    HeaderInvalid,
    IdentityMismatch,
    KeyError_,
    NoCommit,
    OptionRefused,
    PartChanged,
    PartMissing,
    PlaintextRefused,
    RedoubtError,
    SealedError,
    UsageError,
)
from redoubt.keys.workspace import Workspace
from redoubt.sealed import parquet
from redoubt.sealed.commit import Part
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.maintain import rewrap_dataset
from redoubt.sealed.verify import verify_dataset

ROWS = 5000
TABLE = pa.table(
    {
        "id": list(range(ROWS)),
        "name": [f"name {i % 17}" for i in range(ROWS)],
        "x": [i / 3 for i in range(ROWS)],
        "nested": [{"a": i, "b": [i, i + 1]} for i in range(ROWS)],
    }
)


@pytest.fixture(scope="module")
def keys(workspace: Workspace) -> Workspace:
    return workspace


@pytest.fixture
def table(tmp_path: Path, keys: Workspace) -> Path:
    """A table of two commits, one part each."""
    path = tmp_path / "table"
    parquet.write_table(TABLE, str(path), keys=keys)
    parquet.write_table(TABLE, str(path), keys=keys, mode="append")
    return path


def parts(table: Path, keys: Workspace) -> tuple[Part, ...]:
    return Dataset.open(str(table), keys=keys).parts


# --- round trips ------------------------------------------------------------------------------------------------------
def test_pyarrow_reads_what_it_wrote(table: Path, keys: Workspace) -> None:
    assert parquet.read_table(str(table), keys=keys).equals(pa.concat_tables([TABLE, TABLE]).combine_chunks())


def test_columns_and_filters_are_pushed_down(table: Path, keys: Workspace) -> None:
    found = parquet.read_table(str(table), keys=keys, columns=["x"], filter=pc.field("id") < 10)
    assert found.schema.names == ["x"]
    assert found.num_rows == 20


def test_duckdb_reads_it(table: Path, keys: Workspace) -> None:
    relation = parquet.duckdb_relation(str(table), keys=keys)
    answer = relation.filter("id < 100").aggregate("count(*), sum(id), max(name)").fetchall()
    assert answer == [(200, 2 * sum(range(100)), "name 9")]


def test_polars_reads_it(table: Path, keys: Workspace) -> None:
    import polars

    frame = parquet.read_polars(str(table), keys=keys).filter(polars.col("id") < 100).select("id").sum().collect()
    assert frame.rows() == [(2 * sum(range(100)),)]


def test_pandas_reads_it(table: Path, keys: Workspace) -> None:
    frame = parquet.read_pandas(str(table), keys=keys, columns=["id", "name"])
    assert list(frame.columns) == ["id", "name"]
    assert frame["id"].sum() == 2 * sum(range(ROWS))


def test_an_append_may_add_columns(table: Path, keys: Workspace) -> None:
    parquet.write_table(TABLE.append_column("y", TABLE["id"]), str(table), keys=keys, mode="append")
    found = parquet.read_table(str(table), keys=keys)
    assert (found.num_rows, found["y"].null_count) == (3 * ROWS, 2 * ROWS)


def test_an_overwrite_is_one_commit_and_leaves_orphans(table: Path, keys: Workspace) -> None:
    old = {part.name for part in parts(table, keys)}
    parquet.write_table(TABLE.slice(0, 7), str(table), keys=keys, mode="overwrite")
    assert parquet.read_table(str(table), keys=keys).num_rows == 7
    assert set(verify_dataset(str(table), keys=keys).orphans) >= old


def test_create_refuses_an_existing_dataset(table: Path, keys: Workspace) -> None:
    with pytest.raises(AlreadyExists):
        parquet.write_table(TABLE, str(table), keys=keys)


def test_an_unknown_mode_is_refused(tmp_path: Path, keys: Workspace) -> None:
    with pytest.raises(UsageError):
        parquet.write_table(TABLE, str(tmp_path / "new"), keys=keys, mode="replace")


def test_parquet_is_not_appended_to_other_data(tmp_path: Path, keys: Workspace) -> None:
    write_dataset(tmp_path / "csv", keys)
    with pytest.raises(SealedError):
        parquet.write_table(TABLE, str(tmp_path / "csv"), keys=keys, mode="append")
    with pytest.raises(SealedError):
        parquet.read_table(str(tmp_path / "csv"), keys=keys)


def test_an_append_does_not_go_beside_partitions(tmp_path: Path, keys: Workspace) -> None:
    from redoubt.sealed.parquet_layout import check_appendable

    parquet.write_table(TABLE, str(tmp_path / "flat"), keys=keys)
    with pytest.raises(OptionRefused):
        check_appendable(Dataset.open(str(tmp_path / "flat"), keys=keys), partition_by=["id"])


def test_an_object_store_holds_a_table(s3_location: str, keys: Workspace) -> None:
    parquet.write_table(TABLE, s3_location, keys=keys)
    parquet.write_table(TABLE, s3_location, keys=keys, mode="append")
    assert parquet.read_table(s3_location, keys=keys, columns=["id"]).num_rows == 2 * ROWS
    assert not verify_dataset(s3_location, keys=keys).faults


# --- keys -------------------------------------------------------------------------------------------------------------
def test_no_plaintext_and_no_key_is_in_the_file(tmp_path: Path, keys: Workspace) -> None:
    marker = "f3a9c1e07b5d428896e4aa0c"
    secret = pa.table({"marker_column": [marker] * 100})
    for compression in ("none", "snappy"):
        path = tmp_path / compression
        parquet.write_table(secret, str(path), keys=keys, compression=compression)
        content = b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())
        assert marker.encode() not in content
        assert b"marker_column" not in content


def test_rewrapping_touches_no_part(table: Path, keys: Workspace) -> None:
    before = {part.name: (table / part.name).stat().st_mtime_ns for part in parts(table, keys)}
    name = keys.resolve("default")
    keys.provider_for(name).rotate(name)
    assert rewrap_dataset(str(table), keys=keys, provider_for=keys.provider_for).replaced == 2
    assert {name: (table / name).stat().st_mtime_ns for name in before} == before
    assert parquet.read_table(str(table), keys=keys).num_rows == 2 * ROWS


def test_another_workspace_cannot_read(table: Path, tmp_path: Path) -> None:
    stranger = Workspace.init(tmp_path / "stranger")
    with pytest.raises((KeyError_, SealedError)):
        parquet.read_table(str(table), keys=stranger)


def test_a_table_and_its_wrapped_keys_do_not_pass_as_another_one(tmp_path: Path, keys: Workspace) -> None:
    """The key folder of a table, put beside another one's parts, opens nothing."""
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        parquet.write_table(TABLE, str(path), keys=keys)
    shutil.rmtree(one / "_keys")
    shutil.copytree(other / "_keys", one / "_keys")
    with pytest.raises(SealedError):
        parquet.read_table(str(one), keys=keys)


# --- attacks at the storage -------------------------------------------------------------------------------------------
def _replace(target: Path, source: Path) -> None:
    shutil.copyfile(source, target)


def test_a_removed_part_is_refused(table: Path, keys: Workspace) -> None:
    (table / parts(table, keys)[0].name).unlink()
    with pytest.raises(PartMissing):
        parquet.dataset(str(table), keys=keys)


def test_an_added_part_is_never_read(table: Path, keys: Workspace) -> None:
    part = parts(table, keys)[0]
    added = f"{part.name.rpartition('/')[0]}/part-00009.parquet"
    _replace(table / added, table / part.name)
    assert parquet.read_table(str(table), keys=keys).num_rows == 2 * ROWS
    assert added in verify_dataset(str(table), keys=keys).orphans


def test_a_truncated_or_extended_part_is_refused(table: Path, keys: Workspace) -> None:
    path = table / parts(table, keys)[0].name
    content = path.read_bytes()
    for changed in (content[:-1], content + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(PartChanged):
            parquet.dataset(str(table), keys=keys)


def _same_length(content: bytes, length: int) -> bytes:
    """Fill up within an encrypted Parquet file: after its leading magic, where no reader looks."""
    assert len(content) <= length
    return content[:4] + b"\0" * (length - len(content)) + content[4:]


def test_a_plaintext_file_of_the_same_length_is_refused(table: Path, keys: Workspace, tmp_path: Path) -> None:
    part = parts(table, keys)[0]
    plain = tmp_path / "plain.parquet"
    pq.write_table(TABLE.slice(0, 10), plain)
    (table / part.name).write_bytes(_same_length(plain.read_bytes(), part.length))
    with pytest.raises(PlaintextRefused):
        parquet.dataset(str(table), keys=keys)


def test_siblings_of_the_same_length_that_are_swapped_are_refused(table: Path, keys: Workspace) -> None:
    one, other = (table / part.name for part in parts(table, keys))
    if one.stat().st_size != other.stat().st_size:
        pytest.fail("two writes of the same table have the same length")
    content = one.read_bytes()
    _replace(one, other)
    other.write_bytes(content)
    with pytest.raises(IdentityMismatch):
        parquet.dataset(str(table), keys=keys)


def test_a_part_of_another_table_under_the_same_primary_key_is_refused(
    table: Path, keys: Workspace, tmp_path: Path
) -> None:
    parquet.write_table(TABLE, str(tmp_path / "other"), keys=keys)
    foreign = tmp_path / "other" / parts(tmp_path / "other", keys)[0].name
    _replace(table / parts(table, keys)[0].name, foreign)
    with pytest.raises(IdentityMismatch):
        parquet.dataset(str(table), keys=keys)


def test_a_part_of_an_older_commit_is_refused(table: Path, keys: Workspace) -> None:
    old = parts(table, keys)[0]
    parquet.write_table(TABLE, str(table), keys=keys, mode="overwrite")
    new = parts(table, keys)[0]
    _replace(table / new.name, table / old.name)
    with pytest.raises(IdentityMismatch):
        parquet.dataset(str(table), keys=keys)


def test_a_forged_identity_is_refused_by_the_tags(table: Path, keys: Workspace) -> None:
    """The stored identity is plaintext: an attacker rewrites it to the expected one, and nothing decrypts."""
    one, other = parts(table, keys)
    forged = (table / other.name).read_bytes().replace(_identity(table, other), _identity(table, one))
    (table / one.name).write_bytes(forged)
    with pytest.raises(RedoubtError):
        parquet.read_table(str(table), keys=keys)


def _identity(table: Path, part: Part) -> bytes:
    from redoubt.sealed.local import LocalFile
    from redoubt.sealed.parquet_tail import read_crypto_metadata

    return read_crypto_metadata(LocalFile(table / part.name), where=part.name).aad_prefix


def test_a_downgrade_to_the_unauthenticated_algorithm_is_refused(table: Path, keys: Workspace) -> None:
    part = parts(table, keys)[0]
    content = bytearray((table / part.name).read_bytes())
    (length,) = struct.unpack("<I", content[-8:-4])
    assert content[-8 - length + 1] == 0x1C
    content[-8 - length + 1] = 0x2C  # the union's field 2: AES_GCM_CTR_V1
    (table / part.name).write_bytes(content)
    with pytest.raises(IdentityMismatch):
        parquet.dataset(str(table), keys=keys)


def test_an_older_head_is_refused_when_the_digest_is_pinned(table: Path, keys: Workspace) -> None:
    pinned = Dataset.open(str(table), keys=keys).commit_digest
    assert parquet.read_table(str(table), keys=keys, at_commit=pinned).num_rows == 2 * ROWS
    (table / "_commits" / "00000002").unlink()
    with pytest.raises(CommitUnexpected):
        parquet.dataset(str(table), keys=keys, at_commit=pinned)


def test_a_folder_without_commit_is_no_table(tmp_path: Path, keys: Workspace) -> None:
    pq.write_table(TABLE, tmp_path / "plain.parquet")
    with pytest.raises(NoCommit):
        parquet.dataset(str(tmp_path), keys=keys)


def test_verify_names_a_changed_part(table: Path, keys: Workspace) -> None:
    part = parts(table, keys)[1]
    path = table / part.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    faults = verify_dataset(str(table), keys=keys).faults
    assert [(fault.name, type(fault.error)) for fault in faults] == [(part.name, PartChanged)]


def test_random_tampering_is_always_refused(tmp_path: Path, keys: Workspace) -> None:
    """Any flipped bit of a file that a full scan depends on is an error of ours, never another row."""
    path = tmp_path / "table"
    small = TABLE.slice(0, 300)
    parquet.write_table(small, str(path), keys=keys)
    file = path / parts(path, keys)[0].name
    original = file.read_bytes()
    generator = random.Random(20261121)
    refused = 0
    for _ in range(300):
        content = bytearray(original)
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        file.write_bytes(content)
        try:
            found = parquet.read_table(str(path), keys=keys)
        except (SealedError, KeyError_, HeaderInvalid):
            refused += 1
        else:
            assert found.equals(small)  # a byte that no reader looks at: leading magic, column indexes
    assert refused > 250


def test_every_reader_refuses_a_flipped_page(table: Path, keys: Workspace) -> None:
    path = table / parts(table, keys)[0].name
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    readers: list[Callable[[], Any]] = [
        lambda: parquet.read_table(str(table), keys=keys),
        lambda: parquet.read_pandas(str(table), keys=keys),
        lambda: parquet.read_polars(str(table), keys=keys).collect(),
        lambda: parquet.duckdb_relation(str(table), keys=keys).fetchall(),
    ]
    for read in readers:
        with pytest.raises(Exception, match=r"(?i)tag|decrypt"):
            read()
