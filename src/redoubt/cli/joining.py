"""How a submitted driver joins a cluster: where it attests, as what, and what its JVM finds when it starts.

A cluster of this workspace is known by its master's address, and says all that is needed. Others are named by the
options for broker and trust domain.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.attest import Choice
from redoubt.cli.attested import BrokerChoice
from redoubt.errors import ClusterMissing, UsageError

if TYPE_CHECKING:
    from redoubt.agent.exec import Execution
    from redoubt.agent.measure import MeasuredProgram
    from redoubt.cli.session import Session
    from redoubt.spark.cluster.state import ClusterState
    from redoubt.trust.signing import SignedManifest

DomainOption = Annotated[
    str | None,
    typer.Option(
        "--domain", metavar="DOMAIN", help="The cluster's trust domain (default: as this workspace knows it)."
    ),
]
_DRIVER = "driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """A cluster that a driver is to join."""

    choice: BrokerChoice
    domain: str
    #: Of a cluster of this workspace.
    state: ClusterState | None

    def execution(self, execution: Execution, program: MeasuredProgram) -> Execution:
        """Return *execution* with the driver's role, and with the files that its JVM is set to read.

        `redoubt cluster status` shows it among the others.
        """
        from redoubt.agent.membership import Role
        from redoubt.spark.cluster.files import member_files

        java = Path(program.descriptor.environment["JAVA_HOME"])
        role = Role.parse(f"{self.domain}/{_DRIVER}")
        status = None if self.state is None else Path(self.state.agent.status) / f"{_DRIVER}-{os.getpid()}.json"
        return replace(execution, role=role, joined=lambda folder: member_files(java, folder=folder), status=status)

    def trust(self, session: Session, words: Sequence[str], program: MeasuredProgram) -> SignedManifest:
        """Let the development manifest accept *program* as a driver of the cluster; raises UsageError for others."""
        from redoubt.cli.agent_local import trust_program

        if self.state is None or not self.state.is_development:
            raise UsageError(
                "--trust is for development clusters: the owners of this one sign who may be its driver",
                hint="Take the digest of --measure into `redoubt manifest add-program` and `add-role`.",
            )
        roles = frozenset({(self.domain, _DRIVER)})
        return trust_program(session.workspace, words, program, say=session.output.say, roles=roles)

    def trust_first(self, session: Session, words: Sequence[str], program: MeasuredProgram) -> None:
        """Let the first program be a driver of a development cluster unasked, as the first of a workspace may run."""
        from redoubt.trust.store import ManifestStore

        if self.state is None or not self.state.is_development:
            return
        history = ManifestStore(session.workspace.state_folder).history()
        if history and any(it.domain == self.domain and _DRIVER in it.roles for it in history[-1].manifest.roles):
            return
        signed = self.trust(session, words, program)
        session.output.say(f"development manifest {signed.digest} lets exactly this program be the cluster's driver")


def joining(session: Session, master: str, choice: BrokerChoice, domain: str | None) -> Joining:
    """Return how a driver joins the cluster of *master*.

    Raises:
        ClusterMissing: it is none of this workspace, and no broker was named.
        UsageError: a broker was named without the trust domain, or the master is no address.
    """
    from redoubt.spark.cluster.conf import address_of

    known = [] if choice.broker else _of_workspace(session)
    state = next((it for it in known if address_of(it.master) == address_of(master)), None)
    if state is None:
        if not choice.broker:
            others = f"; there is {', '.join(it.master for it in known)}" if known else ""
            raise ClusterMissing(
                f"no cluster that runs in this workspace has the master {master}{others}",
                hint="`redoubt cluster up` starts one. For another one give --broker, --ca and --domain.",
            )
        if domain is None:
            raise UsageError("a cluster that is not this workspace's needs --domain, its trust domain")
        return Joining(choice=choice, domain=domain, state=None)
    agent = state.agent
    tee = Choice(agent.tee) if choice.tee is Choice.AUTO else choice.tee
    own = replace(choice, broker=[agent.broker], ca=Path(agent.ca), broker_id=agent.broker_id, tee=tee)
    return Joining(choice=own, domain=domain or state.domain, state=state)


def _of_workspace(session: Session) -> list[ClusterState]:
    """Return the clusters whose master runs: what was killed whole has left its folder, and maybe its address."""
    from redoubt.errors import WorkspaceMissing
    from redoubt.spark.cluster.state import MASTER, all_clusters

    try:
        return [it for it in all_clusters(session.workspace.state_folder) if it.runs(MASTER)]
    except WorkspaceMissing:
        return []
