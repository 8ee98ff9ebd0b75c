"""``redoubt certs``: keys and certificates of servers, from a CA of their own, and how they are rotated."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.session import Session, command, group
from redoubt.errors import NotFound, UsageError
from redoubt.limits import (
    CERTIFICATE_RENEWAL_DAYS,
    MAX_AUTHORITY_BYTES,
    MAX_CERTIFICATE_NAME_CHARACTERS,
    MAX_IDENTITY_BYTES,
    MAX_OVERLAP_DAYS,
    MAX_PASSPHRASE_BYTES,
)

if TYPE_CHECKING:
    from cryptography import x509

    from redoubt.cli.output import Json
    from redoubt.pki.internal import InternalAuthority, ServerIdentity

app = group("Make keys, certificates and key stores of servers, and rotate them.")

FolderArgument = Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder of certificates.")]
_FOLDER = Path("certs")
_OVERLAP_DAYS = 90


@command(app, example="redoubt certs generate --host spark.example --host 10.0.0.7")
def generate(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The new folder.")] = _FOLDER,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="A name or address of the servers; repeatable (default: localhost and this machine's name).",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the certificates call the service.")] = "redoubt",
    enclave_key: Annotated[
        Path | None,
        typer.Option("--enclave-key", metavar="FILE", help="Take this signing key of enclaves instead of a new one."),
    ] = None,
    ppml: Annotated[
        bool,
        typer.Option(
            "--ppml", help="Also make what BigDL PPML alone wants: server.csr, key.txt, output.bin, one password."
        ),
    ] = False,
) -> None:
    """Make a CA, a server's key and certificate, key stores, a trust store, an enclave signing key, Kubernetes secrets.

    Everything stands in files that only you can read; passwords are made, and in files too. Give keys/ and password/
    to servers, trust/ to clients, and ca/ to nobody: it is for `redoubt certs rotate`.
    """
    from redoubt.cli.certs_folder import create_folder, refuse_existing
    from redoubt.keys.private import read_private_file
    from redoubt.pki import folder as parts
    from redoubt.pki.enclave import make_enclave_key, mrsigner, verify_enclave_key
    from redoubt.pki.hosts import parse_hosts

    refuse_existing(folder)
    hosts = parse_hosts(host or ["localhost", "127.0.0.1", *_machine_name()])
    if not name.isprintable() or not 0 < len(name.strip()) <= len(name) <= MAX_CERTIFICATE_NAME_CHARACTERS:
        raise UsageError(f"a name has 1 to {MAX_CERTIFICATE_NAME_CHARACTERS} printable characters")
    if enclave_key is None:
        signing_key = make_enclave_key()
    else:
        given = read_private_file(
            enclave_key, limit_bytes=MAX_IDENTITY_BYTES, what="the enclave key", refusal=UsageError
        )
        signing_key = verify_enclave_key(given)
    now = datetime.now(UTC)
    authority = _new_authority(name, now=now)
    server = authority.issue(name=name, hosts=hosts, now=now)
    passwords = parts.Passwords.new(ppml=ppml)
    trust = parts.trust_files(authority)
    files = {
        ".gitignore": b"*\n",
        parts.AUTHORITY: authority.to_pem(),
        **trust,
        **parts.password_files(passwords, ppml=ppml),
        **parts.server_files(server, authority=authority, trust=trust, password=passwords.keystore, ppml=ppml, now=now),
        **parts.enclave_files(signing_key),
    }
    create_folder(folder, files)
    facts = _facts(folder, authority, server, now=now)
    session.output.result(
        {**facts, "mrsigner": mrsigner(signing_key), "files": sorted(files)},
        text=f"made {folder}/ for {', '.join(hosts)}",
    )
    session.output.say(f"Servers get {folder}/keys and {folder}/password, clients {folder}/trust.")
    session.output.say(f"Keep {folder}/ca and {folder}/enclave where nobody else reads them, and back them up.")


@command(app, example="redoubt certs rotate certs --ca --overlap-days 30")
def rotate(
    session: Session,
    folder: FolderArgument = _FOLDER,
    *,
    ca: Annotated[bool, typer.Option("--ca", help="Replace the CA as well; the old one is trusted meanwhile.")] = False,
    overlap_days: Annotated[
        int,
        typer.Option("--overlap-days", min=1, max=MAX_OVERLAP_DAYS, help="How long, with --ca."),
    ] = _OVERLAP_DAYS,
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised", help="Replace CA, key and passwords, and trust nothing old. Clients are cut off."
        ),
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A name or address; repeatable (default: those it is for now)."),
    ] = None,
) -> None:
    """Make a new server key and certificate, and with --ca a new CA. Running servers stay reachable.

    The enclave signing key stays: enclaves find their sealed files by it. If it was interrupted, run it again
    (without --ca, where that says that the CA was replaced already).
    """
    from redoubt.cli.certs_folder import locked, read, replace
    from redoubt.pki import folder as parts
    from redoubt.pki.hosts import parse_hosts
    from redoubt.pki.internal import ServerIdentity

    if ca and compromised:
        raise UsageError("--compromised replaces the CA, without an overlap: leave out --ca")
    now = datetime.now(UTC)
    with locked(folder):
        current = ServerIdentity.from_pem(read(folder, parts.IDENTITY, limit=MAX_IDENTITY_BYTES))
        hosts = parse_hosts(host or current.hosts)
        # What is compromised may be damaged too, so it is not even read.
        authority = _new_authority(current.name, now=now) if compromised else _authority(folder).at(now)
        if ca:
            subject = _authority_name(current.name)
            authority = authority.successor(subject, overlap=timedelta(days=overlap_days), now=now)
        server = authority.issue(name=current.name, hosts=hosts, now=now)
        ppml = (folder / parts.PPML_MARK).exists()
        if compromised:
            passwords = parts.Passwords.new(ppml=ppml)
            password = passwords.keystore
        else:
            password = parts.keystore_password(read(folder, parts.PASSWORD, limit=MAX_PASSPHRASE_BYTES))
        # The CA first: all the rest follows from it, so whatever interrupts this, a second run completes it. Trust
        # before keys: clients know the new CA before a server shows its certificates.
        replace(folder, {parts.AUTHORITY: authority.to_pem()})
        trust = parts.trust_files(authority)
        replace(folder, trust)
        if compromised:
            replace(folder, parts.password_files(passwords, ppml=ppml))
        made = parts.server_files(server, authority=authority, trust=trust, password=password, ppml=ppml, now=now)
        replace(folder, made)
    facts = _facts(folder, authority, server, now=now)
    session.output.result(facts, text=f"renewed {folder}/ for {', '.join(hosts)}")
    if ca and authority.overlap:
        ends = f"{authority.overlap.ends:%Y-%m-%d}"
        session.output.say(f"Give clients {folder}/trust, and servers {folder}/keys, before {ends}.")
    elif compromised:
        session.output.say(
            f"Give {folder}/trust, {folder}/keys and {folder}/password out now: nothing old is accepted."
        )
    else:
        session.output.say(f"Give servers {folder}/keys; clients need nothing new.")


@command(app, example="redoubt certs show certs --json")
def show(session: Session, folder: FolderArgument = _FOLDER) -> None:
    """Show CA and server certificate, until when they hold, what is due, and the MRSIGNER of the enclave key."""
    from redoubt.cli.certs_folder import read
    from redoubt.pki import folder as parts
    from redoubt.pki.enclave import mrsigner
    from redoubt.pki.internal import ServerIdentity

    now = datetime.now(UTC)
    authority = _authority(folder)
    server = ServerIdentity.from_pem(read(folder, parts.IDENTITY, limit=MAX_IDENTITY_BYTES))
    facts = _facts(folder, authority, server, now=now)
    try:
        facts["mrsigner"] = mrsigner(read(folder, parts.ENCLAVE_KEY_FILE, limit=MAX_IDENTITY_BYTES))
    except NotFound:  # it is kept elsewhere, as it should be
        facts["mrsigner"] = None
    rows = [
        ["CA", facts["ca_sha256"], facts["ca_expires"], facts["ca_state"]],
        ["server", facts["server_sha256"], facts["server_expires"], facts["server_state"]],
    ]
    if authority.overlap:
        running = "overlap" if now < authority.overlap.ends else "over"
        rows.append(["old CA", facts["former_ca_sha256"], facts["overlap_ends"], running])
    if facts["mrsigner"] is not None:
        rows.append(["enclave key", facts["mrsigner"], "-", "MRSIGNER"])
    hosts = f"{server.name}: {', '.join(server.hosts)}"
    session.output.table(facts, columns=("what", "sha256", "until", "state"), rows=rows, heading=hosts)


def _machine_name() -> list[str]:
    """Return this machine's name, if it can stand in a certificate."""
    from redoubt.pki.hosts import parse_hosts

    try:
        return list(parse_hosts([socket.gethostname()]))
    except UsageError:
        return []


def _authority_name(name: str) -> str:
    import secrets

    return f"{name} {secrets.token_hex(4)}"  # each CA has a name of its own: chains are found by names


def _new_authority(name: str, *, now: datetime) -> InternalAuthority:
    from redoubt.pki.internal import InternalAuthority

    return InternalAuthority.new(_authority_name(name), now=now)


def _authority(folder: Path) -> InternalAuthority:
    from redoubt.cli.certs_folder import read
    from redoubt.pki import folder as parts
    from redoubt.pki.internal import InternalAuthority

    return InternalAuthority.from_pem(read(folder, parts.AUTHORITY, limit=MAX_AUTHORITY_BYTES))


def _facts(folder: Path, authority: InternalAuthority, server: ServerIdentity, *, now: datetime) -> dict[str, Json]:
    from redoubt.pki.server import SERVER_LIFE

    leaf = server.chain[0]
    issued = leaf.issuer == authority.certificate.subject
    facts: dict[str, Json] = {
        "folder": str(folder),
        "name": server.name,
        "hosts": server.hosts,
        "ca_sha256": _fingerprint(authority.certificate),
        "ca_expires": authority.certificate.not_valid_after_utc.isoformat(),
        # A CA is due when it can certify no more.
        "ca_state": _state(authority.certificate, now=now, needed=SERVER_LIFE),
        "server_sha256": _fingerprint(leaf),
        "server_expires": leaf.not_valid_after_utc.isoformat(),
        "server_state": _state(leaf, now=now) if issued else "renew",  # the old CA's
        "former_ca_sha256": None,
        "overlap_ends": None,
    }
    if authority.overlap:
        facts["former_ca_sha256"] = _fingerprint(authority.overlap.former)
        facts["overlap_ends"] = authority.overlap.ends.isoformat()
    return facts


def _fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


def _state(certificate: x509.Certificate, *, now: datetime, needed: timedelta = timedelta(0)) -> str:
    left = certificate.not_valid_after_utc - now
    if left <= timedelta(0):
        return "expired"
    return "renew" if left <= needed + timedelta(days=CERTIFICATE_RENEWAL_DAYS) else "good"
