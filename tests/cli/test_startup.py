"""What the everyday commands load. Start-up is what a person waits for; modules are counted, because time is noisy."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redoubt.cli.main import COMMANDS
from redoubt.keys.workspace import Workspace

SOURCE = Path(__file__).parents[2] / "src"
#: What sealing one file, opening it and checking it needs none of.
HEAVY = {
    "argon2",
    "asyncio",
    "attr",
    "concurrent.futures",
    "cryptography.x509",
    "dcap_qvl",
    "duckdb",
    "importlib.metadata",
    "joserfc",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyspark",
    "rich",
    "ssl",
    "tomlkit",
}
SCRIPT = """
import json, sys
from redoubt.cli.main import main
status = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REDOUBT_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(SOURCE), environment.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("startup")
    Workspace.init(made)
    (made / "plain.csv").write_text("a,b\n1,2\n")
    loaded_by(made, "seal", "plain.csv", "kept.sealed")
    return made


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("seal", ("plain.csv", "new.sealed")),
        ("unseal", ("kept.sealed", "new.csv")),
        ("verify", ("kept.sealed",)),
    ],
)
def test_everyday_commands_load_only_what_they_use(folder: Path, command: str, arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(folder, command, *arguments)
    assert not loaded & HEAVY
    modules = {name: target.partition(":")[0] for name, target in COMMANDS.items()}
    shared = {modules[command], modules["seal"]}  # `-` is defined by seal
    assert not loaded & (set(modules.values()) - shared), "the groups of other commands"


def test_the_names_of_heavy_modules_are_right() -> None:
    """A misspelt name would pass for ever: every one of them is installed here."""
    assert {name for name in HEAVY if importlib.util.find_spec(name) is None} == set()
