"""``redoubt import-ppml``: whole folders in, one commit out; what was changed is named and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.crypto import legacy_writer as writer
from tests.crypto.legacy_writer import AZURE_KEY, PLAIN_KEY

from redoubt.cli.main import main
from redoubt.errors import ExitStatus
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset

PEOPLE = b"name,age,job\njack,18,Developer\nalex,20,Researcher\n" * 50
MORE = b"name,age,job\nxuoui,25,Developer\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace, and a folder as gen-B's writers left it, under a key of the simple service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDOUBT_WORKSPACE", raising=False)
    assert main(["init"]) == 0
    wrapped, text = writer.simple_key()
    source = tmp_path / "people.csv"
    source.mkdir()
    (source / "part-00000.csv.cbc").write_bytes(writer.gen_b(text, PEOPLE, wrapped=wrapped))
    (source / "part-00001.csv.cbc").write_bytes(writer.gen_b(text, MORE, short=True))
    (source / ".meta").write_text(json.dumps({"encryptedDataKey": wrapped}, indent=2) + "\n")
    (source / "_SUCCESS").touch()
    (source / ".part-00000.csv.cbc.crc").touch()
    (tmp_path / "primaryKey").write_text(writer.SIMPLE_PRIMARY + "\n")
    (tmp_path / "dataKey").write_text(wrapped + "\n")
    return tmp_path


SIMPLE = ("--kms", "simple", "--primary-key", "primaryKey")


def content(folder: Path, name: str = "out") -> dict[str, bytes]:
    dataset = Dataset.open(str(folder / name), keys=Workspace.open(folder))
    found = {}
    for part in dataset.parts:
        reader = dataset.open_part(part)
        found[part.name.rpartition("/")[2]] = b"".join(bytes(it) for it in reader.stream())
        reader.close()
    return found


def test_a_folder_of_gen_b_becomes_one_commit_and_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {it: it.read_bytes() for it in (folder / "people.csv").iterdir()}
    assert main(["import-ppml", "people.csv", "out", *SIMPLE, "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["commit"] == 1
    assert [it["layout"] for it in answer["files"]] == ["gen-b", "gen-b"]
    assert {it["mac"] for it in answer["files"]} == {"whole", "short"}
    assert len(answer["left_out"]) == 3
    assert "about 26 bits" in err
    assert "under no MAC" in err
    assert "names its data key itself" in err
    assert content(folder) == {"part-00000.csv.sealed": PEOPLE, "part-00001.csv.sealed": MORE}
    assert {it: it.read_bytes() for it in (folder / "people.csv").iterdir()} == before


@pytest.mark.parametrize("options", [("--dry-run",), ()])
def test_a_changed_file_is_named_and_nothing_is_written(
    folder: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "people.csv/part-00001.csv.cbc"
    data = bytearray(path.read_bytes())
    data[410] ^= 1
    path.write_bytes(data)
    assert main(["import-ppml", "people.csv", "out", *SIMPLE, *options]) == ExitStatus.REFUSED
    err = capsys.readouterr().err
    assert "[legacy.mac]" in err
    assert "part-00001.csv.cbc" in err
    assert not (folder / "out").exists()


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    assert main(["import-ppml", "people.csv", "out", *SIMPLE, "--dry-run"]) == 0
    assert not (folder / "out").exists()


def test_a_header_that_names_another_key_than_the_given_one_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = (folder / "dataKey").read_text().strip()
    assert main(["import-ppml", "people.csv", "out", *SIMPLE, "--data-key", "dataKey"]) == 0
    assert "names its data key itself" not in capsys.readouterr().err
    path = folder / "people.csv/part-00000.csv.cbc"
    path.write_bytes(path.read_bytes().replace(wrapped.encode(), wrapped[::-1].encode()))
    assert main(["import-ppml", "people.csv", "other", *SIMPLE, "--data-key", "dataKey"]) == ExitStatus.KEY
    assert "[legacy.wrong_key]" in capsys.readouterr().err


def test_files_of_each_layout_and_key_are_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = bytes(range(32))
    (folder / "a").write_bytes(writer.gen_a(AZURE_KEY, PEOPLE))
    (folder / "f.encrypted").write_bytes(writer.fernet(raw, PEOPLE))
    (folder / "n").write_bytes(writer.native(raw, PEOPLE))
    key = folder / "text"
    key.touch(mode=0o600)
    key.write_text(AZURE_KEY + "\n")
    text = ("--data-key-text", "text")
    assert main(["import-ppml", "a", "f.encrypted", "out", *text, "--aes-bits", "128"]) == 0
    assert content(folder) == {"a.sealed": PEOPLE, "f.sealed": PEOPLE}
    native = ("import-ppml", "n", "out2", *text, "--format", "native-cbc")
    assert main([*native]) == ExitStatus.REFUSED
    assert "[legacy.unauthenticated]" in capsys.readouterr().err
    assert main([*native, "--accept-unauthenticated"]) == 0
    assert content(folder, "out2") == {"n.sealed": PEOPLE}
    key.chmod(0o644)
    assert main(["import-ppml", "a", "out3", *text]) == ExitStatus.KEY
    assert AZURE_KEY not in capsys.readouterr().err


def test_a_key_that_aes_wrapped_is_opened(folder: Path) -> None:
    (folder / "primary").touch(mode=0o600)
    (folder / "primary").write_text(AZURE_KEY)
    (folder / "wrapped").write_text(writer.wrap_plain_text(bytes(range(32)), PLAIN_KEY))
    (folder / "b").write_bytes(writer.gen_b(PLAIN_KEY, PEOPLE))
    keys = ("--kms", "plainText", "--primary-key", "primary", "--data-key", "wrapped")
    assert main(["import-ppml", "b", "out", *keys]) == 0
    assert content(folder) == {"b.sealed": PEOPLE}


@pytest.mark.parametrize(
    "words",
    [
        ["people.csv"],
        ["people.csv", "out"],
        ["people.csv", "out", "--kms", "none", "--primary-key", "primaryKey"],
        ["people.csv", "out", "--kms", "simple"],
        ["people.csv", "out", *SIMPLE, "--append", "--overwrite"],
        ["people.csv", "people.csv/out", *SIMPLE],
        ["people.csv", "out", *SIMPLE, "--data-key-text", "primaryKey"],
        ["people.csv", "out", "--kms", "bigdl", "--primary-key", "primaryKey"],
        ["missing", "out", *SIMPLE],
    ],
)
def test_what_cannot_be_done_is_a_usage_error(folder: Path, words: list[str]) -> None:
    assert main(["import-ppml", *words]) == ExitStatus.USAGE
