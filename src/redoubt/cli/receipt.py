"""``redoubt receipt``: who computed what, from a receipt alone. Needs no broker, no network, no Spark and no Java."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file, write_file
from redoubt.cli.owner_broker import owner_client
from redoubt.cli.session import Session, command, group
from redoubt.errors import UsageError, WorkspaceMissing
from redoubt.limits import MAX_ENVELOPE_BYTES, MAX_KEY_SET_BYTES, MAX_RECEIPT_BYTES

if TYPE_CHECKING:
    from redoubt.trust.receipt_verify import Trusted
    from redoubt.trust.signing import SignedManifest

app = group("Show and verify receipts: what ran where, and what it read and wrote.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")]


@command(app, example="redoubt receipt show receipt.json")
def show(session: Session, file: FileArgument) -> None:
    """Show what a receipt says. Nothing is verified."""
    from redoubt.cli.receipt_text import receipt_json, shown
    from redoubt.trust.receipt import Receipt

    receipt = Receipt.parse(read_file(file, limit=MAX_RECEIPT_BYTES))
    session.output.result(
        {"verified": False, "simulated": receipt.simulated, **receipt_json(receipt.proved, receipt.reported)},
        text="NOT VERIFIED: anybody can have written this\n" + shown(receipt),
    )


@command(app, example="redoubt receipt verify receipt.json --manifest manifest-1.json --manifest manifest-2.json")
def verify(
    session: Session,
    file: FileArgument,
    *,
    broker_key: Annotated[
        list[Path] | None,
        typer.Option("--broker-key", metavar="FILE", help="A broker's public keys, JWK set or PEM; repeatable."),
    ] = None,
    broker_id: Annotated[
        list[str] | None, typer.Option("--broker-id", metavar="ID", help="A broker's id, instead; repeatable.")
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(
            "--manifest", metavar="FILE", help="A signed manifest; repeatable: every version from 1 on, oldest first."
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="PATH", help="A dataset that must be as the receipt says; repeatable."),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Expect a development broker's receipt, which proves nothing.")
    ] = False,
) -> None:
    """Verify a receipt, and say on one screen who computed what.

    The broker is pinned by its key or id, or by manifests that name it. With manifests, every grant is checked too.
    Without any of them, the workspace's manifests and the brokers that `redoubt broker verify` saw there are expected.
    """
    from redoubt.cli.receipt_text import compare_dataset, receipt_json, verified
    from redoubt.trust.receipt_verify import verify_receipt

    trusted = _trusted(session, broker_key or [], broker_id or [], manifest or [], simulated=simulated)
    found = verify_receipt(read_file(file, limit=MAX_RECEIPT_BYTES), trusted=trusted, now=datetime.now(UTC))
    compared = [compare_dataset(found, it) for it in dataset or ()]
    session.output.result(
        {
            "verified": True,
            "simulated": found.simulated,
            "broker": found.broker,
            "manifest_compared": found.manifest is not None,
            "statuses": [it.status for it in found.results],
            **receipt_json(found.proved, found.reported),
            "datasets": [{"path": it.path, "role": it.role, "newest": it.newest} for it in compared],
        },
        text="\n".join([verified(found), *map(str, compared)]),
    )


@command(app, example="redoubt receipt fetch https://broker:8443 sha256:… receipt.json --ca ca.pem --key owner.pem")
def fetch(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="https://HOST:PORT of the broker.")],
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="The job, sha256:…, as the agent and the audit log name it.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")],
    *,
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", help="The CA to pin, PEM.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="An owner's key.")],
) -> None:
    """Get the receipt that the broker keeps, as an owner. Verify it as any other."""
    from redoubt.trust.program import is_digest
    from redoubt.trust.receipt import Receipt

    if not is_digest(job):
        raise UsageError("a job is named sha256:… in lower-case hex")
    answer = owner_client(url, ca, key, None).call("GET", f"/receipts/{job}", repeatable=True)
    receipt = Receipt.parse(answer)
    write_file(file, answer + b"\n", replace=False)
    session.output.result({"file": str(file), "job": receipt.proved.job}, text=f"wrote {file}: not verified yet")


def _trusted(session: Session, keys: list[Path], ids: list[str], files: list[Path], *, simulated: bool) -> Trusted:
    from redoubt.trust.receipt_verify import Trusted

    brokers = {it for path in keys for it in _ids(path)} | set(ids)
    if brokers or files:
        return Trusted(brokers=frozenset(brokers), manifests=_manifests(files), simulated=simulated)
    return _of_workspace(session, simulated=simulated)


def _of_workspace(session: Session, *, simulated: bool) -> Trusted:
    from redoubt.broker.memory import BrokerMemory
    from redoubt.trust.receipt_verify import Trusted
    from redoubt.trust.store import ManifestStore

    try:
        folder = session.workspace.state_folder
    except WorkspaceMissing:
        raise UsageError(
            "nothing says whose receipt it must be", hint="Pass --broker-key, --broker-id or --manifest."
        ) from None
    known = BrokerMemory(folder).ids()
    own = folder / "broker" / "broker.jwks"  # the development broker's, whose receipts are never taken for others
    if simulated and own.exists():
        known |= _ids(own)
    return Trusted(brokers=known, manifests=ManifestStore(folder).history(), simulated=simulated)


def _ids(path: Path) -> frozenset[str]:
    """Return the ids of the keys in *path* with which a broker can sign; raises TokenMalformed or UsageError."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from redoubt.evidence.key_set import load_keys
    from redoubt.trust.broker_key import key_id

    found = [it.key for it in load_keys(read_file(path, limit=MAX_KEY_SET_BYTES)).keys]
    ids = frozenset(key_id(it) for it in found if isinstance(it, ec.EllipticCurvePublicKey))
    if not ids:
        raise UsageError(f"{path} holds no key with which a broker signs")
    return ids


def _manifests(files: list[Path]) -> tuple[SignedManifest, ...]:
    from redoubt.trust.signing import Envelope, verify_manifest

    found: list[SignedManifest] = []
    for path in files:
        envelope = Envelope.parse(read_file(path, limit=MAX_ENVELOPE_BYTES))
        found.append(verify_manifest(envelope, previous=found[-1] if found else None))
    return tuple(found)
