"""``redoubt cluster``: a Spark standalone cluster for one trust domain.

Master, workers and executors each run under an agent of their own; who does not attest does not join (docs/cluster.md).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from redoubt.cli.agent import CommandArgument, FilesOption, JarsOption, PyFilesOption
from redoubt.cli.attest import Choice
from redoubt.cli.attested import BrokerChoice, check_ready, measured
from redoubt.cli.broker_serve import CertificateOption
from redoubt.cli.session import Session, command, group
from redoubt.errors import TeeMissing, UsageError
from redoubt.limits import ROLE_CERTIFICATE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redoubt.spark.cluster.state import ClusterState

app = group("Start, watch and end a Spark standalone cluster whose every process is attested.")

NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="The cluster's name in this workspace.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, max=256, help="How many workers.")]
CoresOption = Annotated[int, typer.Option("--cores", min=1, help="Cores that each worker offers.")]
MemoryOption = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory that each worker offers.")]
HostOption = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="This machine's address, as the other members reach it.")
]
_LOOPBACK = "127.0.0.1"
_DEFAULT = "local"
_WATCH_SECONDS = 1.0
_SIGNALLED = 128
#: Of a cell: enough of a digest to compare it, a whole name of an executor.
_WIDTH = 34
_COLUMNS = ("role", "state", "verdict", "tee", "binding", "evidence", "since", "expires")


@command(app, example="redoubt cluster up --workers 2")
def up(
    session: Session,
    *,
    name: NameOption = _DEFAULT,
    workers: WorkersOption = 2,
    cores: CoresOption = 1,
    memory: MemoryOption = "2g",
    host: HostOption = _LOOPBACK,
    ssh: Annotated[
        list[str] | None,
        typer.Option(
            "--ssh",
            metavar="[USER@]HOST[=ADDRESS]",
            help="Another machine with a worker, SIMULATED evidence only; ADDRESS: where it is reached; repeatable.",
        ),
    ] = None,
    ssh_python: Annotated[
        str | None,
        typer.Option("--ssh-python", metavar="FILE", help="The interpreter there (default: at the path of this one)."),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="DOMAIN", help="Its trust domain (default: its name).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, metavar="PORT", help="The master's port; 0: any (default: 7077, if free)."
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", metavar="URL", help="The broker of the trust domain (default: a development broker)."),
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="The broker's CA, PEM.")] = None,
    broker_id: Annotated[str | None, typer.Option("--broker-id", metavar="ID", help="The broker's id.")] = None,
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
    certificate_seconds: CertificateOption = ROLE_CERTIFICATE_SECONDS,
) -> None:
    """Start a cluster: a master and its workers, each attested before it may join. Started whole or not at all.

    Without --broker it is a development cluster: a development broker is started for it, evidence is simulated, and the
    workspace's development manifest is made to trust the programs of this installation.
    """
    from redoubt.spark.cluster import manage
    from redoubt.spark.cluster.conf import member_host
    from redoubt.spark.cluster.ssh import SshTarget
    from redoubt.spark.cluster.state import make_folder
    from redoubt.spark.java import java_home

    others = tuple(map(SshTarget.parse, ssh or ()))
    if others and broker:
        raise UsageError(
            "--ssh is for simulated evidence: whoever controls the other machine decides what ssh starts there",
            hint="Run `redoubt cluster join` on the other machine, under an agent in its TEE.",
        )
    if broker and not (ca and broker_id):
        raise UsageError("--broker needs --ca and --broker-id: every agent of the cluster pins both")
    if broker and certificate_seconds != ROLE_CERTIFICATE_SECONDS:
        raise UsageError("how long certificates hold is a setting of the broker that was named")
    listed = [broker] if broker else None
    check_ready(session, BrokerChoice(broker=listed, ca=ca, broker_id=broker_id, manifest=None, tee=tee))
    workspace, say = session.workspace, session.output.say
    trust_domain, home = domain or name, java_home()
    development = broker is None
    if development:
        say("SIMULATED evidence and a development broker: this proves nothing about hardware")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(_SIGNALLED + number))  # so that it cleans up as for Ctrl-C
    folder = make_folder(workspace.state_folder, name)
    try:
        if development:
            _trust_roles(session, trust_domain, home)
        plan = manage.Plan(
            folder=folder,
            domain=trust_domain,
            host=member_host(host),
            port=port,
            workers=workers,
            cores=cores,
            worker_memory=memory,
            python=sys.executable,
            java_home=home,
            tee=Choice.SIMULATED.value if development else tee.value,
            state_home=_state_home(),
            others=others,
            others_python=ssh_python or sys.executable,
            development_key=_development_key() if others else None,
        )
        address = manage.BrokerAddress(url=broker, id=broker_id, ca=ca) if broker and ca and broker_id else None
        state = manage.up(
            plan,
            broker=address,
            development=[
                *(sys.executable, "-m", "redoubt.cli.main", "broker", "dev"),
                *("--workspace", str(workspace.folder), "--certificate-seconds", str(certificate_seconds)),
            ],
            environment=os.environ,
            say=say,
        )
    except BaseException:
        _remove(folder)
        raise
    session.output.result(
        {
            "name": name,
            "master": state.master,
            "domain": trust_domain,
            "workers": workers,
            "broker": state.agent.broker,
        },
        text=f"{state.master} runs with {workers} workers in the trust domain {trust_domain}",
    )
    say(f"run a program on it: redoubt submit --master {state.master} app.py")
    if development:
        say("the first program is let in unasked; for each other one: redoubt submit --trust --master … app.py")


@command(app, example="redoubt cluster join spark://10.0.0.5:7077 --broker https://10.0.0.9:8443 --ca ca.pem …")
def join(
    session: Session,
    master: Annotated[str, typer.Argument(metavar="MASTER", help="spark://HOST:PORT.")],
    *,
    broker: Annotated[str, typer.Option("--broker", metavar="URL", help="The broker of the trust domain.")],
    broker_id: Annotated[str, typer.Option("--broker-id", metavar="ID", help="The broker's id.")],
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", help="The broker's CA, PEM.")],
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", help="The cluster's trust domain.")],
    host: HostOption = _LOOPBACK,
    cores: CoresOption = 1,
    memory: MemoryOption = "2g",
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
) -> None:
    """Be a worker of a cluster whose master runs on another machine, until Ctrl-C or SIGTERM.

    No workspace is needed. The worker, and each executor that it starts, is attested to the broker first; which program
    may be what stands in the owners' manifest. Its output goes to stderr.
    """
    from redoubt.cli.files import read_file
    from redoubt.limits import MAX_CONFIG_BYTES
    from redoubt.spark.cluster.conf import address_of, member_host
    from redoubt.spark.cluster.join import WorkerPlan
    from redoubt.spark.cluster.join import join as join_cluster
    from redoubt.spark.java import java_home

    address_of(master)
    check_ready(session, BrokerChoice(broker=[broker], ca=ca, broker_id=broker_id, manifest=None, tee=tee))

    def told(role: str, facts: Mapping[str, Any] | None) -> None:
        text = "has ended" if facts is None else f"attested: {facts['verdict']}, {facts['tee']}, {facts['binding']}"
        session.output.say(f"{role} {text}")

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(_SIGNALLED + number))
    plan = WorkerPlan(
        master=master,
        domain=domain,
        host=member_host(host),
        cores=cores,
        memory=memory,
        broker=broker,
        broker_id=broker_id,
    )
    join_cluster(
        plan,
        read_file(ca, limit=MAX_CONFIG_BYTES),
        tee=tee.value,
        java_home=java_home(),
        state_home=_state_home(),
        told=told,
    )


@command(app, example="redoubt cluster trust -- python job.py")
def trust(
    session: Session,
    cmd: CommandArgument,
    *,
    name: NameOption = _DEFAULT,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    files: FilesOption = None,
) -> None:
    """Let the development manifest accept a program as it is now, as a driver of the cluster.

    Development only. Other manifests say so under `[[roles]]`.
    """
    from redoubt.agent.measure import ProgramSpec
    from redoubt.cli.agent_local import trust_program

    state = _state(session, name)
    spec = ProgramSpec(
        command=tuple(cmd), py_files=tuple(py_files or ()), jars=tuple(jars or ()), files=tuple(files or ())
    )
    with measured(session, spec) as program:
        roles = frozenset({(state.domain, "driver")})
        signed = trust_program(session.workspace, cmd, program, say=session.output.say, roles=roles)
        session.output.result(
            {"digest": program.descriptor.digest, "manifest": signed.digest, "domain": state.domain, "role": "driver"},
            text=f"manifest version {signed.manifest.version} lets {program.descriptor.digest} be a driver",
        )


@command(app, example="redoubt cluster status --watch")
def status(
    session: Session,
    *,
    name: NameOption = _DEFAULT,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
) -> None:
    """Show every role of a cluster: whether it runs, its evidence, the broker's verdict and until when that holds."""
    while True:
        state = _state(session, name)
        if watch:
            session.output.clear()
        _show(session, name, state)
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


@command(app, example="redoubt cluster logs worker-1 -f")
def logs(
    session: Session,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="As `status` names it.")],
    *,
    name: NameOption = _DEFAULT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print what a role has said. It can name data: a log stays with those who may see that."""
    path = _state(session, name).log(role)
    if path is None:
        raise UsageError(
            f"the cluster {name!r} has no log of {role!r}", hint="`redoubt cluster status` names the roles."
        )
    with path.open("rb") as log:
        while True:
            sys.stdout.buffer.write(log.read())
            sys.stdout.buffer.flush()
            if not follow:
                return
            time.sleep(_WATCH_SECONDS)


@command(app, example="redoubt cluster scale 4")
def scale(
    session: Session,
    workers: Annotated[int, typer.Argument(min=0, max=256, metavar="N", help="How many workers there shall be.")],
    *,
    name: NameOption = _DEFAULT,
) -> None:
    """Start or end workers; workers that were lost are replaced. Tasks of a worker that ends run again elsewhere.

    A development cluster's broker is started again if it has ended.
    """
    from redoubt.spark.cluster import manage

    state = manage.scale(_state(session, name), workers, os.environ, say=session.output.say)
    running = [it.name for it in state.processes if it.name.startswith("worker-")]
    session.output.result(
        {"workers": running}, text="1 worker runs" if len(running) == 1 else f"{len(running)} workers run"
    )


@command(app, example="redoubt cluster down")
def down(session: Session, *, name: NameOption = _DEFAULT) -> None:
    """End every process of a cluster, and remove its folder, its temporary files and its logs."""
    from redoubt.spark.cluster import manage

    manage.down(_state(session, name), say=session.output.say)
    session.output.result({"name": name}, text=f"the cluster {name} is gone")


def _state(session: Session, name: str) -> ClusterState:
    from redoubt.spark.cluster.state import ClusterState, cluster_folder

    return ClusterState.load(cluster_folder(session.workspace.state_folder, name))


def _show(session: Session, name: str, state: ClusterState) -> None:
    told: dict[str, Mapping[str, Any]] = dict(state.statuses())
    rows = [
        {"role": it.name, "state": "runs" if it.runs else "ended", **told.pop(it.name, {})} for it in state.processes
    ]
    for role, facts in told.items():  # drivers, and executors, which their workers start
        runs = "host" in facts or Path("/proc", str(facts["pid"])).exists()  # of another machine: while it says so
        rows.append({"role": role, "state": "runs" if runs else "ended", **facts})
    cells = [[str(row.get(it, "-"))[:_WIDTH] for it in _COLUMNS] for row in rows]
    session.output.table(
        {"name": name, "master": state.master, "domain": state.domain, "roles": rows}, columns=_COLUMNS, rows=cells
    )


def _state_home() -> str:
    return os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")


def _development_key() -> Path:
    """Return the file with the key of this user's simulated machine, made now if there is none."""
    attester: Any = importlib.import_module("redoubt_dev.attester")
    key: Any = importlib.import_module("redoubt_dev.key")
    folder = Path(attester.default_folder())
    key.DevelopmentKey.load_or_create(folder)
    return folder / str(key.KEY_FILE)


def _trust_roles(session: Session, domain: str, java_home: str) -> None:
    """Make the development manifest trust this installation's programs of a cluster."""
    from dataclasses import replace

    from redoubt.agent.measure import ProgramSpec
    from redoubt.cli.manifest import plan_text
    from redoubt.spark.cluster import options
    from redoubt.trust.plan import plan

    try:
        laptop: Any = importlib.import_module("redoubt_dev.laptop")
    except ModuleNotFoundError:
        raise TeeMissing(
            "no broker was named, and a development one comes from redoubt-dev, which is not installed",
            hint="Name a broker with --broker, --ca and --broker-id.",
        ) from None
    modules = {
        "master": options.MASTER_MODULE,
        "worker": options.WORKER_MODULE,
        "executor": options.EXECUTOR_MODULE,
    }
    caller = {"PATH": f"{java_home}/bin:/usr/bin:/bin", "JAVA_HOME": java_home}
    first = next(iter(modules.values()))
    with measured(session, ProgramSpec(command=(sys.executable, "-m", first)), caller=caller) as program:
        descriptor = program.descriptor
    trusted = {}
    for role, module in modules.items():  # one installation, so one image: they differ in the module alone
        argv = tuple(module if it == first else it for it in descriptor.argv)
        digest = replace(descriptor, argv=argv).digest
        roles = frozenset({(domain, role)})
        reads = role == "executor"
        trusted[f"spark-{role}"] = laptop.TrustedProgram(digest=digest, arguments=(("*",),), roles=roles, data=reads)
    current = laptop.current_manifest(session.workspace)
    manifest = laptop.draft_all(session.workspace, current, trusted)
    if current is None or not plan(current.manifest, manifest).is_empty:
        if current is not None:
            session.output.say(plan_text(plan(current.manifest, manifest), current))
        laptop.sign_and_set(session.workspace, manifest)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
