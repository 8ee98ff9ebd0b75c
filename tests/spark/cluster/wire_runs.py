"""One program on a cluster with everything on, and on one without security, each watched in a network of its own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyspark
from benchmarks.plain_cluster import PlainCluster
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.disclosure import spark_secrets
from tests.disclosure.capture import Loopback, tcp_streams
from tests.disclosure.findings import Channel, Findings, each_once, files_in, numbered
from tests.disclosure.keys import data_keys, dataset_records, spark_keys, workspace_keys
from tests.disclosure.markers import Marker, Searcher
from tests.disclosure.runs import seal_csv
from tests.disclosure.watch import Watch, that_name
from tests.spark.cluster.running import Cluster

from redoubt.keys.workspace import Workspace

ROWS: Final = 1200
_PARTS: Final = 2
_JOB: Final = Path(__file__).with_name("wire_job.py")
_PAGES: Final = Path(__file__).with_name("pages.py")
#: Sorts go through disk, joins through shuffles; an executor that is quick to start has done most of its work.
_CONF: Final = {
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.shuffle.spill.numElementsForceSpillThreshold": "20",  # so many files that some are seen on a busy machine
    "spark.ui.showConsoleProgress": "false",
}
_SECONDS: Final = 400.0  # on an idle machine it takes a tenth
_PAGE: Final = re.compile(r"at (http://(?:127\.0\.0\.1|localhost):[0-9]+)")


def _text(name: str) -> Marker:
    return Marker.text(name)


@dataclass(frozen=True)
class Planted:
    """What is in the data and in the shipped files, by the way that it takes."""

    shuffled: Marker = field(default_factory=lambda: _text("shuffle"))
    joined: Marker = field(default_factory=lambda: _text("broadcast of a table"))
    turned: Marker = field(default_factory=lambda: _text("Python function"))
    told: Marker = field(default_factory=lambda: _text("results"))
    file: Marker = field(default_factory=lambda: _text("file"))
    module: Marker = field(default_factory=lambda: _text("Python file"))
    jar: Marker = field(default_factory=lambda: _text("jar"))

    @property
    def cells(self) -> tuple[Marker, ...]:
        """Cells of the data, and what the program makes of them."""
        made = (self.turned.reversed("answers of a Python function"), self.told.reversed("broadcast of Python"))
        return (self.shuffled, self.joined, self.turned, self.told, *made)

    @property
    def shipped(self) -> tuple[Marker, ...]:
        """What is in the files that the driver sends to executors."""
        return (self.file, self.module, self.jar)

    def csv(self) -> list[bytes]:
        """The input, in parts. Cells begin with a few random letters: what repeats, a compressor takes away."""
        parts = []
        for part in range(_PARTS):
            lines = ["id,shuffled,joined,turned,told"]
            for number in range(part, ROWS, _PARTS):
                cells = (self.shuffled, self.joined, self.turned, self.told)
                lines.append(",".join([str(number), *(f"{secrets.token_hex(4)}{it.value}" for it in cells)]))
            parts.append(("\n".join(lines) + "\n").encode())
        return parts

    def ship(self, folder: Path) -> None:
        """Make the files to be shipped."""
        folder.mkdir()
        (folder / "file.txt").write_text(self.file.value)
        (folder / "shipped.py").write_text(f'MARKER = "{self.module.value}"\n')
        with zipfile.ZipFile(folder / "shipped.jar", "w") as jar:
            jar.writestr("marker.txt", self.jar.value)


@dataclass(frozen=True, kw_only=True)
class Run(Findings):
    """What one run disclosed."""

    planted: Planted
    keys: tuple[Marker, ...]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is needed to watch a cluster and to give it a job."""

    folder: Path
    environment: Mapping[str, str]
    driver: Sequence[str]
    #: Logs of master, workers and whatever else runs; web interfaces are named in them.
    logs: Path


def run_control(folder: Path, python: Path) -> Run:
    """Run with security off, on plaintext, with a key handled naively."""
    planted, key = Planted(), Marker("key", secrets.token_bytes(32))
    (folder / "data").mkdir()
    for number, content in enumerate(planted.csv()):
        (folder / f"data/part-{number}.csv").write_bytes(content)
    (folder / "events").mkdir()
    naive = {
        "spark.naive": key.raw.hex(),
        "spark.executorEnv.NAIVE": key.raw.hex(),
        "spark.executor.extraJavaOptions": f"{_CONF['spark.executor.extraJavaOptions']} -Dnaive={key.raw.hex()}",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (folder / "events").as_uri(),
    }
    environment = _environment(folder) | {
        "PYSPARK_PYTHON": str(python),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "tmp/local"),
    }
    submit = str(Path(pyspark.__file__).parent / "bin/spark-submit")
    with Loopback(folder / "lo.pcap") as loopback, _watching(folder) as watch:
        plain = PlainCluster(
            folder=folder / "tmp/cluster",
            options=("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            prefix=loopback.prefix,
            environment=environment,
        )
        with plain.running() as master:
            driver = [*loopback.prefix, submit, *_words(folder, planted, master, _CONF | naive)]
            watched = Watched(folder=folder, environment=environment, driver=driver, logs=folder / "tmp/cluster/logs")
            _run(watched, loopback)
        watch.stop()
    return _look(folder, planted, [key], watch)


@contextmanager
def run_secured(folder: Path, python: Path) -> Iterator[tuple[Run, Cluster]]:
    """Run on a cluster of `redoubt cluster`, on the same data sealed, and leave the cluster running."""
    planted = Planted()
    workspace = Workspace.init(folder)
    seal_csv(folder / "data", *planted.csv(), keys=workspace)
    keys = [*workspace_keys(workspace), *data_keys(workspace, dataset_records(folder))]
    with Loopback(folder / "lo.pcap") as loopback:
        cluster = Cluster(python, folder, prefix=tuple(loopback.prefix), environment=_environment(folder))
        with _watching(folder) as watch:
            cluster.redoubt("cluster", "up", "--workers", "2", "--port", "0")
            try:
                state = cluster.state
                driver = cluster.command("submit", *_words(folder, planted, state.master, _CONF))
                watched = Watched(folder=folder, environment=cluster.environment, driver=driver, logs=state.logs)
                keys += _run(watched, loopback)
                watch.stop()
                yield _look(folder, planted, keys, watch), cluster
            finally:
                cluster.redoubt("cluster", "down")


def _words(folder: Path, planted: Planted, master: str, conf: Mapping[str, str]) -> list[str]:
    """Return the options and arguments of `spark-submit`, which are those of `redoubt submit`."""
    shipped = folder / "shipped"
    planted.ship(shipped)
    shutil.copy(spark_secrets.__file__, folder / "spark_secrets.py")
    files = ["--py-files", f"{folder}/spark_secrets.py,{shipped}/shipped.py", "--files", f"{shipped}/file.txt"]
    settings = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    return ["--master", master, *settings, *files, "--jars", f"{shipped}/shipped.jar", str(_JOB), str(folder)]


@contextmanager
def _watching(folder: Path) -> Iterator[Watch]:
    (folder / "tmp").mkdir()
    with Watch(that_name(folder), folder / "tmp", folder / "kept") as watch:
        yield watch


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment, with temporary files below *folder* and nothing of the test runner."""
    foreign = ("PYTEST", "PYTHON", "PYSPARK", "SPARK", "REDOUBT", "XDG_RUNTIME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "TMPDIR": str(folder / "tmp"), "XDG_STATE_HOME": str(folder / "state")}


def _run(watched: Watched, loopback: Loopback) -> list[Marker]:
    """Run the program to its end, and return the secrets of the processes that took part."""
    folder = watched.folder
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        driver = subprocess.Popen(
            watched.driver, cwd=folder, env=dict(watched.environment), stdout=out, stderr=err, start_new_session=True
        )
    try:
        end = time.monotonic() + _SECONDS
        while not (folder / "held").exists():
            assert driver.poll() is None, _said(folder)
            assert time.monotonic() < end, _said(folder)
            time.sleep(0.05)
        keys = list(_role_secrets(folder))
        roots = {url for log in watched.logs.glob("*.log") for url in _PAGE.findall(log.read_text(errors="replace"))}
        roots |= {url for url in [(folder / "ui").read_text()] if url}
        assert len(roots) >= 3, roots  # the master's and two workers'
        subprocess.run([*loopback.prefix, sys.executable, str(_PAGES), str(folder / "pages"), *roots], check=True)
        loopback.stop()
        shutil.copytree(watched.logs, folder / "logs")
        (folder / "release").touch()
        assert driver.wait(_SECONDS) == 0, _said(folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
    return [*keys, *spark_keys(folder / "spark-secrets.json")]


def _role_secrets(folder: Path) -> Iterator[Marker]:
    """Yield private keys and secrets of every attested role: where they lie stands in its environment."""
    belongs = that_name(folder)
    places = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if belongs(process):
                places |= set(re.findall(rb"REDOUBT_SECRETS=([^\0]+)", (process / "environ").read_bytes()))
    for place in sorted(Path(os.fsdecode(it)) for it in places):
        if not (place / "identity.pem").exists():
            continue
        role = json.loads((place / "membership.json").read_bytes())["name"]
        key = load_pem_private_key((place / "identity.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        scalar = key.private_numbers().private_value.to_bytes(48, "big")
        # In halves: where it stands as base64 in lines, a line's end falls into one of them.
        yield Marker(f"first half of the key of {role}", scalar[:24])
        yield Marker(f"second half of the key of {role}", scalar[24:])
        yield Marker("secret of the trust domain, as text", (place / "domain-secret").read_bytes())


def _look(folder: Path, planted: Planted, keys: list[Marker], watch: Watch) -> Run:
    searcher = Searcher([*planted.cells, *planted.shipped, *keys])
    items: dict[Channel, Iterable[tuple[str, bytes]]] = {
        Channel.STDOUT: [("stdout", (folder / "stdout").read_bytes())],
        Channel.LOG: [("driver", (folder / "stderr").read_bytes()), *files_in(folder / "logs")],
        Channel.UI: files_in(folder / "pages"),
        Channel.EVENT_LOG: files_in(folder / "events"),
        Channel.COMMAND_LINES: numbered(watch.command_lines),
        Channel.ENVIRONMENTS: numbered(watch.environments),
        Channel.FILES: each_once(watch.files(), files_in(folder / "tmp")),
        Channel.LOOPBACK: tcp_streams((folder / "lo.pcap").read_bytes()).items(),
    }
    channels = {channel: {name: searcher.find(content) for name, content in found} for channel, found in items.items()}
    return Run(channels=channels, planted=planted, keys=tuple(keys))


def _said(folder: Path) -> str:
    return (folder / "stderr").read_text(errors="replace")[-6000:]
