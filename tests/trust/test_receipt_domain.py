"""Receipts of jobs in a trust domain: who else was there, and every way in which that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.trust.receipts import END, INPUT_HEAD, MONTHLY, REPORT, SALES, TRUSTED, Job, edited, under, verify
from tests.trust.samples import NOW, OTHER_DIGEST

from redoubt.cli.receipt_text import verified
from redoubt.errors import ReceiptError, ReceiptGrant, ReceiptManifest, ReceiptMember, ReceiptSignature, ReceiptTime
from redoubt.evidence.claims import Tee
from redoubt.pki.spiffe import SpiffeId
from redoubt.trust.policy import Action, Binding
from redoubt.trust.receipt_proved import Member
from redoubt.trust.receipt_values import Commit, Release, Role

ROLES = f"""
[[grants]]
program = "executor"
tee = "amd"
dataset = "sales"
actions = ["read"]

[[roles]]
program = "executor"
tee = "amd"
domain = "analytics"
roles = ["executor"]

[[roles]]
program = "monthly"
tee = "amd"
domain = "analytics"
roles = ["driver"]

[programs.executor]
digest = "{OTHER_DIGEST}"
"""


def name(role: str, digit: str, domain: str = "analytics") -> SpiffeId:
    return SpiffeId(domain=domain, role=role, id=digit * 32)


def executor(manifest: str) -> Member:
    role = Role(
        ear=UUID(int=70),
        token="sha256:" + "70" * 32,
        tee=Tee.SNP,
        binding=Binding.AGENT,
        program=OTHER_DIGEST,
        manifest=manifest,
        evidence="sha256:" + "71" * 32,
        at=NOW,
        row=1,
    )
    read = Release(dataset=SALES, action=Action.READ, head=INPUT_HEAD, data_keys=2, ears=(role.ear,))
    return Member(
        name=name("executor", "e"), job="sha256:" + "72" * 32, roles=(role,), releases=(read,), resources=(), commits=()
    )


def job(change: Callable[[Member], Member] = lambda it: it, *, toml: str = MONTHLY + ROLES, **changes: Any) -> Job:
    made = under(toml, name=name("driver", "d"))
    made.members = (change(executor(made.policy.digest)),)
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def changed_role(**values: Any) -> Callable[[Member], Member]:
    return lambda it: replace(it, roles=(replace(it.roles[0], **values),))


def test_a_receipt_names_every_role_that_received_secrets() -> None:
    made = job()
    found = verify(made.receipt(), replace(TRUSTED, manifests=(made.policy,)))
    assert found.proved.name == name("driver", "d")
    assert found.proved.members == made.members
    text = verified(found)
    assert f"as         {name('driver', 'd')}\n" in text
    assert f"with       executor  executor  snp, binding agent, evidence sha256:{'71' * 32}, " in text
    assert f"result sha256:{'70' * 32}, 2 data keys\n" in text


def test_job_without_a_role_has_no_members() -> None:
    found = verify(Job().receipt())
    assert (found.proved.name, found.proved.members) == (None, ())


COMMITTED = Commit(dataset=REPORT, head=INPUT_HEAD, ear=UUID(int=70), at=NOW, row=1)
IMPOSSIBLE: dict[str, tuple[Callable[[], Job], type[ReceiptError]]] = {
    "members of a job without a role": (lambda: job(name=None), ReceiptMember),
    "another trust domain": (
        lambda: job(lambda it: replace(it, name=name("executor", "e", "marketing"))),
        ReceiptMember,
    ),
    "its own name": (lambda: job(lambda it: replace(it, name=name("driver", "d"))), ReceiptMember),
    "its own job": (lambda: job(lambda it: replace(it, job=job().job)), ReceiptMember),
    "twice": (lambda: job(members=job().members * 2), ReceiptMember),
    "never attested": (lambda: job(lambda it: replace(it, roles=(), releases=())), ReceiptMember),
    "given by a stranger": (lambda: job(changed_role(ear=UUID(int=71))), ReceiptMember),
    "of the future": (lambda: job(changed_role(at=END + timedelta(minutes=1))), ReceiptTime),
    "after the log's head": (lambda: job(changed_role(row=999)), ReceiptTime),
    "a manifest that nobody knows": (lambda: job(changed_role(manifest="sha256:" + "99" * 32)), ReceiptManifest),
    "a program without the role": (lambda: job(changed_role(program="sha256:" + "99" * 32)), ReceiptGrant),
    "a role of another program": (lambda: job(lambda it: replace(it, name=name("master", "e"))), ReceiptGrant),
    "on another TEE": (lambda: job(changed_role(tee=Tee.SGX)), ReceiptGrant),
    "a commit that nobody granted": (lambda: job(lambda it: replace(it, commits=(COMMITTED,))), ReceiptGrant),
    "a driver without the role": (lambda: job(toml=MONTHLY + ROLES.replace('["driver"]', '["worker"]')), ReceiptGrant),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_members_that_cannot_be_are_refused_even_if_the_broker_signed_them(case: str) -> None:
    make, refusal = IMPOSSIBLE[case]
    made = make()
    with pytest.raises(refusal):
        verify(made.receipt(), replace(TRUSTED, manifests=(made.policy,)))


def test_member_taken_out_of_a_receipt_breaks_its_signature() -> None:
    def removed(statement: dict[str, Any]) -> None:
        statement["predicate"]["proved"]["members"].clear()

    with pytest.raises(ReceiptSignature):
        verify(edited(job().receipt(), removed))


def test_member_put_into_a_receipt_is_named_as_the_reason() -> None:
    def added(statement: dict[str, Any]) -> None:
        members = statement["predicate"]["proved"]["members"]
        members.append({**members[0], "name": str(name("executor", "f"))})

    with pytest.raises(ReceiptMember):
        verify(edited(job().receipt(), added))
