"""``redoubt seal``: plaintext in, sealed files and datasets out."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.output import counted
from redoubt.cli.progress import bytes_bar
from redoubt.cli.session import Session, command
from redoubt.errors import NotFound, UsageError

if TYPE_CHECKING:
    from redoubt.sealed.dataset import Dataset

app = typer.Typer()

#: The file name that means standard input or output.
STREAM = "-"


@command(app, example="redoubt seal people.csv people.csv.sealed, or redoubt seal data/ sealed/")
def seal(
    session: Session,
    paths: Annotated[list[str], typer.Argument(metavar="SRC… DST", help="Files, folders or globs, then where to.")],
    *,
    key: Annotated[str | None, typer.Option("--key", metavar="NAME", help="Primary key (default: `default`).")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the dataset DST.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the content of the dataset DST.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the sealed file DST.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Make a dataset of the sealed files that a codec wrote below SRC.")
    ] = False,
) -> None:
    """Seal a file as one sealed file, or folders and several files as a dataset. `-` is stdin or stdout.

    A dataset changes by one commit: readers see all of it or nothing. Paths may be URIs such as s3://bucket/folder.

    Of a folder every file is sealed, hidden ones too. A symbolic link inside is refused, not followed.
    """
    if append and overwrite:
        raise UsageError("--append and --overwrite contradict each other")
    if adopt:
        _adopt(session, paths, key)
        return
    if len(paths) < 2:
        raise UsageError("name what to seal and where to")
    if "" in paths:
        raise UsageError("a name of a source or of the destination is empty")
    *sources, target = paths
    if sources == [STREAM]:
        _seal_stream(session, target, key, force=force)
        return
    _refuse_inside(sources, target)
    files, single = _files(sources)
    if single and not (append or overwrite):
        _seal_file(session, files[0][0], target, key, force=force)
    else:
        _seal_folder(session, files, target, key, append=append, overwrite=overwrite)


def _adopt(session: Session, paths: list[str], key: str | None) -> None:
    from redoubt.sealed.maintain import adopt

    if len(paths) != 1:
        raise UsageError("--adopt takes one folder")
    _say_dataset(session, adopt(paths[0], keys=session.workspace, key=key))


def _seal_stream(session: Session, target: str, key: str | None, *, force: bool) -> None:
    from redoubt.sealed.transfer import StreamSink, open_output, seal_stream

    sink = StreamSink(sys.stdout.buffer) if target == STREAM else open_output(target, replace=force)
    with bytes_bar("sealing", None, quiet=session.options.json) as progress:
        seal_stream(sys.stdin.buffer, sink, keys=session.workspace, key=key, progress=progress)
    if target != STREAM:
        session.output.result({"sealed": target}, text=f"sealed stdin as {target}")


def _seal_file(session: Session, source: Path, target: str, key: str | None, *, force: bool) -> None:
    from redoubt.sealed.transfer import SEALED_SUFFIX, StreamSink, open_output, seal_file

    if target != STREAM and "://" not in target and Path(target).is_dir():
        target = str(Path(target, source.name + SEALED_SUFFIX))
    size = source.stat().st_size
    with bytes_bar("sealing", size, quiet=session.options.json) as progress:
        sink = StreamSink(sys.stdout.buffer) if target == STREAM else open_output(target, replace=force)
        seal_file(source, sink, keys=session.workspace, key=key, progress=progress)
    if target != STREAM:
        session.output.result({"sealed": target, "bytes": size}, text=f"sealed {source} as {target}")


def _seal_folder(
    session: Session, files: list[tuple[Path, str]], target: str, key: str | None, *, append: bool, overwrite: bool
) -> None:
    from redoubt.sealed.transfer import seal_folder
    from redoubt.sealed.write import WriteMode

    if target == STREAM:
        raise UsageError("a dataset cannot be written to stdout; name a folder")
    mode = WriteMode.APPEND if append else WriteMode.OVERWRITE if overwrite else WriteMode.CREATE
    total = sum(path.stat().st_size for path, _ in files)
    with bytes_bar("sealing", total, quiet=session.options.json) as progress:
        dataset = seal_folder(files, target, keys=session.workspace, key=key, mode=mode, progress=progress)
    _say_dataset(session, dataset)


def _say_dataset(session: Session, dataset: Dataset) -> None:
    commit = dataset.head.commit
    parts = counted(len(dataset.parts), "part")
    session.output.result(
        {
            "dataset": str(dataset.id),
            "location": dataset.storage.location,
            "commit": commit.number,
            "commit_digest": dataset.commit_digest,
            "parts": len(dataset.parts),
        },
        text=f"{dataset.storage.location}: commit {commit.number}, {parts}\n{dataset.commit_digest}",
    )


def _refuse_inside(sources: list[str], target: str) -> None:
    place = Path(target).resolve()  # of a URI, a path that no folder here contains
    for source in map(Path, sources):
        if source.is_dir() and place.is_relative_to(source.resolve()):
            raise UsageError(
                f"{target} is, or lies in, the folder {source} that would be sealed",
                hint="Name a destination outside it.",
            )


def _files(sources: list[str]) -> tuple[list[tuple[Path, str]], bool]:
    """Return (path, name in the dataset) of every file, and whether it is just one file named as such."""
    from redoubt.sealed.transfer import folder_files

    found: list[tuple[Path, str]] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found += folder_files(path)
        elif path.is_file():
            found.append((path, path.name))
        elif matches := sorted(filter(Path.is_file, map(Path, glob.glob(source, recursive=True)))):
            found += [(match, match.name) for match in matches]
        elif path.exists():
            raise UsageError(
                f"{source} is neither a regular file nor a folder",
                hint=f"To seal what can be read from it: `redoubt seal - DST < {source}`.",
            )
        else:
            raise NotFound(f"{source} names no file, folder or pattern that matches")
    names = [name for _, name in found]
    if len(set(names)) != len(names):
        raise UsageError(
            "two files would have the same name in the dataset", hint="Seal their common folder instead: names keep it."
        )
    return found, len(sources) == 1 and Path(sources[0]).is_file()
