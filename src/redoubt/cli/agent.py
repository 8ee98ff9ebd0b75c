"""``redoubt agent``: measure a program, attest it, run it.

What the program prints is the program's: Redoubt speaks on stderr, and prints nothing on stdout of ``agent exec``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    SecretOption,
    UserOption,
    measured,
    pairs,
)
from redoubt.cli.files import write_file
from redoubt.cli.session import Session, command, group

if TYPE_CHECKING:
    from redoubt.agent.measure import MeasuredProgram

app = group(
    "Measure a program, prove to the broker what it is and where it runs, and run it with the keys it is granted."
)

CommandArgument = Annotated[list[str], typer.Argument(metavar="CMD…", help="The program, after `--`.")]
PyFilesOption = Annotated[
    list[Path] | None,
    typer.Option("--py-files", metavar="PATH", help="A module, package or archive that it imports; repeatable."),
]
JarsOption = Annotated[
    list[Path] | None, typer.Option("--jars", metavar="FILE", help="A jar for Spark's class path; repeatable.")
]
FilesOption = Annotated[
    list[Path] | None,
    typer.Option("--files", metavar="PATH", help="Anything else it reads, below $REDOUBT_FILES; repeatable."),
]
JvmOption = Annotated[
    list[str] | None, typer.Option("--jvm-option", metavar="OPTION", help="An option of its JVM; repeatable.")
]
ConfOption = Annotated[
    list[str] | None, typer.Option("--conf", metavar="NAME=VALUE", help="A setting of Spark; repeatable.")
]


@command(app, example="redoubt agent measure --descriptor-out program.json -- python job.py")
def measure(
    session: Session,
    cmd: CommandArgument,
    *,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    files: FilesOption = None,
    jvm_option: JvmOption = None,
    conf: ConfOption = None,
    env: EnvOption = None,
    out: DescriptorOption = None,
) -> None:
    """Print the digest of a program, for `redoubt manifest add-program`, and what it is made of."""
    import json

    with _measured(session, cmd, py_files, jars, files, jvm_option, conf, env) as program:
        descriptor = program.descriptor
        if out is not None:
            write_file(out, descriptor.canonical(), replace=True)
        text = [descriptor.digest, f"files: {', '.join(descriptor.files) or 'none'}", f"image: {descriptor.image}"]
        text.append(f"arguments, which are not part of it: {json.dumps(list(program.arguments))}")
        session.output.result(
            {
                "digest": descriptor.digest,
                "arguments": list(program.arguments),
                "dropped": list(program.dropped),
                "descriptor": json.loads(descriptor.canonical()),
            },
            text="\n".join(text),
        )


@command(app, name="exec", example="redoubt agent exec --broker https://broker:8443 --ca ca.pem -- python job.py")
def exec_(
    session: Session,
    cmd: CommandArgument,
    *,
    broker: BrokerOption = None,
    ca: CaOption = None,
    broker_id: BrokerIdOption = None,
    manifest: ManifestOption = None,
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
    secret: SecretOption = None,
    user: UserOption = None,
    receipt: ReceiptOption = None,
    require_receipt: RequireReceiptOption = False,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="DOMAIN/ROLE", help="Have it certified as this role of a trust domain."),
    ] = None,
    status: Annotated[
        Path | None, typer.Option("--status", metavar="FILE", help="Say here what it was attested as, while it runs.")
    ] = None,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    files: FilesOption = None,
    jvm_option: JvmOption = None,
    conf: ConfOption = None,
    env: EnvOption = None,
    out: DescriptorOption = None,
) -> None:
    """Attest a program, start it only if the broker accepts it, and end with it and its exit status.

    Without --broker an embedded development broker in the workspace appraises simulated evidence: that proves nothing
    about hardware, but is otherwise the same.

    When the program has ended, the broker signs a receipt: `redoubt receipt verify FILE` says who computed what.
    """
    from redoubt.agent.exec import Execution
    from redoubt.agent.membership import Role
    from redoubt.agent.process import protect_agent
    from redoubt.cli.attested import ReceiptChoice, check_ready, run_attested

    choice = BrokerChoice(broker=broker, ca=ca, broker_id=broker_id, manifest=manifest, tee=tee)
    execution = Execution(
        secrets=pairs(secret, "--secret"),
        user=user,
        role=None if role is None else Role.parse(role),
        status=status,
    )
    protect_agent()
    check_ready(session, choice)
    with _measured(session, cmd, py_files, jars, files, jvm_option, conf, env, choice=choice) as program:
        ended = run_attested(
            session,
            program,
            cmd,
            choice=choice,
            execution=execution,
            descriptor_out=out,
            receipt=ReceiptChoice(file=receipt, required=require_receipt),
        )
    raise typer.Exit(ended)


@command(app, example="redoubt agent trust -- python job.py")
def trust(
    session: Session,
    cmd: CommandArgument,
    *,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    files: FilesOption = None,
    jvm_option: JvmOption = None,
    conf: ConfOption = None,
    env: EnvOption = None,
) -> None:
    """Let the development broker of this workspace accept a program as it is now, and all data that is sealed now.

    Development only: the workspace's own developer key signs. Other manifests are changed with `redoubt manifest`.
    """
    from redoubt.cli.agent_local import trust_program

    with _measured(session, cmd, py_files, jars, files, jvm_option, conf, env) as program:
        signed = trust_program(session.workspace, cmd, program, say=session.output.say)
        session.output.result(
            {"digest": program.descriptor.digest, "manifest": signed.digest, "version": signed.manifest.version},
            text=f"manifest version {signed.manifest.version}, {signed.digest}, trusts {program.descriptor.digest}\n"
            f"it was not run: `redoubt agent exec -- CMD` runs it",
        )


@contextmanager
def _measured(
    session: Session,
    cmd: Sequence[str],
    py_files: list[Path] | None,
    jars: list[Path] | None,
    files: list[Path] | None,
    jvm_option: list[str] | None,
    conf: list[str] | None,
    env: list[str] | None,
    *,
    choice: BrokerChoice | None = None,
) -> Iterator[MeasuredProgram]:
    from redoubt.agent.measure import ProgramSpec

    spec = ProgramSpec(
        command=tuple(cmd),
        py_files=tuple(py_files or ()),
        jars=tuple(jars or ()),
        files=tuple(files or ()),
        jvm_options=tuple(jvm_option or ()),
        conf=pairs(conf, "--conf"),
        environment=pairs(env, "--env"),
    )
    with measured(session, spec, choice=choice) as program:
        yield program
