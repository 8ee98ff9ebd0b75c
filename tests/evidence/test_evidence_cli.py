"""``redoubt evidence verify``: the contract that outsiders build on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.pki_snp import Amd
from tests.evidence.vectors import Entry, entry, parameters

from redoubt.cli.main import main
from redoubt.evidence.kinds import Kind
from redoubt.evidence.snp_report import Product

KEYS = {"verdict", "tcb_status", "advisories", "claims", "error"}
AT = "2026-01-15T12:00:00Z"


def arguments(vector: Entry, tmp_path: Path) -> list[str]:
    out = ["evidence", "verify", "--tee", vector.kind.value, "--evidence", str(vector.files[0])]
    out += ["--at", vector.time.isoformat(), "--json"]
    if vector.collateral is not None:
        out += ["--collateral", str(vector.collateral)]
    for option, paths in (("--certs", vector.certificates), ("--keys", vector.keys), ("--quote", vector.quotes)):
        for path in paths:
            out += [option, str(path)]
    if vector.attestation_key is not None:
        key = tmp_path / "ak"
        key.write_bytes(vector.attestation_key)
        out += ["--ak", str(key)]
    return out


def run(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, Any]:
    status = main(given)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return status, json.loads(lines[0])


@pytest.mark.parametrize("vector", parameters())
def test_every_vector_gets_its_verdict(vector: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, result = run(capsys, *arguments(vector, tmp_path))
    assert set(result) == KEYS
    assert result["verdict"] == vector.fields["verdict"]
    assert status == (0 if vector.accepted else 1)
    if vector.accepted:
        assert result["error"] is None
        assert result["claims"]
        if "tcb_status" in vector.fields:
            assert (result["tcb_status"], result["advisories"]) == (
                vector.fields["tcb_status"],
                vector.fields["advisories"],
            )
    else:
        assert set(result["error"]) == {"code", "reason"}
        assert result["claims"] == {}


@pytest.mark.parametrize("name", ["tdx-v5-cf77a6e9", "snp-v5-85da705e", "sgx-v3-77bcbdfa"])
def test_as_a_command(name: str, tmp_path: Path) -> None:
    vector = entry(name)
    command = [sys.executable, "-m", "redoubt.cli.main", *arguments(vector, tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert done.returncode == (0 if vector.accepted else 1)
    assert done.stderr == ""
    assert json.loads(done.stdout)["verdict"] == vector.fields["verdict"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snp")
    amd = Amd(Product.MILAN)
    (folder / "report").write_bytes(amd.report())
    for name, data in zip(("vcek", "ask", "ark"), amd.chain(), strict=True):
        (folder / name).write_bytes(data)
    return folder


def snp(files: Path, *more: str) -> list[str]:
    return ["evidence", "verify", "--tee", "snp", "--evidence", str(files / "report"), "--json", *more]


def test_rejection_names_its_code(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificates = [word for name in ("vcek", "ask", "ark") for word in ("--certs", str(files / name))]
    status, result = run(capsys, *snp(files, "--at", AT, *certificates))
    assert status == 1
    assert result == {
        "verdict": "reject",
        "tcb_status": None,
        "advisories": [],
        "claims": {},
        "error": {"code": "evidence.chain", "reason": "the root is not AMD's ARK-Milan"},
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_rubbish_of_every_kind_is_rejected(kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, content in enumerate((b"", b"{}", b"\0" * 5000, b"a.b.c", b"HCLA")):
        path = tmp_path / str(number)
        path.write_bytes(content)
        given = ["evidence", "verify", "--tee", kind.value, "--evidence", str(path), "--at", AT, "--json"]
        status, result = run(capsys, *given)
        assert (status, result["verdict"]) == (1, "reject")


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--at", "yesterday"),
        ("--at", "2026-01-15T12:00:00"),
        ("--at", "1960-01-15T12:00:00Z"),
        ("--at", AT, "--report-data", "xyz"),
        ("--at", AT, "--report-data", ""),
        ("--at", AT, "--certs", "/nowhere"),
        ("--at", AT, "--certs", "/"),
        ("--at", AT, "--ak", "/dev/null"),
        ("--at", AT, "--strange"),
        ("--at", AT, "--tee", "sev"),
    ],
)
def test_usage_errors_have_their_own_status(
    files: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, result = run(capsys, *snp(files, *more))
    assert status == 2
    assert result["error"]["code"].startswith("usage.")


def test_nonce_that_evidence_cannot_carry_is_a_rejection() -> None:
    given = arguments(entry("snp-v5-85da705e"), Path())
    assert main([*given, "--nonce", "00"]) == 1


def test_report_data_must_match(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments(entry("tdx-v5-cf77a6e9"), tmp_path)
    _, accepted = run(capsys, *given)
    right = accepted["claims"]["tdx.report_data"]
    assert run(capsys, *given, "--report-data", right)[0] == 0
    status, result = run(capsys, *given, "--report-data", "00" + right[2:])
    assert (status, result["error"]["code"]) == (1, "evidence.binding")


def test_text_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in arguments(entry("tdx-v5-cf77a6e9"), tmp_path) if word != "--json"]
    assert main(given) == 0
    assert "tdx.mrtd: 7348" in capsys.readouterr().out


def test_missing_collateral_names_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in arguments(entry("tdx-v5-cf77a6e9"), tmp_path) if word != "--json"]
    place = given.index("--collateral")
    assert main([*given[:place], *given[place + 2 :]]) == 1
    said = capsys.readouterr()
    assert "[evidence.collateral]" in said.out
    assert "--collateral FILE" in said.err


def test_file_that_is_too_large_is_a_usage_error(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("redoubt.cli.evidence.MAX_EVIDENCE_FILE_BYTES", 10)
    assert run(capsys, *snp(files, "--at", AT))[0] == 2
