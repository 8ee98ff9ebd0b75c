"""Programs of BigDL PPML with only their import line changed, in one Spark session on a workspace's keys."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from tests.crypto import legacy_writer as writer

from redoubt.compat.ppml_context import CryptoMode, PPMLContext, init_keys, initPPMLContext
from redoubt.compat.primary_keys import make_key
from redoubt.errors import (
    AlreadyExists,
    KeyUnknown,
    LegacyTampered,
    NotFound,
    OptionRefused,
    PlaintextRefused,
    SparkError,
    UsageError,
)
from redoubt.keys.names import KeyName
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.keyfiles import read_current
from redoubt.sealed.transfer import seal_folder

pytestmark = pytest.mark.spark
PROGRAMS = Path(__file__).parent / "programs"
IMPORT = "from bigdl.ppml.ppml_context import *"
OURS = "from redoubt.compat.ppml_context import *"
AMY = "name,age,job\njack,18,Developer\nalex,20,Researcher\nxuoui,25,Developer\nhlsgu,29,Developer\n"
BOB = "name,age,job\nbo,25,Developer\nbea,41,Developer\n"
AMYS, BOBS = KeyName.parse("key:amy/people.dev"), KeyName.parse("key:bob/people.dev")


@pytest.fixture
def keys(workspace: Workspace, spark: SparkSession) -> Workspace:
    """The session's workspace, with a namespace for each owner, Bob's in a keystore of his own."""
    if "amy" not in workspace.config.namespaces:
        workspace.map_namespace("amy", "local")
        bobs = Workspace.init(workspace.folder / "bob")
        workspace.map_namespace("bob", "local", bobs.folder)
    return workspace


def run(
    name: str, *words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Run the program with its import line changed; return what it printed as JSON, and its stderr."""
    text = (PROGRAMS / f"{name}.py").read_text()
    assert text.count(IMPORT) == 1
    program = folder / f"{name}.py"
    program.write_text(text.replace(IMPORT, OURS))
    monkeypatch.setattr(sys, "argv", [str(program), *words])
    runpy.run_path(str(program), run_name="__main__")
    out, err = capsys.readouterr()
    return json.loads(out), err


def legacy_folder(folder: Path, content: str) -> tuple[Path, Path]:
    """Write *content* as gen-B's writer did, and the primary key; return both paths."""
    wrapped, text = writer.simple_key()
    folder.mkdir()
    (folder / "part-00000.csv.cbc").write_bytes(writer.gen_b(text, content.encode(), wrapped=wrapped, short=True))
    (folder / ".meta").write_text(json.dumps({"encryptedDataKey": wrapped}))
    primary = folder.parent / "primaryKey"
    primary.write_text(writer.SIMPLE_PRIMARY + "\n")
    return folder, primary


def simple_words(folder: Path, *, key: Path, source: Path, read: str, write: str) -> tuple[str, ...]:
    return (
        "--kms_type=SimpleKeyManagementService",
        "--app_id=123456654321",
        "--api_key=hunter2-0451",
        f"--primary_key_material={key}",
        f"--input_encrypt_mode={read}",
        f"--output_encrypt_mode={write}",
        f"--input_path={source}",
        f"--output_path={folder / 'out'}",
    )


@pytest.mark.parametrize("source", ["legacy", "sealed", "plain"])
def test_simple_query_runs_with_its_import_changed(
    source: str,
    keys: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mode = "AES/CBC/PKCS5Padding"
    if source == "legacy":
        path, key = legacy_folder(tmp_path / "people.csv", AMY)
    else:
        path, key = tmp_path / "people.csv", tmp_path / "primaryKey"
        (tmp_path / "plain.csv").write_text(AMY)
        make_key(keys, AMYS, key)
        if source == "plain":
            path, mode = tmp_path / "plain.csv", "plain_text"
        else:
            seal_folder([(tmp_path / "plain.csv", "people.csv")], str(path), keys=keys)
    words = simple_words(tmp_path, key=key, source=path, read=mode, write="AES/CBC/PKCS5Padding")
    found, err = run("simple_query", *words, folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    assert found == [["hlsgu", "29"], ["xuoui", "25"]]
    dataset = Dataset.open(str(tmp_path / "out"), keys=keys)
    expected = str(AMYS) if source != "legacy" else "key:main/default.dev"
    assert str(read_current(dataset.storage, dataset.parts[0].key)[1].key) == expected
    assert err.count("nothing legacy is written") == 1
    assert ("about 26 bits" in err) == (source == "legacy")
    assert "hunter2" not in err


def test_multi_party_query_runs_with_its_import_changed(
    keys: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content, key in (("amy", AMY, AMYS), ("bob", BOB, BOBS)):
        make_key(keys, key, tmp_path / f"{name}Key")
        (tmp_path / f"{name}.csv").write_text(content)
        seal_folder([(tmp_path / f"{name}.csv", "p.csv")], str(tmp_path / name), keys=keys, key=str(key))
    words = [str(tmp_path / it) for it in ("amy", "bob", "union", "join", "amyKey", "bobKey")]
    found, err = run("multi_party_query", *words, folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    assert found == {"union": ["bo", "hlsgu", "xuoui"], "joined": 1}
    for name, key in (("union", AMYS), ("join", BOBS)):
        dataset = Dataset.open(str(tmp_path / name), keys=keys)
        assert read_current(dataset.storage, dataset.parts[0].key)[1].key == key
    assert "AmyPK.kms.apiKey is not used" in err


@pytest.fixture
def context(keys: Workspace) -> PPMLContext:
    return initPPMLContext("tests", {})


def test_changed_legacy_input_is_refused_and_named(keys: Workspace, tmp_path: Path) -> None:
    path, key = legacy_folder(tmp_path / "people.csv", AMY)
    part = path / "part-00000.csv.cbc"
    data = bytearray(part.read_bytes())
    data[450] ^= 1
    part.write_bytes(data)
    context = PPMLContext("x", {"app_id": "1", "api_key": "2", "primary_key_material": str(key)})
    with pytest.raises(LegacyTampered, match=r"part-00000\.csv\.cbc"):
        context.read(CryptoMode.AES_CBC_PKCS5PADDING).csv(str(path))
    with pytest.raises(LegacyTampered):
        context.textfile(str(path), crypto_mode="aes/cbc/pkcs5padding")


def test_plain_text_output_needs_its_grant(context: PPMLContext, tmp_path: Path) -> None:
    frame = context.spark.createDataFrame([("a", 1)], "name string, age int")
    plain = context.write(frame, CryptoMode.PLAIN_TEXT)
    with pytest.raises(PlaintextRefused):
        plain.csv(str(tmp_path / "plain"))
    assert not (tmp_path / "plain").exists()
    plain.option("redoubt.plaintext", "allow").csv(str(tmp_path / "plain"))
    assert context.spark.read.csv(str(tmp_path / "plain")).count() == 1


@pytest.mark.parametrize("kind", ["json", "parquet", "text"])
def test_what_a_crypto_mode_writes_is_sealed_and_read_again(context: PPMLContext, tmp_path: Path, kind: str) -> None:
    frame = context.spark.createDataFrame([("marker-0451",)], "value string")
    mode = CryptoMode.AES_GCM_V1 if kind == "parquet" else CryptoMode.AES_CBC_PKCS5PADDING
    path = str(tmp_path / kind)
    getattr(context.write(frame, mode), kind)(path)
    assert getattr(context.read(mode), kind)(path).collect() == [("marker-0451",)]
    assert all(b"marker-0451" not in it.read_bytes() for it in Path(path).rglob("*") if it.is_file())
    if kind == "text":
        assert context.textfile(path, crypto_mode=mode).collect() == ["marker-0451"]


def test_what_a_program_must_not_ask_for_is_refused(context: PPMLContext, tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text(AMY)
    with pytest.raises(OptionRefused, match="unknown EncryptMode"):
        context.read("AES/ECB/NoPadding")
    with pytest.raises(UsageError, match="names no primary key"):
        context.read(CryptoMode.AES_CBC_PKCS5PADDING).csv(str(tmp_path / "plain.csv"))
    with pytest.raises(NotFound):
        context.read(CryptoMode.AES_CBC_PKCS5PADDING).csv(str(tmp_path / "missing"))
    with pytest.raises(KeyUnknown):
        context.read(CryptoMode.AES_CBC_PKCS5PADDING, "NobodyPK").csv(str(tmp_path / "plain.csv"))
    with pytest.raises(SparkError, match="SynapseML"):
        context.loadLightGBMClassificationModel("model")
    with pytest.raises(UsageError, match="need argument api_key"):
        PPMLContext("x", {"app_id": "1"})
    with pytest.raises(UsageError, match="invalid KMS type"):
        PPMLContext("x", {"kms_type": "other"})
    with pytest.raises(UsageError, match="known to whoever"):
        PPMLContext("x", {"kms_type": "", "primary_key_plaintext": "hunter2"})


def test_what_several_parties_write_is_never_sealed_under_a_key_of_nobody(keys: Workspace, tmp_path: Path) -> None:
    _, legacy = legacy_folder(tmp_path / "people.csv", AMY)
    names = {f"spark.bigdl.primaryKey.{it}.material": str(legacy) for it in ("AmyPK", "BobPK")}
    context = initPPMLContext("x", names)
    frame = context.spark.createDataFrame([("a",)], "value string")
    for name in ("", "AmyPK"):
        with pytest.raises(KeyUnknown):
            context.write(frame, CryptoMode.AES_CBC_PKCS5PADDING, name).csv(str(tmp_path / "out"))
    mine = initPPMLContext("x", {**names, "spark.redoubt.primaryKey.AmyPK": "key:main/default.dev"})
    mine.write(frame, CryptoMode.AES_CBC_PKCS5PADDING, "AmyPK").csv(str(tmp_path / "out"))


def test_a_key_file_is_never_replaced(keys: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(keys.folder)
    init_keys("1", "2", str(tmp_path / "primary"), str(tmp_path / "data"))
    assert (tmp_path / "primary").read_text() == (tmp_path / "data").read_text() == "key:main/default.dev\n"
    with pytest.raises(AlreadyExists):
        init_keys("1", "2", str(tmp_path / "primary"))
