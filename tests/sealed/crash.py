"""Kills processes with SIGKILL in the middle of what they do, and looks at what is left.

Each scenario starts a process that says when it begins, and ends it a random while later. Afterwards the data has to be
in the state before or the one after, ``verify`` has to pass, no plaintext may be anywhere but where it was or was asked
for, and the same operation has to succeed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from tests.sealed.samples import files_below, put_files, read_dataset, read_file, write_dataset, write_file

from redoubt.errors import NoCommit
from redoubt.keys.provider import KeyInfo
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.maintain import rewrap_dataset
from redoubt.sealed.standalone import read_preamble, rewrap_standalone
from redoubt.sealed.transfer import folder_files, seal_file, seal_folder, unseal_file, unseal_folder
from redoubt.sealed.verify import verify_dataset
from redoubt.sealed.write import WriteMode

MIB = 1024 * 1024
_START = """
import sys
from pathlib import Path
from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.maintain import rewrap_dataset
from redoubt.sealed.standalone import rewrap_standalone
from redoubt.sealed.transfer import folder_files, seal_file, seal_folder, unseal_file, unseal_folder
from redoubt.sealed.write import WriteMode
base = Path(sys.argv[1])
keys = Workspace.open(base / "workspace")
name = keys.resolve(None)
def quiet(_): pass
keys.provider_for(name).describe(name)
print("begin", flush=True)
"""


class CrashMachine:
    """A folder with a workspace, plaintext with a marker, and sealed data to crash on."""

    def __init__(self, base: Path, *, seed: int = 0) -> None:
        self.base = base
        self.random = Random(seed)
        self.marker = uuid4().hex.encode()
        self.keys = Workspace.init(base / "workspace")
        self.plain = self.marker * (12 * MIB // len(self.marker))
        self.folder = {f"{n}.csv": self.marker * 20_000 + b"%d" % n for n in range(12)}
        put_files(base / "source", {"one.csv": self.plain})
        put_files(base / "sources", self.folder)
        (base / "tmp").mkdir()
        self.killed = self.survived = 0
        write_file(base / "file.sealed", self.plain, self.keys)
        self.contents = {"a": self.marker}
        write_dataset(base / "dataset", self.keys, contents=self.contents)
        for number in range(5):
            more = {f"more-{number}": self.marker * number}
            write_dataset(base / "dataset", self.keys, mode=WriteMode.APPEND, contents=more)
            self.contents |= more
        self.scenarios: dict[str, tuple[Callable[[], None], float]] = {
            "seal a file": (self._seal_file, 0.12),
            "seal a folder": (self._seal_folder, 0.25),
            "append a folder": (self._append_folder, 0.25),
            "unseal a file": (self._unseal_file, 0.10),
            "unseal a folder": (self._unseal_folder, 0.15),
            "re-wrap a dataset": (self._rewrap_dataset, 0.20),
            "re-wrap a file": (self._rewrap_file, 0.15),
            "rotate a key": (self._rotate, 0.10),
        }
        assert self._places_of_marker() == {"source", "sources"}, "the search finds plaintext where it is"

    def crash(self, scenario: str) -> None:
        """Run one scenario once, killed at a random point."""
        run, self._longest = self.scenarios[scenario]
        run()

    # --- scenarios ----------------------------------------------------------------------------------------------------
    def _seal_file(self) -> None:
        target = self.base / "new.sealed"
        self._kill('seal_file(base / "source/one.csv", AtomicFile(base / "new.sealed", replace=False), keys=keys)')
        self._no_plaintext()
        if target.exists():
            assert read_file(target, self.keys) == self.plain
            target.unlink()
        seal_file(self.base / "source/one.csv", AtomicFile(target, replace=False), keys=self.keys)
        assert read_file(target, self.keys) == self.plain
        target.unlink()

    def _seal_folder(self) -> None:
        target = self.base / "new"
        self._kill('seal_folder(folder_files(base / "sources"), str(base / "new"), keys=keys)')
        self._no_plaintext()
        try:
            Dataset.open(str(target), keys=self.keys)
        except NoCommit:
            seal_folder(folder_files(self.base / "sources"), str(target), keys=self.keys)
        self._holds(target, {f"{name}.sealed": content for name, content in self.folder.items()})
        shutil.rmtree(target)

    def _append_folder(self) -> None:
        target = self.base / "appended"
        shutil.copytree(self.base / "dataset", target)
        code = 'seal_folder(folder_files(base / "sources"), str(base / "appended"), keys=keys, mode=WriteMode.APPEND)'
        self._kill(code)
        self._no_plaintext()
        whole = {**self.contents, **{f"{name}.sealed": content for name, content in self.folder.items()}}
        if len(Dataset.open(str(target), keys=self.keys).parts) == len(self.contents):
            self._holds(target, self.contents)
            seal_folder(folder_files(self.base / "sources"), str(target), keys=self.keys, mode=WriteMode.APPEND)
        self._holds(target, whole)
        shutil.rmtree(target)

    def _unseal_file(self) -> None:
        target = self.base / "plain/one.csv"
        replace = self.random.random() < 0.5
        if replace:
            put_files(target.parent, {"one.csv": b"old"})
        arguments = f'AtomicFile(base / "plain/one.csv", replace={replace}), keys=keys, where="", progress=quiet'
        self._kill(f'unseal_file(LocalFile(base / "file.sealed"), {arguments})')
        found = files_below(target.parent)
        assert found in ({}, {"one.csv": b"old"}, {"one.csv": self.plain}), list(found)
        self._no_plaintext(besides="plain")
        sink = AtomicFile(target, replace=True)
        file = LocalFile(self.base / "file.sealed")
        unseal_file(file, sink, keys=self.keys, where="", progress=lambda _: None)
        file.close()
        assert target.read_bytes() == self.plain
        shutil.rmtree(target.parent)

    def _unseal_folder(self) -> None:
        target, sealed = self.base / "plain", self.base / "folder"
        dataset = seal_folder(folder_files(self.base / "sources"), str(sealed), keys=self.keys)
        arguments = 'base / "plain", replace=False, progress=quiet'
        self._kill(f'unseal_folder(Dataset.open(str(base / "folder"), keys=keys), {arguments})')
        for name, content in files_below(target).items():
            assert content == self.folder[name], name
        self._no_plaintext(besides="plain")
        unseal_folder(dataset, target, replace=True, progress=lambda _: None)
        assert files_below(target) == self.folder
        shutil.rmtree(target)
        shutil.rmtree(sealed)

    def _rewrap_dataset(self) -> None:
        before = {name: raw for name, raw in files_below(self.base / "dataset").items() if not name.startswith("_keys")}
        code = 'rewrap_dataset(str(base / "dataset"), keys=keys, provider_for=keys.provider_for)'
        self._kill(f"for _ in range(4):\n    keys.provider_for(name).rotate(name)\n    {code}")
        self._no_plaintext()
        self._holds(self.base / "dataset", self.contents)
        rewrap_dataset(str(self.base / "dataset"), keys=self.keys, provider_for=self.keys.provider_for)
        rewrap_standalone(self.base / "file.sealed", provider_for=self.keys.provider_for)
        self._only_the_newest_version_is_needed()
        self._holds(self.base / "dataset", self.contents)
        after = {name: raw for name, raw in files_below(self.base / "dataset").items() if not name.startswith("_keys")}
        assert after == before

    def _rewrap_file(self) -> None:
        body = (self.base / "file.sealed").read_bytes()[8192:]
        code = 'rewrap_standalone(base / "file.sealed", provider_for=keys.provider_for)'
        self._kill(f"for _ in range(12):\n    keys.provider_for(name).rotate(name)\n    {code}")
        self._no_plaintext()
        assert read_file(self.base / "file.sealed", self.keys) == self.plain
        rewrap_standalone(self.base / "file.sealed", provider_for=self.keys.provider_for)
        rewrap_dataset(str(self.base / "dataset"), keys=self.keys, provider_for=self.keys.provider_for)
        self._only_the_newest_version_is_needed()
        assert read_file(self.base / "file.sealed", self.keys) == self.plain
        assert (self.base / "file.sealed").read_bytes()[8192:] == body

    def _rotate(self) -> None:
        before = self._key().current.version
        self._kill("for _ in range(40):\n    keys.provider_for(name).rotate(name)")
        after = self._key()
        assert after.current.version >= before
        assert [it.version for it in after.versions] == list(range(1, after.current.version + 1))
        self._no_plaintext()
        self._holds(self.base / "dataset", self.contents)
        name = self.keys.resolve(None)
        assert self.keys.provider_for(name).rotate(name).current.version == after.current.version + 1

    # --- judging ------------------------------------------------------------------------------------------------------
    def _kill(self, code: str) -> None:
        environment = {**os.environ, "TMPDIR": str(self.base / "tmp"), "XDG_RUNTIME_DIR": str(self.base / "tmp")}
        process = subprocess.Popen(
            [sys.executable, "-c", _START + code, str(self.base)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begin\n", process.stderr.read().decode()
        time.sleep(self.random.uniform(0, self._longest))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -9), errors.decode()
        self.killed += process.returncode == -9
        self.survived += process.returncode == 0

    def _holds(self, folder: Path, contents: dict[str, bytes]) -> None:
        assert read_dataset(verify_dataset(str(folder), keys=self.keys).check()) == contents

    def _key(self) -> KeyInfo:
        name = self.keys.resolve(None)
        return self.keys.provider_for(name).describe(name)

    def _only_the_newest_version_is_needed(self) -> None:
        """Every reference that a crash left was settled, for the data that is still there."""
        name = self.keys.resolve(None)
        newest = self._key().current.version
        live = {self._data_key_id(self.base / "file.sealed")}
        live |= {part.key for part in Dataset.open(str(self.base / "dataset"), keys=self.keys).parts}
        for version in self._key().versions[:-1]:
            contexts = self.keys.provider_for(name).references(name, version=version.version)
            left = live & {context.data_key_id for context in contexts}
            assert not left, f"version {version.version} of {newest} is still referenced"

    @staticmethod
    def _data_key_id(path: Path) -> UUID:
        file = LocalFile(path)
        try:
            return read_preamble(file).header.data_key_id
        finally:
            file.close()

    def _no_plaintext(self, besides: str = "") -> None:
        assert self._places_of_marker() - {"source", "sources", besides} == set()
        assert not list(self.base.rglob("*redoubt-tmp*"))

    def _places_of_marker(self) -> set[str]:
        found = set()
        for path in self.base.rglob("*"):
            if path.is_file() and self.marker in path.read_bytes():
                found.add(path.relative_to(self.base).parts[0])
        return found
