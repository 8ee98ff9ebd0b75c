"""A standalone cluster as Spark's own scripts start one, without agents: what clusters with agents are compared with.

Used by the benchmarks, and by the tests that capture a cluster's wire, for the run with security off.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from redoubt.spark.cluster.manage import free_port
from redoubt.spark.jar import jar_path

HOST = "127.0.0.1"
_START_SECONDS = 120.0
_END_SECONDS = 10.0
_REGISTERED = "Successfully registered with master"


def java_home() -> str:
    """Return the JDK of this machine."""
    return os.environ.get("JAVA_HOME") or str(Path(shutil.which("java") or "").resolve().parent.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainCluster:
    """What every process of a cluster is started with. All that it writes lies in *folder*."""

    folder: Path
    #: Settings of master and workers; what applications are set to is theirs.
    conf: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    #: Begins every command line.
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    workers: int = 2
    cores: int = 1
    memory: str = "1g"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start it, yield the master's address, end it. Logs are ``logs/NAME.log``."""
        (self.folder / "logs").mkdir(parents=True)
        address = f"spark://{HOST}:{free_port(HOST)}"
        processes: list[subprocess.Popen[bytes]] = []
        try:
            port = address.rpartition(":")[2]
            processes.append(self._start("master", "org.apache.spark.deploy.master.Master", "--port", port))
            self._wait("master", processes[0], "I have been elected leader")
            for number in range(1, self.workers + 1):
                processes.append(self._start_worker(f"worker-{number}", address))
            for number, process in enumerate(processes[1:], 1):
                self._wait(f"worker-{number}", process, _REGISTERED)
            yield address
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @contextmanager
    def worker(self, master: str) -> Iterator[Path]:
        """Start one worker that tries to register with another cluster's *master*, yield its log, end it."""
        (self.folder / "logs").mkdir(parents=True)
        process = self._start_worker("worker", master)
        try:
            yield self._log("worker")
        finally:
            process.kill()
            process.wait()

    def _start_worker(self, name: str, master: str) -> subprocess.Popen[bytes]:
        words = ("--cores", str(self.cores), "--memory", self.memory, "--work-dir", str(self.folder / name))
        return self._start(name, "org.apache.spark.deploy.worker.Worker", *words, master)

    def _start(self, name: str, main_class: str, *words: str) -> subprocess.Popen[bytes]:
        home = Path(pyspark.__file__).parent
        properties = self.folder / "cluster.properties"
        properties.write_text("".join(f"{key} {value}\n" for key, value in self.conf.items()))
        java = [f"{java_home()}/bin/java", "-cp", f"{jar_path()}:{home}/jars/*", "-Xmx256m"]
        common = ["--host", HOST, "--webui-port", "0", "--properties-file", str(properties)]
        spark = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": HOST, "SPARK_SCALA_VERSION": "2.13"}
        with self._log(name).open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, *java, *self.options, main_class, *common, *words],
                env={**self.environment, **spark, "JAVA_HOME": java_home()},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _wait(self, name: str, process: subprocess.Popen[bytes], text: str) -> None:
        end = time.monotonic() + _START_SECONDS
        while text not in (said := self._log(name).read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the {name} did not start:\n{said[-4000:]}")
            time.sleep(0.1)
