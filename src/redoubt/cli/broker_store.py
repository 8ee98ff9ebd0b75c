"""``redoubt broker init|backup|restore|exchange-root``: the life of a broker's store, beside the running broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.broker_root import (
    RootFileOption,
    RootKeyOption,
    RootPassphraseOption,
    ShareOption,
    StoreArgument,
    location_of,
    root_of_shares,
    root_source,
    source_of,
)
from redoubt.cli.output import counted
from redoubt.cli.session import Session, command, group
from redoubt.errors import UsageError

app = group("Run a broker, verify one, and keep its store: backups, shares of the root key.")


@command(app, example="redoubt broker init broker.sqlite --root-key-file broker.key")
def init(
    session: Session,
    store: StoreArgument,
    *,
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
) -> None:
    """Make an empty store, with a signing key and a new root key; a key file that is named is made if there is none.

    The store holds keys of class hw only if its root key is under one. That cannot be changed later.
    """
    from redoubt.broker.store import SqlStore
    from redoubt.keys.rootkey import create_root_key_file
    from redoubt.trust.broker_key import key_id

    source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
    location = location_of(store)
    if root_key_file is not None and not root_key_file.exists():
        create_root_key_file(root_key_file)
    made = SqlStore.create(location, source=source)
    facts = {
        "store": str(location),
        "broker": key_id(made.signing_key.public_key()),
        "assurance": made.identity.assurance.value,
    }
    made.close()
    session.output.result(
        facts, text=f"made {location}, for keys of class {facts['assurance']}; broker id {facts['broker']}"
    )
    session.output.say("Split the root key now (`redoubt broker split`): without it nothing in the store opens.")


@command(app, example="redoubt broker backup broker.sqlite broker.backup --root-key-file broker.key")
def backup(
    session: Session,
    store: StoreArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")],
    *,
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
) -> None:
    """Write the whole store to one file, sealed under the root key. The broker may run meanwhile."""
    from redoubt.broker.backup import write_backup
    from redoubt.broker.database import Database
    from redoubt.broker.header import read_header

    source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
    database = Database(location_of(store))
    try:
        rows = write_backup(database, file, root=database.reading(read_header).unlock(source))
    finally:
        database.close()
    session.output.result({"backup": str(file), "rows": rows}, text=f"wrote {counted(rows, 'row')} to {file}")


@command(app, example="redoubt broker restore broker.backup new.sqlite --share a.txt --share b.txt --root-key-file new")
def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    store: StoreArgument,
    *,
    share: ShareOption = None,
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
) -> None:
    """Make a store of a backup, where none is. What happened since the backup is lost, and owners will be told so.

    With shares, the options of the root key say what it is put under from now on; a key file is made if there is none.
    """
    from redoubt.broker.backup import Backup, restore_store
    from redoubt.keys.rootkey import create_root_key_file

    source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
    location = location_of(store)
    read = Backup.read(file)
    if not share:
        rows = restore_store(location, read, root=read.header.unlock(source), source=None)
    else:
        root = read.header.check(root_of_shares(share))
        if root_key_file is not None and not root_key_file.exists():
            create_root_key_file(root_key_file)
        rows = restore_store(location, read, root=root, source=source)
    session.output.result({"store": str(location), "rows": rows}, text=f"restored {counted(rows, 'row')} to {location}")


@command(app, example="redoubt broker exchange-root broker.sqlite --root-key-file old.key --new-root-key-file new.key")
def exchange_root(
    session: Session,
    store: StoreArgument,
    *,
    share: ShareOption = None,
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
    new_root_key_file: Annotated[
        Path | None,
        typer.Option("--new-root-key-file", metavar="FILE", help="Put it under this key file; made if there is none."),
    ] = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option("--new-passphrase-file", metavar="FILE", help="Put it under the passphrase in this 0600 file."),
    ] = None,
    new_root_key: Annotated[
        str | None, typer.Option("--new-root-key", metavar="KEY", help="Put it under this primary key.")
    ] = None,
) -> None:
    """Put the root key under another key file, passphrase or primary key. No other row of the store is touched.

    The root key itself stays the same, and with it shares and backups; older copies of the store still open with the
    old source.
    """
    from redoubt.broker.database import Database
    from redoubt.broker.header import read_header
    from redoubt.broker.store import exchange_root_source
    from redoubt.keys.rootkey import PassphraseSource, create_root_key_file

    passphrase = None if new_passphrase_file is None else PassphraseSource(file=new_passphrase_file)
    new = source_of(session, file=new_root_key_file, passphrase=passphrase, key=new_root_key)
    location = location_of(store)
    if share:
        if root_key_file is not None or root_passphrase or root_key is not None:
            raise UsageError("the root key comes from shares or from a source, not from both")
        root = root_of_shares(share)
    else:
        source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
        database = Database(location)
        try:
            root = database.reading(read_header).unlock(source)
        finally:
            database.close()
    if new_root_key_file is not None and not new_root_key_file.exists():
        create_root_key_file(new_root_key_file)
    exchange_root_source(location, root=root, source=new)
    session.output.result({"store": str(location)}, text=f"the root key of {location} is under another source now")
