"""The program as a child: its status, its signals, its end, and that it can do no more than it should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from redoubt.agent.process import run_program, user_ids
from redoubt.errors import ProgramFailed, UsageError

SHELL = "/bin/sh"
SECONDS = 20.0
#: An agent in a process of its own, since signals go to processes.
AGENT = """\
import sys
from redoubt.agent.process import protect_agent, run_program
protect_agent()
print("agent", flush=True)
sys.exit(run_program("/bin/sh", ["sh", "-c", sys.argv[1]], environment={"PATH": "/usr/bin:/bin"}))
"""


def run(script: str, *, environment: dict[str, str] | None = None, user: str | None = None) -> int:
    return run_program(SHELL, ["sh", "-c", script], environment=environment or {"PATH": "/usr/bin:/bin"}, user=user)


def agent(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", AGENT, script], stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def test_the_agent_ends_with_the_programs_status() -> None:
    assert run("exit 0") == 0
    assert run("exit 37") == 37
    assert run("kill -TERM $$") == 128 + signal.SIGTERM


def test_a_program_that_cannot_be_executed_is_one_error() -> None:
    with pytest.raises(ProgramFailed, match="No such file"):
        run_program("/no/such/program", ["x"], environment={})


def test_the_program_has_exactly_the_environment_it_is_given(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    monkeypatch.setenv("SECRET", "x")
    assert run_program("/usr/bin/env", ["env"], environment={"A": "1"}) == 0
    assert capfd.readouterr().out.splitlines() == ["A=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    process = agent(f"trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["agent\n", "ready\n"]
    process.send_signal(number)
    assert process.stdout.read() == "got\n"
    assert process.wait(SECONDS) == 5


def test_what_the_program_leaves_behind_is_killed_with_it() -> None:
    process = agent("sleep 1000 & echo $!")
    assert process.stdout is not None
    process.stdout.readline()
    left = int(process.stdout.readline())
    assert process.wait(SECONDS) == 0
    wait_until(lambda: not alive(left))


def test_a_killed_agent_takes_the_program_with_it() -> None:
    process = agent("echo $$; exec sleep 1000")
    assert process.stdout is not None
    process.stdout.readline()
    program = int(process.stdout.readline())
    assert alive(program)
    process.kill()
    process.wait(SECONDS)
    wait_until(lambda: not alive(program))


def test_neither_agent_nor_program_writes_core_files_or_gains_rights() -> None:
    process = agent("ulimit -c; grep NoNewPrivs /proc/self/status; exec sleep 1000")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[1:] == ["0\n", "NoNewPrivs:\t1\n"]
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    # What is not dumpable belongs to root in /proc, whoever runs it: no debugger of the same user attaches.
    assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0
    process.kill()
    process.wait(SECONDS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as other users")
def test_the_program_runs_as_the_user_that_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    uid, gid = user_ids("nobody")
    assert run("id -u; id -g; id -G", user="nobody") == 0
    assert set(capfd.readouterr().out.split()) == {str(uid), str(gid)}


def test_the_program_never_runs_as_root_beside_the_agent() -> None:
    with pytest.raises(UsageError):
        user_ids("root")
    with pytest.raises(UsageError):
        user_ids("no-such-user")
