"""An agent for the command line, and the laptop path: an embedded development broker in the nearest workspace.

Everything of it is simulated and says so. The broker, the simulated attester and the development manifest come from the
second wheel, redoubt-dev, by name: where that is not installed there is no such path.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redoubt.errors import TeeMissing

if TYPE_CHECKING:
    from redoubt.agent.attest import AttestedAgent, Pins
    from redoubt.agent.measure import MeasuredProgram
    from redoubt.evidence.collect.attester import Attester
    from redoubt.keys.workspace import Workspace
    from redoubt.protocol.https import Brokers
    from redoubt.trust.ear_verify import AttestationResult
    from redoubt.trust.signing import SignedManifest


Say = Callable[[str], None]


def agent_for(program: MeasuredProgram, brokers: Brokers, attester: Attester, pins: Pins, *, say: Say) -> AttestedAgent:
    """Return the agent of *program*, which has not attested yet."""
    from redoubt.agent.attest import AttestedAgent
    from redoubt.protocol.https import BrokerConnection
    from redoubt.protocol.rcar import ProgramStatement

    statement = ProgramStatement(program.descriptor.digest, program.arguments)
    return AttestedAgent(BrokerConnection(brokers), attester, program=statement, pins=pins, say=say)


def describe(result: AttestationResult) -> str:
    """Return what a person should see of the attestation result that a program is started with."""
    return (
        f"attested by {result.issuer}: status {result.status}, tee {result.tee}, binding {result.binding}, "
        f"manifest {result.manifest}, until {result.valid_until.isoformat()}"
    )


@contextmanager
def development_agent(
    workspace: Workspace, words: Sequence[str], program: MeasuredProgram, *, say: Say
) -> Iterator[AttestedAgent]:
    """Yield an agent of *program* whose broker runs in this process, while the context lasts.

    In a workspace without a manifest one is made that pins exactly this program.
    """
    from redoubt.agent.attest import Pins
    from redoubt.protocol.https import Brokers

    development = _development()
    say("SIMULATED evidence and an embedded development broker: this proves nothing about hardware")
    if development.laptop.current_manifest(workspace) is None:
        signed = trust_program(workspace, words, program, say=say)
        say(f"made development manifest {signed.digest}: it trusts exactly this program with all data of the workspace")
    with development.DevelopmentBroker(workspace) as broker:
        brokers = Brokers(urls=(broker.url,), ca=broker.ca)
        pins = Pins(broker_id=broker.id, simulated=True)
        yield agent_for(program, brokers, development.SimulatedAttester(), pins, say=say)


def trust_program(
    workspace: Workspace,
    words: Sequence[str],
    program: MeasuredProgram,
    *,
    say: Say,
    roles: frozenset[tuple[str, str]] = frozenset(),
) -> SignedManifest:
    """Make the development manifest trust *program* as it is, and with these *roles*, saying what changes by that."""
    from redoubt.cli.manifest import plan_text
    from redoubt.trust.plan import plan

    laptop = _development().laptop
    current = laptop.current_manifest(workspace)
    trusted = laptop.TrustedProgram(digest=program.descriptor.digest, arguments=(program.arguments,), roles=roles)
    manifest = laptop.draft(workspace, current, laptop.program_name(words), trusted)
    if current is not None:
        say(plan_text(plan(current.manifest, manifest), current))
    signed: SignedManifest = laptop.sign_and_set(workspace, manifest)
    return signed


def require_development() -> None:
    """Raise TeeMissing unless the embedded broker can be had."""
    _development()


def is_development(signed: SignedManifest) -> bool:
    """Return whether *signed* is a development manifest: its one owner is the workspace's developer."""
    return set(signed.manifest.owners) == {"developer"}


def _development() -> Any:
    try:
        importlib.import_module("redoubt_dev.laptop")
        return importlib.import_module("redoubt_dev")
    except ModuleNotFoundError:
        raise TeeMissing(
            "no broker was named, and the embedded one comes from redoubt-dev, which is not installed",
            hint="Name a broker with --broker and --ca. For development only: `pip install ./dev` in the repository.",
        ) from None
