"""``redoubt register``: an owner tells a broker which commit of a dataset is the newest."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated

import typer

from redoubt.cli.owner_broker import (
    BrokerIdOption,
    BrokerOption,
    CaOption,
    OwnerKeyOption,
    owner_client,
    refuse_without_broker,
)
from redoubt.cli.pins import AtCommitOption
from redoubt.cli.session import Session, command
from redoubt.errors import UsageError

app = typer.Typer()
_DEVELOPMENT = "redoubt_dev"


@command(app, example="redoubt register sealed/ --broker https://broker:8443 --ca ca.pem --owner-key alice.pem")
def register(
    session: Session,
    path: Annotated[str, typer.Argument(metavar="DATASET", help="A sealed dataset or sealed Parquet table.")],
    *,
    at_commit: AtCommitOption = None,
    broker: BrokerOption = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """Register the newest commit of a dataset: programs accept nothing older, and on top of it only writers' commits.

    Programs register what they write. An owner registers what was sealed without a broker, and what was knowingly put
    back to an earlier state. Without --broker it is the development broker of the workspace.
    """
    from redoubt.keys.register import CommitHead
    from redoubt.sealed.dataset import Dataset

    dataset = Dataset.open(path, keys=session.workspace, at_commit=at_commit)
    head = CommitHead(dataset.head.commit.number, dataset.commit_digest)
    if broker is not None:
        owner_client(broker, ca, owner_key, broker_id).register(dataset.id, head)
    else:
        refuse_without_broker(ca, owner_key, broker_id)
        if importlib.util.find_spec(_DEVELOPMENT) is None:
            raise UsageError("there is no development broker here: pass --broker URL")
        importlib.import_module(f"{_DEVELOPMENT}.workspace_store").register_head(session.workspace, dataset.id, head)
    session.output.result(
        {"dataset": str(dataset.id), "number": head.number, "digest": head.digest, "broker": broker},
        text=f"registered commit {head.number} of {dataset.id}, {head.digest}",
    )
