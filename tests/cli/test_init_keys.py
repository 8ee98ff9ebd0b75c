"""``redoubt init`` and ``redoubt keys``, end to end through the command, as a person or a script runs them."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.keys.peers.softhsm import new_token
from typer.core import TyperGroup
from typer.main import get_command

from redoubt.cli.main import COMMANDS, app, main
from redoubt.cli.output import printable
from redoubt.errors import ExitStatus
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import Workspace

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = [sys.executable, "-m", "redoubt.cli.main"]


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REDOUBT_")}
    return {**inherited, "PYTHONPATH": str(SOURCE), **extra}


class Shell:
    """Runs the command in a folder, checks what holds for every run, and keeps all that was printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""

    def run(
        self,
        *arguments: str | Path,
        status: int = 0,
        pass_fds: tuple[int, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=environment(**(variables or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            pass_fds=pass_fds,
            start_new_session=True,  # no terminal: what would ask must refuse
        )
        self.printed += done.stdout + done.stderr
        assert done.returncode == status, done
        assert "Traceback" not in done.stdout + done.stderr, done
        assert "\x1b" not in done.stdout + done.stderr, done
        return done

    def json(self, *arguments: str | Path, status: int = 0) -> Any:
        done = self.run(*arguments, "--json", status=status)
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def fails(self, *arguments: str | Path, status: ExitStatus, code: str) -> str:
        """Run what must fail: explained in three lines on stderr, and as one object on stdout, which say the same."""
        done = self.run(*arguments, "--json", status=status)
        assert done.stdout.count("\n") == 1
        error = json.loads(done.stdout)["error"]
        assert error["code"] == code
        assert set(error) == {"code", "what", "cause", "next"}
        text = f"redoubt: [{code}] {error['what']}\nWhy: {error['cause']}\nNext: {error['next']}\n"
        assert done.stderr == printable(text)
        return done.stderr


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.run("init")
    return empty


def secret_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


# --- init -------------------------------------------------------------------------------------------------------------
def test_init_makes_a_workspace_without_asking(empty: Shell) -> None:
    done = empty.run("init", "lake")
    assert done.stdout == "made lake/.redoubt with the key key:main/default.dev\n"
    assert "Back up" in done.stderr
    assert (empty.folder / "lake" / ".redoubt" / "root.key").stat().st_mode & 0o777 == 0o600


def test_init_json_says_where_and_how(empty: Shell) -> None:
    assert empty.json("init") == {
        "workspace": str(empty.folder / ".redoubt"),
        "default_key": "key:main/default.dev",
        "root_key": "file",
    }


def test_second_init_is_refused(shell: Shell) -> None:
    shell.fails("init", status=ExitStatus.USAGE, code="workspace.exists")


def test_no_workspace_is_explained(empty: Shell) -> None:
    text = empty.fails("keys", "list", status=ExitStatus.ENVIRONMENT, code="workspace.missing")
    assert "redoubt init" in text


def test_passphrase_from_file_and_descriptor(empty: Shell) -> None:
    right, wrong = secret_file(empty.folder / "right", "hunter2\n"), secret_file(empty.folder / "wrong", "hunter3\n")
    assert empty.json("init", "--passphrase-file", right)["root_key"] == "passphrase"
    assert not (empty.folder / ".redoubt" / "root.key").exists()
    empty.run("keys", "list")
    empty.run("keys", "create", "a", "--passphrase-file", right)
    with right.open("rb") as opened:
        empty.run("--passphrase-fd", str(opened.fileno()), "keys", "create", "b", pass_fds=(opened.fileno(),))
    text = empty.fails(
        "keys", "create", "c", "--passphrase-file", wrong, status=ExitStatus.ENVIRONMENT, code="workspace.passphrase"
    )
    assert "Why: The passphrase is not the one that the workspace was made with" in text
    assert "root key file" not in text
    text = empty.fails("keys", "create", "c", status=ExitStatus.ENVIRONMENT, code="workspace.passphrase")
    assert "no terminal" in text
    assert "--passphrase-file" in text
    assert "hunter" not in empty.printed


def test_passphrase_prompt_asks_twice_and_echoes_nothing(empty: Shell) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(empty.folder)
        os.execve(sys.executable, [*COMMAND, "init", "--passphrase-prompt"], environment())
    seen = b""
    answers = [b"correct horse\n"] * 2
    while True:
        try:
            chunk = os.read(terminal, 1024)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
        if answers and seen.count(b": ") > 2 - len(answers):
            os.write(terminal, answers.pop())
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert b"horse" not in seen
    file = secret_file(empty.folder / "pass", "correct horse")
    empty.run("keys", "rotate", "default", "--passphrase-file", file)


@pytest.mark.parametrize(
    "mistake", ["--passphrase=hunter2", "--passphrase hunter2", "--passphrase-prompt=hunter2", "--passphrase-fd=x"]
)
def test_passphrase_is_never_taken_from_the_arguments(empty: Shell, mistake: str) -> None:
    empty.run("init", *mistake.split(), status=ExitStatus.USAGE)
    assert "hunter2" not in empty.printed
    assert not (empty.folder / ".redoubt").exists()


def test_several_passphrase_sources_are_refused(empty: Shell) -> None:
    arguments = ["init", "--passphrase-file", "x", "--passphrase-fd", "3"]
    empty.fails(*arguments, status=ExitStatus.USAGE, code="usage.invalid")
    empty.fails("init", "--passphrase-file", "x", status=ExitStatus.USAGE, code="usage.not_found")
    empty.fails("init", "a", "--workspace", "b", status=ExitStatus.USAGE, code="usage.invalid")


# --- keys -------------------------------------------------------------------------------------------------------------
def test_life_of_a_key(shell: Shell) -> None:
    assert shell.run("keys", "create", "lake").stdout == "created key:main/lake.dev\n"
    assert shell.run("keys", "rotate", "lake").stdout == "key:main/lake.dev now wraps with version 2\n"
    shell.run("keys", "disable", "lake", "--version", "1")
    states = [version["state"] for version in shell.json("keys", "show", "lake")["versions"]]
    assert states == ["disabled", "enabled"]
    shell.run("keys", "enable", "lake")
    shell.run("keys", "destroy", "lake", "--version", "1", "--yes")
    shown = shell.json("keys", "show", "lake")
    assert [version["state"] for version in shown["versions"]] == ["destroyed", "enabled"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown["versions"][0]["created"])
    listed = shell.json("keys", "list")
    assert listed["default_key"] == "key:main/default.dev"
    assert [key["name"] for key in listed["keys"]] == ["key:main/default.dev", "key:main/lake.dev"]


def test_list_is_tab_separated_where_no_terminal_is(shell: Shell) -> None:
    header, row = shell.run("keys", "list").stdout.splitlines()
    assert header.split("\t") == ["KEY", "VERSION", "STATE", "CREATED", "WRAPS", "REFERENCES"]
    assert row.split("\t")[:3] == ["key:main/default.dev", "1", "enabled"]


def test_referenced_version_is_destroyed_only_when_told_so_twice(shell: Shell) -> None:
    _, wrapped = Workspace.open(shell.folder).new_data_key(None, WrapContext(uuid4(), uuid4()))
    assert shell.json("keys", "references", "default")["references"] == [
        {
            "dataset_id": str(wrapped.context.dataset_id),
            "data_key_id": str(wrapped.context.data_key_id),
            "purpose": "data",
        }
    ]
    assert str(wrapped.context.dataset_id) in shell.run("keys", "references", "default", "--version", "1").stdout
    destroy = ["keys", "destroy", "default", "--version", "1"]
    assert "--yes" in shell.fails(*destroy, status=ExitStatus.USAGE, code="usage.invalid")
    assert "references" in shell.fails(*destroy, "--yes", status=ExitStatus.KEY, code="key.referenced")
    shell.run(*destroy, "--yes", "--even-if-referenced")
    shell.fails("keys", "enable", "default", status=ExitStatus.KEY, code="key.destroyed")


def test_mapped_namespace_reaches_the_other_keystore(shell: Shell) -> None:
    shell.run("init", "other")
    assert shell.json("keys", "map", "lake", "--path", "other") == {
        "namespace": "lake",
        "provider": "local",
        "path": str(shell.folder / "other"),
    }
    shell.run("keys", "create", "lake/raw")
    shell.run("--workspace", "other", "keys", "map", "lake")
    other = shell.json("keys", "list", "--workspace", "other")
    assert [key["name"] for key in other["keys"]] == ["key:lake/raw.dev", "key:main/default.dev"]


def test_namespace_is_mapped_to_a_token_and_the_doctor_reaches_it(shell: Shell) -> None:
    token = new_token()
    variables = {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]}
    pin = shell.folder / "pin"
    pin.touch(mode=0o600)
    pin.write_text(token.pin)
    given = [f"module={token.module}", f"token={token.label}", "pin_file=pin"]
    sets = [text for setting in given for text in ("--set", setting)]
    shell.run("keys", "map", "hsm", "pkcs11", *sets, variables=variables)
    shell.run("keys", "create", "hsm/raw", variables=variables)
    (shell.folder / "plain.txt").write_text("secret\n")
    shell.run("seal", "plain.txt", "sealed", "--key", "hsm/raw", variables=variables)
    shell.run("unseal", "sealed", "again.txt", variables=variables)
    assert (shell.folder / "again.txt").read_text() == "secret\n"
    check = json.loads(shell.run("doctor", "--json", variables=variables).stdout)["keys of hsm: pkcs11"]
    assert check["ok"] is True
    assert token.label in check["found"]
    (shell.folder / "pin").write_text("wrong")
    failing = shell.run("doctor", "--json", variables=variables, status=ExitStatus.ENVIRONMENT)
    first = json.loads(failing.stdout.splitlines()[0])
    assert first["keys of hsm: pkcs11"]["ok"] is False
    assert "PIN" in first["keys of hsm: pkcs11"]["found"]
    assert token.pin not in shell.printed


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["show", "none"], ExitStatus.KEY, "key.unknown"),
        (["show", "Not A Name"], ExitStatus.KEY, "key.invalid"),
        (["show", "\x1b[31mred"], ExitStatus.KEY, "key.invalid"),
        (["show", "other/x"], ExitStatus.KEY, "key.namespace"),
        (["create", "default"], ExitStatus.KEY, "key.exists"),
        (["create", "strong.hw"], ExitStatus.REFUSED, "key.assurance"),
        (["references", "default", "--version", "9"], ExitStatus.KEY, "key.unknown"),
        (["destroy", "default"], ExitStatus.USAGE, "usage.invalid"),
        (["destroy", "default", "--version", "x", "--yes"], ExitStatus.USAGE, "usage.invalid"),
        (["enable", "default", "--version", "0"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "vault"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "vault", "--set", "url=http://localhost", "--set", "token_file=t"], 7, "workspace.provider"),
        (["map", "lake", "vault", "--set", "url"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "vault", "--set", "url=a", "--set", "url=b"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "vault", "--set", "url=https://a", "--set", "pin=1"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "elsewhere"], ExitStatus.USAGE, "usage.invalid"),
        (["map", "lake", "--path", "nowhere"], ExitStatus.ENVIRONMENT, "workspace.missing"),
        (["bogus"], ExitStatus.USAGE, "usage.invalid"),
        ([], ExitStatus.USAGE, "usage.invalid"),
    ],
)
def test_mistakes_are_explained(shell: Shell, arguments: list[str], status: ExitStatus, code: str) -> None:
    shell.fails("keys", *arguments, status=status, code=code)


def test_texts_name_the_cause_and_what_helps(shell: Shell) -> None:
    text = shell.fails("keys", "create", "lake/raw", status=ExitStatus.KEY, code="key.namespace")
    assert "Next: `redoubt keys map lake local`" in text
    text = shell.fails("keys", "destroy", "default", "--version", "1", status=ExitStatus.USAGE, code="usage.invalid")
    assert "nothing was destroyed" in text
    (shell.folder / ".redoubt").chmod(0o755)
    text = shell.fails("keys", "list", status=ExitStatus.ENVIRONMENT, code="workspace.invalid")
    assert "Why: Whoever can read or change it" in text
    (shell.folder / ".redoubt").chmod(0o700)


def test_damaged_files_are_explained(shell: Shell) -> None:
    state = shell.folder / ".redoubt"
    (state / "root.key").chmod(0o644)
    text = shell.fails("keys", "create", "a", status=ExitStatus.ENVIRONMENT, code="workspace.root_key")
    assert "chmod 600" in text
    assert "open to nobody else" in text
    (state / "keystore.sqlite").write_bytes(b"x" * 5000)
    shell.fails("keys", "list", status=ExitStatus.REFUSED, code="workspace.keystore")
    (state / "config.toml").write_text("format = 99")
    shell.fails("keys", "list", status=ExitStatus.ENVIRONMENT, code="workspace.invalid")


def test_no_key_material_is_ever_printed(shell: Shell) -> None:
    key, wrapped = Workspace.open(shell.folder).new_data_key(None, WrapContext(uuid4(), uuid4()))
    root = (shell.folder / ".redoubt" / "root.key").read_bytes()
    for name in ("list", "show default", "references default", "rotate default", "show bogus"):
        arguments = ["keys", *name.split()]
        status = ExitStatus.KEY if "bogus" in name else ExitStatus.OK
        shell.run(*arguments, status=status)
        shell.run(*arguments, "--json", status=status)
    for secret in (root, key.secret, wrapped.ciphertext):
        for form in (secret.hex(), base64.b64encode(secret).decode().rstrip("="), repr(secret)[2:-1]):
            assert form not in shell.printed


# --- the house --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", range(3))
def test_shared_options_stand_at_every_level(shell: Shell, place: int) -> None:
    arguments = ["keys", "list"]
    arguments[place:place] = ["--workspace", str(shell.folder), "--json"]
    done = Shell(shell.folder.parent).run(*arguments)
    assert json.loads(done.stdout)["default_key"] == "key:main/default.dev"


def test_workspace_of_the_environment_yields_to_the_argument(shell: Shell) -> None:
    elsewhere = Shell(shell.folder.parent)
    elsewhere.run("keys", "list", variables={"REDOUBT_WORKSPACE": str(shell.folder)})
    elsewhere.run("--workspace", shell.folder, "keys", "list", variables={"REDOUBT_WORKSPACE": "/nowhere"})
    elsewhere.run("keys", "list", "--workspace", shell.folder, variables={"REDOUBT_WORKSPACE": "/nowhere"})


def leaves(command: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        return [(path, command)]
    group: Any = command
    below = [(group.get_command(None, name), f"{path} {name}") for name in group.list_commands(None)]
    return [leaf for inner, inner_path in below for leaf in leaves(inner, inner_path)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_the_shared_options(name: str) -> None:
    root: Any = get_command(app)
    for path, command in leaves(root.get_command(None, name), f"redoubt {name}"):
        assert command.epilog.startswith("Example: "), path
        assert path in command.epilog, path
        assert command.help, path
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--workspace", "--json", "--passphrase-file", "--passphrase-fd", "--debug"} <= options, path


def test_help_of_a_command_shows_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--help"]) == 0
    assert "Example: redoubt keys create lake" in capsys.readouterr().out


def test_without_json_a_mistake_prints_nothing_on_stdout(empty: Shell) -> None:
    done = empty.run("keys", "list", status=ExitStatus.ENVIRONMENT)
    assert done.stdout == ""
    assert done.stderr.startswith("redoubt: [workspace.missing] ")


def test_help_version_and_no_arguments(empty: Shell) -> None:
    assert re.fullmatch(r"redoubt \d+\.\d+\.\d+\S*\n", empty.run("--version").stdout)
    text = empty.run("--help").stdout
    assert all(name in text for name in COMMANDS)
    assert empty.run().stdout == text


def test_a_group_alone_prints_its_help(empty: Shell) -> None:
    assert empty.run("keys").stdout == empty.run("keys", "--help").stdout


def test_shell_completion_offers_commands_lazily(empty: Shell) -> None:
    words = {"COMP_WORDS": "redoubt keys ro", "COMP_CWORD": "2", "_REDOUBT_COMPLETE": "complete_bash"}
    assert empty.run(variables=words).stdout.split() == ["rotate"]


def test_help_is_quick_and_loads_nothing_heavy(empty: Shell) -> None:
    script = (
        "import sys; from redoubt.cli.main import main; status = main(['--help']);"
        "heavy = {'cryptography', 'sqlite3', 'argon2', 'tomlkit', 'pyarrow', 'pyspark', 'duckdb', 'pandas'};"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_closed_pipe_is_quiet(shell: Shell) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "keys", "list"],
        cwd=shell.folder,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (ExitStatus.BROKEN_PIPE, b"")


def run_broken(shell: Shell, fault: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    script = f"import sys; from redoubt.cli import main, init; init.Session.passphrase = {fault}; sys.exit(main.main())"
    return subprocess.run(
        [sys.executable, "-c", script, "init", "x", *arguments],
        cwd=shell.folder,
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=False,
    )


def test_internal_error_is_one_line_without_the_text_unless_debugged(shell: Shell) -> None:
    fault = "lambda *a, **k: {}['secret-value']"
    done = run_broken(shell, fault)
    assert done.returncode == ExitStatus.INTERNAL
    assert done.stderr.count("\n") == 1
    assert "internal error: KeyError in <string>, line 1" in done.stderr
    assert "secret-value" not in done.stderr
    assert json.loads(run_broken(shell, fault, "--json").stdout)["error"]["code"] == "internal"
    assert "Traceback" in run_broken(shell, fault, "--debug").stderr
    assert "Traceback" in run_broken(shell, fault, REDOUBT_DEBUG="1").stderr


def test_operating_system_errors_are_storage_errors(shell: Shell) -> None:
    done = run_broken(shell, "lambda *a, **k: open('/nowhere/x')")
    assert done.returncode == ExitStatus.STORAGE
    assert "[storage.failed]" in done.stderr


def test_interrupt_ends_with_130(shell: Shell) -> None:
    script = (
        "import signal, sys, time; from redoubt.cli import main, init;"
        # Whoever starts the tests in the background of a script leaves them an ignored SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "init.Session.passphrase = lambda *a, **k: (print('up', flush=True), time.sleep(30)); sys.exit(main.main())"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", script, "init", "x"],
        cwd=shell.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "up\n"
    time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate(timeout=30)
    assert started.returncode == ExitStatus.INTERRUPTED
    assert stderr == "redoubt: interrupted\n"
