"""``redoubt manifest``: write the owners' manifest, sign it, see what a change would do, and set it.

The manifest is a TOML file that people edit; the commands of :mod:`redoubt.cli.manifest_edit`, in the same group, only
save typing. Signing writes the canonical form with its signatures beside it, and only that is ever set.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file, write_file
from redoubt.cli.manifest_edit import DEFAULT, MAKE_MANIFEST, FileOption, app, owner_key_path, read_text
from redoubt.cli.output import Json
from redoubt.cli.owner_broker import (
    BrokerIdOption,
    BrokerOption,
    CaOption,
    OwnerKeyOption,
    owner_client,
    refuse_without_broker,
)
from redoubt.cli.session import Session, command
from redoubt.errors import ManifestChain, NotFound, OwnerKeyInvalid, UsageError, WorkspaceMissing
from redoubt.limits import MAX_ENVELOPE_BYTES, MAX_MANIFEST_BYTES

if TYPE_CHECKING:
    from redoubt.trust.plan import Plan
    from redoubt.trust.policy import Manifest
    from redoubt.trust.signing import Envelope, SignedManifest
    from redoubt.trust.store import ManifestStore

SignedArgument = Annotated[Path, typer.Argument(metavar="[FILE]", help="The signed manifest.")]
ExpectOption = Annotated[
    str | None, typer.Option("--expect", metavar="DIGEST", help="Refuse any manifest but the one with this digest.")
]
DEFAULT_SIGNED = Path("manifest.signed.json")


@command(app, example="redoubt manifest sign --owner alice")
def sign(
    session: Session,
    *,
    manifest: FileOption = DEFAULT,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="Sign with this owner's key in the workspace.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Sign with the key in this file.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the signed manifest is (FILE.signed.json).")
    ] = None,
) -> None:
    """Sign the manifest as one of its owners, beside the signatures of others over exactly the same manifest.

    An owner who is no longer in the new manifest signs too, with the key that the current one gives.
    """
    from redoubt.trust.manifest import manifest_digest, parse_manifest
    from redoubt.trust.owner_key import read_owner_key
    from redoubt.trust.public_key import public_key_text
    from redoubt.trust.signing import Envelope, missing_approvals

    if (owner is None) == (key is None):
        raise UsageError("name the key once: with --owner or with --key")
    private = read_owner_key(key if key is not None else owner_key_path(session, owner or ""))
    parsed = parse_manifest(read_file(manifest, limit=MAX_MANIFEST_BYTES, make=MAKE_MANIFEST))
    public = private.public_key().public_bytes_raw()
    current = _current(session)
    known = {**(current.manifest.owners if current is not None else {}), **parsed.owners}
    signer = next((name for name, it in known.items() if it == public), None)
    former = current is not None and public in current.manifest.owners.values()
    if signer is None and not former:
        raise OwnerKeyInvalid(f"{public_key_text(public)} is the key of no owner in {manifest}")
    target = out if out is not None else manifest.with_suffix(".signed.json")
    envelope = _merge(target, Envelope.of(parsed)).signed(private)
    write_file(target, envelope.encode(), replace=True)
    keys = set(envelope.signatures)
    missing = missing_approvals(parsed, keys) | (missing_approvals(current.manifest, keys) if current else set())
    digest = manifest_digest(parsed)
    session.output.result(
        {
            "digest": digest,
            "version": parsed.version,
            "signer": signer or "a former owner",
            "signed": str(target),
            "missing": sorted(missing),
        },
        text=f"signed version {parsed.version}, {digest}, as {signer or 'a former owner'}, in {target}",
    )
    for it in sorted(missing):
        session.output.say(f"still to sign: {it}")


@command(
    app,
    name="set",
    example="redoubt manifest set --expect sha256:9d5f… --broker https://broker:8443 --ca ca.pem",
)
def set_(
    session: Session,
    signed: SignedArgument = DEFAULT_SIGNED,
    *,
    expect: ExpectOption = None,
    broker: BrokerOption = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """Make a signed manifest the one in force in this workspace, or at a broker. Versions only rise.

    At a broker its signatures are enough; only the first manifest also needs --owner-key, of a bootstrap owner. Set it
    in the workspace as well: `manifest plan` and `next` and `broker verify` compare with what is set there.
    """
    from redoubt.trust.manifest import manifest_digest, parse_canonical

    if broker is None:
        refuse_without_broker(ca, owner_key, broker_id)
    envelope = _read_envelope(signed, expect)
    if broker is not None:
        owner_client(broker, ca, owner_key, broker_id).set_manifest(envelope)
        parsed = parse_canonical(envelope.payload)
        digest, version = manifest_digest(parsed), parsed.version
        session.output.result(
            {"version": version, "digest": digest, "broker": broker},
            text=f"set version {version}, {digest}, at {broker}",
        )
        return
    verified = _store(session).put(envelope)
    session.output.result(_facts(verified), text=f"set version {verified.manifest.version}, {verified.digest}")


@command(app, example="redoubt manifest verify manifest.signed.json")
def verify(
    session: Session,
    signed: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A signed manifest (default: the workspace's history).")
    ] = None,
    *,
    expect: ExpectOption = None,
) -> None:
    """Verify that a signed manifest could be set now; or, without FILE, every manifest that ever was."""
    from redoubt.trust.signing import verify_manifest

    store = _store(session)
    if signed is None:
        verified = store.current()
        _check_expected(verified.digest, expect)
    else:
        history = store.history()
        verified = verify_manifest(_read_envelope(signed, expect), previous=history[-1] if history else None)
    session.output.result(_facts(verified), text=f"version {verified.manifest.version}, {verified.digest}: verified")


@command(app, example="redoubt manifest plan")
def plan(session: Session, *, manifest: FileOption = DEFAULT) -> None:
    """Show what the manifest would newly allow or forbid, against the one in force."""
    from redoubt.trust.manifest import manifest_digest, parse_manifest
    from redoubt.trust.plan import plan as compare

    current = _current(session)
    new = parse_manifest(read_file(manifest, limit=MAX_MANIFEST_BYTES, make=MAKE_MANIFEST))
    found = compare(current.manifest if current is not None else None, new)
    data: dict[str, Json] = {
        "from": None if current is None else current.digest,
        "to": manifest_digest(new),
        "allowed": [_pair(it) for it in found.allowed],
        "forbidden": [_pair(it) for it in found.forbidden],
        "changes": [
            {
                "path": list(it.path),
                "direction": it.direction.value,
                "added": list(it.added),
                "removed": list(it.removed),
            }
            for it in found.changes
        ],
    }
    session.output.result(data, text=plan_text(found, current))


@command(app, example="redoubt manifest log --json")
def log(
    session: Session,
    *,
    broker: BrokerOption = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """List every manifest that was set in this workspace, or at a broker, with digest and signers; each is verified."""
    history: Sequence[SignedManifest]
    if broker is not None:
        history = owner_client(broker, ca, owner_key, broker_id).manifests()
    else:
        refuse_without_broker(ca, owner_key, broker_id)
        history = _store(session).history()
    session.output.table(
        {"manifests": [_facts(it) for it in history]},
        columns=("VERSION", "DIGEST", "SIGNED BY", "PROGRAMS", "GRANTS"),
        rows=[(it.manifest.version, it.digest, ", ".join(sorted(it.signers)), *_sizes(it.manifest)) for it in history],
    )


@command(app, name="next", example="redoubt manifest next")
def next_(session: Session, *, manifest: FileOption = DEFAULT) -> None:
    """Make the manifest the successor of the one in force: set its version and `previous`, and nothing else."""
    from redoubt.trust.edit import follow

    current = _store(session).current()
    version = current.manifest.version + 1
    text = follow(read_text(manifest), version=version, previous=current.digest)
    write_file(manifest, text.encode(), replace=True)
    session.output.result({"version": version, "previous": current.digest}, text=f"{manifest} is now version {version}")


def _store(session: Session) -> ManifestStore:
    from redoubt.trust.store import ManifestStore

    return ManifestStore(session.workspace.state_folder)


def _current(session: Session) -> SignedManifest | None:
    """Return the manifest in force, if there is a workspace with one: owners may sign where there is none."""
    try:
        history = _store(session).history()
    except WorkspaceMissing:
        return None
    return history[-1] if history else None


def _merge(target: Path, envelope: Envelope) -> Envelope:
    """Return *envelope* with the signatures in the file *target*, if they are over the same manifest."""
    from redoubt.trust.signing import Envelope

    try:
        found = Envelope.parse(read_file(target, limit=MAX_ENVELOPE_BYTES))
    except NotFound:
        return envelope
    return found if found.payload == envelope.payload else envelope


def _read_envelope(path: Path, expect: str | None) -> Envelope:
    from redoubt.evidence.claims import digest
    from redoubt.trust.signing import Envelope

    sign = "Sign the manifest: `redoubt manifest sign --owner NAME`, or name the file that it made."
    envelope = Envelope.parse(read_file(path, limit=MAX_ENVELOPE_BYTES, make=sign))
    _check_expected(digest(envelope.payload), expect)
    return envelope


def _check_expected(digest: str, expect: str | None) -> None:
    if expect is not None and not hmac.compare_digest(digest.encode(), expect.encode()):
        raise ManifestChain(f"the manifest's digest is {digest}, not the expected one")


def _facts(signed: SignedManifest) -> dict[str, Json]:
    return {
        "version": signed.manifest.version,
        "digest": signed.digest,
        "previous": signed.manifest.previous,
        "signers": sorted(signed.signers),
    }


def _sizes(manifest: Manifest) -> tuple[int, int]:
    return len(manifest.programs), len(manifest.grants)


def _pair(pair: object) -> dict[str, Json]:
    names = ("program", "digest", "tee", "dataset", "dataset_id", "action")
    return {name: str(getattr(pair, name)) for name in names}


def plan_text(found: Plan, current: SignedManifest | None) -> str:
    """Return *found*, against *current*, as people read it."""
    against = "nothing, for no manifest is set" if current is None else f"version {current.manifest.version}"
    lines = [f"against {against}:"]
    for sign_, word, listed in (("+", "allows", found.allowed), ("-", "forbids", found.forbidden)):
        lines += [
            f"{sign_} {word} {it.program} ({it.digest[:19]}…) on {it.tee} to {it.action} {it.dataset} ({it.dataset_id})"
            for it in listed
        ]
    lines += [f"  {it}" for it in found.changes]
    return "\n".join(lines if not found.is_empty else [*lines, "no difference"])
