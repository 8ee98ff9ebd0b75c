"""Appraisal: what the manifest grants, every way to be refused, and that explain's edit is the one that would help."""

from __future__ import annotations

import contextlib
import pickle
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st
from tests.trust.samples import (
    ALICE,
    DIGEST,
    NOW,
    OTHER_DIGEST,
    SIMULATED_CLAIMS,
    SNP_CLAIMS,
    TOML,
    manifest,
    sgx,
    snp,
    verified,
)

from redoubt.errors import (
    AppraisalError,
    ArgumentsRefused,
    BindingRefused,
    ChipRefused,
    DebugRefused,
    EvidenceStale,
    GrantMissing,
    ProgramRefused,
    ReferenceMismatch,
    RefusalMalformed,
    TcbRefused,
    TeeUnknown,
    UsageError,
)
from redoubt.evidence.claims import JSON, ResultKind, Tee, Verified
from redoubt.trust.appraisal import Appraisal, ProgramClaim, appraise
from redoubt.trust.explain import explain
from redoubt.trust.policy import Binding
from redoubt.trust.refusal import Refusal
from redoubt.trust.signing import Envelope, SignedManifest, verify_manifest
from redoubt.trust.tee_rules import shown_digest

ID = UUID("12345678-1234-4234-8234-123456789abc")
PROGRAM = ProgramClaim(digest=DIGEST, arguments=(), binding=Binding.MEASUREMENT)


def signed(text: str = TOML) -> SignedManifest:
    return verify_manifest(Envelope.of(manifest(text)).signed(ALICE), previous=None)


POLICY = signed()
AZURE_TDX = """
[tees.azure]
kind = "az-tdx-vtpm"
binding = "extended"
program_claim = "tpm.pcr.sha256.8"
statuses = ["UpToDate"]
[tees.azure.reference]
"tdx.mrtd" = ["{mrtd}"]
"tpm.pcr.sha256.4" = ["{pcr}"]
[[grants]]
program = "monthly"
tee = "azure"
dataset = "sales"
actions = ["read"]
""".format(mrtd="55" * 48, pcr="66" * 32)
AZURE_CLAIMS: Mapping[str, JSON] = {
    "tdx.mrtd": "55" * 48,
    "tdx.debug": False,
    "tdx.tcb_proved": True,
    "tpm.pcr.sha256.4": "66" * 32,
    "tpm.pcr.sha256.8": shown_digest("tpm.pcr.sha256.8", DIGEST),
}


def accept(
    evidence: Verified, program: ProgramClaim = PROGRAM, *, policy: SignedManifest = POLICY, **changes: Any
) -> Appraisal:
    return appraise(evidence, replace(program, **changes), policy=policy, now=NOW)


def refuse(
    kind: type[AppraisalError], evidence: Verified, *, policy: SignedManifest = POLICY, **changes: Any
) -> AppraisalError:
    with pytest.raises(AppraisalError) as caught:
        accept(evidence, policy=policy, **changes)
    assert type(caught.value) is kind, caught.value.failures
    assert caught.value.failures[0].code == kind.code
    return caught.value


# --- what is granted --------------------------------------------------------------------------------------------------
def test_evidence_that_satisfies_the_manifest_gets_exactly_its_grants() -> None:
    found = accept(snp())
    assert (found.program, found.tees, found.binding) == ("monthly", ("amd",), Binding.MEASUREMENT)
    assert {(it.dataset, tuple(sorted(it.actions))) for it in found.grants} == {
        ("sales", ("read",)),
        ("report", ("read", "write")),
    }
    assert [it.dataset for it in accept(sgx()).grants] == ["sales"]
    assert accept(sgx(status="SWHardeningNeeded", advisories=("INTEL-SA-00001",))).tees == ("enclave",)
    assert accept(snp(), arguments=("--month", "2026-11")).program == "monthly"


def test_two_tees_of_one_kind_are_two_chances_and_grants_of_both() -> None:
    second = TOML[TOML.index("[tees.amd]") : TOML.index("[tees.enclave]")].replace("tees.amd", "tees.amd2")
    grant = '[[grants]]\nprogram = "monthly"\ntee = "amd2"\ndataset = "report"\nactions = ["read"]\n'
    text = TOML + second + grant
    assert accept(snp(), policy=signed(text)).tees == ("amd", "amd2")
    only_second = text.replace('"snp.tcb.snp" = 20', '"snp.tcb.snp" = 22', 1)
    found = accept(snp(), policy=signed(only_second))
    assert found.tees == ("amd2",)
    assert [it.dataset for it in found.grants] == ["report"]


# --- attacks ----------------------------------------------------------------------------------------------------------
def test_unknown_tee() -> None:
    error = refuse(TeeUnknown, verified(Tee.TDX, {}))
    assert error.failures[0].expected == ("sgx", "simulated", "snp")
    refuse(TeeUnknown, replace(snp(), tee=ResultKind.MAA))


def test_another_image() -> None:
    refuse(ReferenceMismatch, snp(measurement="00" * 48))
    refuse(ReferenceMismatch, snp(vmpl=1))
    refuse(ReferenceMismatch, snp(vmpl=False))  # in Python False == 0
    refuse(ReferenceMismatch, snp(vmpl=0.0))
    refuse(ReferenceMismatch, snp(measurement=None))


def test_missing_claim() -> None:
    for name in SNP_CLAIMS:
        claims = {key: value for key, value in SNP_CLAIMS.items() if key != name}
        with pytest.raises(AppraisalError) as caught:
            accept(verified(Tee.SNP, claims))
        assert [it.claim for it in caught.value.failures] == [name]


def test_old_tcb() -> None:
    refuse(TcbRefused, snp(tcb__snp=19))
    refuse(TcbRefused, snp(tcb__snp=True))
    refuse(TcbRefused, sgx(isvsvn=2))
    refuse(TcbRefused, sgx(status="OutOfDate"))
    refuse(TcbRefused, sgx(status="Revoked"))


def test_missing_tcb_status_is_unproved() -> None:
    error = refuse(TcbRefused, sgx(status=None))
    assert error.failures[0].actual == "unproved"


def test_unproved_tcb_of_azure_needs_the_owners_word() -> None:
    policy = signed(TOML + AZURE_TDX)
    proved = verified(Tee.AZ_TDX_VTPM, AZURE_CLAIMS, status="UpToDate")
    weaker = TOML.replace('binding = "measurement"\nargu', 'binding = "extended"\nargu') + AZURE_TDX
    refuse(BindingRefused, proved, policy=policy)
    assert accept(proved, policy=signed(weaker)).binding is Binding.EXTENDED
    # A status beside tcb_proved = false would contradict it: what is weaker counts.
    for claims, status in ((AZURE_CLAIMS, None), ({**AZURE_CLAIMS, "tdx.tcb_proved": False}, "UpToDate")):
        unproved = verified(Tee.AZ_TDX_VTPM, claims, status=status)
        refuse(TcbRefused, unproved, policy=signed(weaker))
        allowed = weaker.replace('statuses = ["UpToDate"]', 'statuses = ["UpToDate", "unproved"]')
        assert accept(unproved, policy=signed(allowed)).tees == ("azure",)


def test_refused_advisory() -> None:
    refuse(TcbRefused, sgx(advisories=("INTEL-SA-00001", "INTEL-SA-00615")))


def test_debug() -> None:
    refuse(DebugRefused, snp(debug=True))
    refuse(DebugRefused, sgx(debug=True))
    refuse(DebugRefused, snp(debug=0))
    policy = signed(TOML.replace("chips = ", "debug = true\nchips = "))
    accept(snp(debug=True), policy=policy)
    refuse(DebugRefused, snp(debug=1), policy=policy)


def test_migration_agent() -> None:
    refuse(DebugRefused, snp(migrate_ma=True))
    refuse(DebugRefused, snp(migrate_ma=True), policy=signed(TOML.replace("chips = ", "debug = true\nchips = ")))


def test_another_chip() -> None:
    refuse(ChipRefused, snp(chip_id="34" * 64))
    refuse(ChipRefused, snp(chip_id="00" * 64))
    refuse(ChipRefused, snp(chip_id=None))


def test_other_program_digest() -> None:
    refuse(ProgramRefused, snp(), digest=OTHER_DIGEST)
    refuse(ProgramRefused, snp(), digest=None)


def test_job_a_attests_as_program_b() -> None:
    """The attester names an approved program, and its TEE measured another one (hardening H3)."""
    error = refuse(ProgramRefused, snp(host_data="cd" * 32))
    assert error.failures[0].claim == "snp.host_data"
    assert explain(record(error))[0].edit is None
    refuse(ProgramRefused, sgx(mrenclave="00" * 32))


def test_rtmr_and_pcr_show_the_program_only_after_exactly_one_extend() -> None:
    policy = signed(TOML.replace('binding = "measurement"\nargu', 'binding = "extended"\nargu') + AZURE_TDX)
    for value in ("00" * 32, "ab" * 32, None, shown_digest("tpm.pcr.sha256.8", OTHER_DIGEST)):
        claims = {**AZURE_CLAIMS, "tpm.pcr.sha256.8": value}
        refuse(ProgramRefused, verified(Tee.AZ_TDX_VTPM, claims, status="UpToDate"), policy=policy)


def test_binding_level_too_low() -> None:
    for binding in (Binding.EXTENDED, Binding.AGENT, Binding.ASSERTED):
        error = refuse(BindingRefused, snp(), binding=binding)
        assert (error.failures[0].expected, error.failures[0].actual) == (("measurement",), binding.value)


def test_a_tee_never_lends_more_binding_than_it_has() -> None:
    refuse(BindingRefused, verified(Tee.SIMULATED, SIMULATED_CLAIMS), binding=Binding.MEASUREMENT)


def test_arguments_that_no_pattern_allows_are_not_repeated() -> None:
    secret = "password=hunter2"
    for arguments in ((secret,), ("--month", "2026-11", secret), ("--month", secret)):
        error = refuse(ArgumentsRefused, snp(), arguments=arguments)
        text = record(error).encode().decode() + str(error) + repr(explain(record(error)))
        assert "hunter2" not in text


def test_grant_missing() -> None:
    grant = '[[grants]]\nprogram = "monthly"\ntee = "enclave"\ndataset = "sales"\nactions = ["read"]\n'
    assert grant in TOML
    refuse(GrantMissing, sgx(), policy=signed(TOML.replace(grant, "")))


def test_evidence_that_ended() -> None:
    refuse(EvidenceStale, replace(snp(), valid_until=NOW))
    accept(replace(snp(), valid_until=NOW + timedelta(seconds=1)))
    accept(replace(snp(), valid_until=None))


def test_time_without_zone() -> None:
    with pytest.raises(UsageError):
        appraise(snp(), PROGRAM, policy=POLICY, now=NOW.replace(tzinfo=None))


def test_all_failed_claims_of_the_closest_attempt_are_carried() -> None:
    error = refuse(DebugRefused, snp(debug=True, vmpl=1, tcb__snp=0), digest=OTHER_DIGEST)
    assert [it.claim for it in error.failures] == ["snp.debug", "snp.tcb.snp", "snp.vmpl", "program.digest"]
    again = pickle.loads(pickle.dumps(error))
    assert (again.failures, again.what) == (error.failures, error.what)


def test_the_closest_of_two_tees_is_the_one_that_is_explained() -> None:
    second = TOML[TOML.index("[tees.amd]") : TOML.index("[tees.enclave]")].replace("tees.amd", "tees.aaa")
    far = TOML + second.replace("11" * 48, "77" * 48) + '[[grants]]\nprogram = "monthly"\ntee = "aaa"\n'
    policy = signed(far + 'dataset = "report"\nactions = ["read"]\n')
    error = refuse(ReferenceMismatch, snp(vmpl=1), policy=policy)
    assert [it.path[1] for it in error.failures] == ["amd"]


# --- properties -------------------------------------------------------------------------------------------------------
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())


@given(st.sampled_from(sorted(SNP_CLAIMS)), _VALUES)
@example("snp.measurement", 2**80)
def test_no_single_claim_may_differ(name: str, value: Any) -> None:
    claims = {**SNP_CLAIMS, name: value}
    least = {"snp.tcb.bootloader": 4, "snp.tcb.tee": 0, "snp.tcb.snp": 20, "snp.tcb.microcode": 200}
    enough = type(value) is int and name in least and value >= least[name]
    if enough or (type(value) is type(SNP_CLAIMS[name]) and value == SNP_CLAIMS[name]):
        accept(verified(Tee.SNP, claims))
    else:
        with pytest.raises(AppraisalError) as caught:
            accept(verified(Tee.SNP, claims))
        assert [it.claim for it in caught.value.failures] == [name]


@given(st.dictionaries(st.sampled_from([*SNP_CLAIMS, "x.y"]), _VALUES), st.text(max_size=80), st.sampled_from(Binding))
def test_any_claims_are_granted_or_refused_with_a_documented_error(
    claims: dict[str, Any], digest: str, binding: Binding
) -> None:
    with pytest.raises(AppraisalError) as caught:
        accept(verified(Tee.SNP, claims), digest=digest, binding=binding)
    assert explain(Refusal.parse(record(caught.value).encode()))


# --- explain ----------------------------------------------------------------------------------------------------------
def record(error: AppraisalError, *, tee: Tee = Tee.SNP) -> Refusal:
    evidence = replace(snp(), tee=tee)
    return Refusal.of(error, verified=evidence, program=PROGRAM, policy=POLICY, now=NOW, refusal_id=ID)


def apply(edits: list[str]) -> str:
    """The sample with TOML *edits* taken up as their owner would: lists replaced, grants added."""
    tree: dict[str, Any] = tomllib.loads(TOML)
    for edit in edits:
        _merge(tree, tomllib.loads(edit))
    return tomlkit.dumps(tree)


def _merge(tree: dict[str, Any], edit: dict[str, Any]) -> None:
    for name, value in edit.items():
        if isinstance(value, dict):
            _merge(tree.setdefault(name, {}), value)
        elif name == "grants":
            tree[name] += value
        else:
            tree[name] = value


REFUSED: dict[str, tuple[Verified, dict[str, Any]]] = {
    "image": (snp(measurement="00" * 48), {}),
    "vmpl": (snp(vmpl=1), {}),
    "minimum": (snp(tcb__snp=19), {}),
    "status": (sgx(status="OutOfDate"), {}),
    "advisory": (sgx(advisories=("INTEL-SA-00615",)), {}),
    "debug": (snp(debug=True), {}),
    "chip": (snp(chip_id="34" * 64), {}),
    "mrenclave": (sgx(mrenclave="00" * 32), {}),
    "digest": (snp(host_data="cd" * 32), {"digest": OTHER_DIGEST}),
    "binding": (snp(), {"binding": Binding.AGENT}),
    "binding of a laptop": (verified(Tee.SIMULATED, SIMULATED_CLAIMS), {"binding": Binding.AGENT}),
    "four at once": (snp(vmpl=1, measurement="00" * 48, tcb__tee=0, tcb__snp=1), {"binding": Binding.AGENT}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_edit_that_explain_names_would_allow_it(case: str) -> None:
    evidence, changes = REFUSED[case]
    with pytest.raises(AppraisalError) as caught:
        accept(evidence, **changes)
    found = explain(Refusal.parse(record(caught.value, tee=Tee(evidence.tee)).encode()))
    edits = [it.edit for it in found if it.edit is not None]
    assert len(edits) == len(found)
    text = apply(edits)
    if case == "advisory":
        assert edits == ["# remove tees.enclave.refused_advisories"]
        text = text.replace('refused_advisories = ["INTEL-SA-00615"]', "")
    assert accept(evidence, policy=signed(text), **changes).grants
    for it in found:
        assert it.failure.claim in it.text
        assert it.cause
        assert it.next_step


def test_edits_with_a_blank_for_the_owner() -> None:
    (arguments,) = explain(record(refuse(ArgumentsRefused, snp(), arguments=("--x", "1"))))
    assert arguments.edit is not None
    assert arguments.edit.startswith("# ARGUMENT 1 … stand for")
    assert "found 2 arguments" in arguments.text
    assert tomllib.loads(arguments.edit)["programs"]["monthly"]["arguments"] == [
        [],
        ["--month", "2026-??"],
        ["ARGUMENT 1", "ARGUMENT 2"],
    ]
    grant = '[[grants]]\nprogram = "monthly"\ntee = "enclave"\ndataset = "sales"\nactions = ["read"]\n'
    (missing,) = explain(record(refuse(GrantMissing, sgx(), policy=signed(TOML.replace(grant, "")))))
    assert missing.edit is not None
    assert tomllib.loads(missing.edit)["grants"][0]["tee"] == "enclave"
    (unknown,) = explain(record(refuse(TeeUnknown, verified(Tee.TDX, {})), tee=Tee.TDX))
    assert unknown.edit is not None
    assert tomllib.loads(unknown.edit) == {"tees": {"NAME": {"kind": "tdx"}}}


@pytest.mark.parametrize(
    ("evidence", "tee"),
    [
        (sgx(debug=True), Tee.SGX),
        (sgx(status="Revoked"), Tee.SGX),
        (sgx(status=None), Tee.SGX),
        (snp(migrate_ma=True), Tee.SNP),
        (snp(chip_id="00" * 64), Tee.SNP),
        (snp(measurement=None), Tee.SNP),
        (replace(snp(), valid_until=NOW), Tee.SNP),
    ],
)
def test_no_edit_allows_what_no_manifest_can(evidence: Verified, tee: Tee) -> None:
    with pytest.raises(AppraisalError) as caught:
        accept(evidence)
    assert [it.edit for it in explain(record(caught.value, tee=tee))] == [None]


def test_expected_against_actual_in_words() -> None:
    (found,) = explain(record(refuse(TcbRefused, snp(tcb__snp=19))))
    assert found.text == 'snp.tcb.snp: expected at least 20, found 19 (tees.amd.minimum."snp.tcb.snp")'
    (found,) = explain(record(refuse(TcbRefused, sgx(status="OutOfDate"))))
    assert found.text.startswith('tcb_status: expected "SWHardeningNeeded" or "UpToDate", found "OutOfDate"')


# --- records of refusals ----------------------------------------------------------------------------------------------
def test_record_reads_back() -> None:
    found = record(refuse(DebugRefused, snp(debug=True, vmpl=1, tcb__snp=0), digest=None))
    assert Refusal.parse(found.encode()) == found


@pytest.mark.parametrize("version", [0, -1, 2**64, 10**30])
def test_record_of_a_manifest_version_that_is_none_is_refused(version: int) -> None:
    """It was read, and then had no canonical form in which it could be written again."""
    found = record(refuse(DebugRefused, snp(debug=True, vmpl=1, tcb__snp=0), digest=None))
    assert found.manifest_version == 1
    with pytest.raises(RefusalMalformed):
        Refusal.parse(found.encode().replace(b'"manifest_version":1', b'"manifest_version":%d' % version))


@given(st.data())
def test_record_parser_and_explain_raise_only_documented_errors(data: st.DataObject) -> None:
    raw = bytearray(record(refuse(DebugRefused, snp(debug=True, vmpl=1, tcb__snp=0), digest=OTHER_DIGEST)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    with contextlib.suppress(RefusalMalformed):
        explain(Refusal.parse(bytes(raw)))
    for other in (b"", b"{}", b"[]", bytes(raw[:40])):
        with pytest.raises(RefusalMalformed):
            Refusal.parse(other)
