"""``redoubt broker verify``: is what answers there the owners' broker, with their manifest and a whole store?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.broker_store import app
from redoubt.cli.files import read_file
from redoubt.cli.output import Json, counted
from redoubt.cli.session import Session, command
from redoubt.errors import (
    AuditBroken,
    AuditForked,
    BrokerUntrusted,
    EarSimulated,
    ManifestError,
    ManifestUnexpected,
    RegisterRollback,
    UsageError,
    WorkspaceMissing,
)
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_ENVELOPE_BYTES, OWNER_RETRY_SECONDS, RCAR_NONCE_BYTES

if TYPE_CHECKING:
    from redoubt.broker.memory import Remembered
    from redoubt.evidence.claims import Verified
    from redoubt.evidence.key_set import KeySet
    from redoubt.protocol.broker_facts import BrokerFacts
    from redoubt.protocol.https import BrokerConnection
    from redoubt.trust.audit_head import AuditHead


@command(app, example="redoubt broker verify https://broker.example:8443 --ca ca.pem --manifest manifest.json")
def verify(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="https://HOST:PORT of the broker.")],
    *,
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", help="The CA to pin, PEM.")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="FILE", help="The manifest that must be in force.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", metavar="SHA256", help="Its digest, instead of the file.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="An owner's key: shows what was logged since the last contact."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="CLAIM=VALUE", help="What the broker's own evidence must prove; repeatable."),
    ] = None,
    pccs: Annotated[
        str | None, typer.Option("--pccs", metavar="URL", help="Where Intel's collateral for that evidence is.")
    ] = None,
    pccs_ca: Annotated[
        Path | None, typer.Option("--pccs-ca", metavar="FILE", help="The CA of that service, PEM; else the system's.")
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Take a development broker for one, instead of refusing it.")
    ] = False,
) -> None:
    """Verify a running broker: TLS chain, key, signed audit head, the manifest in force, and its own evidence.

    A broker that runs in a TEE gives evidence of itself; with --expect a broker without it is refused.

    The head is remembered in the workspace, if there is one: a store that was rolled back is noticed at the next
    contact. Without --manifest or --digest the workspace's own manifest is expected. Exit status 3: something is not
    as it must be.
    """
    from redoubt.protocol.https import BrokerConnection, Brokers
    from redoubt.trust.audit_head import verify_head

    if manifest is not None and digest is not None:
        raise UsageError("pass --manifest or --digest, not both")
    address = url.rstrip("/")
    broker = BrokerConnection(
        Brokers(urls=(address,), ca=read_file(ca, limit=MAX_CERTIFICATE_BYTES)), patience=OWNER_RETRY_SECONDS
    )
    facts = _facts(broker)
    if facts.simulated is not simulated:
        kind = "a development broker, whose results prove nothing" if facts.simulated else "no development broker"
        raise EarSimulated(f"{address} is {kind}")
    expected = digest or _expected(session, manifest)
    if expected is not None and (facts.manifest is None or facts.manifest.digest != expected):
        there = "none" if facts.manifest is None else f"version {facts.manifest.version}, {facts.manifest.digest}"
        raise ManifestUnexpected(f"the manifest in force at {address} is {there}; expected is {expected}")
    now = datetime.now(UTC)
    head = verify_head(facts.audit_head.encode(), keys=_keys(facts), now=now)
    proved = _own_evidence(broker, facts, expect or [], pccs, pccs_ca, now)
    freshness = _compare(session, address, broker, facts, head, key)
    result: dict[str, Json] = {
        "broker": facts.id,
        "name": facts.name,
        "simulated": facts.simulated,
        "manifest": None
        if facts.manifest is None
        else {"version": facts.manifest.version, "digest": facts.manifest.digest, "expected": expected is not None},
        "audit": {"rows": head.end.number, "digest": head.end.digest, "since_last_contact": freshness},
        "tees": list(facts.tees),
        "evidence": None if proved is None else {"tee": proved.tee.value, "digest": proved.evidence_digest},
    }
    session.output.result(
        result, text=_text(address, facts, head, expected=expected, freshness=freshness, proved=proved)
    )


def _facts(broker: BrokerConnection) -> BrokerFacts:
    """Return the broker's facts, whose key is also the one that it publishes; raises BrokerUntrusted."""
    from redoubt.evidence.key_set import load_keys
    from redoubt.protocol.broker_facts import BrokerFacts
    from redoubt.trust.broker_key import key_id

    facts = BrokerFacts.parse(broker.call("GET", "/redoubt/v1/broker", repeatable=True).body)
    published = load_keys(broker.call("GET", "/.well-known/jwks.json", repeatable=True).body).keys
    if [it.kid for it in published] != [facts.id] or key_id(facts.public_key) != facts.id:
        raise BrokerUntrusted("the keys that the broker publishes are not the one that its id names")
    return facts


def _own_evidence(
    broker: BrokerConnection,
    facts: BrokerFacts,
    expect: list[str],
    pccs: str | None,
    pccs_ca: Path | None,
    now: datetime,
) -> Verified | None:
    """Return what the broker's own evidence proves, or None if it has none and none is expected; BrokerUntrusted."""
    import os
    import tempfile

    from redoubt.broker.collateral import IntelCollateral
    from redoubt.broker.pccs import Pccs
    from redoubt.broker.verifiers import Collateral, production_verifiers
    from redoubt.protocol.broker_evidence import PATH, EvidenceAnswer, EvidenceRequest, verify_broker

    wanted = dict(it.partition("=")[::2] for it in expect)
    if "" in wanted or any("=" not in it for it in expect):
        raise UsageError("--expect takes CLAIM=VALUE")
    if not facts.attested:
        if wanted:
            raise BrokerUntrusted("the broker does not run in a TEE, and evidence of it is expected")
        return None
    request = EvidenceRequest(os.urandom(RCAR_NONCE_BYTES))
    answer = EvidenceAnswer.parse(broker.call("POST", PATH, body=request.encode(), repeatable=True).body)
    with tempfile.TemporaryDirectory(prefix="redoubt-collateral-") as folder:
        intel = None if pccs is None else IntelCollateral(Path(folder), fetch=Pccs(pccs, ca_file=pccs_ca).fetch)
        return verify_broker(
            answer,
            broker_id=facts.id,
            nonce=request.nonce,
            expected=wanted,
            verifiers=production_verifiers(Collateral(intel=intel)),
            now=now,
        )


def _expected(session: Session, file: Path | None) -> str | None:
    """Return the digest of the manifest that must be in force; None if nothing says which."""
    from redoubt.trust.manifest import manifest_digest, parse_canonical, parse_manifest
    from redoubt.trust.signing import Envelope
    from redoubt.trust.store import ManifestStore

    if file is not None:
        content = read_file(file, limit=MAX_ENVELOPE_BYTES)
        try:
            return manifest_digest(parse_canonical(Envelope.parse(content).payload))
        except ManifestError:
            return manifest_digest(parse_manifest(content))
    try:
        history = ManifestStore(session.workspace.state_folder).history()
    except WorkspaceMissing:
        return None
    return history[-1].digest if history else None


def _compare(
    session: Session, url: str, broker: BrokerConnection, facts: BrokerFacts, head: AuditHead, key: Path | None
) -> str:
    """Return in a word what the remembered head says, and remember the new one.

    Raises:
        BrokerUntrusted: another broker answered here before.
        RegisterRollback, AuditBroken: its log does not continue the one that was seen.
    """
    from redoubt.broker.memory import BrokerMemory, Remembered
    from redoubt.protocol.owner_client import OwnerClient
    from redoubt.trust.audit_head import verify_head, verify_progress
    from redoubt.trust.owner_key import read_owner_key

    try:
        memory = BrokerMemory(session.workspace.state_folder)
    except WorkspaceMissing:
        return "not remembered: there is no workspace here"
    last = memory.recall(url)
    told = "first contact"
    if last is not None:
        _check_same(url, last, facts)
        before = verify_head(last.head.encode(), keys=_keys(facts), now=datetime.now(UTC))
        with _knowingly(memory.path(url)):
            if key is not None:
                client = OwnerClient(broker, key=read_owner_key(key), broker_id=facts.id)
                rows = client.audit_rows(start=before.end.number + 1, end=head.end.number)
                verify_progress(before, head, between=rows)
                told = f"{counted(head.end.number - before.end.number, 'new row')}, all whole"
            else:
                _check_not_shorter(before, head)
                told = "no new rows" if before.end == head.end else "not shorter; --key shows the new rows"
    memory.remember(url, Remembered(broker=facts.id, head=facts.audit_head))
    return told


@contextmanager
def _knowingly(memory: Path) -> Iterator[None]:
    """Add to an error what an owner does whom the operator told of a restore."""
    try:
        yield
    except (RegisterRollback, AuditBroken) as error:
        told = f"If the operator told you of a restore: move {memory} away, keep it, and verify again."
        raise type(error)(error.what, hint=f"{error.hint or error.next_step} {told}", why=error.why) from error


def _check_same(url: str, last: Remembered, facts: BrokerFacts) -> None:
    if last.broker != facts.id:
        raise BrokerUntrusted(
            f"{url} answered as broker {last.broker} before, and as {facts.id} now",
            hint="Ask its operator. If the broker was made anew on purpose, remove its file in .redoubt/brokers.",
        )


def _check_not_shorter(before: AuditHead, head: AuditHead) -> None:
    if head.end.number < before.end.number:
        raise RegisterRollback(
            f"the broker's audit log ends with row {head.end.number}; row {before.end.number} was seen before",
            hint="The broker's store was rolled back. Restore its newest state; if that is lost, tell every owner.",
        )
    if head.end.number == before.end.number and head.end != before.end:
        raise AuditForked(f"row {head.end.number} of the audit log is another one than was seen before")


def _keys(facts: BrokerFacts) -> KeySet:
    from redoubt.evidence.key_set import IssuerKey, KeySet

    return KeySet((IssuerKey(facts.public_key, kid=facts.id),))


def _text(
    url: str,
    facts: BrokerFacts,
    head: AuditHead,
    *,
    expected: str | None,
    freshness: str,
    proved: Verified | None,
) -> str:
    lines = [f"{url} is the broker {facts.id} ({facts.name})"]
    if facts.simulated:
        lines.append("DEVELOPMENT BROKER: its results are of simulated evidence and prove nothing")
    if facts.manifest is None:
        lines.append("manifest: none is set, so it releases nothing")
    else:
        agreed = "the expected one" if expected is not None else "NOT COMPARED: pass --manifest or --digest"
        lines.append(f"manifest: version {facts.manifest.version}, {facts.manifest.digest}, {agreed}")
    lines.append(f"audit log: {head.end.number} rows, {head.end.digest}; {freshness}")
    if proved is None:
        lines.append("its own evidence: none; it says that it does not run in a TEE")
    else:
        lines.append(f"its own evidence: {proved.tee}, {proved.evidence_digest}")
    return "\n".join(lines)
