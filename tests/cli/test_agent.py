"""``redoubt agent`` as people run it: each command a process of its own, stdout the program's alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.agent.pythons import small_python
from tests.broker.world import envelope

from redoubt.cli.main import main
from redoubt.cli.progress import waiting
from redoubt.errors import AttestationRefused, ExitStatus, ProgramFailed, TeeMissing, UsageError
from redoubt.trust.program import ProgramDescriptor
from redoubt.trust.store import ManifestStore

SECONDS = 60.0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_python(tmp_path_factory.mktemp("python"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a sealed file, and a job beside it."""
    assert main(["init", str(tmp_path)]) == ExitStatus.OK
    (tmp_path / "data.csv").write_text("1,2\n")
    assert main(["--workspace", str(tmp_path), "seal", str(tmp_path / "data.csv"), str(tmp_path / "data.sealed")]) == 0
    (tmp_path / "job.py").write_text("import sys\nprint('job', *sys.argv[1:])\nsys.exit(len(sys.argv))\n")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    # The simulated machine of these tests is their own.
    return {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "LD_PRELOAD": "", "REDOUBT_WORKSPACE": str(folder)}


def redoubt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "redoubt.cli.main", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_laptop_path_from_first_run_to_refusal_explanation_and_trust(folder: Path, python: Path) -> None:
    job = ("--", str(python), "job.py", "a")
    first = redoubt(folder, "agent", "exec", *job)
    assert (first.returncode, first.stdout) == (2, "job a\n"), first.stderr
    assert "SIMULATED" in first.stderr
    assert "made development manifest sha256:" in first.stderr
    assert "attested by urn:redoubt:simulated:" in first.stderr
    assert "not passed on to the program: LD_PRELOAD" in first.stderr
    assert (folder / ".redoubt/owners/developer.pem").stat().st_mode & 0o777 == 0o600

    (folder / "job.py").write_text((folder / "job.py").read_text().replace("job", "jobs"))
    refused = redoubt(folder, "agent", "exec", *job)
    assert (refused.returncode, refused.stdout) == (ExitStatus.REFUSED, "")
    line = next(it for it in refused.stderr.splitlines() if it.startswith("redoubt: "))
    assert line.startswith(f"redoubt: [{AttestationRefused.code}]")
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", line)
    assert found, line
    assert f"redoubt explain {found[0]}" in refused.stderr

    explained = json.loads(redoubt(folder, "--json", "explain", found[0]).stdout)
    short = redoubt(folder, "explain", found[0][:8])
    command = "`redoubt agent trust -- CMD`, or `redoubt submit --trust …`,"
    assert short.stdout.splitlines()[-1] == f"development: {command} makes this edit"
    unknown = redoubt(folder, "explain", "00000000")
    assert (unknown.returncode, "[usage.not_found]" in unknown.stderr) == (ExitStatus.USAGE, True)
    (failure,) = explained["failures"]
    assert failure["claim"] == "program.digest"
    assert explained["program"] == failure["actual"] != failure["expected"][0]
    assert failure["actual"] in failure["edit"]

    trusted = redoubt(folder, "agent", "trust", *job)
    assert trusted.returncode == 0, trusted.stderr
    assert "+ allows" in trusted.stderr
    assert "- forbids" in trusted.stderr
    versions = [it.manifest for it in ManifestStore(folder / ".redoubt").history()]
    assert len({it.datasets["new-data"].id for it in versions}) == 1 < len(versions)
    again = redoubt(folder, "agent", "exec", *job)
    assert (again.returncode, again.stdout) == (2, "jobs a\n"), again.stderr


def test_signals_to_the_command_reach_the_program(folder: Path, python: Path) -> None:
    (folder / "job.py").write_text(
        "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\nsignal.pause()\n"
    )
    command = [sys.executable, "-m", "redoubt.cli.main", "agent", "exec", "--", str(python), "job.py"]
    process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 9


def test_measure_prints_what_the_manifest_takes(folder: Path, python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "program.json"
    words = ["agent", "measure", "--json", "--descriptor-out", str(out), "--env", "TZ=UTC", "--", str(python)]
    assert main([*words, str(folder / "job.py"), "x"]) == ExitStatus.OK
    printed = json.loads(capsys.readouterr().out)
    assert printed["arguments"] == ["x"]
    assert printed["digest"] == ProgramDescriptor.parse(out.read_bytes()).digest
    assert printed["descriptor"]["redoubt_program"]["environment"]["TZ"] == "UTC"


def test_a_manifest_of_other_owners_is_not_changed_by_trust(
    folder: Path, python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ManifestStore(folder / ".redoubt").put(envelope())
    words = ["--workspace", str(folder), "agent", "trust", "--", str(python), str(folder / "job.py")]
    assert main(words) == ExitStatus.REFUSED
    assert "manifest.unsigned" in capsys.readouterr().err


def test_without_redoubt_dev_a_broker_must_be_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redoubt_dev", None)  # Python's own way to say that a module is not there
    monkeypatch.setitem(sys.modules, "redoubt_dev.laptop", None)
    assert main(["--workspace", str(folder), "agent", "trust", "--", "true"]) == ExitStatus.ENVIRONMENT
    assert f"[{TeeMissing.code}]" in capsys.readouterr().err


def test_what_cannot_be_attested_is_not_measured(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ca.pem").write_text("no certificate")
    # That there is no such program would be found by measuring.
    job = ("--", "no-such-program")
    assert main(["agent", "exec", "--broker", "https://127.0.0.1:1", "--ca", str(folder / "ca.pem"), *job]) == 2
    assert "the broker's CA is not a certificate" in capsys.readouterr().err
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert main(["--workspace", elsewhere, "agent", "exec", *job]) == ExitStatus.ENVIRONMENT
    assert "[workspace.missing]" in capsys.readouterr().err


def test_a_long_wait_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redoubt.cli.progress._SILENT_SECONDS", 0.0)
    said: list[str] = []
    heard = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        heard.set()

    with waiting("measuring", say=say):
        assert heard.wait(SECONDS)
    assert said == ["measuring…"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["exec", "--broker", "https://127.0.0.1:1", "--", "true"], UsageError.code),
        (["exec", "--env", "X", "--", "true"], UsageError.code),
        (["exec", "--secret", "a=b", "--", "true"], UsageError.code),
        (["exec", "--secret", "../a=b/c/d", "--", "true"], UsageError.code),
        (["measure", "--", "no-such-program"], ProgramFailed.code),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: str
) -> None:
    assert main(["--workspace", str(folder), "agent", *words]) == ExitStatus.USAGE
    assert f"[{code}]" in capsys.readouterr().err
