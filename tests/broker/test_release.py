"""The rules of key release, without a wire: each rule has the attack that it stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.trust.samples import NOW, TOML
from tests.trust.test_appraisal import signed
from tests.trust.test_ear import ATTESTER, KEY, PINNED, PINNED_SIMULATED, POLICY, appraisal, issue, simulated

from redoubt.broker.release import (
    UNWRAPS,
    WRITES,
    authenticate,
    check_key,
    choose_key,
    release_dataset,
    release_resource,
)
from redoubt.broker.tickets import Tickets
from redoubt.errors import AttesterUnauthenticated, GrantRefused, TicketRefused
from redoubt.evidence.tokens import Issuer
from redoubt.keys.names import KeyName
from redoubt.limits import TICKET_SECONDS
from redoubt.trust.ear_verify import AttestationResult
from redoubt.trust.policy import Binding
from redoubt.trust.signing import SignedManifest

SALES = POLICY.manifest.datasets["sales"].id
REPORT = POLICY.manifest.datasets["report"].id


def result(token: bytes | None = None) -> AttestationResult:
    return authenticate(token or issue(), issuer=PINNED, policy=POLICY, simulated=False, now=NOW)


def test_result_of_this_broker_is_accepted_with_the_tees_that_it_satisfied() -> None:
    found = result()
    assert (found.tees, found.binding) == (("amd",), Binding.MEASUREMENT)


@pytest.mark.parametrize(
    ("issuer", "policy", "simulated_", "later"),
    [
        (Issuer(PINNED.keys, "another"), POLICY, False, timedelta(0)),
        (PINNED, signed(TOML), False, timedelta(0)),
        (PINNED_SIMULATED, POLICY, True, timedelta(0)),
        (PINNED, POLICY, False, timedelta(hours=1)),
    ],
    ids=["name", "manifest", "kind", "expired"],
)
def test_result_of_another_kind_is_refused(
    issuer: Issuer, policy: SignedManifest, simulated_: bool, later: timedelta
) -> None:
    with pytest.raises(AttesterUnauthenticated):
        authenticate(issue(), issuer=issuer, policy=policy, simulated=simulated_, now=NOW + later)


def test_simulated_result_is_refused_in_production_and_taken_in_development() -> None:
    token = issue(simulated())
    with pytest.raises(AttesterUnauthenticated):
        authenticate(token, issuer=PINNED, policy=POLICY, simulated=False, now=NOW)
    taken = authenticate(token, issuer=PINNED_SIMULATED, policy=POLICY, simulated=True, now=NOW)
    assert taken.tees == ("laptop",)


def test_asserted_program_gets_no_data_key_but_its_resources() -> None:
    found = replace(result(), binding=Binding.ASSERTED)
    with pytest.raises(GrantRefused, match="nothing in the evidence binds"):
        release_dataset(found, policy=POLICY, dataset_id=REPORT, actions=UNWRAPS)
    assert release_resource(found, policy=POLICY, repository="report") == "monthly"


def test_grant_is_per_dataset_action_and_tee() -> None:
    assert release_dataset(result(), policy=POLICY, dataset_id=SALES, actions=UNWRAPS).name == "sales"
    assert release_dataset(result(), policy=POLICY, dataset_id=REPORT, actions=WRITES).name == "report"
    with pytest.raises(GrantRefused, match="write"):
        release_dataset(result(), policy=POLICY, dataset_id=SALES, actions=WRITES)
    elsewhere = replace(result(), tees=("enclave",))
    with pytest.raises(GrantRefused):
        release_dataset(elsewhere, policy=POLICY, dataset_id=REPORT, actions=UNWRAPS)
    with pytest.raises(GrantRefused):
        release_dataset(replace(result(), tees=("moon",)), policy=POLICY, dataset_id=SALES, actions=UNWRAPS)
    with pytest.raises(GrantRefused, match="no dataset"):
        release_dataset(result(), policy=POLICY, dataset_id=uuid4(), actions=UNWRAPS)


def test_program_that_the_manifest_does_not_name_gets_nothing() -> None:
    stranger = replace(result(), program="sha256:" + "00" * 32)
    with pytest.raises(GrantRefused):
        release_dataset(stranger, policy=POLICY, dataset_id=SALES, actions=UNWRAPS)
    for repository in ("sales", "nothing", ""):
        with pytest.raises(GrantRefused):
            release_resource(stranger, policy=POLICY, repository=repository)


def test_only_keys_that_the_manifest_lists_are_used() -> None:
    release = release_dataset(result(), policy=POLICY, dataset_id=SALES, actions=UNWRAPS)
    key = KeyName.parse("key:main/sales.hw")
    check_key(release, key)
    for text in (None, "sales", "sales.hw", "main/sales", str(key)):
        assert choose_key(release, text) == key
    for text in ("sales.dev", "other/sales", "report", "", "key:", "a/b/c"):
        with pytest.raises(GrantRefused):
            choose_key(release, text)
    for other in ("key:main/sales.dev", "key:main/report.dev"):
        with pytest.raises(GrantRefused, match="does not list"):
            check_key(release, KeyName.parse(other))


def test_of_two_keys_none_is_guessed() -> None:
    release = release_dataset(result(), policy=POLICY, dataset_id=SALES, actions=UNWRAPS)
    keys = frozenset({KeyName.parse("key:a/one.dev"), KeyName.parse("key:b/one.dev")})
    two = replace(release, dataset=replace(release.dataset, keys=keys))
    for text in (None, "one"):
        with pytest.raises(GrantRefused):
            choose_key(two, text)
    assert str(choose_key(two, "b/one")) == "key:b/one.dev"


# --- tickets ----------------------------------------------------------------------------------------------------------
TICKETS = Tickets(KEY)
TICKET = TICKETS.issue(dataset_id=SALES, holder=ATTESTER, now=NOW)
OTHER_HOLDER = {**ATTESTER, "x": "AAAA"}


def test_ticket_is_good_for_its_dataset_holder_and_time() -> None:
    last = NOW + timedelta(seconds=TICKET_SECONDS - 1)
    TICKETS.check(TICKET, dataset_id=SALES, holder=ATTESTER, now=last)
    Tickets(KEY).check(TICKET, dataset_id=SALES, holder=dict(sorted(ATTESTER.items())), now=NOW)


@pytest.mark.parametrize(
    ("dataset", "holder", "later"),
    [(REPORT, ATTESTER, 0), (SALES, OTHER_HOLDER, 0), (SALES, ATTESTER, TICKET_SECONDS)],
    ids=["dataset", "holder", "expired"],
)
def test_ticket_for_something_else_is_refused(dataset: UUID, holder: dict[str, str], later: int) -> None:
    with pytest.raises(TicketRefused):
        TICKETS.check(TICKET, dataset_id=dataset, holder=holder, now=NOW + timedelta(seconds=later))


def test_ticket_of_another_broker_or_with_another_sign_is_refused() -> None:
    with pytest.raises(TicketRefused):
        Tickets(ec.derive_private_key(8, ec.SECP384R1())).check(TICKET, dataset_id=SALES, holder=ATTESTER, now=NOW)
    for at in range(len(TICKET)):
        changed = TICKET[:at] + ("A" if TICKET[at] != "A" else "B") + TICKET[at + 1 :]
        with pytest.raises(TicketRefused):
            TICKETS.check(changed, dataset_id=SALES, holder=ATTESTER, now=NOW)
    for text in ("", "AAAA", TICKET + "AAAA"):
        with pytest.raises(TicketRefused):
            TICKETS.check(text, dataset_id=SALES, holder=ATTESTER, now=NOW)


def test_appraisal_is_what_the_result_says() -> None:
    assert result().manifest == appraisal().policy.digest
