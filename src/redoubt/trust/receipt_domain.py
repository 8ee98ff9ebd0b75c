"""Whether what a receipt says of the members of the job's trust domain can be: one of the rules of a receipt.

The names are of one domain and of as many jobs, none of which is the receipt's own. What a member was given was given
by an attestation that stands there. With manifests: those that were applied are known, let the member take its role,
and granted what it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redoubt.errors import ReceiptGrant, ReceiptManifest, ReceiptMember, ReceiptTime
from redoubt.pki.spiffe import SpiffeId
from redoubt.trust.receipt_grants import check_granted
from redoubt.trust.receipt_proved import Member, Proved
from redoubt.trust.receipt_values import Role
from redoubt.trust.signing import SignedManifest


def check_members(proved: Proved, *, newest: int, manifests: Sequence[SignedManifest]) -> None:
    """Check the members of *proved*, whose audit head is row *newest*.

    Raises:
        ReceiptMember: they are not members of the job's trust domain, or not what was attested.
        ReceiptTime: one is younger than the receipt.
        ReceiptManifest, ReceiptGrant: a manifest is not given, or did not allow it.
    """
    own, members = proved.name, proved.members
    if own is None:
        if members:
            raise ReceiptMember("the job has no role in a trust domain, and yet members of one")
        return
    names = [own, *(it.name for it in members)]
    if {it.domain for it in names} != {own.domain}:
        raise ReceiptMember("the members are not of one trust domain")
    jobs = {proved.job, *(it.job for it in members)}
    if len(set(names)) != len(names) or len(jobs) != len(names):
        raise ReceiptMember("a name or a job stands for two members")
    for member in members:
        _check_member(member, proved.at, newest)
    if manifests:
        known = {it.digest: it for it in manifests}
        _holders(proved.roles, own, known)
        for member in members:
            check_granted(member.releases, member.commits, _holders(member.roles, member.name, known), known)


def _check_member(member: Member, at: datetime, newest: int) -> None:
    ears = {it.ear for it in member.roles}
    used = {ear for release in member.releases for ear in release.ears}
    used |= {ear for resource in member.resources for ear in resource.ears}
    used |= {commit.ear for commit in member.commits}
    if not ears or len(ears) != len(member.roles) or not used <= ears:
        raise ReceiptMember(f"{member.name} was given something by an attestation that is none of its own")
    times = [(it.at, it.row) for it in member.roles] + [(it.at, it.row) for it in member.commits]
    if any(when > at or row > newest for when, row in times):
        raise ReceiptTime(f"what {member.name} was given is younger than the receipt")


@dataclass(frozen=True, slots=True)
class _Holder:
    program: str
    manifest: str
    tees: tuple[str, ...]


def _holders(roles: Sequence[Role], name: SpiffeId, known: Mapping[str, SignedManifest]) -> dict[UUID, _Holder]:
    """Return the attestations of one member. Manifests are known for all, and one of them lets it be *name*."""
    found, allowed = {}, False
    for role in roles:
        if role.manifest not in known:
            raise ReceiptManifest(f"the manifest {role.manifest} was applied, and is none of the {len(known)} given")
        manifest = known[role.manifest].manifest
        tees = tuple(tee for tee, it in manifest.tees.items() if it.kind is role.tee)
        programs = {program for program, it in manifest.programs.items() if it.digest == role.program}
        allowed |= any(
            it.program in programs and it.tee in tees and it.domain == name.domain and name.role in it.roles
            for it in manifest.roles
        )
        found[role.ear] = _Holder(role.program, role.manifest, tees)
    if not allowed:
        raise ReceiptGrant(f"no manifest that was applied to it lets that program be {name}")
    return found
