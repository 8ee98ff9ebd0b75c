"""Running the job in a mode and collecting what it discloses, channel by channel."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.disclosure.capture import Loopback, tcp_streams, unavailable
from tests.disclosure.findings import Channel, Findings, each_once, files_in, numbered
from tests.disclosure.keys import data_keys, dataset_records, spark_keys, workspace_keys
from tests.disclosure.markers import Marker, Searcher
from tests.disclosure.watch import Watch, of_session

from redoubt.keys.workspace import Workspace
from redoubt.limits import PREAMBLE_BYTES
from redoubt.sealed.local import AtomicFile
from redoubt.sealed.slots import Preamble
from redoubt.sealed.standalone import write_standalone
from redoubt.sealed.write import DatasetWrite, WriteMode

JOB: Final = Path(__file__).with_name("job.py")
ROWS: Final = 6000
_TIMEOUT_SECONDS: Final = 400.0  # on an idle machine it takes a tenth
_WORDS: Final = 4


@dataclass(frozen=True)
class Planted:
    """The values that a run's data and program hold."""

    people: tuple[Marker, ...] = field(default_factory=lambda: _words("person"))
    notes: tuple[Marker, ...] = field(default_factory=lambda: _words("note"))
    amounts: tuple[Marker, ...] = field(
        default_factory=lambda: tuple(Marker.number(f"amount {number}") for number in range(_WORDS))
    )
    suspect: Marker = field(default_factory=lambda: Marker.text("cell that a cast fails on"))
    rank: Marker = field(default_factory=lambda: Marker.text("cell that sortBy samples"))
    greeting: Marker = field(default_factory=lambda: Marker.text("cell that show() prints"))
    malformed: Marker = field(default_factory=lambda: Marker.text("cell of a malformed record"))
    literal: Marker = field(default_factory=lambda: Marker.text("literal in SQL"))

    @property
    def data(self) -> tuple[Marker, ...]:
        """Cells, and what the Python functions make of them."""
        turned = [word.reversed(f"{word.name}, reversed") for word in (*self.people, *self.notes)]
        return (*self.people, *self.notes, *self.amounts, *turned)

    @property
    def stated(self) -> tuple[Marker, ...]:
        """Values that Spark shows by its nature: the tests state where."""
        return (self.suspect, self.rank, self.greeting, self.malformed, self.literal)

    def csv(self) -> bytes:
        """The input, as csv with a header."""
        lines = ["id,person,note,amount,rank,suspect,greeting"]
        for number in range(ROWS):
            kind = number % _WORDS
            suspect = self.suspect.value if number == ROWS // 2 else str(number)
            note = f"{secrets.token_hex(8)} {self.notes[kind].value}"
            rank = f"{self.rank.value}{ROWS - number:05}"
            cells = (
                number,
                self.people[kind].value,
                note,
                self.amounts[kind].value,
                rank,
                suspect,
                self.greeting.value,
            )
            lines.append(",".join(map(str, cells)))
        return ("\n".join(lines) + "\n").encode()

    def malformed_csv(self) -> bytes:
        """A csv whose second record does not fit its schema."""
        return f"id,amount\n1,2\n2,{self.malformed.value}\n".encode()


def _words(name: str) -> tuple[Marker, ...]:
    return tuple(Marker.text(f"{name} {number}") for number in range(_WORDS))


@dataclass(frozen=True, kw_only=True)
class Run(Findings):
    """What one run disclosed.

    ``listening`` are the addresses at which any of its processes accepted connections; ``refusal`` is the code with
    which Redoubt refused the session, if it did.
    """

    planted: Planted
    keys: tuple[Marker, ...]
    listening: frozenset[str]
    refusal: str


def seal_csv(folder: Path, *contents: bytes, keys: Workspace) -> None:
    """Make the sealed dataset *folder*, with a part for each of *contents*."""
    write = DatasetWrite.begin(str(folder), keys=keys, mode=WriteMode.CREATE)
    parts = [write.parts.part(f"part-{number}.csv", media_type="text/csv") for number in range(len(contents))]
    for part, content in zip(parts, contents, strict=True):
        part.write(content)
    write.commit([part.finish() for part in parts])


def run_control(folder: Path) -> Run:
    """Run with security off, on plaintext, with a key handled naively."""
    planted = Planted()
    key = Marker("key", secrets.token_bytes(32))
    for name, content in (("data", planted.csv()), ("malformed", planted.malformed_csv())):
        (folder / name).mkdir()
        (folder / name / "part.csv").write_bytes(content)
    return _run("control", folder, planted, [key], {"key": key.raw.hex()})


def run_secured(folder: Path) -> Run:
    """Run with Redoubt, on the same data sealed."""
    planted = Planted()
    workspace = Workspace.init(folder / "workspace")
    for name, content in (("sealed", planted.csv()), ("malformed-sealed", planted.malformed_csv())):
        seal_csv(folder / name, content, keys=workspace)
    file = AtomicFile(folder / "people.csv.sealed", replace=False)
    standalone = write_standalone(file, keys=workspace, media_type="text/csv")
    standalone.write(planted.csv())
    standalone.finish()
    file.finish()
    slot = Preamble.parse((folder / "people.csv.sealed").read_bytes()[:PREAMBLE_BYTES]).slot
    keys = [*workspace_keys(workspace), *data_keys(workspace, [*dataset_records(folder), slot.wrapped])]
    return _run("secured", folder, planted, keys, {})


def _run(mode: str, folder: Path, planted: Planted, keys: list[Marker], told: dict[str, str]) -> Run:
    scratch = folder / "scratch"
    for name in ("tmp", "local", "work"):
        (scratch / name).mkdir(parents=True)
    pcap = folder / "loopback.pcap"
    with nullcontext() if unavailable() else Loopback(pcap) as loopback:
        job = subprocess.Popen(
            [*(loopback.prefix if loopback else []), sys.executable, str(JOB), mode, str(folder)],
            stdin=subprocess.PIPE,
            stdout=(folder / "stdout").open("wb"),
            stderr=(folder / "stderr").open("wb"),
            cwd=scratch / "work",
            env=_environment(scratch / "tmp"),
            start_new_session=True,
        )
        try:
            with Watch(of_session(job.pid), scratch, folder / "kept") as watch:
                assert job.stdin is not None
                job.stdin.write(json.dumps({**told, "literal": planted.literal.value}).encode())
                job.stdin.close()
                _wait_for(job, folder)
            if loopback:
                loopback.stop()
            (folder / "release").touch()
            status = job.wait(_TIMEOUT_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
    assert status == 0, _failure(folder)
    keys += spark_keys(folder / "spark-secrets.json")
    searcher = Searcher([*planted.data, *planted.stated, *keys])
    channels = {
        channel: {item: searcher.find(content) for item, content in items}
        for channel, items in _channels(folder, watch).items()
    }
    return Run(
        planted=planted,
        keys=tuple(keys),
        channels=channels,
        listening=frozenset(watch.listening),
        refusal=_text(folder / "refusal"),
    )


def _channels(folder: Path, watch: Watch) -> dict[Channel, Iterable[tuple[str, bytes]]]:
    found: dict[Channel, Iterable[tuple[str, bytes]]] = {
        Channel.STDOUT: [("stdout", (folder / "stdout").read_bytes())],
        Channel.LOG: [("stderr", (folder / "stderr").read_bytes())],
        Channel.UI: files_in(folder / "ui"),
        Channel.EVENT_LOG: [item for place in sorted(folder.glob("events*")) for item in files_in(place)],
        Channel.COMMAND_LINES: numbered(watch.command_lines),
        Channel.ENVIRONMENTS: numbered(watch.environments),
        Channel.FILES: each_once(watch.files(), files_in(folder / "scratch")),
    }
    if not unavailable():
        found[Channel.LOOPBACK] = tcp_streams((folder / "loopback.pcap").read_bytes()).items()
    return found


def _environment(temporary: Path) -> dict[str, str]:
    """The environment of the job: this one's, with its own temporary folder and nothing of the test runner."""
    foreign = ("PYTEST", "PYSPARK", "SPARK", "REDOUBT", "XDG_RUNTIME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "TMPDIR": str(temporary), "PYSPARK_PYTHON": sys.executable}


def _wait_for(job: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + _TIMEOUT_SECONDS
    while not (folder / "held").exists():
        if job.poll() is not None or time.monotonic() > end:
            raise AssertionError(_failure(folder))
        time.sleep(0.05)


def _failure(folder: Path) -> str:
    """Return what the program ended with, or at least its last words."""
    said = (folder / "stderr").read_text(errors="replace")
    return said[max(said.rfind("\nTraceback"), 0) :][:6000] if "\nTraceback" in said else said[-6000:]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder with a short path: the paths of unix sockets below it have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True) as name:
        yield Path(name)
