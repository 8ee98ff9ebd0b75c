"""Attesters that state no program: what the TEE shows is enough for resources, and for nothing else."""

from __future__ import annotations

import pytest
from tests.trust.samples import NOW, SIMULATED_CLAIMS, TOML, sgx, snp, verified
from tests.trust.test_appraisal import signed

from redoubt.broker.unstated import appraise_unstated
from redoubt.errors import AppraisalError, ArgumentsRefused, ProgramRefused, ReferenceMismatch
from redoubt.evidence.claims import Tee
from redoubt.trust.policy import Binding

POLICY = signed(TOML)


def test_program_that_the_tee_shows_is_appraised_as_asserted() -> None:
    for evidence, tee in ((snp(), "amd"), (sgx(), "enclave")):
        found = appraise_unstated(evidence, policy=POLICY, now=NOW)
        assert (found.program, found.tees, found.binding) == ("monthly", (tee,), Binding.ASSERTED)
        assert {it.tee for it in found.grants} == {tee}


def test_tee_that_shows_no_program_proves_none() -> None:
    for evidence in (
        snp(host_data="00" * 32),
        sgx(mrenclave="00" * 32),
        verified(Tee.SIMULATED, SIMULATED_CLAIMS),
    ):
        with pytest.raises(ProgramRefused):
            appraise_unstated(evidence, policy=POLICY, now=NOW)


def test_tee_of_the_same_kind_that_takes_statements_is_not_satisfied_by_silence() -> None:
    """A second SNP profile that binds by agent: with nothing stated its grants must not come along."""
    agent = TOML.split("[tees.amd]")[1].split("[tees.enclave]")[0]
    second = "[tees.amd2]" + agent.replace("tees.amd.", "tees.amd2.").replace(
        'binding = "measurement"\nprogram_claim = "snp.host_data"', 'binding = "agent"'
    )
    grant = '[[grants]]\nprogram = "monthly"\ntee = "amd2"\ndataset = "report"\nactions = ["read"]\n'
    text = TOML.replace('binding = "measurement"\nargu', 'binding = "agent"\nargu') + second + grant
    found = appraise_unstated(snp(), policy=signed(text), now=NOW)
    assert found.tees == ("amd",)
    assert all(it.tee == "amd" for it in found.grants)


def test_program_that_needs_arguments_is_refused() -> None:
    text = TOML.replace('arguments = [["--month", "2026-??"], []]', 'arguments = [["--month", "2026-??"]]')
    with pytest.raises(ArgumentsRefused):
        appraise_unstated(snp(), policy=signed(text), now=NOW)


def test_everything_else_is_judged_as_ever() -> None:
    with pytest.raises(ReferenceMismatch):
        appraise_unstated(snp(vmpl=3), policy=POLICY, now=NOW)
    with pytest.raises(AppraisalError):
        appraise_unstated(snp(debug=True), policy=POLICY, now=NOW)
