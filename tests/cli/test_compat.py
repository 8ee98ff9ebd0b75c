"""``redoubt compat``: the options of BigDL PPML's programs, and nothing of its weaknesses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redoubt.cli.main import main
from redoubt.errors import ExitStatus
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset

KEYS = ("--primaryKeyPath", "keys/primaryKey", "--dataKeyPath", "keys/dataKey")
SIMPLE = ("--kmsType", "SimpleKeyManagementService")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDOUBT_WORKSPACE", raising=False)
    assert main(["init"]) == 0
    return tmp_path


def test_keys_are_made_and_files_sealed_with_the_options_of_the_seeds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compat", "generate-keys", *SIMPLE, *KEYS]) == 0
    assert (folder / "keys/primaryKey").read_text() == "key:main/default.dev\n"
    assert "hides nothing" in capsys.readouterr().err
    (folder / "dbgen").mkdir()
    (folder / "dbgen/region.tbl").write_text("0|AFRICA|x|\n")
    paths = ("--inputPath", "dbgen", "--outputPath", "dbgen-encrypted")
    assert main(["compat", "encrypt-files", *SIMPLE, *KEYS, *paths, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "key:main/default.dev"
    dataset = Dataset.open(str(folder / "dbgen-encrypted"), keys=Workspace.open(folder))
    assert [it.name.rpartition("/")[2] for it in dataset.parts] == ["region.tbl.sealed"]
    assert main(["compat", "generate-keys", *SIMPLE, *KEYS]) == ExitStatus.USAGE


def test_azure_keys_are_mapped_to_the_vault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compat", "generate-keys", "--kmsType", "AzureKeyManagementService", *KEYS)
    assert main([*words]) == ExitStatus.USAGE
    # No vault answers here; that its namespace is mapped, and no file was written, is what is seen.
    assert main([*words, "--vaultName", "x..y"]) != 0
    assert not (folder / "keys").exists()


def test_an_api_key_on_the_command_line_is_refused_and_not_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ehsm = ("--kmsType", "EHSMKeyManagementService", "--kmsServerIP", "localhost", "--ehsmAPPID", "app")
    assert main(["compat", "generate-keys", *ehsm, "--ehsmAPIKEY", "hunter2-0451", *KEYS]) == ExitStatus.USAGE
    assert "hunter2" not in capsys.readouterr().err


def test_nothing_is_encrypted_under_a_legacy_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").mkdir()
    (folder / "in/a").write_text("x")
    (folder / "primaryKey").write_text("1234566543219876\n")
    words = ("--primaryKeyPath", "primaryKey", "--inputPath", "in", "--outputPath", "out")
    assert main(["compat", "encrypt-files", *words]) == ExitStatus.KEY
    assert not (folder / "out").exists()


def test_plain_text_answers_need_a_grant(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compat", "tpch", "in", "out", "AES/CBC/PKCS5Padding", "plain_text", "6"]) == ExitStatus.REFUSED
    assert "--allow-plaintext" in capsys.readouterr().err
    assert main(["compat", "tpch", "in", "out", "AES/ECB", "plain_text"]) != 0
    assert main(["compat", "tpch", "in", "out", "plain_text", "AES_GCM_V1", "23"]) == ExitStatus.USAGE
