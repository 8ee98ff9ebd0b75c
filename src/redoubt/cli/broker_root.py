"""Options that say where the root key of a broker's store comes from, the same for every command that needs one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file
from redoubt.cli.session import Session
from redoubt.errors import UsageError
from redoubt.limits import MAX_SHARE_TEXT_BYTES

if TYPE_CHECKING:
    from redoubt.broker.location import StoreLocation
    from redoubt.broker.root import RootSource
    from redoubt.keys.rootkey import PassphraseSource, RootKey

_PANEL = "The root key"
StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE", help="The store: an SQLite file, or postgresql://[USER@]HOST/DATABASE (never with a password)."
    ),
]
RootFileOption = Annotated[
    Path | None,
    typer.Option("--root-key-file", metavar="FILE", help="It is under this 0600 key file.", rich_help_panel=_PANEL),
]
RootPassphraseOption = Annotated[
    bool,
    typer.Option(
        "--root-passphrase",
        help="It is under a passphrase, from --passphrase-file, --passphrase-fd or the terminal.",
        rich_help_panel=_PANEL,
    ),
]
RootKeyOption = Annotated[
    str | None,
    typer.Option(
        "--root-key",
        metavar="KEY",
        help="It is under this primary key, of whatever provider the workspace maps its namespace to.",
        rich_help_panel=_PANEL,
    ),
]
ShareOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--share", metavar="FILE", help="Recover it from shares: the file of one; repeatable.", rich_help_panel=_PANEL
    ),
]


def location_of(store: str) -> StoreLocation:
    """Return the place that the argument names; raises UsageError."""
    from redoubt.broker.location import parse_location

    return parse_location(store)


def root_source(session: Session, *, file: Path | None, passphrase: bool, key: str | None) -> RootSource:
    """Return the one source that the options name.

    Raises:
        UsageError: none was named, or several.
        WorkspaceError, KeyError_: the workspace or the key's provider cannot be had.
    """
    from redoubt.keys.rootkey import PassphraseSource

    asked = (session.passphrase() or PassphraseSource()) if passphrase else None
    return source_of(session, file=file, passphrase=asked, key=key)


def source_of(
    session: Session, *, file: Path | None, passphrase: PassphraseSource | None, key: str | None
) -> RootSource:
    """Return the one source that was named; raises as :func:`root_source`."""
    from redoubt.broker.root import FileRoot, PassphraseRoot, ProviderRoot

    if (file is not None) + (passphrase is not None) + (key is not None) != 1:
        raise UsageError(
            "say once where the root key comes from", hint="Pass --root-key-file, --root-passphrase or --root-key."
        )
    if file is not None:
        return FileRoot(file)
    if passphrase is not None:
        return PassphraseRoot(passphrase)
    name = session.workspace.resolve(key)
    return ProviderRoot(session.workspace.provider_for(name), name)


def root_of_shares(files: Sequence[Path]) -> RootKey:
    """Return the root key that the shares in *files* give; raises ShareInvalid, NotFound or UsageError."""
    from redoubt.broker.shares import Share, join_shares

    texts = [read_file(path, limit=MAX_SHARE_TEXT_BYTES).decode("ascii", "replace") for path in files]
    return join_shares([Share.parse(text) for text in texts])
