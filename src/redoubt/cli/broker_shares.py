"""``redoubt broker split|recipient|open-share``: shares of a store's root key, for the day when it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.broker_root import (
    RootFileOption,
    RootKeyOption,
    RootPassphraseOption,
    StoreArgument,
    location_of,
    root_source,
)
from redoubt.cli.broker_store import app
from redoubt.cli.files import read_file, write_file
from redoubt.cli.session import Session, command
from redoubt.errors import UsageError
from redoubt.limits import MAX_SHARE_TEXT_BYTES


@command(app, example="redoubt broker split broker.sqlite --threshold 2 --shares 3 --out shares/ --root-key-file k")
def split(
    session: Session,
    store: StoreArgument,
    *,
    threshold: Annotated[int, typer.Option("--threshold", metavar="M", help="So many give the root key back.")],
    shares: Annotated[int, typer.Option("--shares", metavar="N", help="So many are made.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder for the files, one a share (0600).")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            metavar="KEY",
            help="Seal one share for this key (`redoubt broker recipient`); once for every share.",
        ),
    ] = None,
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
) -> None:
    """Split the root key into shares. An earlier set stays good: shares can be withdrawn only with the root key.

    Without recipients the files hold shares in clear: hand each to its owner, then delete them.
    """
    from redoubt.broker.database import Database
    from redoubt.broker.header import read_header
    from redoubt.broker.sealed_shares import parse_recipient, seal_share
    from redoubt.broker.shares import split_root

    keys = [parse_recipient(text) for text in recipient or ()]
    if keys and len(set(recipient or ())) != shares:
        raise UsageError(f"{shares} shares need {shares} different recipients, or none")
    source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
    database = Database(location_of(store))
    try:
        made = split_root(database.reading(read_header).unlock(source), threshold=threshold, shares=shares)
    finally:
        database.close()
    texts = (
        [seal_share(share, key) for share, key in zip(made, keys, strict=True)]
        if keys
        else [share.text() for share in made]
    )
    files = [out / f"share-{share.set_id.hex()}-{share.place}.txt" for share in made]
    for path, text in zip(files, texts, strict=True):
        write_file(path, f"{text}\n".encode(), replace=False, mode=0o600)
    session.output.result(
        {"set": made[0].set_id.hex(), "threshold": threshold, "files": [str(path) for path in files]},
        text="\n".join(map(str, files)),
    )


@command(app, example="redoubt broker recipient alice-share.pem")
def recipient(
    session: Session, file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of the private key.")]
) -> None:
    """Print the public half of the key that a share can be sealed for; the key is made if there is none."""
    from redoubt.broker.sealed_shares import create_recipient_key, recipient_of

    if file.exists():
        public = recipient_of(file)
    else:
        public = create_recipient_key(file)
        session.output.say(f"made the key {file}; back it up, and keep it from others")
    session.output.result({"recipient": public, "key": str(file)}, text=public)


@command(app, name="open-share", example="redoubt broker open-share share.txt --key alice-share.pem --out opened.txt")
def open_share(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed share.")],
    *,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key that it was sealed for.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the share goes in clear (0600).")],
) -> None:
    """Open a share that was sealed for you."""
    from redoubt.broker import sealed_shares

    text = read_file(file, limit=MAX_SHARE_TEXT_BYTES).decode("ascii", "replace")
    share = sealed_shares.open_share(text, key)
    write_file(out, f"{share.text()}\n".encode(), replace=False, mode=0o600)
    session.output.result({"share": share.label, "file": str(out)}, text=f"{share.label} is in {out}")
