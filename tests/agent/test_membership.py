"""A role's membership at its agent: what is used of the broker's answer, and when it is asked for again."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.agent.attested import CALLER, running_laptop
from tests.agent.pythons import small_python

from redoubt.agent import membership as membership_module
from redoubt.agent.attest import AttestedAgent
from redoubt.agent.measure import measure
from redoubt.agent.membership import MembershipKeeper, Role, join
from redoubt.errors import PeerRefused, RoleRefused, UsageError
from redoubt.limits import ROLE_CERTIFICATE_SECONDS
from redoubt.pki.peer import public_key_of
from redoubt.protocol.membership import Membership
from redoubt_dev.laptop import TrustedProgram, current_manifest, draft, sign_and_set

DRIVER = Role(domain="analytics", role="driver")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttestedAgent]:
    python = small_python(tmp_path_factory.mktemp("python") / "p")
    with (
        running_laptop(tmp_path_factory.mktemp("laptop")) as laptop,
        measure(laptop.spec(python), caller=CALLER) as job,
    ):
        roles = frozenset({("analytics", "driver")})
        trusted = TrustedProgram(digest=job.descriptor.digest, arguments=(job.arguments,), roles=roles)
        sign_and_set(laptop.workspace, draft(laptop.workspace, current_manifest(laptop.workspace), "job", trusted))
        yield laptop.agent(job)


def now() -> datetime:
    return datetime.now(UTC)


def test_membership_is_written_privately_and_as_a_whole(agent: AttestedAgent, tmp_path: Path) -> None:
    found = join(agent, DRIVER, now=now())
    found.write(tmp_path)
    names = {"identity.pem", "bundle.pem", "membership.json", "domain-secret"}
    assert {it.name for it in tmp_path.iterdir()} == names
    assert all(stat.S_IMODE(it.stat().st_mode) == 0o600 for it in tmp_path.iterdir())
    assert public_key_of(found.membership.certificate) == found.key.public_key()


def test_role_that_the_manifest_does_not_give_is_refused(agent: AttestedAgent) -> None:
    with pytest.raises(RoleRefused):
        join(agent, replace(DRIVER, role="master"), now=now())


def test_certificate_for_another_key_role_or_name_is_not_used(
    agent: AttestedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = Membership.parse

    def forged(body: bytes) -> Membership:
        honest = parse(body)
        return replace(honest, name=replace(honest.name, role="master"))

    monkeypatch.setattr(Membership, "parse", forged)
    with pytest.raises(PeerRefused):
        join(agent, DRIVER, now=now())
    monkeypatch.setattr(Membership, "parse", parse)
    with pytest.raises(PeerRefused):  # not valid then
        join(agent, DRIVER, now=now() + timedelta(seconds=2 * ROLE_CERTIFICATE_SECONDS))
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    monkeypatch.setattr(membership_module, "public_key_of", lambda _: other)
    with pytest.raises(PeerRefused):
        join(agent, DRIVER, now=now())


def test_membership_is_renewed_long_before_it_ends(
    agent: AttestedAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(membership_module, "_RENEW_AFTER", 0.2 / ROLE_CERTIFICATE_SECONDS)
    keeper = MembershipKeeper(agent, DRIVER, tmp_path)
    first = (tmp_path / "identity.pem").read_bytes()
    deadline = now() + timedelta(seconds=20)
    while (tmp_path / "identity.pem").read_bytes() == first:
        assert now() < deadline
    name = keeper.member.membership.name
    keeper.close()
    assert name == join(agent, DRIVER, now=now()).membership.name  # the id is the attested key's


@pytest.mark.parametrize("text", ["", "analytics", "analytics/", "/driver", "a/b/c", "Analytics/driver", "a b/driver"])
def test_anything_else_is_no_role(text: str) -> None:
    with pytest.raises(UsageError):
        Role.parse(text)
