"""Attest first, start the program only then, end with it (``docs/agent.md``).

    outcome = execute(program, agent, execution=Execution())

The program gets data keys and resources at the key endpoint, secrets in files, and nothing else of the agent's: not its
key, its attestation result or its environment.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from redoubt.agent.attest import AttestedAgent
from redoubt.agent.broker_keys import BrokerKeySource
from redoubt.agent.bundle import private_memory_folder
from redoubt.agent.endpoint import KeyEndpoint
from redoubt.agent.environment import CACHE, CONF, ENDPOINT, SCRATCH, SECRETS, SOCKETS
from redoubt.agent.measure import MeasuredProgram
from redoubt.agent.membership import MembershipKeeper, Role
from redoubt.agent.process import run_program, user_ids
from redoubt.agent.remains import Remains
from redoubt.agent.report import Ran, request_receipt
from redoubt.agent.runtime import make_socket_folder
from redoubt.agent.status import StatusFile
from redoubt.errors import RedoubtError, UsageError
from redoubt.keys.private import create_private_file
from redoubt.protocol.endpoint import RESOURCE_NAME
from redoubt.trust.ear_verify import AttestationResult

_FILE_NAME: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the program is run."""

    #: File name → resource of the broker, ``repository/type/tag``.
    secrets: Mapping[str, str] = field(default_factory=dict)
    #: Another user, for agents that run as root (hardening H14).
    user: str | None = None
    #: What the program is in a trust domain; it finds its certificate and key in its folder of secrets.
    role: Role | None = None
    #: Told the folder of secrets when the role's identity is in it, to add what an engine needs beside it.
    joined: Callable[[Path], object] = lambda _: None
    #: Where to say, while the program runs, what it was attested as; for people, who are told nothing secret.
    status: Path | None = None

    def __post_init__(self) -> None:
        for name, path in self.secrets.items():
            if not name or name.startswith(".") or not set(name) <= set(_FILE_NAME):
                raise UsageError(f"{name!r} is no name of a file for a secret")
            if not RESOURCE_NAME.fullmatch(path):
                raise UsageError(f"{path!r} is not repository/type/tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a program ended, and what it was given."""

    status: int
    #: Dataset and id of every data key that the broker released for it.
    released: frozenset[tuple[UUID, UUID]]
    #: Signed by the broker, or why there is none.
    receipt: bytes | RedoubtError


def execute(
    program: MeasuredProgram,
    agent: AttestedAgent,
    *,
    execution: Execution,
    attested: Callable[[AttestationResult], None] = lambda _: None,
) -> Outcome:
    """Attest *program*, run it to its end, and say how it ended; *attested* is told the result before it starts.

    At its end, however it ended, the broker is asked for a receipt. That there is none is no error here.

    Raises:
        BrokerError, EarError, TokenError, AttestError: it was not attested, and not started.
        PkiError: the broker did not certify its role.
        ProgramFailed: it could not be started.
    """
    ids = None if execution.user is None else user_ids(execution.user)
    if ids is not None and execution.role is not None:
        raise UsageError("a role's certificate is renewed while it runs, which another user's folder does not allow")
    attested(agent.current().result)
    with ExitStack() as stack:
        keys = BrokerKeySource(agent)
        remains = stack.enter_context(Remains())
        remains.after_a_kill(program.bundle.folder)
        folders = _folders(remains)
        for name, path in execution.secrets.items():
            create_private_file(folders[SECRETS] / name, keys.resource(path))
        member = None
        if execution.role is not None:
            keeper = MembershipKeeper(agent, execution.role, folders[SECRETS])
            stack.callback(keeper.close)
            member = keeper.member.membership.name
            execution.joined(folders[SECRETS])
        user = None
        if ids is not None:
            user = ids[0]
            program.bundle.let_read(ids[1])
            _give(folders, ids)
        endpoint = stack.enter_context(KeyEndpoint(keys, resources=keys, user=user))
        folders[ENDPOINT] = remains.own(endpoint.folder)
        configuration = program.configuration(folders)
        if configuration is not None:
            _write_conf(folders[CONF], configuration, ids)
        agent.keep_current()
        stack.callback(agent.close)
        if execution.status is not None:
            stack.enter_context(StatusFile(execution.status, agent, member=member))
        started = datetime.now(UTC)
        status = run_program(
            program.executable(),
            program.argv(folders),
            environment=program.environment(folders),
            user=execution.user,
            runs=remains.program,
        )
        endpoint.close()  # what is read or written afterwards would not stand in the receipt
        ran = Ran(engine=program.engine, started=started, ended=datetime.now(UTC), status=status)
        receipt = _receipt(agent, keys, ran)
    return Outcome(status=status, released=keys.released, receipt=receipt)


def _receipt(agent: AttestedAgent, keys: BrokerKeySource, ran: Ran) -> bytes | RedoubtError:
    try:
        return request_receipt(agent, keys, ran)
    except RedoubtError as error:
        return error


def _folders(remains: Remains) -> dict[str, Path]:
    """Make the program's private folders: secrets and compiled code in memory, scratch where temporary files go."""
    memory = remains.own(private_memory_folder("redoubt-run-"))
    found = {
        SECRETS: memory / "secrets",
        CACHE: memory / "cache",
        CONF: memory / "conf",
        SCRATCH: remains.own(Path(tempfile.mkdtemp(prefix="redoubt-scratch-"))),
        SOCKETS: remains.own(make_socket_folder("redoubt-py-")),
    }
    for folder in found.values():
        folder.mkdir(mode=0o700, exist_ok=True)
    return found


def _give(folders: Mapping[str, Path], ids: tuple[int, int]) -> None:
    """Give the folders to another user: what is inside first, since whoever has a folder can put links into it."""
    secrets = folders[SECRETS]
    for path in (*secrets.iterdir(), *folders.values(), secrets.parent):
        os.chown(path, *ids, follow_symlinks=False)


def _write_conf(folder: Path, content: bytes, ids: tuple[int, int] | None) -> None:
    path = folder / "spark-defaults.conf"
    create_private_file(path, content)
    if ids is not None:
        os.chown(path, *ids, follow_symlinks=False)
