"""A real TPM 2.0 in software: collected with tpm2-tools, verified in pure Python. Skipped where swtpm is missing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from tests.evidence.machines import flips
from tests.evidence.swtpm import running

from redoubt.errors import AttestError, EvidenceError, EvidenceNonce, EvidenceUnbound, EvidenceUnprovable
from redoubt.evidence.claims import Expected, Verified
from redoubt.evidence.collect.tpm import DEFAULT_HANDLE, Tpm
from redoubt.evidence.tpm import EnrolledKeys, verify

TOOLS = ("swtpm", "tpm2_createek", "tpm2_createak", "tpm2_evictcontrol", "tpm2_quote", "tpm2_pcrextend")
pytestmark = pytest.mark.skipif(
    any(shutil.which(it) is None for it in TOOLS), reason="needs swtpm and tpm2-tools (Debian packages, packages.txt)"
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = hashlib.sha384(b"key and nonce").digest()
ALL = frozenset(range(24))


@dataclass(frozen=True)
class Enrolled:
    """A running TPM whose attestation key lies at the default handle."""

    environment: dict[str, str]
    key: bytes

    def run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def collect(self, report_data: bytes = DIGEST.ljust(64, b"\0")) -> bytes:
        return Tpm(environment=self.environment).collect(report_data).evidence

    def verify(self, evidence: bytes, **expected: bytes) -> Verified:
        enrolled = EnrolledKeys.load(self.key, required_pcrs=ALL)
        return verify(evidence, enrolled=enrolled, expected=Expected(**expected), now=NOW)


@pytest.fixture(scope="module", params=["rsa-rsassa", "rsa-rsapss", "ecc-ecdsa"])
def tpm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enrolled]:
    folder = tmp_path_factory.mktemp("swtpm")
    with running(folder) as environment:
        kind, scheme = request.param.split("-")
        enrolled = Enrolled(environment, b"")
        context, ek = str(folder / "ak.ctx"), str(folder / "ek.ctx")
        enrolled.run("tpm2_createek", "-c", ek, "-G", kind, "-u", str(folder / "ek.pub"))
        enrolled.run("tpm2_flushcontext", "-t")  # a TPM has three transient slots
        enrolled.run("tpm2_createak", "-C", ek, "-c", context, "-G", kind, "-g", "sha256", "-s", scheme)
        enrolled.run("tpm2_flushcontext", "-t")
        enrolled.run("tpm2_evictcontrol", "-C", "o", "-c", context, f"{DEFAULT_HANDLE:#x}")
        enrolled.run("tpm2_flushcontext", "-t")
        key = folder / "ak.pem"
        enrolled.run("tpm2_readpublic", "-c", f"{DEFAULT_HANDLE:#x}", "-f", "pem", "-o", str(key))
        yield Enrolled(environment, key.read_bytes())


def test_a_real_quote_is_believed(tpm: Enrolled) -> None:
    assert Tpm(environment=tpm.environment).look().present
    verified = tpm.verify(tpm.collect(), report_data=DIGEST)
    assert verified.report_data == DIGEST
    assert verified.claims["tpm.pcr.sha256.23"] == "00" * 32


def test_an_extended_register_shows(tpm: Enrolled) -> None:
    before = tpm.verify(tpm.collect()).claims
    extension = hashlib.sha256(b"program descriptor").digest()
    tpm.run("tpm2_pcrextend", f"16:sha256={extension.hex()}")
    after = tpm.verify(tpm.collect()).claims
    old = bytes.fromhex(str(before["tpm.pcr.sha256.16"]))
    assert after["tpm.pcr.sha256.16"] == hashlib.sha256(old + extension).hexdigest()
    assert after["tpm.pcr.sha256.15"] == before["tpm.pcr.sha256.15"]


def test_64_bytes_of_report_data(tpm: Enrolled) -> None:
    data = bytes(range(1, 65))
    assert tpm.verify(tpm.collect(data), report_data=data, nonce=data).report_data == data


def test_replayed_real_quote_is_refused(tpm: Enrolled) -> None:
    evidence = tpm.collect()
    with pytest.raises(EvidenceUnbound):
        tpm.verify(evidence, report_data=hashlib.sha384(b"another session").digest())
    with pytest.raises(EvidenceNonce):
        tpm.verify(evidence, nonce=b"another nonce")


def test_flipped_bits_of_a_real_quote_are_refused(tpm: Enrolled) -> None:
    evidence = tpm.collect()
    for changed in flips(evidence, count=60):
        # Case of hex digits and of nothing else may differ without a change in meaning.
        if changed.lower() != evidence.lower():
            with pytest.raises(EvidenceError):
                tpm.verify(changed, report_data=DIGEST)


def test_key_that_was_not_enrolled_is_refused(tpm: Enrolled) -> None:
    with pytest.raises(EvidenceUnprovable):
        verify(tpm.collect(), enrolled=EnrolledKeys(()), expected=Expected(), now=NOW)


def test_a_handle_without_a_key_is_one_documented_error(tpm: Enrolled) -> None:
    with pytest.raises(AttestError, match="tpm2_readpublic"):
        Tpm(environment=tpm.environment, handle=0x8101FFFF).collect(bytes(64))
