"""Options that say at which broker, and as which owner; the same for every command that asks a broker for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file
from redoubt.errors import UsageError
from redoubt.limits import MAX_CERTIFICATE_BYTES, OWNER_RETRY_SECONDS

if TYPE_CHECKING:
    from redoubt.protocol.owner_client import OwnerClient

_PANEL = "At a broker"
BrokerOption = Annotated[
    str | None,
    typer.Option("--broker", metavar="URL", help="Ask the broker at https://HOST:PORT.", rich_help_panel=_PANEL),
]
CaOption = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="The broker's CA to pin, PEM.", rich_help_panel=_PANEL)
]
OwnerKeyOption = Annotated[
    Path | None,
    typer.Option("--owner-key", metavar="FILE", help="The owner's key that signs the request.", rich_help_panel=_PANEL),
]
BrokerIdOption = Annotated[
    str | None,
    typer.Option(
        "--broker-id", metavar="ID", help="Refuse any broker but the one with this id.", rich_help_panel=_PANEL
    ),
]


def owner_client(url: str, ca: Path | None, key: Path | None, broker_id: str | None) -> OwnerClient:
    """Return a client of the broker at *url*; without *key* it signs nothing. Raises UsageError without *ca*."""
    from redoubt.protocol.https import BrokerConnection, Brokers
    from redoubt.protocol.owner_client import OwnerClient
    from redoubt.trust.owner_key import read_owner_key

    if ca is None:
        raise UsageError("a broker is known by its CA: pass --ca FILE")
    brokers = Brokers(urls=(url.rstrip("/"),), ca=read_file(ca, limit=MAX_CERTIFICATE_BYTES))
    connection = BrokerConnection(brokers, patience=OWNER_RETRY_SECONDS)
    return OwnerClient(connection, key=None if key is None else read_owner_key(key), broker_id=broker_id)


def refuse_without_broker(*given: object) -> None:
    """Raise UsageError if one of the other options is *given* where no broker is named."""
    if any(it is not None for it in given):
        raise UsageError("--ca, --owner-key and --broker-id go with the URL of a broker")
