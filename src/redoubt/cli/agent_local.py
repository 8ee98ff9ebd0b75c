"""An agent for the command line, and the laptop path: an embedded development broker in the nearest workspace.

Everything of it is simulated and says so. The broker, the simulated attester and the development manifest come from the
second wheel, redoubt-dev, by name: where that is not installed there is no such path.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redoubt.cli.session import Session
from redoubt.errors import TeeMissing

if TYPE_CHECKING:
    from redoubt.agent.attest import AttestedAgent, Pins
    from redoubt.agent.exec import Execution
    from redoubt.agent.https import Brokers
    from redoubt.agent.measure import MeasuredProgram
    from redoubt.evidence.collect.attester import Attester
    from redoubt.trust.ear_verify import AttestationResult
    from redoubt.trust.signing import SignedManifest


def agent_for(
    session: Session, program: MeasuredProgram, brokers: Brokers, attester: Attester, pins: Pins
) -> AttestedAgent:
    """Return the agent of *program*, which has not attested yet."""
    from redoubt.agent.attest import AttestedAgent
    from redoubt.agent.https import BrokerConnection
    from redoubt.protocol.rcar import ProgramStatement

    statement = ProgramStatement(program.descriptor.digest, program.arguments)
    return AttestedAgent(BrokerConnection(brokers), attester, program=statement, pins=pins, say=session.output.say)


def say_result(session: Session, result: AttestationResult) -> None:
    """Tell which attestation result a program is started with."""
    session.output.say(
        f"attested by {result.issuer}: status {result.status}, tee {result.tee}, binding {result.binding}, "
        f"manifest {result.manifest}, until {result.valid_until.isoformat()}"
    )


def exec_locally(session: Session, words: Sequence[str], program: MeasuredProgram, execution: Execution) -> int:
    """Run *program*, attested by the workspace's development broker, and return its exit status."""
    from redoubt.agent.exec import execute

    with development_agent(session, words, program) as agent:
        return execute(program, agent, execution=execution, attested=lambda it: say_result(session, it))


@contextmanager
def development_agent(session: Session, words: Sequence[str], program: MeasuredProgram) -> Iterator[AttestedAgent]:
    """Yield an agent of *program* whose broker runs in this process, while the context lasts.

    In a workspace without a manifest one is made that pins exactly this program.
    """
    from redoubt.agent.attest import Pins
    from redoubt.agent.https import Brokers

    development = _development()
    session.output.say("SIMULATED evidence and an embedded development broker: this proves nothing about hardware")
    if development.laptop.current_manifest(session.workspace) is None:
        signed = trust_program(session, words, program)
        session.output.say(
            f"made development manifest {signed.digest}: it trusts exactly this program with all data of the workspace"
        )
    with development.DevelopmentBroker(session.workspace) as broker:
        brokers = Brokers(urls=(broker.url,), ca=broker.ca)
        pins = Pins(broker_id=broker.id, simulated=True)
        yield agent_for(session, program, brokers, development.SimulatedAttester(), pins)


def trust_program(session: Session, words: Sequence[str], program: MeasuredProgram) -> SignedManifest:
    """Make the development manifest trust *program* as it is, saying what changes by that."""
    from redoubt.cli.manifest import plan_text
    from redoubt.trust.plan import plan

    laptop = _development().laptop
    current = laptop.current_manifest(session.workspace)
    trusted = laptop.TrustedProgram(digest=program.descriptor.digest, arguments=(program.arguments,))
    manifest = laptop.draft(session.workspace, current, laptop.program_name(words), trusted)
    if current is not None:
        session.output.say(plan_text(plan(current.manifest, manifest), current))
    signed: SignedManifest = laptop.sign_and_set(session.workspace, manifest)
    return signed


def _development() -> Any:
    try:
        importlib.import_module("redoubt_dev.laptop")
        return importlib.import_module("redoubt_dev")
    except ModuleNotFoundError:
        raise TeeMissing(
            "no broker was named, and the embedded one comes from redoubt-dev, which is not installed",
            hint="Name a broker with --broker and --ca. For development only: `pip install redoubt-dev`.",
        ) from None
