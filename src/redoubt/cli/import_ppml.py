"""``redoubt import-ppml``: files that BigDL PPML encrypted become a sealed dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from redoubt.cli.output import Json, counted
from redoubt.cli.progress import bytes_bar
from redoubt.cli.session import Session, command
from redoubt.compat.names import Layout, Service
from redoubt.errors import UsageError

if TYPE_CHECKING:
    from redoubt.compat.files import LegacyKeys
    from redoubt.compat.migrate import Imported

app = typer.Typer()

_SHORT: Final = {"simple": Service.SIMPLE, "ehsm": Service.EHSM, "azure": Service.AZURE, "bigdl": Service.BIGDL}
_FILE: Final = "FILE"


@command(app, example="redoubt import-ppml people.csv.cbc/ people/ --kms simple --primary-key primaryKey")
def import_ppml(
    session: Session,
    paths: Annotated[list[Path], typer.Argument(metavar="SRC… DST", help="Files and folders, then where to.")],
    *,
    kms: Annotated[
        str | None,
        typer.Option("--kms", metavar="TYPE", help="simple, ehsm, azure, plainText, rsa, or the name in BigDL PPML."),
    ] = None,
    primary_key: Annotated[Path | None, typer.Option("--primary-key", metavar=_FILE, help="Its primary key.")] = None,
    data_key: Annotated[
        Path | None,
        typer.Option("--data-key", metavar=_FILE, help="The wrapped data key (default: what files name)."),
    ] = None,
    data_key_text: Annotated[
        Path | None, typer.Option("--data-key-text", metavar=_FILE, help="The data key itself, in a 0600 file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the service, as of its provider; repeatable."),
    ] = None,
    format: Annotated[
        Layout | None, typer.Option("--format", help="The layout (default: what the header says).")
    ] = None,
    aes_bits: Annotated[int | None, typer.Option("--aes-bits", metavar="N", help="Of gen-a: 128 or 256.")] = None,
    accept_unauthenticated: Annotated[
        bool, typer.Option("--accept-unauthenticated", help="Take files that no MAC protects.")
    ] = False,
    key: Annotated[str | None, typer.Option("--key", metavar="NAME", help="Primary key (default: `default`).")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the dataset DST.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the content of the dataset DST.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every file, write nothing.")] = False,
) -> None:
    """Seal what BigDL PPML encrypted. Every file is checked whole before anything is written; the sources stay.

    A file that was changed or cut short is refused and named. Weak keys and what no MAC covers are named, too.
    """
    from redoubt.compat.migrate import Sources, check_all, seal_all
    from redoubt.sealed.write import WriteMode

    if append and overwrite:
        raise UsageError("--append and --overwrite contradict each other")
    if len(paths) < 2:
        raise UsageError("name what to import and where to")
    if aes_bits not in (None, 128, 256):
        raise UsageError("--aes-bits is 128 or 256")
    *given, target = paths
    for source in given:
        if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
            raise UsageError(f"{target} is, or lies in, the folder {source} that would be imported")
    legacy = legacy_keys(
        kms,
        primary_key,
        data_key,
        data_key_text,
        settings=_settings(set_),
        aes_bits=aes_bits,
        accept_unauthenticated=accept_unauthenticated,
    )
    sources = Sources.of(given)
    total = sum(it.path.stat().st_size for it in sources.files)
    with bytes_bar("checking", total, quiet=session.options.json) as progress:
        found = check_all(sources, legacy, layout=format, progress=progress)
    for line in weaknesses(found):
        session.output.say(line)
    listed: list[Json] = [
        {
            "source": str(it.source.path),
            "name": it.source.name,
            "layout": it.file.layout.value,
            "bytes": it.file.plaintext_length,
            "mac": it.file.coverage.value,
            "aes_bits": it.file.aes_bits,
            "key_strength": it.file.strength,
        }
        for it in found
    ]
    facts: dict[str, Json] = {"files": listed, "left_out": [str(it) for it in sources.left_out]}
    files = counted(len(found), "file")
    if dry_run:
        session.output.result({"dry_run": True, **facts}, text=f"{files} can be imported; nothing was written")
        return
    mode = WriteMode.APPEND if append else WriteMode.OVERWRITE if overwrite else WriteMode.CREATE
    keys = session.workspace
    plain = sum(it.file.plaintext_length for it in found)
    with bytes_bar("sealing", plain, quiet=session.options.json) as progress:
        dataset = seal_all(
            sources, str(target), legacy=legacy, layout=format, keys=keys, key=key, mode=mode, progress=progress
        )
    session.output.result(
        {
            "dataset": str(dataset.id),
            "location": dataset.storage.location,
            "commit": dataset.head.commit.number,
            "commit_digest": dataset.commit_digest,
            **facts,
        },
        text=f"imported {files} into {dataset.storage.location}\n{dataset.commit_digest}",
    )


def weaknesses(found: tuple[Imported, ...]) -> list[str]:
    """Return one line for each weakness, with the number of files that have it."""
    counts: dict[str, int] = {}
    for it in found:
        for weakness in it.file.weaknesses:
            counts[weakness] = counts.get(weakness, 0) + 1
    return [f"weak, {counted(count, 'file')}: {weakness}" for weakness, count in counts.items()]


def legacy_keys(
    kms: str | None,
    primary_key: Path | None,
    data_key: Path | None,
    data_key_text: Path | None,
    *,
    settings: dict[str, str],
    aes_bits: int | None = None,
    accept_unauthenticated: bool = False,
) -> LegacyKeys:
    """Return what the options give to open files with.

    Raises:
        UsageError: they contradict each other, or the service is none.
        LegacyError, KeyError_, NotFound, StorageError: a key file cannot be used.
    """
    from redoubt.compat.files import LegacyKeys
    from redoubt.compat.unwrap import read_key_file, read_secret_file, service
    from redoubt.crypto.legacy_keys import DataKeyText

    if (kms is None) != (primary_key is None):
        raise UsageError("--kms and --primary-key go together")
    if data_key_text is not None and (kms is not None or data_key is not None):
        raise UsageError("--data-key-text needs no other key")
    if data_key_text is None and kms is None:
        raise UsageError("name the keys: --kms and --primary-key, or --data-key-text")
    return LegacyKeys(
        unwrap=service(_service(kms), primary_key, settings=settings) if kms and primary_key else None,
        wrapped=read_key_file(data_key, what="the data key") if data_key else None,
        data_key=DataKeyText(read_secret_file(data_key_text, what="the data key")) if data_key_text else None,
        aes_bits=aes_bits,
        accept_unauthenticated=accept_unauthenticated,
    )


def _service(name: str) -> Service:
    if name in _SHORT:
        return _SHORT[name]
    try:
        return Service(name)
    except ValueError:
        known = ", ".join([*_SHORT, Service.PLAIN_TEXT, Service.RSA])
        raise UsageError(f"{name[:64]!r} is no key management service of BigDL PPML; known: {known}") from None


def _settings(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError("a --set is not NAME=VALUE")
        found[name] = value
    return found
