"""Collection on fake machines: a tree of files, a test that plays the kernel, and drivers that are functions."""

from __future__ import annotations

import ctypes
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from redoubt.cli.main import main
from redoubt.errors import AttesterRaced, AttestError, TeeMissing, UsageError
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect import occlum, sev_guest
from redoubt.evidence.collect.attester import Attester
from redoubt.evidence.collect.gramine import Gramine
from redoubt.evidence.collect.machine import attesters, collect, consider
from redoubt.evidence.collect.occlum import Occlum
from redoubt.evidence.collect.sev_guest import SevGuest
from redoubt.evidence.collect.tpm import Tpm
from redoubt.evidence.collect.tsm import ConfigfsTsm, KernelEntries
from redoubt.limits import MAX_AUXILIARY_BYTES, MAX_QUOTE_BYTES

REPORT_DATA = bytes(range(64))


def put(root: Path, name: str, content: bytes = b"") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- Gramine ----------------------------------------------------------------------------------------------------------
def test_gramine_quotes_what_was_written(tmp_path: Path) -> None:
    put(tmp_path, "dev/attestation/attestation_type", b"dcap\n")
    put(tmp_path, "dev/attestation/quote", b"the quote")
    written = put(tmp_path, "dev/attestation/user_report_data", b"")
    attester = Gramine(tmp_path)
    assert attester.look().present
    collected = attester.collect(REPORT_DATA)
    assert (collected.tee, collected.evidence, collected.auxiliary) == (Tee.SGX, b"the quote", None)
    assert written.read_bytes() == REPORT_DATA


@pytest.mark.parametrize("kind", [b"none", b"epid", b"", b"\xff" * 100])
def test_gramine_without_dcap_is_no_attester(tmp_path: Path, kind: bytes) -> None:
    put(tmp_path, "dev/attestation/attestation_type", kind)
    assert not Gramine(tmp_path).look().present


@pytest.mark.parametrize("quote", [b"", bytes(MAX_QUOTE_BYTES + 1), None])
def test_gramine_quotes_that_are_none_are_refused(tmp_path: Path, quote: bytes | None) -> None:
    put(tmp_path, "dev/attestation/user_report_data")
    if quote is not None:
        put(tmp_path, "dev/attestation/quote", quote)
    with pytest.raises(AttestError):
        Gramine(tmp_path).collect(REPORT_DATA)


# --- configfs-tsm -----------------------------------------------------------------------------------------------------
class Kernel(KernelEntries):
    """Plays the kernel on a tree of files: fills new entries, counts writes, answers with what was written."""

    def __init__(self, root: Path, *, provider: str = "tdx_guest", races: int = 0, auxblob: bytes = b"") -> None:
        self.folder = root / "sys/kernel/config/tsm/report"
        self.folder.mkdir(parents=True)
        self.provider, self.races, self.auxblob = provider, races, auxblob
        self.writes: list[tuple[str, bytes]] = []

    def make(self, entry: Path) -> None:
        super().make(entry)
        for name, content in (("provider", self.provider), ("generation", "0"), ("inblob", ""), ("privlevel", "")):
            (entry / name).write_text(content + "\n" if content else "")
        (entry / "auxblob").write_bytes(self.auxblob)

    def remove(self, entry: Path) -> None:
        shutil.rmtree(entry)

    def write(self, file: Path, data: bytes) -> None:
        super().write(file, data)
        self.writes.append((file.name, data))
        self._bump(file.parent)
        (file.parent / "outblob").write_bytes(b"evidence over " + (file.parent / "inblob").read_bytes())

    def read(self, file: Path, limit: int) -> bytes:
        content = super().read(file, limit)
        if file.name == "outblob" and self.races:
            self.races -= 1
            self._bump(file.parent)
        return content

    def _bump(self, entry: Path) -> None:
        counter = entry / "generation"
        counter.write_text(f"{int(counter.read_text()) + 1}\n")


@pytest.mark.parametrize(("provider", "tee"), [("tdx_guest", Tee.TDX), ("sev_guest", Tee.SNP)])
def test_configfs_tsm(tmp_path: Path, provider: str, tee: Tee) -> None:
    kernel = Kernel(tmp_path, provider=provider, auxblob=b"certificates")
    attester = ConfigfsTsm(tmp_path, entries=kernel)
    assert attester.look().present
    collected = attester.collect(REPORT_DATA)
    assert (collected.tee, collected.evidence) == (tee, b"evidence over " + REPORT_DATA)
    assert collected.auxiliary == (b"certificates" if tee is Tee.SNP else None)
    assert kernel.writes == [("inblob", REPORT_DATA)]
    assert list(kernel.folder.iterdir()) == []


def test_configfs_tsm_counts_the_privilege_level_as_a_write(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, provider="sev_guest")
    collected = ConfigfsTsm(tmp_path, entries=kernel, privilege_level=2).collect(REPORT_DATA)
    assert kernel.writes == [("inblob", REPORT_DATA), ("privlevel", b"2")]
    assert collected.auxiliary is None


def test_evidence_of_another_writers_entry_is_thrown_away(tmp_path: Path) -> None:
    """Somebody else's write between ours and the read: the generation shows it, and the next attempt is ours alone."""
    kernel = Kernel(tmp_path, races=2)
    assert ConfigfsTsm(tmp_path, entries=kernel).collect(REPORT_DATA).evidence.endswith(REPORT_DATA)
    assert len(kernel.writes) == 3
    kernel.races = 99
    with pytest.raises(AttesterRaced):
        ConfigfsTsm(tmp_path, entries=kernel).collect(REPORT_DATA)
    assert list(kernel.folder.iterdir()) == []


def test_unknown_provider_and_missing_files_are_refused(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, provider="cca_guest")
    attester = ConfigfsTsm(tmp_path, entries=kernel)
    assert not attester.look().present
    with pytest.raises(AttestError, match="cca_guest"):
        attester.collect(REPORT_DATA)
    bare = ConfigfsTsm(tmp_path)  # a folder that no kernel fills
    assert not bare.look().present
    with pytest.raises(AttestError):
        bare.collect(REPORT_DATA)


# --- ioctls -----------------------------------------------------------------------------------------------------------
def put_at(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


class OcclumDriver:
    def __init__(self, quote: bytes, *, announced: int | None = None, used: int | None = None) -> None:
        self.quote, self.used = quote, len(quote) if used is None else used
        self.announced = len(quote) if announced is None else announced
        self.report_data = b""

    def __call__(self, descriptor: int, request: int, argument: bytearray) -> None:
        if request == occlum.GET_DCAP_QUOTE_SIZE:
            argument[:] = self.announced.to_bytes(4, "little")
            return
        assert request == occlum.GEN_DCAP_QUOTE
        data, length, buffer = struct.unpack("=QQQ", argument)
        self.report_data = ctypes.string_at(data, 64)
        put_at(buffer, self.quote[: self.announced])
        put_at(length, self.used.to_bytes(4, "little"))


def test_occlum(tmp_path: Path) -> None:
    put(tmp_path, "dev/sgx")
    driver = OcclumDriver(b"an SGX quote", announced=100)
    attester = Occlum(tmp_path, ioctl=driver)
    assert attester.look().present
    collected = attester.collect(REPORT_DATA)
    assert (collected.tee, collected.evidence) == (Tee.SGX, b"an SGX quote")
    assert driver.report_data == REPORT_DATA


@pytest.mark.parametrize(("announced", "used"), [(0, 0), (MAX_QUOTE_BYTES + 1, 5), (10, 11), (10, 0)])
def test_occlum_lengths_that_cannot_be_are_refused(tmp_path: Path, announced: int, used: int) -> None:
    put(tmp_path, "dev/sgx")
    with pytest.raises(AttestError):
        Occlum(tmp_path, ioctl=OcclumDriver(b"quote", announced=announced, used=used)).collect(REPORT_DATA)


def test_the_sgx_folder_of_a_plain_host_is_not_occlum(tmp_path: Path) -> None:
    put(tmp_path, "dev/sgx/enclave")
    assert not Occlum(tmp_path).look().present


class SevDriver:
    def __init__(self, *, certificates: bytes | None = b"table", status: int = 0, size: int = 1184) -> None:
        self.certificates, self.status, self.size = certificates, status, size
        self.requests: list[int] = []
        self.level = -1

    def __call__(self, descriptor: int, request: int, argument: bytearray) -> None:
        self.requests.append(request)
        version, sent, received, _ = struct.unpack("=B7xQQQ", argument)
        assert version == 1
        if request == sev_guest.GET_EXT_REPORT:
            if self.certificates is None:
                raise OSError(5, "no certificates on this host")
            address, length = struct.unpack("=QI", ctypes.string_at(sent + 96, 12))
            assert length == MAX_AUXILIARY_BYTES
            put_at(address, self.certificates)
        report_data, self.level = struct.unpack("=64sI", ctypes.string_at(sent, 68))
        report = b"\2\0\0\0" + bytes(76) + report_data
        put_at(received, struct.pack("=II24x", self.status, self.size) + report.ljust(1184, b"\0"))


@pytest.mark.parametrize("certificates", [b"table", b"", None])
def test_sev_guest(tmp_path: Path, certificates: bytes | None) -> None:
    put(tmp_path, "dev/sev-guest")
    driver = SevDriver(certificates=certificates)
    attester = SevGuest(tmp_path, ioctl=driver, privilege_level=1)
    assert attester.look().present
    collected = attester.collect(REPORT_DATA)
    assert collected.tee is Tee.SNP
    assert len(collected.evidence) == 1184
    assert collected.evidence[0x50:0x90] == REPORT_DATA
    assert driver.level == 1
    assert (collected.auxiliary or b"").rstrip(b"\0") == (certificates or b"")
    assert driver.requests[-1] == (sev_guest.GET_REPORT if certificates is None else sev_guest.GET_EXT_REPORT)


@pytest.mark.parametrize("changes", [{"status": 0x16}, {"size": 0}, {"size": 4000}])
def test_sev_guest_answers_that_are_no_report_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    put(tmp_path, "dev/sev-guest")
    with pytest.raises(AttestError):
        SevGuest(tmp_path, ioctl=SevDriver(**changes)).collect(REPORT_DATA)


def test_devices_that_fail_give_one_documented_error(tmp_path: Path) -> None:
    put(tmp_path, "dev/sev-guest")
    put(tmp_path, "dev/sgx")
    for attester in (SevGuest(tmp_path), Occlum(tmp_path), Tpm(tmp_path), Gramine(tmp_path)):
        with pytest.raises(AttestError):
            attester.collect(REPORT_DATA)


# --- the machine ------------------------------------------------------------------------------------------------------
def test_report_data_is_never_padded_behind_the_callers_back(tmp_path: Path) -> None:
    for attester in attesters(tmp_path):
        for data in (b"", bytes(48), bytes(65)):
            with pytest.raises(UsageError):
                attester.collect(data)


def test_an_enclave_comes_before_the_machine_around_it(tmp_path: Path) -> None:
    put(tmp_path, "dev/attestation/attestation_type", b"dcap")
    put(tmp_path, "dev/attestation/quote", b"quote")
    put(tmp_path, "dev/attestation/user_report_data")
    put(tmp_path, "dev/sev-guest")
    snp = SevGuest(tmp_path, ioctl=SevDriver())
    candidates: tuple[Attester, ...] = (Gramine(tmp_path), snp)
    chosen, collected = collect(consider(candidates), REPORT_DATA, tee=None)
    assert (chosen.name, collected.tee) == ("gramine", Tee.SGX)
    chosen, collected = collect(consider(candidates), REPORT_DATA, tee=Tee.SNP)
    assert (chosen.name, collected.tee) == ("sev-guest", Tee.SNP)


def test_a_failing_tee_is_not_replaced_by_a_weaker_one(tmp_path: Path) -> None:
    put(tmp_path, "dev/attestation/attestation_type", b"dcap")
    put(tmp_path, "dev/sev-guest")
    with pytest.raises(AttestError) as caught:
        collect(consider((Gramine(tmp_path), SevGuest(tmp_path, ioctl=SevDriver()))), REPORT_DATA, tee=None)
    assert not isinstance(caught.value, TeeMissing)


def test_a_machine_without_a_tee_says_what_was_looked_for(tmp_path: Path) -> None:
    considered = consider(attesters(tmp_path))
    assert [it.attester.name for it in considered] == ["gramine", "occlum", "configfs-tsm", "sev-guest", "tpm"]
    with pytest.raises(TeeMissing) as caught:
        collect(considered, REPORT_DATA, tee=None)
    for name in ("gramine", "occlum", "configfs-tsm", "sev-guest", "tpm"):
        assert name in caught.value.what
    assert "redoubt-dev" in caught.value.next_step


# --- the command ------------------------------------------------------------------------------------------------------
@pytest.fixture
def _fake_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "redoubt.evidence.collect.machine.attesters", lambda: (SevGuest(tmp_path, ioctl=SevDriver()), Gramine(tmp_path))
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    status = main(["attest", *arguments, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out), captured.err


@pytest.mark.usefixtures("_fake_machine")
def test_attest_on_a_machine_with_a_tee(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "dev/sev-guest")
    out = tmp_path / "report.bin"
    status, result, errors = run(capsys, "--report-data", "0102", "--out", str(out))
    assert (status, result["tee"], result["attester"]) == (0, "snp", "sev-guest")
    assert out.read_bytes()[0x50:0x54] == b"\1\2\0\0"
    assert result["report_data"] == "0102" + "00" * 62
    assert [it["present"] for it in result["considered"]] == [True, False]
    assert errors == ""
    _, _, errors = run(capsys)
    assert "bound to nothing" in errors


@pytest.mark.usefixtures("_fake_machine")
def test_attest_on_a_machine_without_a_tee(capsys: pytest.CaptureFixture[str]) -> None:
    status, result, _ = run(capsys)
    assert (status, result["error"]["code"]) == (7, "attest.no_tee")
    assert "redoubt-dev" in result["error"]["next"]


@pytest.mark.parametrize("data", ["xyz", "00" * 65])
def test_attest_refuses_odd_report_data(capsys: pytest.CaptureFixture[str], data: str) -> None:
    assert run(capsys, "--report-data", data)[0] == 2
