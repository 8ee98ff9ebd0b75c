"""What every command that runs an attested program shares: its options, and the way from measured to ended."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.attest import Choice
from redoubt.cli.files import read_file, write_file
from redoubt.cli.progress import waiting
from redoubt.cli.session import Session
from redoubt.errors import UsageError, WorkspaceMissing
from redoubt.limits import MAX_CONFIG_BYTES

if TYPE_CHECKING:
    from redoubt.agent.attest import AttestedAgent
    from redoubt.agent.exec import Execution
    from redoubt.agent.measure import MeasuredProgram, ProgramSpec
    from redoubt.keys.workspace import Workspace
    from redoubt.protocol.https import Brokers

BrokerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--broker", metavar="URL", envvar="REDOUBT_BROKER", help="A broker; repeatable (default: an embedded one)."
    ),
]
CaOption = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", envvar="REDOUBT_BROKER_CA", help="The brokers' CA, PEM.")
]
BrokerIdOption = Annotated[
    str | None, typer.Option("--broker-id", metavar="ID", help="Refuse any broker but the one with this id.")
]
ManifestOption = Annotated[
    str | None, typer.Option("--manifest", metavar="DIGEST", help="Refuse any manifest but this one.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME=REPO/TYPE/TAG", help="A resource as file in $REDOUBT_SECRETS; repeatable."),
]
UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Run the program as this user.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable that it gets; repeatable.")
]
DescriptorOption = Annotated[
    Path | None, typer.Option("--descriptor-out", metavar="FILE", help="Write the descriptor to this file.")
]


#: What is needed once a program is measured, a second of imports: loaded while other processes hash.
_LATER = ("redoubt.agent.exec", "redoubt.agent.attest", "redoubt.protocol.https", "redoubt.cli.agent_receipt")
_LATER_WITHOUT_BROKER = ("redoubt_dev.broker", "redoubt_dev.laptop", "redoubt.trust.plan")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerChoice:
    """The broker that a program is attested to, and where; without a URL an embedded development broker."""

    broker: list[str] | None
    ca: Path | None
    broker_id: str | None
    manifest: str | None
    tee: Choice

    def __post_init__(self) -> None:
        if self.broker and self.ca is None:
            raise UsageError("--broker needs --ca: a broker is known by its CA alone")

    def brokers(self) -> Brokers | None:
        """Return the brokers that were named; raises UsageError if an address or the CA is none."""
        from redoubt.protocol.https import Brokers

        if not self.broker or self.ca is None:
            return None
        return Brokers(urls=tuple(self.broker), ca=read_file(self.ca, limit=MAX_CONFIG_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptChoice:
    """Where the receipt goes, and whether a run without one has failed."""

    file: Path | None
    required: bool

    @property
    def wanted(self) -> bool:
        """Whether it was asked for."""
        return self.required or self.file is not None


def check_ready(session: Session, choice: BrokerChoice, *, or_temporary: bool = False) -> None:
    """Find what would keep a program from being attested, before measuring it, which takes seconds.

    *or_temporary*: without a workspace one is made for the run.

    Raises:
        UsageError, TeeMissing, WorkspaceError: what :func:`run_attested` would raise.
    """
    from redoubt.cli.agent_local import require_development
    from redoubt.cli.attest import choose

    if choice.brokers() is not None:
        choose(choice.tee)
        return
    require_development()
    try:
        _ = session.workspace
    except WorkspaceMissing:
        if not or_temporary or session.options.workspace is not None:
            raise


@contextmanager
def measured(
    session: Session,
    spec: ProgramSpec,
    *,
    choice: BrokerChoice | None = None,
    caller: Mapping[str, str] | None = None,
) -> Iterator[MeasuredProgram]:
    """Measure the program of *spec*, showing that this goes on; *choice* is to whom it will be attested, if at all.

    *caller* is the environment in which it was asked for, this process's by default.

    Raises:
        ProgramFailed, ProgramInvalid: it cannot be measured.
    """
    from redoubt.agent.measure import measure

    def load() -> None:
        for name in () if choice is None else _LATER if choice.broker else (*_LATER, *_LATER_WITHOUT_BROKER):
            importlib.import_module(name)

    with waiting("measuring the program", say=session.output.say):
        program = measure(spec, caller=dict(os.environ) if caller is None else caller, meanwhile=load)
    with program:
        yield program


def run_attested(
    session: Session,
    program: MeasuredProgram,
    words: Sequence[str],
    *,
    choice: BrokerChoice,
    execution: Execution,
    descriptor_out: Path | None,
    receipt: ReceiptChoice,
    workspace: Workspace | None = None,
) -> int:
    """Attest *program*, run it, and return its exit status; the development manifest names it after *words*.

    Callers protect the agent's process before they measure. *workspace* is the session's unless one is given.

    Raises:
        BrokerError, EarError, TokenError, AttestError: it was not attested, and not started.
        ProgramFailed: it could not be started.
        WorkspaceError: there is no workspace for the embedded broker.
    """
    from redoubt.agent.attest import Pins
    from redoubt.agent.exec import execute
    from redoubt.cli.agent_local import agent_for, describe, development_agent
    from redoubt.cli.agent_receipt import keep_receipt
    from redoubt.cli.attest import choose

    say = session.output.say
    if descriptor_out is not None:
        write_file(descriptor_out, program.descriptor.canonical(), replace=True)
    if program.dropped:
        say(f"not passed on to the program: {', '.join(program.dropped)}")
    running: AbstractContextManager[AttestedAgent]
    brokers = choice.brokers()
    if brokers is not None:
        simulated = choice.tee is Choice.SIMULATED
        pins = Pins(broker_id=choice.broker_id, manifest=choice.manifest, simulated=simulated)
        running = nullcontext(agent_for(program, brokers, choose(choice.tee), pins, say=say))
    else:
        running = development_agent(workspace or session.workspace, words, program, say=say)
    with running as agent:
        outcome = execute(program, agent, execution=execution, attested=lambda it: say(describe(it)))
    if receipt.wanted or not _is_temporary(session, workspace):
        keep_receipt(session, outcome, file=receipt.file, required=receipt.required)
    return outcome.status


def _is_temporary(session: Session, workspace: Workspace | None) -> bool:
    """Return whether *workspace* was made for a run: nobody could ask its broker for the receipt later."""
    try:
        return workspace is not None and workspace is not session.workspace
    except WorkspaceMissing:
        return True


@contextmanager
def workspace_or_temporary(session: Session) -> Iterator[Workspace]:
    """Yield the workspace that was named or is nearest, or else one for this run alone, which says so."""
    from redoubt.keys.workspace import Workspace

    try:
        found = session.workspace
    except WorkspaceMissing:
        if session.options.workspace is not None:
            raise
    else:
        yield found
        return
    session.output.say("no workspace here: keys and manifest of this run are made for it alone, and removed")
    with tempfile.TemporaryDirectory(prefix="redoubt-workspace-") as folder:
        yield Workspace.init(Path(folder))


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """Return NAME → VALUE of the words given to *option*; raises UsageError."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals or name in found:
            raise UsageError(f"{option} {text.partition('=')[0]!r} is not NAME=VALUE, or names it twice")
        found[name] = value
    return found
