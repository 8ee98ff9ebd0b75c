"""``redoubt submit``: ``spark-submit``, attested and with Redoubt's configuration.

Takes the options of ``spark-submit`` (:mod:`redoubt.spark.submit_options`) and those of ``redoubt agent exec``. stdout
is the application's alone.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
from redoubt.cli.joining import DomainOption, Joining, joining
from redoubt.cli.log_file import copied_to
from redoubt.cli.session import Session, command
from redoubt.errors import OptionRefused, UsageError
from redoubt.limits import MAX_CONFIG_BYTES
from redoubt.spark.submit_options import OPTIONS, Becomes, SubmitOption

if TYPE_CHECKING:
    from redoubt.agent.measure import MeasuredProgram
    from redoubt.spark.submission import Submission

app = typer.Typer()

_PANEL: Final = "Options of spark-submit"
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="KEY", help="Give up this setting of Redoubt's for your value; repeatable."),
]


def submit(
    session: Session,
    application: Annotated[str, typer.Argument(metavar="APP", help="A Python file or a jar.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS…", help="Its arguments.")] = None,
    *,
    broker: BrokerOption = None,
    ca: CaOption = None,
    broker_id: BrokerIdOption = None,
    manifest: ManifestOption = None,
    domain: DomainOption = None,
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
    secret: SecretOption = None,
    user: UserOption = None,
    env: EnvOption = None,
    receipt: ReceiptOption = None,
    require_receipt: RequireReceiptOption = False,
    allow: AllowOption = None,
    python: Annotated[
        Path | None, typer.Option("--python", metavar="FILE", help="The interpreter (default: Redoubt's own).")
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", metavar="FILE", help="Write stderr to this file, 0600, too.")
    ] = None,
    measure_only: Annotated[bool, typer.Option("--measure", help="Print the program's digest, and end.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the workspace's development broker accept the program, and end.")
    ] = False,
    out: DescriptorOption = None,
    **given: Any,
) -> None:
    """Run a Spark application, unmodified, attested and with Redoubt's configuration, as `spark-submit` would.

    Ends with the application's exit status. Without --broker an embedded development broker appraises simulated
    evidence: in the workspace, or in one that is made for this run.
    """
    from redoubt.agent.exec import Execution
    from redoubt.agent.process import protect_agent
    from redoubt.spark.conf_program import is_local

    choice = BrokerChoice(broker=broker, ca=ca, broker_id=broker_id, manifest=manifest, tee=tee)
    execution = Execution(secrets=pairs(secret, "--secret"), user=user)
    protect_agent()
    with copied_to(log_file) if log_file is not None else nullcontext():
        submission = read_submission(application, arguments or [], given, allow=allow)
        for notice in submission.notices:
            session.output.say(notice)
        words = ("spark-submit", str(submission.application))
        spec = submission.program(python=python or Path(sys.executable), environment=pairs(env, "--env"))
        if measure_only:
            with measured(session, spec) as program:
                _print_digest(session, program, out)
            return
        cluster = None if is_local(submission.master) else joining(session, submission.master, choice, domain)
        if trust:
            _ = session.workspace
            with measured(session, spec) as program:
                _trust(session, words, program, cluster)
            return
        choice = choice if cluster is None else cluster.choice
        check_ready(session, choice, or_temporary=True)
        place = nullcontext() if choice.broker else workspace_or_temporary(session)
        with place as workspace, measured(session, spec, choice=choice) as program:
            if cluster is not None:
                cluster.trust_first(session, words, program)
                execution = cluster.execution(execution, program)
            status = run_attested(
                session,
                program,
                words,
                choice=choice,
                execution=execution,
                descriptor_out=out,
                receipt=ReceiptChoice(file=receipt, required=require_receipt),
                workspace=workspace,
            )
    raise typer.Exit(status)


def read_submission(
    application: str, arguments: list[str], given: Mapping[str, Any], *, allow: list[str] | None
) -> Submission:
    """Return what the options of spark-submit ask for; *given* holds their values by parameter.

    Raises:
        OptionRefused, UsageError, NotFound: it cannot be submitted as asked.
    """
    from redoubt.spark.submission import Submission

    return Submission.of(
        application,
        tuple(arguments),
        settings=settings_of(given),
        main_class=given["main_class"],
        verbose=given["verbose"],
        allow=frozenset(allow or ()),
    )


def settings_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return all settings that a command line gives: options over --conf over files.

    Raises:
        OptionRefused: an option is refused.
        UsageError: a file or --conf is malformed.
    """
    settings = _from_files(given)
    settings |= _conf(given["conf"])
    for option in OPTIONS:
        value = given[option.parameter]
        if value in (None, False, []):
            continue
        if option.becomes is Becomes.REFUSED:
            raise OptionRefused(f"{option.name} is refused: {option.reason}", hint="Leave the option out.")
        if option.key:
            settings[option.key] = value
    return settings


def _conf(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError("a --conf is not NAME=VALUE")  # without the text, which may hold a secret
        found[name.strip()] = value  # the last one counts, as for spark-submit
    return found


def _from_files(given: Mapping[str, Any]) -> dict[str, str]:
    from redoubt.cli.files import read_file
    from redoubt.spark.properties import parse_properties

    found: dict[str, str] = {}
    folder = os.environ.get("SPARK_CONF_DIR")
    defaults = Path(folder, "spark-defaults.conf") if folder else None
    named = given["properties_file"]
    if defaults is not None and defaults.is_file() and (named is None or given["load_spark_defaults"]):
        found |= parse_properties(read_file(defaults, limit=MAX_CONFIG_BYTES), name=str(defaults))
    if named is not None:
        found |= parse_properties(read_file(Path(named), limit=MAX_CONFIG_BYTES), name=named)
    return {key: value for key, value in found.items() if key.startswith("spark.")}  # Spark ignores others


def _print_digest(session: Session, program: MeasuredProgram, out: Path | None) -> None:
    import json

    from redoubt.cli.files import write_file

    descriptor = program.descriptor
    if out is not None:
        write_file(out, descriptor.canonical(), replace=True)
    session.output.result(
        {"digest": descriptor.digest, "arguments": list(program.arguments), "files": dict(descriptor.files)},
        text=f"{descriptor.digest}\narguments, which are not part of it: {json.dumps(list(program.arguments))}",
    )


def _trust(session: Session, words: tuple[str, ...], program: MeasuredProgram, cluster: Joining | None) -> None:
    from redoubt.cli.agent_local import trust_program

    if cluster is not None:
        signed = cluster.trust(session, words, program)
    else:
        signed = trust_program(session.workspace, words, program, say=session.output.say)
    session.output.result(
        {"digest": program.descriptor.digest, "manifest": signed.digest, "version": signed.manifest.version},
        text=f"manifest version {signed.manifest.version}, {signed.digest}, trusts {program.descriptor.digest}\n"
        f"it was not run: the same command without --trust runs it",
    )


def with_spark_options(function: Any) -> Any:
    """Put the options of spark-submit into the signature of *function*, in the place of its ``**given``."""
    signature = inspect.signature(function)
    own = [it for it in signature.parameters.values() if it.kind is not inspect.Parameter.VAR_KEYWORD]
    added = [
        inspect.Parameter(it.parameter, inspect.Parameter.KEYWORD_ONLY, default=_default(it), annotation=_kind(it))
        for it in OPTIONS
    ]
    function.__signature__ = signature.replace(parameters=[*own, *added])
    function.__annotations__ = {
        **{name: hint for name, hint in function.__annotations__.items() if name != "given"},
        **{it.name: it.annotation for it in added},
    }
    return function


def _default(option: SubmitOption) -> object:
    return None if option.metavar else False


def _kind(option: SubmitOption) -> Any:
    names = [option.name, *([option.short] if option.short else [])]
    if not option.metavar:
        return Annotated[bool, typer.Option(*names, help=option.help, rich_help_panel=_PANEL)]
    declared = typer.Option(*names, metavar=option.metavar, help=option.help, rich_help_panel=_PANEL)
    return Annotated[list[str] | None, declared] if option.name == "--conf" else Annotated[str | None, declared]


command(app, example="redoubt submit --master 'local[2]' pi.py 10", options_first=True)(with_spark_options(submit))
