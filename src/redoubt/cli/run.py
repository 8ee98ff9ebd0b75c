"""``redoubt run``: any program under the agent, in the TEE that was chosen or the one that is here."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from redoubt.cli.agent_receipt import ReceiptOption, RequireReceiptOption
from redoubt.cli.attest import Choice
from redoubt.cli.attested import (
    BrokerChoice,
    BrokerIdOption,
    BrokerOption,
    CaOption,
    DescriptorOption,
    EnvOption,
    ManifestOption,
    ReceiptChoice,
    SecretOption,
    UserOption,
    check_ready,
    measured,
    pairs,
    run_attested,
    workspace_or_temporary,
)
from redoubt.cli.session import Session, command
from redoubt.errors import TeeMissing

app = typer.Typer()


class RunIn(StrEnum):
    """What a program can be put into."""

    AUTO = "auto"
    GRAMINE = "sgx-gramine"
    OCCLUM = "sgx-occlum"
    TDX = "tdx"
    SNP = "snp"
    SIMULATED = "simulated"


_LIBRARY_OS: Final = {RunIn.GRAMINE: "Gramine", RunIn.OCCLUM: "Occlum"}
_CHOICE: Final = {RunIn.TDX: Choice.TDX, RunIn.SNP: Choice.SNP, RunIn.SIMULATED: Choice.SIMULATED}


@command(app, example="redoubt run --tee auto -- python job.py --month 2026-11", options_first=True)
def run(
    session: Session,
    cmd: Annotated[list[str], typer.Argument(metavar="CMD…", help="The program, after `--`.")],
    *,
    tee: Annotated[RunIn, typer.Option("--tee", help="What to run it in.")] = RunIn.AUTO,
    broker: BrokerOption = None,
    ca: CaOption = None,
    broker_id: BrokerIdOption = None,
    manifest: ManifestOption = None,
    secret: SecretOption = None,
    user: UserOption = None,
    py_files: Annotated[
        list[Path] | None, typer.Option("--py-files", metavar="PATH", help="What it imports; repeatable.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", metavar="PATH", help="What it reads below $REDOUBT_FILES; repeatable."),
    ] = None,
    env: EnvOption = None,
    receipt: ReceiptOption = None,
    require_receipt: RequireReceiptOption = False,
    out: DescriptorOption = None,
) -> None:
    """Run any program (Python, Java, a script, an executable), attested, and end with its exit status.

    Without --broker an embedded development broker appraises simulated evidence: in the workspace, or in one that is
    made for this run.
    """
    from redoubt.agent.exec import Execution
    from redoubt.agent.measure import ProgramSpec
    from redoubt.agent.process import protect_agent

    chosen, why = choose_tee(tee, with_broker=bool(broker))
    session.output.say(f"tee {chosen}: {why}")
    choice = BrokerChoice(broker=broker, ca=ca, broker_id=broker_id, manifest=manifest, tee=chosen)
    execution = Execution(secrets=pairs(secret, "--secret"), user=user)
    spec = ProgramSpec(
        command=tuple(cmd),
        py_files=tuple(py_files or ()),
        files=tuple(files or ()),
        environment=pairs(env, "--env"),
    )
    protect_agent()
    check_ready(session, choice, or_temporary=True)
    place = nullcontext() if choice.broker else workspace_or_temporary(session)
    with place as workspace, measured(session, spec, choice=choice) as program:
        status = run_attested(
            session,
            program,
            cmd,
            choice=choice,
            execution=execution,
            descriptor_out=out,
            receipt=ReceiptChoice(file=receipt, required=require_receipt),
            workspace=workspace,
        )
    raise typer.Exit(status)


def choose_tee(asked: RunIn, *, with_broker: bool) -> tuple[Choice, str]:
    """Return the TEE for what was *asked* for, and why that one.

    Raises:
        TeeMissing: it is not here, or no program can be put into it yet.
    """
    from redoubt.evidence.claims import Tee
    from redoubt.evidence.collect.machine import attesters, consider

    if asked in _LIBRARY_OS:
        name = _LIBRARY_OS[asked]
        raise TeeMissing(
            f"{asked} needs the library OS {name}, an SGX device and a signed manifest of the enclave: "
            "this version starts programs in confidential virtual machines only",
            hint="Run it in a TDX or SEV-SNP machine, or with --tee simulated.",
        )
    if asked is RunIn.SIMULATED:
        return Choice.SIMULATED, "asked for; it proves nothing about hardware"
    present = {it.attester.name: it for it in consider(attesters()) if it.finding.present}
    usable = {
        Choice(str(kind)): it for it in present.values() for kind in it.attester.tees if kind in (Tee.TDX, Tee.SNP)
    }
    if asked is not RunIn.AUTO:
        if _CHOICE[asked] not in usable:
            raise TeeMissing(
                f"this machine is no {asked} machine, or its driver is missing: `redoubt attest` says more"
            )
        if not with_broker:
            raise TeeMissing(
                f"evidence of {asked} needs a broker that verifies it, and none was named",
                hint="Name one with --broker.",
            )
        return _CHOICE[asked], "asked for, and here"
    if usable and with_broker:
        found = next(iter(usable))
        return found, usable[found].finding.why
    if with_broker:
        return Choice.AUTO, "no confidential virtual machine was found; the broker decides about what else is here"
    seen = ", ".join(present) or "no interface of a TEE"
    return Choice.SIMULATED, f"{seen} found, and no broker named: the embedded one takes simulated evidence only"
