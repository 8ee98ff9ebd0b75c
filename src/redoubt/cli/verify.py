"""``redoubt verify``, ``inspect``, ``rewrap`` and ``gc``: looking at and after sealed data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from redoubt.cli.output import Json, counted, failure_of, naming, printable
from redoubt.cli.pins import AtCommitOption, DatasetOption
from redoubt.cli.progress import bytes_bar
from redoubt.cli.session import Session, command
from redoubt.errors import ExitStatus, KeyError_, SealedError, StorageError, UsageError

if TYPE_CHECKING:
    from redoubt.sealed.dataset import Dataset
    from redoubt.sealed.storage import RandomAccess

verify_app = typer.Typer()


@command(verify_app, example="redoubt verify sealed/ --at-commit sha256:…, or redoubt verify sealed/ *.sealed")
def verify(
    session: Session,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Sealed files, datasets and sealed Parquet tables.")
    ],
    *,
    at_commit: AtCommitOption = None,
    dataset_id: DatasetOption = None,
) -> None:
    """Authenticate every byte without writing plaintext anywhere. Every fault is listed; any fault is exit status 3.

    Several paths are all verified, whatever is wrong with one of them.
    """
    if len(paths) == 1:
        data, text = _verified(session, paths[0], at_commit, dataset_id)
        session.output.result(data, text=text)
        return
    if at_commit is not None or dataset_id is not None:
        raise UsageError("--at-commit and --dataset pin one dataset; name one PATH with them")
    results: list[Json] = []
    statuses: list[ExitStatus] = []
    for path in paths:
        try:
            data, text = _verified(session, path, None, None)
        except (SealedError, KeyError_, StorageError, UsageError) as error:
            session.output.say(f"redoubt: {error.explain()}")
            results.append({"path": path, "error": failure_of(error)})
            statuses.append(error.exit_status)
        else:
            results.append(data)
            if not session.options.json:
                session.output.result({}, text=text)
    session.output.result({"results": results})
    if statuses:
        raise typer.Exit(ExitStatus.REFUSED if ExitStatus.REFUSED in statuses else statuses[0])


def _verified(
    session: Session, path: str, at_commit: str | None, dataset_id: UUID | None
) -> tuple[dict[str, Json], str]:
    """Verify what lies at *path*; return the result and its text, or raise."""
    from redoubt.sealed.objects import open_object

    file = open_object(path)
    with naming(path):
        if file is not None:
            if at_commit is not None or dataset_id is not None:
                file.close()
                raise UsageError("--at-commit and --dataset pin a dataset, and this is a file")
            return _verified_file(session, path, file)
        return _verified_dataset(session, path, at_commit, dataset_id)


def _verified_file(session: Session, path: str, file: RandomAccess) -> tuple[dict[str, Json], str]:
    from redoubt.sealed.standalone import open_standalone

    try:
        with bytes_bar("verifying", file.size, quiet=session.options.json) as progress:
            opened = open_standalone(file, keys=session.workspace, where=path)
            for block in opened.reader.stream():
                progress(len(block))
    finally:
        file.close()
    return (
        {"path": path, "kind": "file", "plaintext_bytes": opened.reader.size},
        f"{path}: authentic, {counted(opened.reader.size, 'byte')} of plaintext",
    )


def _verified_dataset(
    session: Session, path: str, at_commit: str | None, dataset_id: UUID | None
) -> tuple[dict[str, Json], str]:
    from redoubt.sealed.verify import verify_dataset

    with bytes_bar("verifying", None, quiet=session.options.json) as progress:
        report = verify_dataset(
            path, keys=session.workspace, at_commit=at_commit, dataset_id=dataset_id, progress=progress
        )
    if report.faults:
        first = report.faults[0]
        what = first.error.what if first.name in first.error.what else f"{first.name}: {first.error.what}"
        if len(report.faults) > 1:
            for fault in report.faults:
                session.output.say(printable(f"{fault.name}: {fault.error}", keep=""))
            what = f"{path} has {len(report.faults)} faults; the first: {what}"
        raise type(first.error)(what, hint=first.error.hint, why=first.error.why)
    for name in report.orphans:
        session.output.say(printable(f"not listed by the head, never read: {name}", keep=""))
    counts = ", ".join(
        counted(count, noun)
        for count, noun in (
            (report.parts, "part"),
            (report.commits, "commit"),
            (len(report.orphans), "unlisted file"),
        )
    )
    return (
        {
            "path": path,
            "kind": "dataset",
            "dataset": str(report.dataset.id),
            "commits": report.commits,
            "commit_digest": report.dataset.commit_digest,
            "parts": report.parts,
            "bytes": report.bytes,
            "orphans": list(report.orphans),
            "freshness": report.dataset.freshness.value,
        },
        f"{path}: authentic, {counts}\n{report.dataset.commit_digest} (freshness {report.dataset.freshness.value})",
    )


inspect_app = typer.Typer()


@command(inspect_app, example="redoubt inspect people.csv.sealed")
def inspect(session: Session, path: Annotated[str, typer.Argument(metavar="PATH", help="What to look at.")]) -> None:
    """Show what a sealed file or dataset says of itself. A file needs no keys, so nothing shown is authenticated."""
    from redoubt.sealed.dataset import Dataset
    from redoubt.sealed.objects import open_object

    file = open_object(path)
    if file is not None:
        try:
            with naming(path):
                facts = _file_facts(file)
        finally:
            file.close()
        session.output.result(facts, text=_lines(facts))
        return
    with naming(path):
        dataset = Dataset.open(path, keys=session.workspace)
    commit = dataset.head.commit
    facts = {
        "kind": "dataset",
        "dataset": str(dataset.id),
        "key": ", ".join(_keys_of(dataset)),
        "commit": commit.number,
        "commit_digest": dataset.commit_digest,
        "operation": commit.operation.value,
        "created": commit.created,
        "properties": dict(commit.properties),
    }
    parts: list[Json] = [
        {
            "name": part.name,
            "kind": part.kind.value,
            "length": part.length,
            "media_type": part.media_type,
            "sha256": part.sha256,
        }
        for part in dataset.parts
    ]
    rows = [(part.name, part.kind.value, part.length, part.media_type, part.sha256) for part in dataset.parts]
    columns = ("part", "kind", "bytes", "media type", "sha256")
    session.output.table({**facts, "parts": parts}, columns=columns, rows=rows, heading=_lines(facts))


def _keys_of(dataset: Dataset) -> list[str]:
    """Return the primary keys, with their versions, that the data keys of *dataset* are wrapped by."""
    from redoubt.sealed.keyfiles import data_key_ids, read_current

    wrapped = [read_current(dataset.storage, it)[1] for it in data_key_ids(dataset.storage)]
    return sorted({f"{it.key} version {it.version}" for it in wrapped})


rewrap_app = typer.Typer()


@command(rewrap_app, example="redoubt keys rotate default && redoubt rewrap sealed/ people.csv.sealed")
def rewrap(
    session: Session,
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Sealed files and datasets.")],
) -> None:
    """Wrap data keys under the newest version of their primary key. No data is rewritten; readers go on meanwhile.

    A re-wrap does not revoke a data key that leaked: sealing the data again does.
    """
    from redoubt.sealed.maintain import rewrap_dataset
    from redoubt.sealed.objects import is_folder
    from redoubt.sealed.standalone import rewrap_standalone

    replaced = current = 0
    for path in paths:
        if is_folder(path):
            with naming(path):
                done = rewrap_dataset(path, keys=session.workspace, provider_for=session.workspace.provider_for)
        elif "://" in path:
            raise UsageError(
                f"{path}: a sealed file on an object store cannot be changed in place",
                hint="Copy it to a local disk, re-wrap it there and copy it back.",
            )
        else:
            with naming(path):
                done = rewrap_standalone(Path(path), provider_for=session.workspace.provider_for)
        replaced, current = replaced + done.replaced, current + done.current
    session.output.result(
        {"replaced": replaced, "current": current},
        text=f"{counted(replaced, 'wrapped key')} replaced, {current} current already",
    )


gc_app = typer.Typer()


@command(gc_app, example="redoubt gc sealed/ --dry-run", name="gc")
def collect(
    session: Session,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A sealed dataset.")],
    *,
    older_than_hours: Annotated[
        float,
        typer.Option("--older-than", metavar="HOURS", min=0, help="Spare younger files: a write may be going on."),
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete files that the head commit does not list: what unfinished and replaced writes left behind."""
    from redoubt.sealed.maintain import collect_garbage
    from redoubt.sealed.objects import is_folder

    if not is_folder(path):
        raise UsageError(f"{path} is a file, not a sealed dataset", hint="Name the dataset's folder.")
    names = collect_garbage(path, keys=session.workspace, older_than=older_than_hours * 3600, dry_run=dry_run)
    spared = set(collect_garbage(path, keys=session.workspace, older_than=0, dry_run=True)) - set(names)
    done = f"{counted(len(names), 'file')} {'would be deleted' if dry_run else 'deleted'}"
    if spared:
        done += f"; {counted(len(spared), 'younger one')} spared (--older-than {older_than_hours:g} hours)"
    session.output.result(
        {"deleted": [*names], "spared": len(spared), "dry_run": dry_run},
        text="\n".join([*(printable(name, keep="") for name in names), done]),
    )


def _lines(facts: Mapping[str, Json]) -> str:
    return "\n".join(printable(f"{name}: {value}", keep="") for name, value in facts.items())


def _file_facts(file: RandomAccess) -> dict[str, Json]:
    from redoubt.limits import MAX_HEADER_BYTES
    from redoubt.sealed.header import FilePurpose, Header
    from redoubt.sealed.standalone import read_preamble

    start = bytearray(MAX_HEADER_BYTES)
    header, _ = Header.parse(bytes(start[: file.read_into(0, memoryview(start))]))
    facts: dict[str, Json] = {
        "kind": header.purpose.value,
        "dataset": str(header.dataset_id),
        "data_key": str(header.data_key_id),
        "media_type": header.media_type,
        "bytes": file.size,
    }
    if header.purpose is FilePurpose.STANDALONE:
        slot = read_preamble(file).slot
        facts |= {"key": str(slot.wrapped.key), "key_version": slot.wrapped.version, "generation": slot.generation}
    else:
        facts |= {"commit": str(header.commit_id), "name": header.part_name}
    return facts
