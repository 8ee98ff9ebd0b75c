"""Simulated evidence: what it proves, that it cannot be taken for anything else, and that production has none of it."""

from __future__ import annotations

import base64
import json
import stat
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.machines import JwtIssuer, flips, spki

from redoubt.cli.main import main
from redoubt.errors import (
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceUnbound,
    RedoubtError,
    TokenAlgorithm,
    TokenError,
    TokenExpired,
    TokenKeyUnknown,
    TokenNotYetValid,
    UsageError,
    WorkspaceError,
)
from redoubt.evidence import ear_results, maa
from redoubt.evidence.claims import Expected, Tee, Verified
from redoubt.evidence.tokens import Issuer
from redoubt_dev import DevelopmentKey, SimulatedAttester, produce, verify
from redoubt_dev.simulated import LIFETIME, WARNING

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = DevelopmentKey.generate()
DATA = bytes(range(64))
NONCE = b"the verifier's nonce"


def made(**changes: Any) -> bytes:
    return produce(KEY, **{"report_data": DATA, "now": NOW, "nonce": NONCE, **changes})


def check(evidence: bytes, *, now: datetime = NOW, key: DevelopmentKey = KEY, **expected: Any) -> Verified:
    return verify(evidence, keys=key.key_set, expected=Expected(**expected), now=now)


def test_simulated_evidence_says_what_it_is() -> None:
    verified = check(made(measurements={"program": b"\xab" * 48}), report_data=DATA, nonce=NONCE)
    assert verified.tee is Tee.SIMULATED
    assert verified.claims["simulated.warning"] == WARNING
    assert verified.claims["simulated.measurement.program"] == "ab" * 48
    assert verified.valid_until == NOW + LIFETIME
    payload = made().split(b".")[1]
    body = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    assert (body["dbgstat"], body["warning"]) == ("enabled", WARNING)


def test_replayed_evidence_is_refused() -> None:
    with pytest.raises(EvidenceNonce):
        check(made(), nonce=b"another nonce")
    with pytest.raises(EvidenceNonce):
        check(made(nonce=None), nonce=NONCE)


def test_evidence_bound_to_another_key_is_refused() -> None:
    with pytest.raises(EvidenceUnbound):
        check(made(), report_data=bytes(64))


def test_expired_and_future_evidence_is_refused() -> None:
    with pytest.raises(TokenExpired):
        check(made(), now=NOW + LIFETIME)
    with pytest.raises(TokenNotYetValid):
        check(made(), now=NOW - timedelta(minutes=5))


def test_another_machines_key_is_refused() -> None:
    with pytest.raises(TokenKeyUnknown):
        check(made(), key=DevelopmentKey.generate())


def test_every_flipped_bit_is_refused() -> None:
    for changed in flips(made()):
        with pytest.raises(TokenError):
            check(changed)


def test_simulated_token_is_no_other_kind_of_result() -> None:
    issuers = (Issuer(KEY.key_set, None),)
    with pytest.raises(TokenAlgorithm):
        maa.verify(made(), issuers=issuers, expected=Expected(), now=NOW)
    claims = ear_results.verify(made(), issuers=issuers, expected=Expected(), now=NOW).claims
    assert claims["ear.conformant"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"warning": "all is well"},
        {"dbgstat": "disabled"},
        {"eat_profile": "tag:github.com,2023:veraison/ear"},
        {"report_data": "00"},
        {"measurements": []},
        {"measurements": {"a": 7}},
        {"more": 1},
        {"swname": ...},
    ],
)
def test_tokens_that_do_not_say_what_they_are_are_refused(changes: dict[str, Any]) -> None:
    claims = {
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 60,
        "eat_profile": "urn:redoubt:simulated:1",
        "dbgstat": "enabled",
        "swname": "redoubt-dev",
        "warning": WARNING,
        "report_data": DATA.hex(),
        "measurements": {},
    }
    issuer = JwtIssuer("redoubt-dev", KEY.private, kid=KEY.id, claims=claims)
    check(issuer.token())
    with pytest.raises(EvidenceMalformed):
        check(issuer.token(**changes))


def test_report_data_has_64_bytes() -> None:
    with pytest.raises(UsageError):
        made(report_data=b"short")


@given(st.binary(max_size=200))
def test_garbage_raises_only_documented_errors(data: bytes) -> None:
    with pytest.raises(RedoubtError):
        check(data)


# --- the key's file ---------------------------------------------------------------------------------------------------
def test_the_key_stays_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first, second = (DevelopmentKey.load_or_create(folder) for _ in range(2))
    assert first.id == second.id
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    evidence = SimulatedAttester(folder, clock=lambda: NOW).collect(DATA).evidence
    assert check(evidence, key=first, report_data=DATA).report_data == DATA
    assert "PRIVATE" not in repr(first)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    DevelopmentKey.load_or_create(tmp_path)
    (file,) = tmp_path.iterdir()
    file.chmod(0o640)
    with pytest.raises(WorkspaceError):
        DevelopmentKey.load_or_create(tmp_path)
    file.chmod(0o600)
    file.write_bytes(spki(KEY.private))
    with pytest.raises(WorkspaceError):
        DevelopmentKey.load_or_create(tmp_path)


# --- the command ------------------------------------------------------------------------------------------------------
def test_attest_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["attest", "--tee", "simulated", "--report-data", DATA.hex(), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert "SIMULATED" in captured.err
    assert WARNING in result["why"]
    key = DevelopmentKey.load_or_create(tmp_path / "redoubt-dev")
    evidence = base64.b64decode(result["evidence"])
    assert check(evidence, key=key, now=datetime.now(UTC), report_data=DATA).tee is Tee.SIMULATED


def test_without_redoubt_dev_there_is_no_simulated_evidence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "redoubt_dev", None)
    assert main(["attest", "--tee", "simulated", "--json"]) == 7
    result = json.loads(capsys.readouterr().out)
    assert result["error"]["code"] == "attest.no_tee"
    assert "pip install ./dev" in result["error"]["next"]


def test_the_production_wheel_and_its_dependencies_hold_nothing_of_redoubt_dev() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/redoubt"]
    declared = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    assert not any(it.startswith("redoubt-dev") for group in declared for it in group)
    assert not list((root / "src/redoubt").rglob("*simulated*"))
    assert "entry-points" not in project["project"]  # no discovery: nothing that is installed beside it joins in


def test_nothing_in_redoubt_imports_redoubt_dev_by_itself() -> None:
    """What is not installed cannot be believed: no module of the production wheel needs or loads the second one."""
    import ast

    import redoubt

    for path in Path(redoubt.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [it.name for it in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "redoubt_dev" for name in names), path
