"""Every parser and verifier under changed valid inputs: nothing comes out but the errors that it documents.

A short run belongs to the normal tests. The long one (``make soak``) makes ``REDOUBT_SOAK_FUZZ`` runs in total, one
million by default, from ``REDOUBT_SOAK_SEED``; and then lets libFuzzer (atheris) look for new branches.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.soak.fuzz import broker, evidence, legacy, pki, protocol, sealed, store, trust
from tests.soak.fuzz.engine import Finding, Target, fuzz, run_one

from redoubt.errors import EvidenceMalformed, RedoubtError, TokenError

ROOT = Path(__file__).parents[2]
TARGETS = {
    it.name: it for room in (evidence, trust, sealed, protocol, broker, store, pki, legacy) for it in room.targets()
}
SHORT = 40
TOTAL = int(os.environ.get("REDOUBT_SOAK_FUZZ", "1000000"))
SEED = int(os.environ.get("REDOUBT_SOAK_SEED", "1"))
GUIDED_SECONDS = int(os.environ.get("REDOUBT_SOAK_GUIDED_SECONDS", "20"))

each_target = pytest.mark.parametrize("name", TARGETS)


def share(target: Target, total: int) -> int:
    """Return the runs of *target* of *total*: a slow one has a tenth of a fast one's."""
    weights = {name: 1 if it.slow else 10 for name, it in TARGETS.items()}
    return -(-total * weights[target.name] // sum(weights.values()))


@each_target
def test_samples_are_accepted(name: str) -> None:
    """Or the changed ones would be refused for nothing."""
    for sample in TARGETS[name].samples:
        assert run_one(TARGETS[name], sample, where="unchanged") is not TARGETS[name].refused


@each_target
def test_changed_samples_raise_only_documented_errors(name: str) -> None:
    outcome = fuzz(TARGETS[name], runs=SHORT // 4 if TARGETS[name].slow else SHORT, seed=0)
    assert outcome.accepted < outcome.runs or not TARGETS[name].refusals


@pytest.mark.soak
@each_target
def test_many_changed_samples_raise_only_documented_errors(name: str) -> None:
    outcome = fuzz(TARGETS[name], runs=share(TARGETS[name], TOTAL), seed=SEED)
    spent = f"{outcome.seconds:.0f} s, {outcome.grown_kib} KiB more"
    print(f"\n{name}: {outcome.runs} runs, {outcome.accepted} accepted, {spent}")


def test_the_long_run_is_long_enough() -> None:
    assert sum(share(it, 1_000_000) for it in TARGETS.values()) >= 1_000_000


@pytest.mark.soak
@each_target
def test_new_branches_raise_only_documented_errors(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for CPython on Linux, x86-64, only")
    arguments = [f"-max_total_time={GUIDED_SECONDS}", "-rss_limit_mb=2048", "-timeout=10", f"-seed={SEED}"]
    command = [sys.executable, "-m", "tests.soak.fuzz.guided", name, str(tmp_path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=GUIDED_SECONDS + 120)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    print(f"\n{name}: {done.stderr.strip().splitlines()[-1]}")


# --- the instrument itself --------------------------------------------------------------------------------------------
def broken(data: bytes) -> None:
    if len(data) > 4:
        raise KeyError("undocumented")
    raise EvidenceMalformed("documented")


def hanging(_data: bytes) -> None:
    while True:
        try:
            time.process_time()
        except Exception:  # noqa: BLE001 - a handler that is too broad must not hide a hang
            continue


def test_an_undocumented_error_is_found() -> None:
    with pytest.raises(Finding, match="KeyError"):
        fuzz(Target("broken", broken, (b"12345",), (EvidenceMalformed,)), runs=200, seed=0)


def test_an_error_of_another_family_is_found() -> None:
    def other(_data: bytes) -> None:
        raise EvidenceMalformed("it")

    with pytest.raises(Finding, match="EvidenceMalformed"):
        fuzz(Target("other", other, (b"12345",), (TokenError,)), runs=1, seed=0)


def test_a_hang_is_found() -> None:
    with pytest.raises(Finding, match="TooSlow"):
        fuzz(Target("hanging", hanging, (b"12345",), (RedoubtError,)), runs=1, seed=0, deadline=0.1)
