"""The options that pin a dataset: to a commit, to an identity."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from redoubt.errors import UsageError


def _digest(text: str | None) -> str | None:
    from redoubt.trust.program import is_digest

    if text is not None and not is_digest(text):
        raise UsageError(
            f"--at-commit {text!r} is no digest of a commit",
            why="A commit's digest is sha256: and 64 hexadecimal digits.",
            hint="Copy the digest that `redoubt seal` printed, or that `redoubt inspect` prints as commit_digest.",
        )
    return text


AtCommitOption = Annotated[
    str | None,
    typer.Option("--at-commit", metavar="DIGEST", callback=_digest, help="Refuse any other head than this commit."),
]
DatasetOption = Annotated[
    UUID | None, typer.Option("--dataset", metavar="ID", help="Refuse any other dataset than this one.")
]
