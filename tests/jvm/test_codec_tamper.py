"""What the codec sees of tampering: everything inside a file, and in parts of datasets also which file it is.

Each case has the error's own code and never yields a row that was not written. What a codec cannot see stands last.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from tests.jvm.samples import lines, rows, seal_file, write_dataset

from redoubt.keys.workspace import Workspace
from redoubt.limits import BODY_PREFIX_BYTES, CHUNK_CIPHERTEXT_BYTES, PREAMBLE_BYTES, SLOT_OFFSETS
from redoubt.sealed.header import Header
from redoubt.sealed.write import WriteMode

pytestmark = pytest.mark.spark

ROWS = rows(2500)
BODY = PREAMBLE_BYTES + BODY_PREFIX_BYTES
READERS: dict[str, Callable[[SparkSession, str], list[str]]] = {
    "csv": lambda spark, path: [",".join(row) for row in spark.read.csv(path, schema="a string, b string").collect()],
    "text": lambda spark, path: [row.value for row in spark.read.text(path).collect()],
    "wholetext": lambda spark, path: [row.value for row in spark.read.text(path, wholetext=True).collect()],
    "textFile": lambda spark, path: spark.sparkContext.textFile(path, 4).collect(),
    "wholeTextFiles": lambda spark, path: spark.sparkContext.wholeTextFiles(path).values().collect(),
}
reader_param = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
Reader = Callable[[SparkSession, str], list[str]]


def refusal(read: Callable[[], object]) -> str:
    """The code of the error that reading ends with."""
    with pytest.raises(Exception, match=r"\[[a-z_]+\.[a-z_]+\]") as caught:
        read()
    found = re.search(r"RedoubtException: \[([a-z_.]+)\]", str(caught.value))
    assert found is not None, str(caught.value)[:500]
    return found[1]


def edit(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)


def flip(path: Path, offset: int) -> None:
    edit(path, offset, bytes([path.read_bytes()[offset] ^ 1]))


@pytest.fixture
def sealed(tmp_path: Path, workspace: Workspace) -> Path:
    (tmp_path / "in").mkdir()
    path = seal_file(tmp_path / "in" / "rows.csv.sealed", lines(ROWS), keys=workspace)
    assert path.stat().st_size > BODY + 3 * CHUNK_CIPHERTEXT_BYTES
    return path


# --- standalone files -------------------------------------------------------------------------------------------------
def _other_file(sealed: Path, workspace: Workspace) -> bytes:
    return seal_file(sealed.parents[1] / "other.sealed", lines(ROWS), keys=workspace).read_bytes()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "magic": (lambda path: flip(path, 3), "sealed.not_sealed"),
    "version": (lambda path: flip(path, 9), "sealed.version"),
    "purpose": (lambda path: flip(path, 20), "sealed.header"),
    "padding": (lambda path: flip(path, 3000), "sealed.header"),
    "slot": (lambda path: flip(path, SLOT_OFFSETS[0] + 100), "sealed.slot"),
    "media type edited": (
        lambda path: edit(path, path.read_bytes().index(b"text/csv"), b"text/tsv"),
        "sealed.commitment",
    ),
    "salt": (lambda path: flip(path, PREAMBLE_BYTES), "sealed.commitment"),
    "commitment": (lambda path: flip(path, BODY - 1), "sealed.commitment"),
    "first chunk": (lambda path: flip(path, BODY), "sealed.chunk"),
    "middle chunk": (lambda path: flip(path, BODY + CHUNK_CIPHERTEXT_BYTES + 77), "sealed.chunk"),
    "last byte": (lambda path: flip(path, path.stat().st_size - 1), "sealed.chunk"),
    "cut inside header": (lambda path: cut(path, 50), "sealed.header"),
    "cut inside slots": (lambda path: cut(path, 5000), "sealed.truncated"),
    "cut inside prefix": (lambda path: cut(path, BODY - 1), "sealed.truncated"),
    "cut after a chunk": (
        lambda path: cut(path, BODY + CHUNK_CIPHERTEXT_BYTES),
        "sealed.truncated",
    ),
    "cut inside a tag": (
        lambda path: cut(path, BODY + CHUNK_CIPHERTEXT_BYTES + 15),
        "sealed.truncated",
    ),
    "cut inside a chunk": (
        lambda path: cut(path, BODY + CHUNK_CIPHERTEXT_BYTES + 5000),
        "sealed.chunk",
    ),
    "byte appended": (lambda path: edit(path, path.stat().st_size, b"x"), "sealed.chunk"),
    "chunks swapped": (
        lambda path: edit(
            path,
            BODY,
            path.read_bytes()[BODY + CHUNK_CIPHERTEXT_BYTES : BODY + 2 * CHUNK_CIPHERTEXT_BYTES]
            + path.read_bytes()[BODY : BODY + CHUNK_CIPHERTEXT_BYTES],
        ),
        "sealed.chunk",
    ),
    "plaintext": (lambda path: edit(path, 0, lines(ROWS)), "sealed.not_sealed"),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
@reader_param
def test_faults_in_a_file(
    sealed_spark: SparkSession, sealed: Path, reader: Reader, fault: Callable[[Path], None], code: str
) -> None:
    fault(sealed)
    assert refusal(lambda: reader(sealed_spark, str(sealed.parent))) == code


@reader_param
def test_header_or_key_of_another_file(
    sealed_spark: SparkSession, sealed: Path, workspace: Workspace, reader: Reader
) -> None:
    original, other = sealed.read_bytes(), _other_file(sealed, workspace)
    for grafted, code in [
        (other[: SLOT_OFFSETS[0]] + original[SLOT_OFFSETS[0] :], "sealed.identity"),
        (original[: SLOT_OFFSETS[0]] + other[SLOT_OFFSETS[0] :], "sealed.identity"),
        (original[:PREAMBLE_BYTES] + other[PREAMBLE_BYTES:], "sealed.commitment"),
        (original[:BODY] + other[BODY:], "sealed.chunk"),
    ]:
        sealed.write_bytes(grafted)
        assert refusal(lambda: reader(sealed_spark, str(sealed.parent))) == code


@reader_param
def test_file_of_another_workspace(sealed_spark: SparkSession, tmp_path: Path, reader: Reader) -> None:
    stranger = Workspace.init(tmp_path / "stranger")
    (tmp_path / "in").mkdir()
    path = seal_file(tmp_path / "in" / "rows.csv.sealed", lines(ROWS), keys=stranger)
    assert refusal(lambda: reader(sealed_spark, str(path.parent))) == "key.context"


@pytest.mark.parametrize("cases", [60, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_random_faults_never_give_a_wrong_row(sealed_spark: SparkSession, sealed: Path, cases: int) -> None:
    generator = random.Random(20)
    original = sealed.read_bytes()
    readers = list(READERS.values())
    for case in range(cases):
        changed = bytearray(original)
        if case % 4 == 0:
            changed = changed[: generator.randrange(1, len(changed))]
        elif case % 4 == 1:
            one, two = (generator.randrange(BODY, len(changed) - 64) for _ in range(2))
            changed[one : one + 32], changed[two : two + 32] = changed[two : two + 32], changed[one : one + 32]
        else:
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        if bytes(changed) != original:
            sealed.write_bytes(changed)
            reader = readers[case % len(readers)]
            refusal(lambda reader=reader: reader(sealed_spark, str(sealed)))  # type: ignore[misc]


def test_a_short_read_does_not_miss_a_cut_end(sealed_spark: SparkSession, sealed: Path) -> None:
    """A reader of the first rows alone still learns that the file was cut: the end is authenticated at open (H27)."""
    sealed.write_bytes(sealed.read_bytes()[: BODY + 2 * CHUNK_CIPHERTEXT_BYTES])
    assert refusal(lambda: sealed_spark.read.text(str(sealed)).limit(1).collect()) == "sealed.truncated"
    assert refusal(lambda: sealed_spark.sparkContext.textFile(str(sealed)).take(1)) == "sealed.truncated"


@pytest.mark.parametrize("reader", ["csv", "text"])
def test_spark_cannot_be_told_to_pass_over_tampered_files(
    sealed_spark: SparkSession, sealed: Path, reader: str
) -> None:
    flip(sealed, BODY + CHUNK_CIPHERTEXT_BYTES)
    sealed_spark.conf.set("spark.sql.files.ignoreCorruptFiles", "true")
    try:
        for version_1_sources in ("csv,text", ""):
            sealed_spark.conf.set("spark.sql.sources.useV1SourceList", version_1_sources)
            assert refusal(lambda: READERS[reader](sealed_spark, str(sealed))) == "sealed.chunk"
    finally:
        sealed_spark.conf.unset("spark.sql.files.ignoreCorruptFiles")
        sealed_spark.conf.unset("spark.sql.sources.useV1SourceList")


# --- parts of datasets ------------------------------------------------------------------------------------------------
@pytest.fixture
def parts(tmp_path: Path, workspace: Workspace) -> dict[str, Path]:
    halves = {"0.csv.sealed": lines(ROWS), "1.csv.sealed": lines(rows(2500, seed=1))}
    return write_dataset(tmp_path / "dataset", halves, keys=workspace)


TELLING = {name: READERS[name] for name in ("csv", "text", "textFile")}
telling_param = pytest.mark.parametrize("reader", TELLING.values(), ids=TELLING)


@telling_param
def test_parts_swapped(sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader) -> None:
    first, second = parts.values()
    shutil.copy(second, first)
    assert refusal(lambda: reader(sealed_spark, str(first))) == "sealed.identity"


@telling_param
def test_part_renamed(sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader) -> None:
    first, _ = parts.values()
    added = first.with_name("2.csv.sealed")
    shutil.copy(first, added)
    assert refusal(lambda: reader(sealed_spark, str(added))) == "sealed.part_unlisted"


@telling_param
def test_part_of_another_dataset(
    sealed_spark: SparkSession, parts: dict[str, Path], workspace: Workspace, reader: Reader, tmp_path: Path
) -> None:
    stranger = write_dataset(tmp_path / "stranger", {"0.csv.sealed": lines(ROWS)}, keys=workspace)
    shutil.copy(stranger["0.csv.sealed"], parts["0.csv.sealed"])
    assert refusal(lambda: reader(sealed_spark, str(parts["0.csv.sealed"]))) == "sealed.identity"


@telling_param
def test_dataset_laid_inside_another(
    sealed_spark: SparkSession, parts: dict[str, Path], workspace: Workspace, reader: Reader, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "stranger", {"0.csv.sealed": lines(ROWS)}, keys=workspace)
    folder = parts["0.csv.sealed"].parent
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "stranger", folder)
    (laid,) = folder.glob("data/*/0.csv.sealed")
    assert refusal(lambda: reader(sealed_spark, str(laid))) == "sealed.identity"


@telling_param
def test_part_of_an_older_commit(
    sealed_spark: SparkSession, parts: dict[str, Path], workspace: Workspace, reader: Reader, tmp_path: Path
) -> None:
    assert reader(sealed_spark, str(parts["0.csv.sealed"])) == ROWS
    newer = write_dataset(
        tmp_path / "dataset", {"0.csv.sealed": lines(ROWS[:9])}, keys=workspace, mode=WriteMode.OVERWRITE
    )
    assert refusal(lambda: reader(sealed_spark, str(parts["0.csv.sealed"]))) == "sealed.part_unlisted"
    shutil.copy(parts["0.csv.sealed"], newer["0.csv.sealed"])
    assert refusal(lambda: reader(sealed_spark, str(newer["0.csv.sealed"]))) == "sealed.identity"


@telling_param
def test_part_replaced_by_a_standalone_file(
    sealed_spark: SparkSession, parts: dict[str, Path], workspace: Workspace, reader: Reader
) -> None:
    seal_file(parts["0.csv.sealed"], lines(["0,forged"]), keys=workspace)
    assert refusal(lambda: reader(sealed_spark, str(parts["0.csv.sealed"]))) == "sealed.identity"


@telling_param
def test_part_cut_or_extended(sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader) -> None:
    path = parts["0.csv.sealed"]
    original = path.read_bytes()
    chunk_edge = Header.parse(original)[1] + BODY_PREFIX_BYTES + CHUNK_CIPHERTEXT_BYTES
    for content in (original[:-1], original + b"x", original[:chunk_edge]):
        path.write_bytes(content)
        assert refusal(lambda: reader(sealed_spark, str(path))) == "sealed.part_changed"


@telling_param
def test_part_flipped(sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader) -> None:
    path = parts["0.csv.sealed"]
    header = Header.parse(path.read_bytes())[1]
    for offset, code in [(header, "sealed.part_changed"), (header + 60, "sealed.chunk")]:
        original = path.read_bytes()
        flip(path, offset)
        assert refusal(lambda: reader(sealed_spark, str(path))) == code
        path.write_bytes(original)


@telling_param
def test_part_outside_its_dataset(
    sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader, tmp_path: Path
) -> None:
    shutil.copy(parts["0.csv.sealed"], tmp_path / "0.csv.sealed")
    assert refusal(lambda: reader(sealed_spark, str(tmp_path / "0.csv.sealed"))) == "sealed.no_commit"


@telling_param
def test_commit_record_or_key_file_changed(
    sealed_spark: SparkSession, parts: dict[str, Path], reader: Reader, tmp_path: Path
) -> None:
    record = tmp_path / "dataset" / "_commits" / "00000001"
    [key_file] = (tmp_path / "dataset" / "_keys").glob("*/*")
    faults: list[tuple[Path, Callable[[], object], str]] = [
        (record, lambda: flip(record, record.stat().st_size - 20), "sealed.chunk"),
        (record, lambda: record.rename(record.with_name("00000002")), "sealed.commit"),
        (key_file, lambda: flip(key_file, key_file.stat().st_size - 1), "key.context"),
        (key_file, key_file.unlink, "sealed.key_file"),
    ]
    for path, fault, code in faults:
        original = path.read_bytes()
        fault()
        assert refusal(lambda: reader(sealed_spark, str(parts["0.csv.sealed"]))) == code
        record.with_name("00000002").unlink(missing_ok=True)
        path.write_bytes(original)
        assert reader(sealed_spark, str(parts["0.csv.sealed"])) == ROWS


def test_readers_that_name_no_file_refuse_parts(sealed_spark: SparkSession, parts: dict[str, Path]) -> None:
    path = str(parts["0.csv.sealed"])
    assert refusal(lambda: READERS["wholeTextFiles"](sealed_spark, path)) == "sealed.identity"
    assert refusal(lambda: sealed_spark.read.csv(path, multiLine=True)) == "sealed.identity"


# --- what a codec cannot see ------------------------------------------------------------------------------------------
def test_a_missing_standalone_file_is_not_seen(sealed_spark: SparkSession, sealed: Path, workspace: Workspace) -> None:
    """Stated in the documentation: one file is all a codec sees; adopt the folder, and `redoubt verify` tells."""
    gone = seal_file(sealed.with_name("more.csv.sealed"), lines(ROWS), keys=workspace)
    gone.unlink()
    assert sorted(READERS["text"](sealed_spark, str(sealed.parent))) == sorted(ROWS)


def test_a_file_cut_to_nothing_is_not_seen(sealed_spark: SparkSession, sealed: Path, workspace: Workspace) -> None:
    """Spark plans no task for an empty file, so the codec is never asked: it is the same as a missing file."""
    cut(seal_file(sealed.with_name("more.csv.sealed"), lines(ROWS), keys=workspace), 0)
    assert sorted(READERS["text"](sealed_spark, str(sealed.parent))) == sorted(ROWS)


def test_swapped_standalone_files_are_not_seen(sealed_spark: SparkSession, sealed: Path, workspace: Workspace) -> None:
    seal_file(sealed, lines(["another", "file"]), keys=workspace)
    assert READERS["text"](sealed_spark, str(sealed)) == ["another", "file"]
