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


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_stdout_that_takes_nothing_is_one_error(redoubt: Redoubt, flags: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "keys", "list", *flags], cwd=redoubt.folder, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 5
    assert done.stderr.startswith(b"redoubt: [storage.failed]")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"), [("keys list", 0), ("keys list --json", 0), ("keys show zz --json", 4)]
)
def test_a_closed_stdout_changes_no_exit_status(redoubt: Redoubt, arguments: str, status: int) -> None:
    command = f"{sys.executable} -m redoubt.cli.main {arguments} >&-"
    done = subprocess.run(["sh", "-c", command], cwd=redoubt.folder, stderr=subprocess.PIPE, check=False)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_name_that_was_appended_twice_is_unsealed_by_write(redoubt: Redoubt) -> None:
    (redoubt.folder / "twice.csv").write_text("1\n")
    (redoubt.folder / "more").mkdir()
    (redoubt.folder / "more" / "twice.csv").write_text("2\n")
    redoubt("seal", "more", "appended")
    redoubt("seal", "--append", "twice.csv", "appended")
    assert b"--by-write" in redoubt("unseal", "appended", "opened", status=2).stderr
    redoubt("unseal", "--by-write", "appended", "opened")
    assert sorted(it.read_text() for it in (redoubt.folder / "opened").glob("*/twice.csv")) == ["1\n", "2\n"]
    redoubt("unseal", "--by-write", "a.sealed", "opened.bin", status=2)


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
    assert redoubt.json("gc", "lake") == {"deleted": [], "spared": 3, "dry_run": False}  # they are young
    assert b"0 files deleted; 3 younger ones spared" in redoubt("gc", "lake").stdout
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
    said = redoubt("verify", "tampered", status=3).stderr
    assert said.startswith(b"redoubt: [sealed.")
    assert said.count(b"a.csv.sealed") == said.count(b"Why: ") == 1
    assert redoubt.json("verify", "tampered", status=3)["error"]["code"] in {"sealed.chunk", "sealed.truncated"}  # type: ignore[index]
    redoubt("unseal", "tampered", "never", status=3)
    assert not list((redoubt.folder / "never").glob("*"))


def test_every_fault_of_a_dataset_is_listed(redoubt: Redoubt) -> None:
    (redoubt.folder / "many").mkdir()
    for name in ("a", "b"):
        (redoubt.folder / "many" / name).write_text("1")
    redoubt("seal", "many", "faulty")
    for part in (redoubt.folder / "faulty" / "data").rglob("*.sealed"):
        part.unlink()
    lines = redoubt("verify", "faulty", status=3).stderr.decode().splitlines()
    assert [line.partition(": ")[2][:21] for line in lines[:2]] == ["[sealed.part_missing]"] * 2
    assert lines[2].startswith("redoubt: [sealed.part_missing] faulty has 2 faults; the first: ")


def test_several_paths_are_all_verified(redoubt: Redoubt) -> None:
    (redoubt.folder / "v.txt").write_text("v")
    redoubt("seal", "v.txt", "v.sealed")
    (redoubt.folder / "v").mkdir()
    (redoubt.folder / "v" / "a").write_text("v")
    redoubt("seal", "v", "vs")
    both = redoubt.json("verify", "v.sealed", "vs")["results"]
    assert both == [redoubt.json("verify", "v.sealed"), redoubt.json("verify", "vs")]
    mixed = redoubt.json("verify", "v.txt", "nothing", "v.sealed", status=3)["results"]
    assert [it.get("error", {}).get("code") for it in mixed] == ["sealed.not_sealed", "usage.not_found", None]  # type: ignore[attr-defined]
    done = redoubt("verify", "nothing", "vs", "v.sealed", status=2)
    assert done.stdout.decode().splitlines()[0] == "vs: authentic, 1 part, 1 commit, 0 unlisted files"
    assert b"[usage.not_found]" in done.stderr
    assert b"[usage.invalid]" in redoubt("verify", "vs", "vs", "--at-commit", "x", status=2).stderr


@pytest.mark.parametrize("arguments", ["verify", "inspect", "rewrap", "unseal"])
def test_what_is_not_sealed_is_named(redoubt: Redoubt, arguments: str) -> None:
    (redoubt.folder / "plain file").write_text("plain")
    target = ["never"] if arguments == "unseal" else []
    said = redoubt(arguments, "plain file", *target, status=3).stderr
    assert said.startswith(b"redoubt: [sealed.not_sealed] plain file: ")


def test_a_sealed_file_is_not_taken_for_a_dataset(redoubt: Redoubt) -> None:
    (redoubt.folder / "one.csv").write_text("1\n")
    redoubt("seal", "one.csv", "one.csv.sealed")
    for option in ("--append", "--overwrite"):
        said = redoubt("seal", option, "one.csv", "one.csv.sealed", status=2).stderr
        assert b"[usage.not_dataset] one.csv.sealed is one file" in said
        assert b"spark.read.csv" in said
    assert redoubt.json("rewrap", "one.csv.sealed") == {"replaced": 0, "current": 1}


def test_chunks_and_keys_of_a_file_are_named(redoubt: Redoubt, tmp_path: Path) -> None:
    (redoubt.folder / "n.txt").write_text("n" * 100)
    other = Redoubt(tmp_path)
    other("init")
    other("seal", str(redoubt.folder / "n.txt"), str(redoubt.folder / "n.sealed"))
    said = redoubt("unseal", "n.sealed", "n", status=3).stderr.decode()
    assert said.startswith("redoubt: [key.context] n.sealed: ")
    assert "another workspace, by a key of the same name" in said
    redoubt("seal", "n.txt", "n.sealed", "--force")
    raw = bytearray((redoubt.folder / "n.sealed").read_bytes())
    raw[-1] ^= 1
    (redoubt.folder / "n.sealed").write_bytes(raw)
    for command in (["verify", "n.sealed"], ["unseal", "n.sealed", "never"]):
        said = redoubt(*command, status=3).stderr.decode()
        assert "n.sealed" in said.splitlines()[0]
    (redoubt.folder / "n.sealed").write_bytes(raw[:-40])
    assert b"Why: The file was cut short, or its end was changed" in redoubt("verify", "n.sealed", status=3).stderr


def test_inspect_tells_all_on_stdout(redoubt: Redoubt) -> None:
    (redoubt.folder / "i").mkdir()
    (redoubt.folder / "i" / "a").write_text("i")
    made = redoubt.json("seal", "i", "inspected")
    done = redoubt("inspect", "inspected")
    lines = done.stdout.decode().splitlines()
    assert f"dataset: {made['dataset']}" in lines
    assert "commit: 1" in lines
    assert f"commit_digest: {made['commit_digest']}" in lines
    assert lines[2].startswith("key: key:main/default.dev version ")
    assert "part\tkind\tbytes\tmedia type\tsha256" in lines
    shown = redoubt.json("inspect", "inspected")
    parts = shown.pop("parts")
    assert isinstance(parts, list)
    assert [line.partition(": ")[0] for line in lines[:-2]] == list(shown)
    assert lines[-1] == "\t".join(map(str, parts[0].values()))
    assert done.stderr == b""
    assert redoubt("inspect", "inspected", "--json").stderr == b""


def test_next_steps_name_what_exists(redoubt: Redoubt) -> None:
    (redoubt.folder / "x.txt").write_text("x")
    assert b"\nNext: See `redoubt seal --help`" in redoubt("seal", "x.txt", status=2).stderr
    redoubt("seal", "x.txt", "x.sealed")
    said = redoubt("seal", "x.txt", "x.sealed", status=2).stderr
    assert b"--mode" not in said
    assert b"--force" in said
    assert b"is a file, not a sealed dataset" in redoubt("gc", "x.sealed", status=2).stderr
    said = redoubt("attest", "--tee", "abacus", status=2).stderr
    assert said.count(b"\n") == 3
    assert b"\t" not in said


def test_texts_name_the_cause_and_what_helps(redoubt: Redoubt) -> None:
    (redoubt.folder / "w").mkdir()
    (redoubt.folder / "w" / "a").write_text("w")
    redoubt("seal", "w", "ws")
    (part,) = (redoubt.folder / "ws" / "data").rglob("*.sealed")
    for command in (["unseal", str(part), "never"], ["verify", str(part)]):
        said = redoubt(*command, status=3).stderr
        assert b"[sealed.identity]" in said
        assert b"Next: Name the dataset's folder." in said
    redoubt("seal", "w/a", "wa.sealed")
    said = redoubt("unseal", "wa.sealed", "w/a", status=2).stderr
    assert b"--force" in said
    assert b"--append" not in said
    said = redoubt("seal", "w/a", "/proc/x.sealed", status=5).stderr
    assert b"/proc/x.sealed cannot be made" in said
    said = redoubt("seal", "/dev/null", "null.sealed", status=2).stderr
    assert b"/dev/null is neither a regular file nor a folder" in said


def test_a_sealed_parquet_table_is_named_as_one(redoubt: Redoubt) -> None:
    import pyarrow as pa

    from redoubt.keys.workspace import Workspace
    from redoubt.sealed.parquet import write_table

    table = redoubt.folder / "table"
    write_table(pa.table({"x": [1, 2]}), str(table), keys=Workspace.open(redoubt.folder))
    redoubt("verify", "table")
    assert b"spark.read.parquet" in redoubt("unseal", "table", "never", status=3).stderr
    (part,) = table.rglob("*.parquet")
    for command in ("verify", "inspect"):
        assert b"Next: Name the table's folder." in redoubt(command, str(part), status=3).stderr


@pytest.mark.parametrize("target", ["inside", "inside/deeper/sealed", "./inside/../inside", ""])
def test_a_destination_inside_the_source_is_refused(redoubt: Redoubt, target: str) -> None:
    (redoubt.folder / "inside").mkdir(exist_ok=True)
    (redoubt.folder / "inside" / "a").write_text("1")
    before = digests(redoubt.folder / "inside")
    assert b"[usage.invalid]" in redoubt("seal", "inside", target, status=2).stderr
    assert digests(redoubt.folder / "inside") == before


def test_links_inside_a_folder_are_refused(redoubt: Redoubt) -> None:
    folder = redoubt.folder / "linked"
    folder.mkdir()
    (folder / ".hidden").write_text("sealed too")
    assert redoubt.json("seal", "linked", "unlinked")["parts"] == 1
    (folder / "link").symlink_to(folder / ".hidden")
    assert b"linked/link is a symbolic link" in redoubt("seal", "linked", "never-linked", status=2).stderr
    assert not (redoubt.folder / "never-linked").exists()


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
        (("gc", "plain.txt"), "usage.invalid", 2),
        (("tpch", "run", "nope"), "usage.not_found", 2),
        (("tpch", "seal", "nope", "x"), "usage.not_found", 2),
        (("seal", "no*match", "x"), "usage.not_found", 2),
        (("seal", "plain.txt", ""), "usage.invalid", 2),
        (("unseal", "plain.txt", ""), "usage.invalid", 2),
        (("verify", "plain.txt", "--at-commit", "abc"), "usage.invalid", 2),
        (("gc", "plain.txt", "--older-than", "-1"), "usage.invalid", 2),
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


def test_numbers_are_asked_for_in_plain_words(redoubt: Redoubt) -> None:
    assert b"'abc' is not a number." in redoubt("gc", "x", "--older-than", "abc", status=2).stderr
    assert (
        b"'zero' is not a whole number." in redoubt("keys", "enable", "default", "--version", "zero", status=2).stderr
    )


def test_doctor(redoubt: Redoubt) -> None:
    found = redoubt.json("doctor")
    assert found["cryptography"]["ok"] is True  # type: ignore[index]
