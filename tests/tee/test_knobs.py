"""The table of the seeds' knobs is complete: against the issue's list, and against the text of the seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.evidence.vectors import SHARED

import redoubt
from redoubt.tee.knobs import KNOBS, Verdict

ISSUE = frozenset(
    [
        "SGX_MEM_SIZE",
        "SGX_HEAP",
        "SGX_KERNEL_HEAP",
        "SGX_THREAD",
        "META_SPACE",
        "FS_TYPE",
        "SGX_LOG_LEVEL",
        "MALLOC_ARENA_MAX",
        "SGX_DRIVER_JVM_MEM_SIZE",
        "SGX_EXECUTOR_JVM_MEM_SIZE",
        "ATTESTATION",
        "PCCS_URL",
        "ATTESTATION_URL",
        "APP_ID",
        "API_KEY",
        "CHALLENGE",
        "REPORT_DATA",
        "DRIVER_MEMORY",
        "SGX_DRIVER_MEM",
        "SGX_EXECUTOR_MEM",
        "SGX_ENABLED",
        "ENCLAVE_KEY_PATH",
        "DATA_PATH",
        "KEYS_PATH",
        "SECURE_PASSWORD_PATH",
        "LOCAL_IP",
        "RABIT_TRACKER_IP",
        "TF_MKL_ALLOC_MAX_BYTES",
        "SPARK_MODE",
    ]
)
#: Words of the seeds in capitals that no program reads, each with what it is.
NO_KNOBS = {
    "YOUR_DIR": "a placeholder",
    "YOUR_SECRET": "a placeholder",
    "YOUR_PROGRAM": "a placeholder",
    "YOUR_PROMGRAM": "a placeholder",
    "YOUR_PASSWORD": "a placeholder",
    "IOCTL_GET_DCAP_QUOTE_SIZE": "an error message of Occlum's",
}
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_SET = re.compile(r"(?:^|[\s`\"])(?:export|-e|--env)\s+([A-Za-z_][A-Za-z0-9_]*)=")
_POD = re.compile(r"- name: ([A-Z][A-Z_]+)\b")
_CONF_ENV = re.compile(r"spark\.(?:kubernetes\.driverEnv|executorEnv)\.([A-Za-z_]+)")
_SGX_CONF = re.compile(r"spark\.kubernetes\.sgx\.[a-z.]*[a-z]")


def test_every_knob_of_the_issue_has_a_verdict() -> None:
    assert set(KNOBS) >= ISSUE
    assert any(it.startswith("RUNTIME_") for it in KNOBS)


def test_every_knob_of_the_seeds_has_a_verdict() -> None:
    seeds = sorted((SHARED / "seeds").glob("*.txt"))
    if not seeds:
        pytest.skip("no seeds: ../shared is absent")
    text = "\n".join(it.read_text() for it in seeds)
    found = {name for pattern in (_CAPITALS, _SET, _POD, _CONF_ENV, _SGX_CONF) for name in pattern.findall(text)}
    assert len(found) > 70
    assert found - set(KNOBS) - set(NO_KNOBS) == set()
    assert set(NO_KNOBS) <= found


def test_every_knob_says_what_to_use_and_why() -> None:
    for name, knob in KNOBS.items():
        assert name == knob.name
        assert knob.use
        assert knob.reason
        assert not knob.reason.endswith(".")
    assert {it.verdict for it in KNOBS.values()} == set(Verdict)


def test_accepted_knobs_are_read_by_the_command_and_no_others() -> None:
    source = (Path(redoubt.__file__).parent / "cli/tee.py").read_text()
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source))
    assert read == {it.name for it in KNOBS.values() if it.verdict is Verdict.ACCEPTED}
