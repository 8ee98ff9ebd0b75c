"""``redoubt agent``: measure a program, attest it, run it.

What the program prints is the program's: Redoubt speaks on stderr, and prints nothing on stdout of ``agent exec``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.agent_receipt import ReceiptOption, RequireReceiptOption
from redoubt.cli.attest import Choice
from redoubt.cli.files import read_file, write_file
from redoubt.cli.session import Session, command, group
from redoubt.errors import UsageError
from redoubt.limits import MAX_CONFIG_BYTES

if TYPE_CHECKING:
    from redoubt.agent.attest import AttestedAgent
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
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable that it gets; repeatable.")
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
    out: Annotated[
        Path | None, typer.Option("--descriptor-out", metavar="FILE", help="Write the descriptor to this file.")
    ] = None,
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
    broker: Annotated[
        list[str] | None,
        typer.Option(
            "--broker", metavar="URL", envvar="REDOUBT_BROKER", help="A broker; repeatable (default: an embedded one)."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", envvar="REDOUBT_BROKER_CA", help="The brokers' CA, PEM.")
    ] = None,
    broker_id: Annotated[
        str | None, typer.Option("--broker-id", metavar="ID", help="Refuse any broker but the one with this id.")
    ] = None,
    manifest: Annotated[
        str | None, typer.Option("--manifest", metavar="DIGEST", help="Refuse any manifest but this one.")
    ] = None,
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            "--secret", metavar="NAME=REPO/TYPE/TAG", help="A resource as file in $REDOUBT_SECRETS; repeatable."
        ),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Run the program as this user.")] = None,
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
    out: Annotated[
        Path | None, typer.Option("--descriptor-out", metavar="FILE", help="Write the descriptor to this file.")
    ] = None,
) -> None:
    """Attest a program, start it only if the broker accepts it, and end with it and its exit status.

    Without --broker an embedded development broker in the workspace appraises simulated evidence: that proves nothing
    about hardware, but is otherwise the same.

    When the program has ended, the broker signs a receipt: `redoubt receipt verify FILE` says who computed what.
    """
    from redoubt.agent.attest import Pins
    from redoubt.agent.exec import Execution, execute
    from redoubt.agent.https import Brokers
    from redoubt.agent.membership import Role
    from redoubt.agent.process import protect_agent
    from redoubt.cli.agent_local import agent_for, describe, development_agent
    from redoubt.cli.agent_receipt import keep_receipt
    from redoubt.cli.attest import choose

    if broker and ca is None:
        raise UsageError("--broker needs --ca: a broker is known by its CA alone")
    execution = Execution(
        secrets=_pairs(secret, "--secret"),
        user=user,
        role=None if role is None else Role.parse(role),
        status=status,
    )
    say = session.output.say
    protect_agent()
    with _measured(session, cmd, py_files, jars, files, jvm_option, conf, env) as program:
        if out is not None:
            write_file(out, program.descriptor.canonical(), replace=True)
        if program.dropped:
            say(f"not passed on to the program: {', '.join(program.dropped)}")
        running: AbstractContextManager[AttestedAgent]
        if broker and ca is not None:
            brokers = Brokers(urls=tuple(broker), ca=read_file(ca, limit=MAX_CONFIG_BYTES))
            pins = Pins(broker_id=broker_id, manifest=manifest, simulated=tee is Choice.SIMULATED)
            running = nullcontext(agent_for(program, brokers, choose(tee), pins, say=say))
        else:
            running = development_agent(session.workspace, cmd, program, say=say)
        with running as agent:
            outcome = execute(program, agent, execution=execution, attested=lambda it: say(describe(it)))
    keep_receipt(session, outcome, file=receipt, required=require_receipt)
    raise typer.Exit(outcome.status)


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
            text=f"manifest version {signed.manifest.version}, {signed.digest}, trusts {program.descriptor.digest}",
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
) -> Iterator[MeasuredProgram]:
    from redoubt.agent.measure import ProgramSpec
    from redoubt.agent.measure import measure as measure_program

    spec = ProgramSpec(
        command=tuple(cmd),
        py_files=tuple(py_files or ()),
        jars=tuple(jars or ()),
        files=tuple(files or ()),
        jvm_options=tuple(jvm_option or ()),
        conf=_pairs(conf, "--conf"),
        environment=_pairs(env, "--env"),
    )
    with measure_program(spec, caller=dict(os.environ)) as program:
        yield program


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals or name in found:
            raise UsageError(f"{option} {text.partition('=')[0]!r} is not NAME=VALUE, or names it twice")
        found[name] = value
    return found
