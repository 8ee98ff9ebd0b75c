"""``redoubt unseal``: authenticated plaintext out of sealed files and datasets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.output import naming
from redoubt.cli.pins import AtCommitOption, DatasetOption
from redoubt.cli.progress import bytes_bar
from redoubt.cli.seal import STREAM
from redoubt.cli.session import Session, command
from redoubt.errors import AlreadyExists, UsageError

app = typer.Typer()


@command(app, example="redoubt unseal people.csv.sealed people.csv, or redoubt unseal sealed/ data/")
def unseal(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="SRC", help="A sealed file or dataset, or `-` for stdin.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where to, or `-` for stdout (files only).")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    by_write: Annotated[
        bool, typer.Option("--by-write", help="Put the files of each write to a dataset into a folder of their own.")
    ] = False,
    at_commit: AtCommitOption = None,
    dataset_id: DatasetOption = None,
) -> None:
    """Write the plaintext of a sealed file or dataset. Nothing that is not authentic is ever written under DST's name.

    A pipe can only be checked chunk by chunk: if stdin was truncated, the exit status says so at the end.
    """
    from redoubt.sealed.dataset import Dataset
    from redoubt.sealed.objects import open_object
    from redoubt.sealed.transfer import StreamSink, open_output, unseal_file, unseal_folder, unseal_stream

    if not target:
        raise UsageError("DST is empty")
    keys = session.workspace
    pinned = at_commit is not None or dataset_id is not None
    sink = StreamSink(sys.stdout.buffer) if target == STREAM else None
    file = None if source == STREAM else open_object(source)
    if pinned and (source == STREAM or file is not None):
        raise UsageError(f"--at-commit and --dataset pin a dataset, and {source} is a file")
    if by_write and (source == STREAM or file is not None):
        raise UsageError(f"--by-write is about the writes of a dataset, and {source} is a file")
    if source == STREAM:
        with _destination(), bytes_bar("unsealing", None, quiet=session.options.json) as progress, naming("stdin"):
            unseal_stream(sys.stdin.buffer, sink or open_output(target, replace=force), keys=keys, progress=progress)
        done = 1
    elif file is not None:
        with _destination(), naming(source), bytes_bar("unsealing", file.size, quiet=session.options.json) as progress:
            unseal_file(file, sink or open_output(target, replace=force), keys=keys, where=source, progress=progress)
        done = 1
    else:
        if sink is not None:
            raise UsageError("a dataset cannot be written to stdout; name a folder")
        dataset = Dataset.open(source, keys=keys, at_commit=at_commit, dataset_id=dataset_id)
        total = sum(part.length for part in dataset.parts)
        with _destination(), bytes_bar("unsealing", total, quiet=session.options.json) as progress:
            done = len(unseal_folder(dataset, Path(target), replace=force, by_write=by_write, progress=progress))
        if at_commit is None:
            session.output.say(f"Freshness was not checked; the head is {dataset.commit_digest}.")
    if target != STREAM:
        session.output.result({"unsealed": target, "files": done}, text=f"unsealed {source} to {target}")


@contextmanager
def _destination() -> Iterator[None]:
    try:
        yield
    except AlreadyExists as error:
        raise AlreadyExists(error.what, hint="Choose another DST, or pass --force to replace it.") from None
