"""``redoubt manifest`` and ``redoubt explain``, as two owners use them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.trust.samples import BOB, CHIP, DIGEST, MALLORY, MEASUREMENT, NOW, OTHER_DIGEST, TOML, public, snp
from tests.trust.test_appraisal import PROGRAM, record
from tests.trust.test_manifest import DESCRIPTOR

from redoubt.cli.main import main
from redoubt.errors import AppraisalError, ExitStatus
from redoubt.trust.appraisal import appraise
from redoubt.trust.manifest import manifest_digest, parse_manifest
from redoubt.trust.plan import plan
from redoubt.trust.refusal import Refusal
from redoubt.trust.store import ManifestStore

SALES, REPORT = "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f01", "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f02"
TCB = ["snp.tcb.bootloader=4", "snp.tcb.tee=0", "snp.tcb.snp=20", "snp.tcb.microcode=200"]


class Terminal:
    """Commands run in a folder with a workspace; results as JSON."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *arguments: str | Path, status: int = 0) -> Any:
        self._capsys.readouterr()
        got = main([*map(str, arguments), "--json"])
        output = self._capsys.readouterr()
        assert got == status, output
        return json.loads(output.out)

    def refused(self, code: str, *arguments: str | Path, status: int = ExitStatus.REFUSED) -> str:
        error = self.run(*arguments, status=status)["error"]
        assert error["code"] == code
        return str(error["what"])

    def text(self, *arguments: str | Path) -> tuple[str, str]:
        self._capsys.readouterr()
        assert main([*map(str, arguments)]) == 0
        output = self._capsys.readouterr()
        return output.out, output.err


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDOUBT_WORKSPACE", raising=False)
    found = Terminal(tmp_path, capsys)
    found.run("init")
    return found


def each(option: str, values: Sequence[str]) -> list[str]:
    return [it for value in values for it in (option, value)]


def write_it(terminal: Terminal) -> None:
    """The sample's first part, by commands only."""
    run = terminal.run
    run("manifest", "init", "--owner", "alice")
    run("manifest", "add-owner", "bob")
    run("manifest", "add-recipient", "carol", "--public-key", public(MALLORY))
    run("manifest", "add-dataset", "sales", "--id", SALES, "--owner", "alice", "--key", "key:main/sales.hw")
    run(
        *("manifest", "add-dataset", "report", "--id", REPORT, "--owner", "alice", "--owner", "bob"),
        *("--approvals", "1", "--key", "key:main/report.dev", "--recipient", "carol"),
    )
    run(
        *("manifest", "add-program", "monthly", "--digest", DIGEST, "--binding", "measurement"),
        *("--arguments", '["--month", "2026-??"]', "--arguments", "[]"),
    )
    run(
        *("manifest", "add-tee", "amd", "--kind", "snp", "--binding", "measurement"),
        *("--program-claim", "snp.host_data", "--chip", CHIP, "--reference", "snp.vmpl=0"),
        *("--reference", f"snp.measurement={MEASUREMENT}", *each("--minimum", TCB)),
    )
    run("manifest", "add-grant", "--program", "monthly", "--tee", "amd", "--dataset", "sales", "--read")
    grant = ("manifest", "add-grant", "--program", "monthly", "--tee", "amd", "--dataset", "report")
    run(*grant, "--read", "--write", "--create")
    role = ("manifest", "add-role", "--program", "monthly", "--tee", "amd", "--domain", "analytics")
    run(*role, "--role", "driver", "--role", "executor")


def test_from_nothing_to_a_manifest_in_force(terminal: Terminal) -> None:
    write_it(terminal)
    run = terminal.run
    planned = run("manifest", "plan")
    assert (planned["from"], len(planned["allowed"]), planned["forbidden"]) == (None, 4, [])
    terminal.refused("usage.not_found", "manifest", "set", status=ExitStatus.USAGE)
    signed = run("manifest", "sign", "--owner", "bob")
    assert signed["missing"] == ["dataset 'sales' needs 1 of alice"]
    assert "'sales' needs 1 of alice" in terminal.refused("manifest.unsigned", "manifest", "set")
    assert run("manifest", "sign", "--owner", "alice")["missing"] == []
    checked = run("manifest", "verify", "manifest.signed.json", "--expect", signed["digest"])
    assert checked == {"version": 1, "digest": signed["digest"], "previous": None, "signers": ["alice", "bob"]}
    terminal.refused("manifest.chain", "manifest", "set", "--expect", DIGEST)
    assert run("manifest", "set")["digest"] == signed["digest"]
    assert run("manifest", "verify")["digest"] == signed["digest"]
    assert run("manifest", "log")["manifests"] == [checked]
    terminal.refused("manifest.rollback", "manifest", "set")
    policy = ManifestStore(terminal.folder / ".redoubt").current()
    assert appraise(snp(), PROGRAM, policy=policy, now=NOW).tees == ("amd",)
    planned = run("manifest", "plan")
    assert (planned["allowed"], planned["forbidden"], planned["changes"]) == ([], [], [])


def test_the_next_version(terminal: Terminal) -> None:
    write_it(terminal)
    run = terminal.run
    run("manifest", "sign", "--owner", "alice")
    first = run("manifest", "set")
    file = terminal.folder / "manifest.toml"
    file.write_text(file.read_text().replace('"snp.tcb.snp" = 20', '"snp.tcb.snp" = 21') + "# a note\n")
    run("manifest", "add-program", "yearly", "--digest", OTHER_DIGEST)
    run("manifest", "add-grant", "--program", "yearly", "--tee", "amd", "--dataset", "report", "--read")
    run("manifest", "sign", "--owner", "alice")
    terminal.refused("manifest.rollback", "manifest", "set")
    assert run("manifest", "next") == {"version": 2, "previous": first["digest"]}
    assert "# a note" in file.read_text()
    terminal.refused("manifest.rollback", "manifest", "set")  # what is signed is still the first version's number
    out, _ = terminal.text("manifest", "plan")
    assert "+ allows yearly (sha256:" in out
    assert 'tighter: tees.amd.minimum."snp.tcb.snp": + 21, - 20' in out
    run("manifest", "sign", "--owner", "alice")
    second = run("manifest", "set")
    assert (second["version"], second["previous"]) == (2, first["digest"])
    assert [it["version"] for it in run("manifest", "log")["manifests"]] == [1, 2]


def test_keys_are_private_and_drafts_say_what_they_lack(terminal: Terminal) -> None:
    _, err = terminal.text("manifest", "init", "--owner", "alice")
    key = terminal.folder / ".redoubt" / "owners" / "alice.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert "not complete yet: datasets: is missing" in err
    terminal.refused("usage.exists", "manifest", "init", "--owner", "alice", status=ExitStatus.USAGE)
    terminal.refused("manifest.field", "manifest", "sign", "--owner", "alice")
    assert "PRIVATE" not in (terminal.folder / "manifest.toml").read_text()


def test_strangers_and_wrong_keys_do_not_sign(terminal: Terminal) -> None:
    write_it(terminal)
    terminal.run("manifest", "init", "--owner", "mallory", "--manifest", "other.toml")
    terminal.refused("manifest.owner_key", "manifest", "sign", "--owner", "mallory", status=ExitStatus.KEY)
    terminal.refused("usage.not_found", "manifest", "sign", "--owner", "dave", status=ExitStatus.USAGE)
    for arguments in ((), ("--owner", "alice", "--key", "x"), ("--owner", "../alice")):
        terminal.refused("usage.invalid", "manifest", "sign", *arguments, status=ExitStatus.USAGE)


def test_a_former_owner_signs_the_manifest_that_leaves_him_out(terminal: Terminal) -> None:
    write_it(terminal)
    file = terminal.folder / "manifest.toml"
    file.write_text(file.read_text().replace("approvals = 1\n", ""))
    for owner in ("alice", "bob"):
        terminal.run("manifest", "sign", "--owner", owner)
    terminal.run("manifest", "set")
    terminal.run("manifest", "next")
    text = file.read_text().replace('owners = ["alice", "bob"]', 'owners = ["alice"]')
    start, end = text.index("[owners.bob]"), text.index("[recipients")
    file.write_text(text[:start] + text[end:])
    signed = terminal.run("manifest", "sign", "--owner", "alice")
    assert signed["missing"] == ["dataset 'report' needs 1 of bob"]
    terminal.refused("manifest.unsigned", "manifest", "set")
    terminal.run("manifest", "sign", "--owner", "bob")
    assert terminal.run("manifest", "set")["signers"] == ["alice"]


def test_added_tables_are_checked_at_once_and_nothing_is_written(terminal: Terminal) -> None:
    write_it(terminal)
    file = terminal.folder / "manifest.toml"
    before = file.read_bytes()
    refused = terminal.refused
    dataset = ("manifest", "add-dataset", "x", "--id", str(UUID(int=9)), "--key", "key:main/x.hw")
    assert "'eve' is not defined" in refused("manifest.dangling", *dataset, "--owner", "eve")
    refused("manifest.duplicate", "manifest", "add-owner", "eve", "--key", ".redoubt/owners/alice.pem")
    refused("usage.exists", "manifest", "add-owner", "bob", status=ExitStatus.USAGE)
    refused("manifest.field", "manifest", "add-program", "x", "--digest", "sha256:00")
    refused("manifest.empty", "manifest", "add-tee", "x", "--kind", "tpm", "--binding", "agent")
    tee = ("manifest", "add-tee", "x", "--kind", "simulated", "--binding", "agent", "--reference")
    refused("manifest.unknown_field", *tee, "snp.vmpl=0")
    refused("usage.invalid", *tee, "simulated.warning", status=ExitStatus.USAGE)
    grant = ("manifest", "add-grant", "--program", "monthly", "--tee", "amd", "--dataset")
    refused("manifest.dangling", *grant, "costs", "--read")
    refused("usage.invalid", *grant, "sales", status=ExitStatus.USAGE)
    program = ("manifest", "add-program", "x", "--digest", OTHER_DIGEST, "--arguments")
    refused("usage.invalid", *program, "--month", status=ExitStatus.USAGE)
    assert file.read_bytes() == before


def test_simulated_evidence_is_never_granted_hardware_data(terminal: Terminal) -> None:
    write_it(terminal)
    reference = "simulated.warning=SIMULATED: proves nothing about hardware"
    tee = ("manifest", "add-tee", "laptop", "--kind", "simulated", "--binding", "agent", "--reference", reference)
    terminal.run(*tee)
    grant = ("manifest", "add-grant", "--program", "monthly", "--tee", "laptop", "--dataset")
    terminal.refused("manifest.assurance", *grant, "sales", "--read")
    terminal.run(*grant, "report", "--read")


def test_a_program_by_its_descriptor(terminal: Terminal) -> None:
    write_it(terminal)
    descriptor = terminal.folder / "program.json"
    descriptor.write_bytes(DESCRIPTOR.canonical())
    terminal.run("manifest", "add-program", "yearly", "--descriptor", descriptor)
    tree = tomllib.loads((terminal.folder / "manifest.toml").read_text())
    assert tree["programs"]["yearly"]["digest"] == DESCRIPTOR.digest
    descriptor.write_bytes(b"{}")
    terminal.refused("manifest.program", "manifest", "add-program", "z", "--descriptor", descriptor)


def test_damaged_files(terminal: Terminal) -> None:
    for name in ("manifest.toml", "manifest.signed.json"):
        (terminal.folder / name).write_bytes(b"\xff\x00 = [")
    for command in (("plan",), ("verify", "manifest.signed.json"), ("set",)):
        terminal.refused("manifest.malformed", "manifest", *command)
    terminal.refused("manifest.missing", "manifest", "verify", status=ExitStatus.ENVIRONMENT)
    terminal.refused("manifest.missing", "manifest", "next", status=ExitStatus.ENVIRONMENT)
    terminal.refused("usage.invalid", "manifest", "add-owner", "bob", status=ExitStatus.USAGE)


# --- plan -------------------------------------------------------------------------------------------------------------
def test_plan_of_a_manifest_against_itself_is_empty() -> None:
    same = parse_manifest(TOML.encode())
    assert plan(same, same).is_empty
    assert plan(same, replace(same, version=2, previous=manifest_digest(same))).is_empty


@pytest.mark.parametrize(
    ("old", "new", "direction", "path"),
    [
        ('statuses = ["UpToDate", ', 'statuses = ["UpToDate", "OutOfDate", ', "looser", "tees.enclave.statuses"),
        ('statuses = ["UpToDate", "SWHardeningNeeded"]', 'statuses = ["UpToDate"]', "tighter", "statuses"),
        ('["INTEL-SA-00615"]', '["INTEL-SA-00615", "INTEL-SA-1"]', "tighter", "refused_advisories"),
        ('refused_advisories = ["INTEL-SA-00615"]', "", "looser", "refused_advisories"),
        ('"snp.tcb.snp" = 20', '"snp.tcb.snp" = 19', "looser", "snp.tcb.snp"),
        ('"snp.tcb.snp" = 20', '"snp.tcb.snp" = 20\n"snp.guest_svn" = 1', "tighter", "snp.guest_svn"),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = [0, 1]', "looser", "snp.vmpl"),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = [0]\n"snp.smt" = [false]', "tighter", "snp.smt"),
        (f'chips = ["{CHIP}"]', "", "looser", "tees.amd.chips"),
        ("chips = ", "debug = true\nchips = ", "looser", "tees.amd.debug"),
        ("approvals = 1", "approvals = 2", "tighter", "approvals"),
        ('recipients = ["carol"]', "", "tighter", "datasets.report.recipients"),
        ('"2026-??"', '"202?-??"', "looser", "arguments"),
        ('binding = "measurement"\nargu', 'binding = "agent"\nargu', "looser", "programs.monthly.binding"),
        ('least_binding = "agent"', 'least_binding = "asserted"', "looser", "least_binding"),
        ('d"\nbinding = "agent"', 'd"\nbinding = "asserted"', "tighter", "tees.laptop.binding"),
        ("22" * 32 + '"', "22" * 32 + '", "' + "23" * 32 + '"', "looser", "measurements"),
        (public(MALLORY), public(BOB), "looser", "recipients"),
        ("[owners.bob]", f'[brokers.main]\nid = "{"0f" * 32}"\n\n[owners.bob]', "looser", "brokers"),
    ],
)
def test_plan_names_what_gets_looser_or_tighter(old: str, new: str, direction: str, path: str) -> None:
    before, after = parse_manifest(TOML.encode()), parse_manifest(TOML.replace(old, new, 1).encode())
    found, back = plan(before, after), plan(after, before)
    opposite = {"looser": "tighter", "tighter": "looser"}[direction]
    assert (found.allowed, found.forbidden) == ((), ())
    assert any(direction in str(it) and path in str(it) for it in found.changes), found.changes
    assert any(opposite in str(it) and path in str(it) for it in back.changes), back.changes


def test_plan_shows_a_changed_program_as_another_program() -> None:
    before, after = parse_manifest(TOML.encode()), parse_manifest(TOML.replace(DIGEST, OTHER_DIGEST).encode())
    found = plan(before, after)
    assert {it.digest for it in found.allowed} == {OTHER_DIGEST}
    assert {it.digest for it in found.forbidden} == {DIGEST}
    assert len(found.allowed) == len(found.forbidden) == 5


def test_plan_and_digest_agree() -> None:
    """Whatever changes the digest of a manifest but version and predecessor shows in its plan."""
    base = parse_manifest(TOML.encode())
    for old, new in (
        ('owners = ["alice"]', 'owners = ["alice", "bob"]'),
        ('keys = ["key:main/sales.hw"]', 'keys = ["key:main/sales.hw", "key:main/other.hw"]'),
        ("[datasets.sales]", "[datasets.sales]  # a comment"),
        ("0e1b7f0f6f01", "0e1b7f0f6f03"),
    ):
        other = parse_manifest(TOML.replace(old, new, 1).encode())
        assert plan(base, other).is_empty == (manifest_digest(base) == manifest_digest(other))


# --- explain ----------------------------------------------------------------------------------------------------------
def refusal() -> Refusal:
    from tests.trust.test_appraisal import POLICY

    with pytest.raises(AppraisalError) as caught:
        appraise(snp(tcb__snp=19, debug=True), PROGRAM, policy=POLICY, now=NOW)
    return record(caught.value)


def test_explain_a_file(terminal: Terminal) -> None:
    file = terminal.folder / "refusal.json"
    file.write_bytes(refusal().encode())
    found = terminal.run("explain", file)
    assert [it["code"] for it in found["failures"]] == ["appraisal.debug", "appraisal.tcb"]
    assert found["failures"][1]["edit"] == '[tees.amd.minimum]\n"snp.tcb.snp" = 19'
    out, _ = terminal.text("explain", file)
    assert '[appraisal.tcb] snp.tcb.snp: expected at least 20, found 19 (tees.amd.minimum."snp.tcb.snp")' in out
    assert '    [tees.amd.minimum]\n    "snp.tcb.snp" = 19' in out


def test_explain_an_id(terminal: Terminal) -> None:
    kept = refusal()
    folder = terminal.folder / ".redoubt" / "refusals"
    terminal.refused("usage.not_found", "explain", str(kept.id), status=ExitStatus.USAGE)
    folder.mkdir()
    (folder / f"{kept.id}.json").write_bytes(kept.encode())
    assert terminal.run("explain", str(kept.id))["id"] == str(kept.id)
    terminal.refused("usage.not_found", "explain", "../../etc/passwd-", status=ExitStatus.USAGE)


def test_explain_something_else(terminal: Terminal) -> None:
    file = terminal.folder / "refusal.json"
    file.write_bytes(b'{"id": 1}')
    terminal.refused("appraisal.record", "explain", file)
