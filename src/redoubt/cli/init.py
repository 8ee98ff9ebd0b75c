"""``redoubt init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.session import Session, command
from redoubt.errors import UsageError

app = typer.Typer()


@command(app, example="redoubt init ~/lake --passphrase-prompt")
def init(
    session: Session,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where (default: here).")] = None,
    *,
    passphrase_prompt: Annotated[
        bool,
        typer.Option("--passphrase-prompt", help="Ask for a passphrase at the terminal, instead of making a key file."),
    ] = False,
) -> None:
    """Make a workspace: a private .redoubt/ folder with a keystore and the primary key `default`.

    By default the root key is a file in it, readable by you alone. With a passphrase there is no such file, and every
    command that needs keys asks for the passphrase, or takes it with --passphrase-file or --passphrase-fd.
    """
    from redoubt.keys.workspace import Workspace

    if directory is not None and session.options.workspace is not None:
        raise UsageError("give the folder once: as DIR, or with --workspace")
    source = session.passphrase(prompt=passphrase_prompt)
    workspace = Workspace.init(directory or session.options.workspace or Path(), passphrase=source)
    root_key = "file" if source is None else "passphrase"
    session.output.result(
        {
            "workspace": str(workspace.state_folder.absolute()),
            "default_key": str(workspace.config.default_key),
            "root_key": root_key,
        },
        text=f"made {workspace.state_folder} with the key {workspace.config.default_key}",
    )
    session.output.say(
        "Back up this folder: without it, what is sealed with its keys cannot be read."
        if source is None
        else "Back up this folder and the passphrase: without both, what is sealed cannot be read."
    )
