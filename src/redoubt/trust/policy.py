"""The owners' policy as values: what a manifest that was read without a problem says.

``docs/manifest.md`` describes each field. These classes hold no rules of their own; :mod:`redoubt.trust.manifest` reads
and checks them, :mod:`redoubt.trust.appraisal` applies them. Sets of names are frozen sets, since their order means
nothing; argument patterns are tuples, since theirs does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from redoubt.evidence.claims import Tee
from redoubt.keys.names import KeyName

#: What a reference value may be: claims of other types (lists, numbers with a point) prove no identity.
Value = str | int | bool


class Binding(StrEnum):
    """How the program claim is proved (hardening H3), from strongest to weakest."""

    #: The TEE measures the program: one enclave or image a program, or its digest in the TEE's own configuration.
    MEASUREMENT = "measurement"
    #: A measured agent extended an RTMR or PCR with the program's digest before it started it; one job a boot.
    EXTENDED = "extended"
    #: A measured agent, which alone holds the quote device, says so.
    AGENT = "agent"
    #: Anything else: whoever reaches the quote device can say it.
    ASSERTED = "asserted"

    @property
    def strength(self) -> int:
        """A number that is greater for the stronger of two levels."""
        return len(Binding) - list(Binding).index(self)

    def covers(self, least: Binding) -> bool:
        """Return whether this level is at least as strong as *least*."""
        return self.strength >= least.strength

    @staticmethod
    def weaker(one: Binding, other: Binding) -> Binding:
        """Return the weaker of two levels: a chain of proof is as strong as its weakest link."""
        return min(one, other, key=lambda it: it.strength)


class Action(StrEnum):
    """What a grant allows a program to do with a dataset."""

    READ = "read"
    WRITE = "write"
    #: Make new datasets, which then belong to the one that the grant names: its grants, owners and keys are theirs.
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset: its id, who owns it, under which primary keys its data keys are wrapped, who gets it as a result."""

    id: UUID
    owners: frozenset[str]
    #: So many of the owners must sign.
    approvals: int
    keys: frozenset[KeyName]
    recipients: frozenset[str]


@dataclass(frozen=True, slots=True)
class Program:
    """One program: the digest of its descriptor, the arguments that it may get, how its claim must be proved."""

    digest: str
    least_binding: Binding
    #: Alternatives; each gives one pattern an argument. Only the empty list of arguments is allowed by default.
    arguments: tuple[tuple[str, ...], ...]
    #: TEE → measurements of the one image that is this program, where that TEE binds programs so.
    measurements: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class TeeProfile:
    """One TEE that may run programs: its kind, its reference values and TCB policy, and how it binds programs."""

    kind: Tee
    binding: Binding
    #: The claim in which the program shows, for the levels ``measurement`` and ``extended``.
    program_claim: str | None
    reference: Mapping[str, frozenset[Value]]
    minimum: Mapping[str, int]
    statuses: frozenset[str]
    refused_advisories: frozenset[str]
    chips: frozenset[str]
    debug: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """One permission."""

    program: str
    tee: str
    dataset: str
    actions: frozenset[Action]


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """Roles in a trust domain that one program may take on one TEE: what the broker certifies it as."""

    program: str
    tee: str
    domain: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The policy of all owners together."""

    version: int
    #: Digest of the manifest before; None for the first.
    previous: str | None
    least_binding: Binding
    #: Name → Ed25519 public key, 32 bytes.
    owners: Mapping[str, bytes]
    recipients: Mapping[str, bytes]
    #: Name → id of the key of a broker whose receipts count; none: a receipt's verifier is given the key.
    brokers: Mapping[str, str]
    datasets: Mapping[str, Dataset]
    programs: Mapping[str, Program]
    tees: Mapping[str, TeeProfile]
    grants: tuple[Grant, ...]
    roles: tuple[RoleGrant, ...] = ()
