"""``redoubt receipt`` as people run it: from a job on a laptop to a verdict where neither Spark nor a broker is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.agent.pythons import small_python
from tests.trust.receipts import BROKER, BROKER_KEY, under_named_broker
from tests.trust.samples import ALICE, BOB, TOML, manifest

import redoubt
from redoubt.cli.main import main
from redoubt.errors import (
    ExitStatus,
    ManifestChain,
    ReceiptBroker,
    ReceiptDataset,
    ReceiptMalformed,
    ReceiptSimulated,
    UsageError,
)
from redoubt.limits import MAX_RECEIPT_BYTES
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.protocol.messages import write_object
from redoubt.trust.signing import Envelope

#: Of the extras: a verifier has none of them.
_NOT_THERE = ("pyspark", "pyarrow", "pandas", "py4j", "sqlalchemy", "starlette", "uvicorn", "duckdb", "redoubt_dev")
JOB = """\
import os
import sys
sys.path += sys.argv[4:]  # the small interpreter of this test has no packages
from pathlib import Path
from redoubt.agent.client import EndpointClient
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.write import DatasetWrite, WriteMode
keys = EndpointClient(Path(os.environ["REDOUBT_ENDPOINT"]))
data = Dataset.open(sys.argv[1], keys=keys)
content = b"".join(bytes(block) for part in data.parts for block in data.open_part(part).stream())
for place, mode in ((2, WriteMode.APPEND), (3, WriteMode.CREATE)):
    write = DatasetWrite.begin(sys.argv[place], keys=keys, mode=mode)
    part = write.parts.part("copy.csv", media_type="text/csv")
    part.write(content)
    write.commit([part.finish()])
sys.exit(3)
"""


@dataclass
class Ran:
    """A workspace in which a job ran that read the dataset `in`, appended to `out` and created `new`."""

    folder: Path
    receipt: Path
    stderr: str

    @property
    def here(self) -> list[str]:
        return ["--workspace", str(self.folder)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("laptop")
    python = small_python(tmp_path_factory.mktemp("python"))
    assert main(["init", str(folder)]) == ExitStatus.OK
    for name in ("in", "out"):
        (folder / f"{name}.plain").mkdir()
        (folder / f"{name}.plain" / "data.csv").write_text("1,2\n")
        words = ["--workspace", str(folder), "seal", str(folder / f"{name}.plain"), str(folder / name)]
        assert main(words) == ExitStatus.OK
    (folder / "job.py").write_text(JOB)
    packages = (str(Path(redoubt.__file__).parents[1]), sysconfig.get_path("purelib"))
    job = (str(python), "job.py", *(str(folder / it) for it in ("in", "out", "new")), *packages)
    done = subprocess.run(
        [sys.executable, "-m", "redoubt.cli.main", "agent", "exec", "--", *job],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    (receipt,) = (folder / ".redoubt" / "receipts").iterdir()
    return Ran(folder, receipt, done.stderr)


def test_a_job_that_fails_leaves_its_receipt_too(ran: Ran) -> None:
    assert f"SIMULATED receipt: {ran.receipt}" in ran.stderr
    assert ran.receipt.name.endswith(".json")


def test_verdict_is_one_screen(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["receipt", "verify", str(ran.receipt), "--simulated"]
    datasets = [word for it in ("out", "new") for word in ("--dataset", str(ran.folder / it))]
    assert main([*ran.here, *words, *datasets]) == ExitStatus.OK
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24
    assert text.startswith("SIMULATED: ")
    for told in ("VERIFIED: ", "program ", "manifest ", "owners developer", "ran on     simulated, binding agent"):
        assert told in text
    assert "input " in text
    assert "commit 2 sha256:" in text
    assert "exit status 3" in text
    assert f"{ran.folder / 'out'}: the output of the receipt, commit 2" in text
    assert f"{ran.folder / 'new'}: the output of the receipt, commit 1" in text
    assert "  created in " in text


def test_verdict_as_json(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ran.here, "receipt", "verify", str(ran.receipt), "--simulated", "--json"]) == ExitStatus.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], found["simulated"], found["manifest_compared"]) == (True, True, True)
    assert [it["head"]["number"] for it in found["proved"]["commits"]] == [2, 1]
    assert found["reported"]["status"] == 3
    assert {it["action"] for it in found["proved"]["releases"]} == {"read", "write"}


def test_development_receipt_passes_for_nothing_else(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ran.here, "receipt", "verify", str(ran.receipt)]) == ExitStatus.REFUSED
    assert f"[{ReceiptSimulated.code}]" in capsys.readouterr().err


def test_dataset_that_was_changed_or_rolled_back_is_not_the_receipts(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*ran.here, "receipt", "verify", str(ran.receipt), "--simulated", "--dataset"]
    older, changed = tmp_path / "older", tmp_path / "changed"
    for copy in (older, changed):
        copytree(ran.folder / "out", copy)
    (older / "_commits" / "00000002").unlink()
    record = changed / "_commits" / "00000002"
    content = bytearray(record.read_bytes())
    content[-1] ^= 1
    record.write_bytes(content)
    for path in (older, changed, ran.folder / "in"):
        assert main([*words, str(path)]) == ExitStatus.REFUSED
        assert f"[{ReceiptDataset.code}]" in capsys.readouterr().err


def test_show_verifies_nothing_and_says_so(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receipt", "show", str(ran.receipt)]) == ExitStatus.OK
    assert capsys.readouterr().out.startswith("NOT VERIFIED")
    assert main(["receipt", "show", str(ran.receipt), "--json"]) == ExitStatus.OK
    assert json.loads(capsys.readouterr().out)["verified"] is False


# --- on hardware, on the laptop of somebody who has a receipt, a key and the manifest ---------------------------------
@pytest.fixture
def handed_out(tmp_path: Path) -> Path:
    job = under_named_broker()
    (tmp_path / "receipt.json").write_bytes(job.receipt())
    signed = Envelope.of(job.policy.manifest).signed(ALICE).signed(BOB)
    (tmp_path / "manifest.json").write_bytes(signed.encode())
    (tmp_path / "broker.jwks").write_bytes(write_object(BrokerFacts.key_set(BROKER_KEY.public_key())))
    pem = BROKER_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "broker.pem").write_bytes(pem)
    return tmp_path


def test_receipt_is_verified_where_neither_spark_nor_java_nor_a_broker_is(handed_out: Path) -> None:
    blocked = f"import sys\nfor it in {_NOT_THERE!r}: sys.modules[it] = None\n"
    run = "from redoubt.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"
    words = ["receipt", "verify", "receipt.json", "--manifest", "manifest.json"]
    done = subprocess.run(
        [sys.executable, "-c", blocked + run, *words],
        cwd=handed_out,
        env={"PATH": "/nonexistent", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"VERIFIED: signed by the broker {BROKER}, 'main' of the manifest" in done.stdout
    assert "owners alice, bob" in done.stdout
    assert "ran on     snp, binding measurement, status affirming, evidence sha256:ee" in done.stdout
    assert "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f02  report  commit 8 sha256:2b" in done.stdout


@pytest.mark.parametrize(
    "pin", [["--broker-key", "broker.jwks"], ["--broker-key", "broker.pem"], ["--broker-id", BROKER]]
)
def test_broker_is_pinned_by_key_or_id(
    handed_out: Path, pin: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(handed_out)
    assert main(["receipt", "verify", "receipt.json", *pin]) == ExitStatus.OK
    assert "NOT COMPARED with the owners' manifest" in capsys.readouterr().out


def test_wrong_pins_and_no_pin_are_refused(
    handed_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(handed_out)
    later = Envelope.of(manifest(TOML.replace("version = 1", f'version = 2\nprevious = "sha256:{"1" * 64}"', 1)))
    Path("later.json").write_bytes(later.signed(ALICE).signed(BOB).encode())
    cases: list[tuple[list[str], type[Exception], ExitStatus]] = [
        (["receipt.json", "--broker-id", "0" * 64], ReceiptBroker, ExitStatus.REFUSED),
        (["receipt.json"], UsageError, ExitStatus.USAGE),
        (["receipt.json", "--manifest", "later.json"], ManifestChain, ExitStatus.REFUSED),
        (["broker.jwks", "--broker-id", BROKER], ReceiptMalformed, ExitStatus.REFUSED),
    ]
    for words, kind, status in cases:
        assert main(["receipt", "verify", *words]) == status, words
        assert f"[{kind.code}]" in capsys.readouterr().err  # type: ignore[attr-defined]
    Path("large.json").write_bytes(bytes(MAX_RECEIPT_BYTES + 1))
    assert main(["receipt", "verify", "large.json", "--broker-id", BROKER]) == ExitStatus.USAGE
