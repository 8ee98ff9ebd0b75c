"""``redoubt broker setup|serve|dev``: make the files of a broker, run one, run a development broker in a workspace."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.broker_store import app
from redoubt.cli.session import Session, command
from redoubt.errors import AlreadyExists, ManifestField, UsageError
from redoubt.limits import MIN_ROLE_CERTIFICATE_SECONDS, ROLE_CERTIFICATE_SECONDS

if TYPE_CHECKING:
    from redoubt.broker.config import BrokerConfig
    from redoubt.keys.workspace import Workspace

_DEVELOPMENT = "redoubt_dev"
_PORT = 8443
BootstrapOption = Annotated[
    list[str] | None,
    typer.Option("--bootstrap-owner", metavar="KEY", help="A public key that may set the first manifest; repeatable."),
]
CertificateOption = Annotated[
    int,
    typer.Option(
        "--certificate-seconds",
        metavar="N",
        min=MIN_ROLE_CERTIFICATE_SECONDS,
        max=ROLE_CERTIFICATE_SECONDS,
        help="How long certificates of roles hold.",
    ),
]


@command(app, example="redoubt broker setup /etc/redoubt --host broker.example --bootstrap-owner ed25519:…")
def setup(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the broker's files.")],
    *,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="A name or address that clients use; repeatable."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where it listens.")] = _PORT,
    name: Annotated[str, typer.Option("--name", help="The broker's name in attestation results.")] = "redoubt-broker",
    bootstrap_owner: BootstrapOption = None,
) -> None:
    """Make a broker in DIR: CA, server certificate, root key file, an empty SQLite store, and `broker.toml`.

    Give `ca.pem` to owners and agents, who pin it, and move `ca.key` away: the broker does not need it.
    """
    from datetime import UTC, datetime

    from redoubt.broker.config import CONFIG_FILE, new_config
    from redoubt.broker.location import SqliteLocation
    from redoubt.broker.root import FileRoot
    from redoubt.broker.server import Address
    from redoubt.broker.store import SqlStore
    from redoubt.keys.private import DIRECTORY_MODE, create_private_file, sync_directory
    from redoubt.keys.rootkey import create_root_key_file
    from redoubt.pki.hosts import parse_hosts
    from redoubt.pki.server import make_ca, make_server_certificate
    from redoubt.trust.broker_key import key_id

    for text in bootstrap_owner or ():
        _public_key(text)
    hosts = parse_hosts(host or ["127.0.0.1", "localhost"])
    now = datetime.now(UTC)
    ca = make_ca(name, now=now)
    server = make_server_certificate(ca, name=name, hosts=hosts, now=now)
    listen = Address("0.0.0.0" if host else "127.0.0.1", port)  # noqa: S104 - a server for others, when they are named
    config = new_config(name=name, listen=listen, bootstrap_owners=tuple(bootstrap_owner or ()))
    try:
        folder.mkdir(mode=DIRECTORY_MODE, parents=True)
    except FileExistsError:
        raise AlreadyExists(
            f"{folder} exists",
            hint=f"Name another folder, or start the broker that is in it: `redoubt broker serve {folder}`.",
        ) from None
    files = {
        "ca.pem": ca.certificate,
        "ca.key": ca.key,
        "server.pem": server.certificate,
        "server.key": server.key,
        CONFIG_FILE: config,
    }
    for file, content in files.items():
        create_private_file(folder / file, content)
    create_root_key_file(folder / "root.key")
    store = SqlStore.create(SqliteLocation(folder / "store.sqlite"), source=FileRoot(folder / "root.key"))
    broker_id = key_id(store.signing_key.public_key())
    store.close()
    sync_directory(folder)
    session.output.result(
        {"folder": str(folder), "broker": broker_id, "ca": str(folder / "ca.pem")},
        text=f"made {folder}; the broker's id is {broker_id}",
    )
    if not bootstrap_owner:
        session.output.say(
            f"WARNING: {CONFIG_FILE} names no bootstrap_owners, so nobody can create a key or set the first manifest. "
            "Add an owner's public key there before the start: `redoubt manifest init --owner NAME` makes one."
        )
    session.output.say(f"Start it with `redoubt broker serve {folder}`; owners and agents pin {folder / 'ca.pem'}.")


@command(app, example="redoubt broker serve /etc/redoubt")
def serve(
    session: Session,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The broker.toml, or its folder.")],
) -> None:
    """Run a production broker until it is told to stop. It does not start where redoubt-dev can be imported."""
    from redoubt.broker.anchor import kept
    from redoubt.broker.config import read_config
    from redoubt.broker.production import anchor_of, check_no_development, open_broker

    check_no_development()
    settings = read_config(config)
    running, store = open_broker(settings, workspace=_workspace(session, settings))
    _log_to_stderr()
    session.output.say(f"broker {running.core.id} serves https://{settings.listen.host}:{running.port}")
    anchor = anchor_of(settings, store)
    try:
        with nullcontext() if anchor is None else kept(anchor, stop=running.stop):
            running.serve()
    finally:
        store.close()


@command(app, example="redoubt broker anchor /etc/redoubt")
def anchor(
    session: Session,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The broker.toml, or its folder.")],
) -> None:
    """Begin to anchor a stopped broker's store in the TPM counter that [anchor] names, as the store is now.

    From then on the broker refuses to start on an older store. Use it again only after a restore that you know of.
    """
    from redoubt.broker.config import read_config
    from redoubt.broker.production import anchor_of, open_store
    from redoubt.broker.tpm_counter import TpmCounter

    settings = read_config(config)
    if settings.anchor is None:
        raise UsageError(
            f"{config} has no section [anchor]",
            hint='Add to broker.toml: [anchor], and below it tpm_index = "0x01800002" (an NV index that is free).',
        )
    TpmCounter(settings.anchor.tpm_index).define()
    store = open_store(settings, workspace=_workspace(session, settings))
    try:
        begun = anchor_of(settings, store)
        assert begun is not None
        value = begun.begin()
    finally:
        store.close()
    name, index = settings.anchor.name, f"{settings.anchor.tpm_index:#010x}"
    session.output.result(
        {"counter": name, "tpm_index": index, "value": value}, text=f"anchored in {index} as {name!r}, at {value}"
    )


def _workspace(session: Session, settings: BrokerConfig) -> Workspace | None:
    return session.workspace if settings.root_key.workspace_key is not None else None


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _dev(
    session: Session,
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where it listens; 0 is a free port.")] = _PORT,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Write the CA to pin to this file.")] = None,
    bootstrap_owner: BootstrapOption = None,
    certificate_seconds: CertificateOption = ROLE_CERTIFICATE_SECONDS,
) -> None:
    """Run a development broker for the workspace, on loopback, for SIMULATED evidence only, until it is told to stop.

    Its first manifest is set with `redoubt manifest set` in the workspace, or by a bootstrap owner over HTTPS.

    It uses the workspace's own keys and manifests, and writes the reasons of refusals where `redoubt explain` looks.
    """
    workspace: Workspace = session.workspace
    development = importlib.import_module(f"{_DEVELOPMENT}.broker")
    owners = frozenset(map(_public_key, bootstrap_owner or ()))
    broker = development.DevelopmentBroker(
        workspace, port=port, bootstrap_owners=owners, certificate_seconds=certificate_seconds
    )
    try:
        if ca is not None:
            _write_ca(ca, broker.ca_pem)
        _log_to_stderr()
        session.output.say(development.WARNING)
        session.output.say(f"broker {broker.id} serves {broker.url}")
        broker.serve()
    finally:
        broker.close()


def _public_key(text: str) -> bytes:
    from redoubt.trust.public_key import parse_public_key

    try:
        return parse_public_key(text)
    except ManifestField as error:
        raise UsageError(
            f"--bootstrap-owner {text!r} is no public key: {error.what}",
            hint="It is `key` in the manifest.toml that `redoubt manifest init --owner NAME` makes: ed25519:…",
        ) from None


def _write_ca(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


if importlib.util.find_spec(_DEVELOPMENT) is not None:
    command(app, name="dev", example="redoubt broker dev --port 8443 --ca ca.pem")(_dev)
