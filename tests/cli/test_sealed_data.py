"""seal, unseal, verify, inspect, rewrap, gc and doctor, end to end through the command as a person runs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "redoubt.cli.main"]


class Redoubt:
    """Runs the command in one folder with a workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, status: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([*COMMAND, *arguments], cwd=self.folder, input=stdin, capture_output=True, check=False)
        assert done.returncode == status, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, status: int = 0) -> dict[str, object]:
        answer = json.loads(self(*arguments, "--json", status=status).stdout)
        assert isinstance(answer, dict)
        return answer


@pytest.fixture(scope="module")
def redoubt(tmp_path_factory: pytest.TempPathFactory) -> Redoubt:
    command = Redoubt(tmp_path_factory.mktemp("cli"))
    command("init")
    return command


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_file_round_trip(redoubt: Redoubt) -> None:
    content = os.urandom(100_000)
    (redoubt.folder / "a.bin").write_bytes(content)
    redoubt("seal", "a.bin", "a.sealed")
    assert content[:64] not in (redoubt.folder / "a.sealed").read_bytes()
    redoubt("verify", "a.sealed")
    redoubt("unseal", "a.sealed", "b.bin")
    assert (redoubt.folder / "b.bin").read_bytes() == content
    assert redoubt.json("inspect", "a.sealed")["key"] == "key:main/default.dev"


def test_pipes(redoubt: Redoubt) -> None:
    sealed = redoubt("seal", "-", "-", stdin=b"hello\n").stdout
    assert redoubt("unseal", "-", "-", stdin=sealed).stdout == b"hello\n"
    cut = redoubt("unseal", "-", "-", stdin=sealed[:-1], status=3)
    assert b"[sealed." in cut.stderr


def test_destination_is_not_overwritten(redoubt: Redoubt) -> None:
    (redoubt.folder / "keep.txt").write_text("one")
    redoubt("seal", "keep.txt", "keep.sealed")
    before = (redoubt.folder / "keep.sealed").read_bytes()
    assert b"[usage.exists]" in redoubt("seal", "keep.txt", "keep.sealed", status=2).stderr
    assert (redoubt.folder / "keep.sealed").read_bytes() == before
    redoubt("seal", "keep.txt", "keep.sealed", "--force")
    assert b"[usage.exists]" in redoubt("unseal", "keep.sealed", "keep.txt", status=2).stderr


def test_sealing_twice_is_refused(redoubt: Redoubt) -> None:
    (redoubt.folder / "twice.txt").write_text("one")
    redoubt("seal", "twice.txt", "twice.sealed")
    assert b"sealed already" in redoubt("seal", "twice.sealed", "thrice.sealed", status=2).stderr


def test_dataset_life(redoubt: Redoubt) -> None:
    source = redoubt.folder / "people"
    (source / "deep").mkdir(parents=True)
    (source / "a.csv").write_text("1,2\n" * 5000)
    (source / "deep" / "b.csv").write_text("3,4\n")
    made = redoubt.json("seal", "people", "lake")
    assert (made["commit"], made["parts"]) == (1, 2)
    assert b"[usage.exists]" in redoubt("seal", "people", "lake", status=2).stderr
    (redoubt.folder / "c.csv").write_text("5,6\n")
    appended = redoubt.json("seal", "--append", "c.csv", "lake")
    assert (appended["commit"], appended["parts"]) == (2, 3)
    report = redoubt.json("verify", "lake")
    assert (report["parts"], report["orphans"], report["freshness"]) == (3, [], "not checked")
    digest = str(appended["commit_digest"])
    assert redoubt.json("verify", "lake", "--at-commit", digest)["freshness"] == "pinned"
    assert (
        b"[sealed.commit_unexpected]"
        in redoubt("verify", "lake", "--at-commit", str(made["commit_digest"]), status=3).stderr
    )
    redoubt("unseal", "lake", "out")
    assert digests(redoubt.folder / "out") == {**digests(source), "c.csv": hashlib.sha256(b"5,6\n").hexdigest()}

    parts = digests(redoubt.folder / "lake" / "data")
    redoubt("keys", "rotate", "default")
    assert redoubt.json("rewrap", "lake") == {"replaced": 2, "current": 0}
    assert redoubt.json("rewrap", "lake") == {"replaced": 0, "current": 2}
    assert digests(redoubt.folder / "lake" / "data") == parts
    redoubt("verify", "lake")

    redoubt("seal", "--overwrite", "c.csv", "lake")
    orphans = redoubt.json("verify", "lake")["orphans"]
    assert isinstance(orphans, list)
    assert len(orphans) == 3
    assert redoubt.json("gc", "lake")["deleted"] == []  # they are young
    assert len(redoubt.json("gc", "lake", "--older-than", "0", "--dry-run")["deleted"]) == 3  # type: ignore[arg-type]
    redoubt("gc", "lake", "--older-than", "0")
    assert redoubt.json("verify", "lake")["orphans"] == []


def test_changed_part_is_named_and_exits_3(redoubt: Redoubt) -> None:
    (redoubt.folder / "t").mkdir()
    (redoubt.folder / "t" / "a.csv").write_text("1\n")
    redoubt("seal", "t", "tampered")
    (part,) = (redoubt.folder / "tampered" / "data").rglob("*.sealed")
    raw = bytearray(part.read_bytes())
    raw[-1] ^= 1
    part.write_bytes(raw)
    assert b"a.csv.sealed: [sealed." in redoubt("verify", "tampered", status=3).stderr
    assert redoubt.json("verify", "tampered", status=3)["error"]["code"] in {"sealed.chunk", "sealed.truncated"}  # type: ignore[index]
    redoubt("unseal", "tampered", "never", status=3)
    assert not list((redoubt.folder / "never").glob("*"))


def test_globs_and_adoption(redoubt: Redoubt) -> None:
    folder = redoubt.folder / "g"
    folder.mkdir()
    for name in ("x.csv", "y.csv", "z.txt"):
        (folder / name).write_text(name)
    assert redoubt.json("seal", "g/*.csv", "globbed")["parts"] == 2
    loose = redoubt.folder / "loose"
    loose.mkdir()
    redoubt("seal", "g/x.csv", "loose/x.csv.sealed")
    redoubt("seal", "g/y.csv", "loose/y.csv.sealed")
    assert b"[sealed.no_commit]" in redoubt("verify", "loose", status=3).stderr
    assert redoubt.json("seal", "--adopt", "loose")["parts"] == 2
    redoubt("verify", "loose")
    (loose / "x.csv.sealed").unlink()
    assert b"[sealed.part_missing]" in redoubt("verify", "loose", status=3).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("verify", "nothing"), "usage.not_found", 2),
        (("seal", "only-one"), "usage.invalid", 2),
        (("seal", "no*match", "x"), "usage.not_found", 2),
        (("unseal", "plain.txt", "x"), "sealed.not_sealed", 3),
        (("seal", "--append", "--overwrite", "plain.txt", "x"), "usage.invalid", 2),
        (("seal", "plain.txt", "x", "--key", "nobody"), "key.unknown", 4),
        (("verify", "plain.txt", "--workspace", "/nonexistent"), "workspace.missing", 7),
    ],
)
def test_mistakes_are_explained(redoubt: Redoubt, arguments: tuple[str, ...], code: str, status: int) -> None:
    (redoubt.folder / "plain.txt").write_text("plain")
    done = redoubt(*arguments, status=status)
    assert f"[{code}]".encode() in done.stderr
    assert b"\nWhy: " in done.stderr
    assert b"\nNext: " in done.stderr


def test_doctor(redoubt: Redoubt) -> None:
    found = redoubt.json("doctor")
    assert found["cryptography"]["ok"] is True  # type: ignore[index]
