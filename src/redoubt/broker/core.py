"""What every part of the broker's service works with: store, identity, policy, clock, and the audit log.

Every decision is a row of the audit log before its answer leaves the broker: what it was about, the digest of the
evidence behind it, and its error code if it was refused. No row holds a key, a token, or an argument of a program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from redoubt.broker.in_force import PolicyHistory
from redoubt.broker.ports import BrokerStore
from redoubt.broker.tickets import Tickets
from redoubt.errors import RedoubtError
from redoubt.evidence.claims import JSON
from redoubt.evidence.key_set import IssuerKey, KeySet
from redoubt.evidence.tokens import Issuer
from redoubt.limits import ROLE_CERTIFICATE_SECONDS
from redoubt.trust.ear import ALGORITHM, issuer_name, key_id
from redoubt.trust.receipt_audit import GRANTED, REFUSED
from redoubt.trust.refusal import Refusal


def system_clock() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Event(StrEnum):
    """What the audit log speaks of."""

    STARTED = "started"
    ANCHORED = "anchored"
    ATTEST = "attest"
    UNWRAP = "unwrap"
    DATA_KEY = "data-key"
    REGISTER = "register"
    ANNOUNCE = "announce"
    RESOURCE = "resource"
    CERTIFICATE = "certificate"
    RESOURCE_SET = "resource-set"
    RECEIPT = "receipt"
    RECEIPT_READ = "receipt-read"
    KEYS = "keys"
    MANIFEST = "manifest"
    AUDIT_READ = "audit-read"
    REFUSAL_READ = "refusal-read"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator decides. Nothing here loosens what the manifest says."""

    #: The name under which results are issued.
    name: str = "redoubt-broker"
    #: Ed25519 keys that may create keys and set the first manifest; without power once there is one.
    bootstrap_owners: frozenset[bytes] = frozenset()
    #: A development broker: it issues simulated results alone, tells refused attesters the reasons, and is loud.
    development: bool = False
    #: How long certificates of roles hold, at most.
    certificate_seconds: int = ROLE_CERTIFICATE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The broker without its wire. Safe for several threads."""

    store: BrokerStore
    settings: Settings
    #: Where refusals are shown besides the store; for the development broker.
    on_refusal: Callable[[Refusal], None] = lambda refusal: None
    #: Called for each decision, to count it.
    on_event: Callable[[Event, str], None] = lambda event, decision: None
    clock: Callable[[], datetime] = system_clock
    policy: PolicyHistory = field(init=False)
    tickets: Tickets = field(init=False)
    #: The broker's id: the ``kid`` of its key, the same for all brokers on one store.
    id: str = field(init=False)
    keys: KeySet = field(init=False)

    def __post_init__(self) -> None:
        key = self.store.signing_key
        public = key.public_key()
        object.__setattr__(self, "policy", PolicyHistory(self.store.manifests))
        object.__setattr__(self, "tickets", Tickets(key))
        object.__setattr__(self, "id", key_id(public))
        object.__setattr__(self, "keys", KeySet((IssuerKey(public, kid=key_id(public), algorithm=ALGORITHM),)))

    @property
    def issuer(self) -> Issuer:
        """This broker as its own relying party sees it."""
        return Issuer(self.keys, issuer_name(self.settings.name, simulated=self.settings.development))

    def granted(self, event: Event, facts: Mapping[str, JSON]) -> None:
        """Write a row for a decision to do what was asked."""
        self._record(event, GRANTED, facts)

    def refused(self, event: Event, error: RedoubtError, facts: Mapping[str, JSON]) -> None:
        """Write a row for a decision not to do what was asked."""
        self._record(event, REFUSED, {**facts, "code": error.code})

    @contextmanager
    def audited(self, event: Event, facts: Mapping[str, JSON]) -> Iterator[None]:
        """Write the row of a decision when the block ends: granted, or refused with the error's code.

        The block may add to *facts*. Nothing that it prepared may leave the broker before it has ended.
        """
        try:
            yield
        except RedoubtError as error:
            self.refused(event, error, facts)
            raise
        self.granted(event, facts)

    def keep_refusal(self, event: Event, error: RedoubtError, record: Refusal) -> None:
        """Keep the *record* of a refusal for the owners, and write a row for it."""
        self.store.refusals.put(record.id, record.encode(), at=self.clock())
        self.on_refusal(record)
        facts: dict[str, JSON] = {
            "refusal": str(record.id),
            "tee": record.tee,
            "evidence": record.evidence,
            "program": record.program,
            "manifest": record.manifest,
        }
        self.refused(event, error, facts)

    def _record(self, event: Event, decision: str, facts: Mapping[str, JSON]) -> None:
        row: dict[str, JSON] = {"event": event.value, "decision": decision, **facts}
        self.store.audit.append({name: value for name, value in row.items() if value is not None}, at=self.clock())
        self.on_event(event, decision)
