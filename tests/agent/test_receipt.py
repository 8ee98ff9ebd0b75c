"""The agent's side of receipts: what it reports, and jobs that have none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.agent.attested import CALLER, Laptop, running_laptop
from tests.agent.pythons import small_python
from tests.cli.test_agent import environment, redoubt

from redoubt import __version__
from redoubt.agent.exec import Execution, Outcome, execute
from redoubt.agent.measure import ProgramSpec, measure
from redoubt.cli.main import main
from redoubt.errors import BrokerUnreachable, ExitStatus
from redoubt.trust.ear_verify import AttestationResult
from redoubt.trust.receipt_verify import Trusted, VerifiedReceipt, verify_receipt


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_python(tmp_path_factory.mktemp("python"))


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    with running_laptop(tmp_path) as running:
        yield running


def verified(laptop: Laptop, outcome: Outcome) -> VerifiedReceipt:
    assert isinstance(outcome.receipt, bytes), outcome.receipt
    trusted = Trusted(brokers=frozenset({laptop.broker.id}), simulated=True)
    return verify_receipt(outcome.receipt, trusted=trusted, now=datetime.now(UTC))


def script(laptop: Laptop, python: Path, text: str) -> ProgramSpec:
    path = laptop.workspace.state_folder.parent / "job.py"
    path.write_text(text)
    spec = ProgramSpec(command=(str(python), str(path)))
    laptop.trust(spec)
    return spec


def test_agent_reports_what_ran_and_what_it_read(laptop: Laptop, python: Path) -> None:
    spec = laptop.spec(python)
    laptop.trust(spec)
    before = datetime.now(UTC).replace(microsecond=0)
    found = verified(laptop, laptop.run(spec))
    assert [it.dataset for it in found.reported.inputs] == [laptop.dataset]
    assert [(it.dataset, it.data_keys) for it in found.proved.releases] == [(laptop.dataset, 1)]
    assert found.reported.engine == {"redoubt": __version__, "interpreter": python.name}
    assert before <= found.reported.started <= found.reported.ended <= found.proved.at


@pytest.mark.parametrize(("text", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_program_that_fails_or_is_killed_has_a_receipt_that_says_so(
    laptop: Laptop, python: Path, text: str, status: int
) -> None:
    outcome = laptop.run(script(laptop, python, text))
    assert outcome.status == status
    found = verified(laptop, outcome)
    assert found.reported.status == status
    assert found.proved.releases == ()


def test_receipt_after_a_new_manifest_is_of_the_renewed_attestation(laptop: Laptop, python: Path) -> None:
    """The result of before is taken no more: the agent attests again, and its report holds both."""
    spec = script(laptop, python, "pass")

    def change(_: AttestationResult) -> None:
        assert isinstance(spec.command, tuple)
        laptop.trust(ProgramSpec(command=(*spec.command, "another", "argument")))

    with measure(spec, caller=CALLER) as program:
        outcome = execute(program, laptop.agent(program), execution=Execution(), attested=change)
    found = verified(laptop, outcome)
    assert len(found.reported.ears) == 2
    assert [it.manifest for it in found.proved.roles] == [found.reported.manifest]


def test_job_whose_broker_is_gone_has_its_status_and_no_receipt(
    laptop: Laptop, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redoubt.agent.https.BROKER_RETRY_SECONDS", 0.1)
    spec = script(laptop, python, "raise SystemExit(4)")
    with measure(spec, caller=CALLER) as program:
        agent = laptop.agent(program)
        outcome = execute(program, agent, execution=Execution(), attested=lambda _: laptop.broker.close())
    assert outcome.status == 4
    assert isinstance(outcome.receipt, BrokerUnreachable)


# --- on the command line ----------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path)]) == ExitStatus.OK
    (tmp_path / "job.py").write_text("print('ran')\n")
    return tmp_path


def test_receipt_goes_where_it_was_asked_for(folder: Path, python: Path) -> None:
    done = redoubt(folder, "agent", "exec", "--receipt", "mine.json", "--", str(python), "job.py")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "SIMULATED receipt: mine.json" in done.stderr
    assert (folder / "mine.json").exists()
    assert not (folder / ".redoubt" / "receipts").exists()


def test_receipt_that_cannot_be_kept_is_one_line_unless_it_is_required(folder: Path, python: Path) -> None:
    words = ["--receipt", "job.py/receipt.json", "--", str(python), "job.py"]
    done = redoubt(folder, "agent", "exec", *words)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    (line,) = [it for it in done.stderr.splitlines() if "no receipt" in it]
    assert "[storage." in line
    done = redoubt(folder, "agent", "exec", "--require-receipt", *words)
    assert (done.returncode, done.stdout) == (ExitStatus.STORAGE, "ran\n")


def test_job_that_is_killed_with_its_agent_leaves_no_receipt(folder: Path, python: Path) -> None:
    (folder / "job.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "redoubt.cli.main", "agent", "exec", "--", str(python), "job.py"]
    process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    time.sleep(0.1)
    assert not (folder / ".redoubt" / "receipts").exists()
