"""``redoubt audit``: export the audit log of a store, and verify an export without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.broker_root import (
    RootFileOption,
    RootKeyOption,
    RootPassphraseOption,
    location_of,
    root_source,
)
from redoubt.cli.files import read_file, write_file
from redoubt.cli.output import counted
from redoubt.cli.owner_broker import BrokerIdOption, CaOption, OwnerKeyOption, owner_client, refuse_without_broker
from redoubt.cli.session import Session, command, group
from redoubt.errors import AlreadyExists, AuditForked, AuditTruncated, NotFound, StorageError, UsageError
from redoubt.limits import MAX_AUDIT_LINE_BYTES, MAX_KEY_SET_BYTES, MAX_TOKEN_BYTES

if TYPE_CHECKING:
    from redoubt.broker.store import SqlStore
    from redoubt.protocol.owner_client import OwnerClient
    from redoubt.trust.audit_chain import AuditEntry, ChainEnd
    from redoubt.trust.audit_head import AuditHead

app = group("Export and verify the audit log of a broker.")


@command(app, example="redoubt audit verify audit.jsonl --head head.jws --keys broker.jwks")
def verify(
    session: Session,
    log: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL", help="An export of the log, from its first row on; or https://HOST:PORT, a broker."
        ),
    ],
    *,
    head: Annotated[
        Path | None, typer.Option("--head", metavar="FILE", help="A head that the broker signed, of any time.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", metavar="FILE", help="The broker's public keys, a JWK set or PEM: its `/.well-known/jwks.json`."
        ),
    ] = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """Verify that no row of an audit log was changed, removed or put elsewhere.

    Without a signed head nothing can be said about rows that are missing at the end of an export, or about a log that
    was rewritten as a whole. A running broker signs its head for the owner who asks.
    """
    from redoubt.evidence.key_set import load_keys
    from redoubt.trust.audit_head import verify_head, verify_log

    signed: AuditHead | None = None
    rows: Iterator[AuditEntry]
    if log.startswith("https://"):
        if head is not None or keys is not None:
            raise UsageError("--head and --keys go with a file; a running broker signs its head now")
        client = owner_client(log, ca, owner_key, broker_id)
        signed, _ = client.audit_head()
        rows = client.audit_rows(start=1, end=signed.end.number)
    else:
        refuse_without_broker(ca, owner_key, broker_id)
        if (head is None) != (keys is None):
            raise UsageError("a signed head is verified with the broker's keys: pass --head and --keys, or neither")
        if head is not None and keys is not None:
            known = load_keys(read_file(keys, limit=MAX_KEY_SET_BYTES))
            signed = verify_head(read_file(head, limit=MAX_TOKEN_BYTES), keys=known, now=datetime.now(UTC))
        rows = _rows(Path(log))
    end = verify_log(rows, head=signed)
    session.output.result(
        {
            "rows": end.number,
            "digest": end.digest,
            "head": None if signed is None else {"number": signed.end.number, "at": signed.at.isoformat()},
        },
        text=f"{counted(end.number, 'row')}, {end.digest}: verified",
    )
    if signed is None:
        session.output.say("No signed head was given: rows missing at the end would not be noticed.")


@command(app, example="redoubt audit export broker.sqlite audit.jsonl --head head.jws --root-key-file broker.key")
def export(
    session: Session,
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE|URL", help="The store, as `broker init` made it; or https://HOST:PORT, a broker."
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file: JSON lines.")],
    *,
    head: Annotated[Path, typer.Option("--head", metavar="FILE", help="The new file of the head, signed.")],
    root_key_file: RootFileOption = None,
    root_passphrase: RootPassphraseOption = False,
    root_key: RootKeyOption = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """Export the whole audit log of a store, or as an owner of a running broker, with a signed head.

    A log that is not whole is not signed, and one that does not go up to the broker's head is not written.
    """
    from redoubt.broker.store import SqlStore
    from redoubt.trust.audit_chain import ChainEnd
    from redoubt.trust.audit_head import sign_head

    if head.exists():
        raise AlreadyExists(f"{head} exists")
    if store.startswith("https://"):
        if root_key_file is not None or root_passphrase or root_key is not None:
            raise UsageError("a root key opens a store; a running broker is asked as an owner")
        _export_from_broker(session, owner_client(store, ca, owner_key, broker_id), file, head)
        return
    refuse_without_broker(ca, owner_key, broker_id)
    source = root_source(session, file=root_key_file, passphrase=root_passphrase, key=root_key)
    opened = SqlStore.open(location_of(store), source=source)
    try:
        newest = opened.audit.head()
        end = _export(_stored(opened), file, newest=None if newest is None else ChainEnd.of(newest))
        write_file(head, sign_head(end, key=opened.signing_key, at=datetime.now(UTC)) + b"\n", replace=False)
    finally:
        opened.close()
    _say(session, end, file, head)


def _export_from_broker(session: Session, client: OwnerClient, file: Path, head: Path) -> None:
    signed, text = client.audit_head()
    end = _export(client.audit_rows(start=1, end=signed.end.number), file, newest=signed.end)
    write_file(head, text + b"\n", replace=False)
    _say(session, end, file, head)


def _say(session: Session, end: ChainEnd, file: Path, head: Path) -> None:
    session.output.result(
        {"rows": end.number, "digest": end.digest, "file": str(file), "head": str(head)},
        text=f"exported {counted(end.number, 'row')} to {file}",
    )


def _export(rows: Iterator[AuditEntry], path: Path, *, newest: ChainEnd | None) -> ChainEnd:
    """Write the log to the new file *path*, verified on its way up to *newest* or further, and return its end."""
    from redoubt.sealed.local import AtomicFile
    from redoubt.trust.audit_chain import START, ChainEnd, export_line, follow

    end = START
    file = AtomicFile(path, replace=False)
    try:
        for entry in follow(START, rows):
            file.write(export_line(entry))
            end = ChainEnd.of(entry)
            if newest is not None and end.number == newest.number and end != newest:
                raise AuditForked(f"row {end.number} of the log is another one than its head says")
        if newest is not None and end.number < newest.number:
            raise AuditTruncated(f"the log ends with row {end.number}, and row {newest.number} was there before")
    except BaseException:
        file.abort()
        raise
    file.finish()
    return end


def _stored(store: SqlStore) -> Iterator[AuditEntry]:
    start = 1
    while page := store.audit.entries(start=start):
        yield from page
        start = page[-1].number + 1


def _rows(path: Path) -> Iterator[AuditEntry]:
    from redoubt.trust.audit_chain import parse_line

    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_AUDIT_LINE_BYTES + 2):
                yield parse_line(line)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
