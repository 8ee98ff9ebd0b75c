"""A store anchored in a counter: put back, it is refused; with a real TPM in software where one is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.broker.production import environment, free_port, python, served
from tests.evidence.swtpm import running

from redoubt.broker.anchor import Anchor, kept
from redoubt.broker.location import SqliteLocation
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.broker.tpm_counter import FIRST_INDEX, TpmCounter
from redoubt.cli.main import main
from redoubt.errors import AnchorUnusable, StoreRolledBack
from redoubt.keys.rootkey import create_root_key_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)
needs_tpm = pytest.mark.skipif(
    any(shutil.which(it) is None for it in ("swtpm", "tpm2_nvdefine")),
    reason="needs swtpm and tpm2-tools (Debian packages, packages.txt)",
)


@dataclass
class Number:
    """A counter in memory, which dies before it counts when it is told to."""

    value: int = 7
    dies: bool = False

    def read(self) -> int:
        return self.value

    def increment(self) -> None:
        if self.dies:
            raise AnchorUnusable("the power went")
        self.value += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_root_key_file(tmp_path / "root.key")
    SqlStore.create(SqliteLocation(tmp_path / "store.sqlite"), source=FileRoot(tmp_path / "root.key")).close()
    return tmp_path


def anchor(folder: Path, counter: Number, name: str = "tpm") -> Anchor:
    store = SqlStore.open(SqliteLocation(folder / "store.sqlite"), source=FileRoot(folder / "root.key"))
    return Anchor(audit=store.audit, counter=counter, name=name)


def test_each_anchoring_continues_the_last(folder: Path) -> None:
    counter = Number()
    begun = anchor(folder, counter)
    assert [begun.begin(), begun.advance(), anchor(folder, counter).advance()] == [8, 9, 10]
    assert counter.value == 10


def test_store_put_back_is_refused(folder: Path) -> None:
    counter = Number()
    anchor(folder, counter).begin()
    old = folder / "old"
    shutil.copy(folder / "store.sqlite", old)
    anchor(folder, counter).advance()
    shutil.copy(old, folder / "store.sqlite")
    with pytest.raises(StoreRolledBack):
        anchor(folder, counter).advance()
    assert anchor(folder, counter).begin() == 10  # an operator who knows of the restore
    assert anchor(folder, counter).advance() == 11


def test_store_from_before_the_first_anchoring_is_refused(folder: Path) -> None:
    counter = Number()
    old = folder / "old"
    shutil.copy(folder / "store.sqlite", old)
    anchor(folder, counter).begin()
    shutil.copy(old, folder / "store.sqlite")
    with pytest.raises(AnchorUnusable, match="not begun"):
        anchor(folder, counter).advance()


def test_death_between_row_and_counter_is_no_rollback(folder: Path) -> None:
    counter = Number()
    anchor(folder, counter).begin()
    counter.dies = True
    for _ in range(2):
        with pytest.raises(AnchorUnusable, match="power"):
            anchor(folder, counter).advance()
    counter.dies = False
    assert anchor(folder, counter).advance() == 9
    assert anchor(folder, counter).advance() == 10


def test_another_counter_is_refused(folder: Path) -> None:
    counter = Number()
    anchor(folder, counter).begin()
    with pytest.raises(AnchorUnusable, match="another one"):
        anchor(folder, Number(2)).advance()
    with pytest.raises(AnchorUnusable, match="not begun"):
        anchor(folder, counter, name="node-b").advance()


def test_words_of_other_rows_are_no_anchor(folder: Path) -> None:
    """A name may come from anybody; inside another member it is only text."""
    counter = Number()
    begun = anchor(folder, counter)
    begun.begin()
    forged = '"event":"anchored","counter":"tpm","value":99'
    begun.audit.append({"event": "unauthenticated", "decision": "refused", "name": forged}, at=NOW)
    assert begun.advance() == 9
    strange = anchor(folder, counter, name='%_"\\')
    assert strange.begin() == 10
    assert strange.advance() == 11


def test_store_put_back_under_a_running_broker_ends_it(folder: Path) -> None:
    counter, stopped = Number(), threading.Event()
    begun = anchor(folder, counter)
    begun.begin()

    def serve() -> None:
        with kept(begun, stop=stopped.set, every=0.01):
            counter.value += 5
            assert stopped.wait(10)

    with pytest.raises(StoreRolledBack):
        serve()


@needs_tpm
def test_counter_of_a_real_tpm_goes_up_and_never_back(tmp_path: Path) -> None:
    with running(tmp_path) as variables:
        counter = TpmCounter(FIRST_INDEX + 2, environment=variables)
        with pytest.raises(AnchorUnusable):
            counter.read()
        counter.define()
        first = counter.read()
        counter.define()
        counter.increment()
        assert counter.read() == first + 1
        undefine = ["tpm2_nvundefine", f"{FIRST_INDEX + 2:#x}", "-C", "o"]
        assert subprocess.run(undefine, env=variables, check=False).returncode == 0
        counter.define()
        assert counter.read() > first + 1


@needs_tpm
def test_broker_with_an_older_store_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broker, port = tmp_path / "broker", free_port()
    assert main(["broker", "setup", str(broker), "--port", str(port)]) == 0
    with (broker / "broker.toml").open("a") as config:
        config.write('\n[anchor]\ntpm_index = "0x01800002"\n')
    (tmp_path / "tpm").mkdir()
    capsys.readouterr()
    with running(tmp_path / "tpm") as variables:
        serve = python("-m", "redoubt.cli.main", "--json", "broker", "serve", str(broker))
        tpm = {"TPM2TOOLS_TCTI": variables["TPM2TOOLS_TCTI"], "PATH": os.environ["PATH"]}

        def refusal() -> str:
            done = subprocess.run(
                serve, env={**environment(), **tpm}, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode != 0
            return str(json.loads(done.stdout)["error"]["code"])

        assert refusal() == "broker.anchor"
        done = subprocess.run(
            python("-m", "redoubt.cli.main", "broker", "anchor", str(broker)),
            env={**environment(), **tpm},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "anchored in 0x01800002" in done.stdout
        shutil.copy(broker / "store.sqlite", tmp_path / "old")
        with served(broker, port, variables=tpm):
            pass
        with served(broker, port, variables=tpm):
            pass
        shutil.copy(tmp_path / "old", broker / "store.sqlite")
        assert refusal() == "broker.store_rolled_back"
