"""A workspace with a development broker, and programs attested by it: what the tests of attestation start from."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from redoubt.agent.attest import AttestedAgent, Pins
from redoubt.agent.exec import Execution, Outcome, execute
from redoubt.agent.measure import MeasuredProgram, ProgramSpec, measure
from redoubt.evidence.collect.attester import Attester
from redoubt.keys.types import WrapContext, WrappedKey
from redoubt.keys.workspace import Workspace
from redoubt.protocol.https import BrokerConnection, Brokers
from redoubt.protocol.rcar import ProgramStatement
from redoubt.trust.signing import SignedManifest
from redoubt_dev import DevelopmentBroker, DevelopmentKey, SimulatedAttester
from redoubt_dev.laptop import TrustedProgram, current_manifest, draft, sign_and_set

CALLER = {"PATH": "/usr/bin:/bin"}
JOB = Path(__file__).with_name("attested_job.py")


@dataclass
class Laptop:
    """One workspace, its broker, one dataset with one data key, and the simulated machine that is trusted."""

    workspace: Workspace
    broker: DevelopmentBroker
    machine: Path
    dataset: UUID = field(default_factory=uuid4)
    data_key: UUID = field(default_factory=uuid4)
    wrapped: WrappedKey = field(init=False)

    def __post_init__(self) -> None:
        _, self.wrapped = self.workspace.new_data_key(None, WrapContext(self.dataset, self.data_key))

    @property
    def record(self) -> str:
        """The data key's record, as programs send it to the endpoint."""
        return base64.b64encode(self.wrapped.encode()).decode()

    def spec(self, python: Path, script: Path = JOB, *arguments: str) -> ProgramSpec:
        """A job; by default one that asks for the data key."""
        return ProgramSpec(command=(str(python), str(script), *(arguments or (str(self.dataset), self.record))))

    def trust(self, spec: ProgramSpec) -> SignedManifest:
        """Let the manifest trust the program as it is."""
        with measure(spec, caller=CALLER) as program:
            trusted = TrustedProgram(digest=program.descriptor.digest, arguments=(program.arguments,))
            return sign_and_set(self.workspace, draft(self.workspace, current_manifest(self.workspace), "job", trusted))

    def agent(
        self,
        program: MeasuredProgram,
        *,
        attester: Attester | None = None,
        pins: Pins | None = None,
        urls: tuple[str, ...] = (),
        ca: bytes | None = None,
    ) -> AttestedAgent:
        """An agent of *program*, with this broker unless told otherwise."""
        brokers = Brokers(urls=urls or (self.broker.url,), ca=ca or self.broker.ca)
        return AttestedAgent(
            BrokerConnection(brokers),
            attester or SimulatedAttester(self.machine),
            program=ProgramStatement(program.descriptor.digest, program.arguments),
            pins=pins or Pins(broker_id=self.broker.id, simulated=True),
        )

    def run(self, spec: ProgramSpec, *, execution: Execution | None = None) -> Outcome:
        """Measure, attest and run a program."""
        with measure(spec, caller=CALLER) as program:
            return execute(program, self.agent(program), execution=execution or Execution())


@contextmanager
def running_laptop(folder: Path) -> Iterator[Laptop]:
    """Make a workspace in *folder* and run its development broker."""
    workspace = Workspace.init(folder / "workspace")
    machine = folder / "machine"
    key = DevelopmentKey.load_or_create(machine)
    with DevelopmentBroker(workspace, attesters=key.key_set) as broker:
        yield Laptop(workspace, broker, machine)
