"""A job on hardware with its receipt, as broker and agent make it: what the tests of receipts start from, and bend."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from tests.trust import test_ear
from tests.trust.samples import DIGEST, NOW, TOML
from tests.trust.test_appraisal import signed

from redoubt.evidence.claims import JSON
from redoubt.evidence.claims import digest as sha256_text
from redoubt.keys.register import CommitHead
from redoubt.pki.spiffe import SpiffeId
from redoubt.protocol.broker_facts import BrokerFacts
from redoubt.trust.audit_chain import START, AuditEntry, ChainEnd, next_entry
from redoubt.trust.audit_head import sign_head
from redoubt.trust.broker_key import key_id
from redoubt.trust.dsse import SignedStatement
from redoubt.trust.receipt import sign_receipt, sign_reported
from redoubt.trust.receipt_audit import HOLDER, Signatory, proved_part
from redoubt.trust.receipt_proved import Member
from redoubt.trust.receipt_values import Reported, Touched
from redoubt.trust.receipt_verify import Trusted, VerifiedReceipt, verify_receipt
from redoubt.trust.signer_key import signer_jwk, thumbprint

BROKER_KEY, OTHER_BROKER = test_ear.KEY, ec.derive_private_key(77, ec.SECP384R1())
BROKER = key_id(BROKER_KEY.public_key())
SIGNER, MALLORY_SIGNER = (ec.derive_private_key(it, ec.SECP384R1()) for it in (11, 12))
OTHER_ATTESTER = {**BrokerFacts.jwk(OTHER_BROKER.public_key())}
SALES, REPORT = (UUID(f"0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f0{it}") for it in (1, 2))
INPUT_HEAD, OUTPUT_HEAD = CommitHead(3, "sha256:" + "1a" * 32), CommitHead(8, "sha256:" + "2b" * 32)
END = NOW + timedelta(minutes=4)
TRUSTED = Trusted(brokers=frozenset({BROKER}))


@dataclass
class Job:
    """One job: its attestations, what it was given, and who signs. Change a field before :meth:`receipt`."""

    key: ec.EllipticCurvePrivateKey = BROKER_KEY
    attester: Mapping[str, Any] = field(default_factory=lambda: test_ear.ATTESTER)
    signer: ec.EllipticCurvePrivateKey = SIGNER
    simulated: bool = False
    #: Ids of the attestation results, two of one agent that renewed.
    ears: tuple[int, ...] = (5, 6)
    changes: dict[str, Any] = field(default_factory=dict)
    at: datetime = END
    #: What it writes, and what that belongs to if it was created.
    output: UUID = REPORT
    parent: UUID | None = None
    #: What it is in a trust domain, and who else is there.
    name: SpiffeId | None = None
    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        found = test_ear.simulated() if self.simulated else test_ear.appraisal()
        self.policy = found.policy
        self.evidence = found.verified.evidence_digest
        self.tee, self.binding = found.verified.tee.value, found.binding.value
        self.tokens = [
            test_ear.issue(
                found,
                key=self.key,
                attester_key=self.attester,
                nonce=None,
                now=NOW + timedelta(minutes=place),
                token_id=UUID(int=number),
                signer=signer_jwk(self.signer.public_key()),
            )
            for place, number in enumerate(self.ears)
        ]
        self.job = thumbprint(self.attester)

    def events(self) -> list[tuple[datetime, dict[str, JSON]]]:
        """What the broker's audit log says of the job."""
        rows: list[tuple[datetime, dict[str, JSON]]] = []
        for place, number in enumerate(self.ears):
            at, ear = NOW + timedelta(minutes=place, milliseconds=2), str(UUID(int=number))
            whose: dict[str, JSON] = {"ear": ear, HOLDER: self.job, "decision": "granted", "evidence": self.evidence}
            seen: dict[str, JSON] = {"tee": self.tee, "binding": self.binding, "program": DIGEST}
            facts = {**whose, **seen, "manifest": self.policy.digest, "token": sha256_text(self.tokens[place])}
            rows.append((at, {**facts, "event": "attest"}))
            head: JSON = {"number": INPUT_HEAD.number, "digest": INPUT_HEAD.digest}
            keys: list[JSON] = [str(UUID(int=100 + place))]
            read: dict[str, JSON] = {"event": "unwrap", "dataset": str(SALES), "data_keys": keys, "head": head}
            rows.append((at, {**whose, **read}))
            if self.name is not None and place == 0:
                rows.append((at, {**whose, "event": "certificate", "domain": self.name.domain, "name": str(self.name)}))
        done: JSON = {"number": OUTPUT_HEAD.number, "digest": OUTPUT_HEAD.digest}
        out: dict[str, JSON] = {"dataset": str(self.output)}
        if self.parent is not None:
            out["parent"] = str(self.parent)
        rows.append((END, {**whose, **out, "event": "data-key", "data_keys": [str(UUID(int=200))]}))
        rows.append((END, {**whose, **out, "event": "register", "head": done}))
        refused: dict[str, JSON] = {"event": "unwrap", "decision": "refused", "dataset": str(UUID(int=9))}
        rows.append((END, {**whose, **refused}))
        return rows

    def rows(self) -> list[AuditEntry]:
        """The rows, chained after one that is of nobody."""
        made = [next_entry(START, {"event": "started"}, at=NOW)]
        for at, event in self.events():
            made.append(next_entry(ChainEnd.of(made[-1]), event, at=at))
        return made

    def reported(self) -> Reported:
        values: dict[str, Any] = {
            "job": self.job,
            "program": DIGEST,
            "manifest": self.policy.digest,
            "arguments": sha256_text(rfc8785.dumps([])),
            "engine": {"redoubt": "0.1.0", "pyspark": "4.3.0"},
            "started": NOW + timedelta(seconds=1),
            "ended": END - timedelta(seconds=1),
            "status": 0,
            "inputs": (Touched(SALES, INPUT_HEAD),),
            "outputs": (Touched(self.output, OUTPUT_HEAD),),
            "ears": tuple(it.decode() for it in self.tokens),
        }
        return Reported(**{**values, **self.changes})

    def report(self) -> SignedStatement:
        return sign_reported(self.reported(), key=self.signer)

    def receipt(self, report: SignedStatement | None = None) -> bytes:
        rows = self.rows()
        by = Signatory(
            issuer=("urn:redoubt:simulated:" if self.simulated else "") + test_ear.ISSUER,
            key=BrokerFacts.jwk(self.key.public_key()),
            ear=UUID(int=self.ears[-1]),
            at=self.at,
            audit=sign_head(ChainEnd.of(rows[-1]), key=self.key, at=self.at).decode(),
        )
        proved = proved_part(self.job, rows[1:], by=by, members=self.members)
        return sign_receipt(proved, report or self.report(), key=self.key, simulated=self.simulated)


NAMED = f'[brokers.main]\nid = "{BROKER}"\n\n'
MONTHLY = TOML.replace('binding = "measurement"\nargu', 'binding = "agent"\nargu').replace(
    "[programs.monthly]", NAMED + "[programs.monthly]"
)


def under(toml: str, **changes: Any) -> Job:
    """The job, under another manifest."""
    job = Job(**changes)
    policy = signed(toml)
    found = replace(test_ear.appraisal(), policy=policy)
    job.policy = policy
    job.tokens = [
        test_ear.issue(
            found,
            nonce=None,
            now=END - timedelta(minutes=4 - place),
            token_id=UUID(int=number),
            signer=signer_jwk(SIGNER.public_key()),
        )
        for place, number in enumerate(job.ears)
    ]
    return job


def under_named_broker() -> Job:
    """The job, under a manifest that names the broker."""
    return under(MONTHLY)


def verify(text: bytes, trusted: Trusted = TRUSTED, now: datetime = END) -> VerifiedReceipt:
    return verify_receipt(text, trusted=trusted, now=now)


def edited(text: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The receipt with its statement changed, and the signature left as it was."""
    envelope = json.loads(text)
    envelope["payload"] = encoded(envelope["payload"], change)
    return rfc8785.dumps(envelope)


def edited_report(text: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The receipt with the agent's statement changed, and both signatures left as they were."""

    def inside(statement: dict[str, Any]) -> None:
        report = statement["predicate"]["reported"]
        report["payload"] = encoded(report["payload"], lambda it: change(it["predicate"]))

    return edited(text, inside)


def encoded(payload: str, change: Callable[[dict[str, Any]], object]) -> str:
    statement = json.loads(base64.b64decode(payload))
    change(statement)
    return base64.b64encode(rfc8785.dumps(statement)).decode()
