"""Where the receipt of a job goes that the command line started: a file, or one line that says why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from redoubt.cli.files import write_file
from redoubt.errors import RedoubtError, StorageError, WorkspaceError

if TYPE_CHECKING:
    from redoubt.agent.exec import Outcome
    from redoubt.cli.session import Session

ReceiptOption = Annotated[
    Path | None,
    typer.Option("--receipt", metavar="FILE", help="Write the receipt there (default: into the workspace)."),
]
RequireReceiptOption = Annotated[bool, typer.Option("--require-receipt", help="Fail if the broker signs no receipt.")]
#: Below a workspace's state folder.
FOLDER: Final = "receipts"
_JOB_DIGITS: Final = 12


def keep_receipt(session: Session, outcome: Outcome, *, file: Path | None, required: bool) -> Path | None:
    """Write the receipt of *outcome* to *file*, by default into the workspace, and say where it is.

    Without a workspace and a *file* it is kept by the broker alone.

    Raises:
        RedoubtError: there is none, or it cannot be written, and it is *required*.
    """
    from redoubt.trust.receipt import Receipt

    say: Callable[[str], None] = session.output.say
    try:
        if isinstance(outcome.receipt, RedoubtError):
            raise outcome.receipt
        receipt = Receipt.parse(outcome.receipt)
        job = receipt.proved.job
        path = file or _default(session, f"{receipt.proved.at:%Y%m%dT%H%M%SZ}-{job[7 : 7 + _JOB_DIGITS]}.json")
        if path is not None:
            write_file(path, outcome.receipt + b"\n", replace=True)
    except RedoubtError as error:
        if required:
            raise
        say(f"no receipt: {error}")
        return None
    kind = "SIMULATED receipt" if receipt.simulated else "receipt"
    say(f"{kind}: {path}" if path is not None else f"{kind} of the job {job}: the broker keeps it (--receipt FILE)")
    return path


def _default(session: Session, name: str) -> Path | None:
    try:
        folder = session.workspace.state_folder / FOLDER
    except WorkspaceError:
        return None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from None
    return folder / name
