"""Unmodified applications on a cluster, through ``redoubt submit``, as people type it; and what kills do to them.

One cluster and one application: every JVM start costs seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.spark.cluster.running import SECONDS, Cluster, files_below, java_of, wait
from tests.spark.cluster.small import cluster_python

from redoubt.errors import ExitStatus
from redoubt.keys.workspace import Workspace
from redoubt.pki.peer import valid_until
from redoubt.trust.store import ManifestStore
from redoubt_dev.laptop import current_manifest, sign_and_set

pytestmark = pytest.mark.spark

APPLICATION = """
import json, os, sys, time
from pyspark.sql import SparkSession, functions as F
from helper import grown

source, target, folder = sys.argv[1:]
spark = SparkSession.builder.appName("ages").getOrCreate()
people = spark.read.csv(source, header=True, inferSchema=True)
people.groupBy("city").agg(F.sum("age").alias("age")).write.parquet(target)
older = F.udf(grown, "long")


def told(name):
    rows = spark.read.parquet(target).select("city", older("age").alias("age")).orderBy("city").collect()
    where = spark.sparkContext.parallelize(range(8), 4).map(lambda _: os.environ["REDOUBT_ENDPOINT"]).distinct()
    seen = {"rows": [list(it) for it in rows], "own": os.environ["REDOUBT_ENDPOINT"], "executors": where.collect()}
    with open(f"{folder}/{name}.part", "w") as file:
        json.dump(seen, file)
    os.rename(f"{folder}/{name}.part", f"{folder}/{name}")


for name in ("first", "second", "third"):
    while not os.path.exists(f"{folder}/{name}.go"):
        time.sleep(0.05)
    told(name)
print("done")
spark.stop()
sys.exit(7)
"""
HELPER = "def grown(age):\n    return age + 1\n"
PEOPLE: list[tuple[str, str, int]] = [(f"name-{it}", ("Bergen", "Malmö")[it % 2], 20 + it % 30) for it in range(400)]
ROWS = [[city, sum(age for _, its, age in PEOPLE if its == city) + 1] for city in ("Bergen", "Malmö")]
STATUS = 7
#: Of certificates: the job lasts longer.
LIFETIME = 40
OPTIONS = ("--executor-memory", "512m", "--conf", "spark.sql.shuffle.partitions=2", "--py-files", "helper.py")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("joined")
    made = Cluster(cluster_python(tmp_path_factory.mktemp("python") / "p"), folder)
    made.redoubt("init", ".")
    (folder / "ages.py").write_text(APPLICATION)
    (folder / "helper.py").write_text(HELPER)
    (folder / "people").mkdir()
    for part in range(2):
        lines = [f"{name},{city},{age}" for name, city, age in PEOPLE[part * 200 :][:200]]
        (folder / f"people/{part}.csv").write_text("\n".join(["name,city,age", *lines, ""]))
    made.redoubt("seal", "people", "people.sealed")
    made.redoubt("cluster", "up", "--workers", "2", "--port", "0", "--certificate-seconds", str(LIFETIME))
    try:
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.redoubt("cluster", "down")


def ends(cluster: Cluster, role: str) -> datetime:
    """When the certificate of a running role ends."""
    whole = (cluster.identity(role) / "identity.pem").read_bytes()
    return valid_until(whole[whole.index(b"-----BEGIN CERTIFICATE") :])


def submit(cluster: Cluster, *words: str) -> list[str]:
    return ["submit", "--master", cluster.state.master, *OPTIONS, *words]


def arguments(cluster: Cluster) -> tuple[str, ...]:
    return ("ages.py", *(str(cluster.folder / it) for it in ("people.sealed", "ages", ".")))


def test_unmodified_application_computes_on_sealed_data_and_survives_kills(cluster: Cluster) -> None:
    folder, log = cluster.folder, cluster.folder / "log"
    with log.open("w") as file, cluster.start(*submit(cluster, *arguments(cluster)), log=file) as driver:

        def answer(name: str) -> dict[str, Any]:
            (folder / f"{name}.go").touch()
            wait((folder / name).exists, what=name, process=driver, log=log)
            found: dict[str, Any] = json.loads((folder / name).read_text())
            assert found["rows"] == ROWS
            assert found["own"] not in found["executors"]  # data keys come from the executors' own agents
            return found

        def executors() -> dict[str, dict[str, Any]]:
            found = {name: it for name, it in cluster.roles().items() if name.startswith("executor-")}
            return {name: it for name, it in found.items() if it["state"] == "runs"}

        wait(lambda: "attested by" in log.read_text(), what="the driver's attestation", process=driver, log=log)
        ended = datetime.now(UTC) + timedelta(seconds=LIFETIME + 5)
        answer("first")
        (shown,) = [it for name, it in cluster.roles().items() if name.startswith("driver-")]
        assert (shown["state"], shown["name"].partition("/driver/")[0]) == ("runs", "spiffe://local")
        assert not [path for path, content in files_below(folder / "ages") if b"Bergen" in content]
        before = executors()
        assert len(before) == 2
        one, other = before.values()
        os.kill(java_of(one["pid"]), signal.SIGKILL)
        os.kill(other["pid"], signal.SIGKILL)
        wait(lambda: len(executors().keys() - before.keys()) == 2, what="new executors", process=driver, log=log)
        answer("second")
        check_secrets_are_of_the_living(cluster, driver=True)
        # Nobody would be let in any more by the certificates that the job began with: new ones come below.
        wait(lambda: datetime.now(UTC) > ended, what="the end of the first certificates")
        assert all(ends(cluster, role) > datetime.now(UTC) for role in ("master", "worker", "executor"))
        roles = cluster.roles()
        os.kill(java_of(roles["worker-2"]["pid"]), signal.SIGKILL)
        (broker,) = [it.pid for it in cluster.state.processes if it.name == "broker"]
        os.kill(broker, signal.SIGKILL)
        wait(lambda: cluster.roles()["worker-2"]["state"] == "ended", what="the end of the worker")
        cluster.redoubt("cluster", "scale", "2")  # both are there again; agents waited for the broker
        assert cluster.roles()["worker-2"]["name"] != roles["worker-2"]["name"]
        answer("third")
        out, _ = driver.communicate(timeout=240)
    said = log.read_text()
    assert driver.returncode == STATUS, said[-4000:]
    assert out.splitlines()[-1] == "done"
    check_receipt(cluster, said)
    check_secrets_are_of_the_living(cluster, driver=False)


def check_secrets_are_of_the_living(cluster: Cluster, *, driver: bool) -> None:
    """Kills leave no secret files: folders of secrets are as many as members that run."""
    memory = Path(cluster.state.agent.memory)

    def members() -> list[str]:
        return sorted(json.loads(it.read_text())["name"] for it in memory.glob("*/secrets/membership.json"))

    def living() -> list[str]:
        roles = {it["name"] for it in cluster.roles().values() if it["state"] == "runs" and "name" in it}
        return sorted(it for it in roles if "/driver/" not in it)  # whose folder is not the cluster's

    wait(lambda: members() == living(), what=f"secrets of {members()} where {living()} live")
    assert bool(driver) == any("/executor/" in it for it in members())


def check_receipt(cluster: Cluster, said: str) -> None:
    (written,) = [line.rpartition(": ")[2] for line in said.splitlines() if "SIMULATED receipt: " in line]
    manifests = ManifestStore(Workspace.open(cluster.folder).state_folder).history()
    assert manifests
    text = cluster.redoubt("receipt", "verify", written, "--simulated")
    assert "VERIFIED" in text
    assert "as         spiffe://local/driver/" in text
    roles = [line.split()[1:3] for line in text.splitlines() if line.startswith("with ")]
    assert roles.count(["master", "spark-master"]) == 1
    assert roles.count(["worker", "spark-worker"]) == 3
    assert roles.count(["executor", "spark-executor"]) >= 4
    assert "data key" in text


def test_changed_program_is_refused_and_its_user_is_told_the_command(cluster: Cluster) -> None:
    (cluster.folder / "ages.py").write_text(APPLICATION + "# changed\n")
    refused = cluster.redoubt(*submit(cluster, *arguments(cluster)), status=ExitStatus.REFUSED)
    assert "broker.refused" in refused
    refusal = refused.partition("redoubt explain ")[2].partition("`")[0]
    assert "redoubt submit --trust" in cluster.redoubt("explain", refusal)
    cluster.redoubt(*submit(cluster, "--trust", *arguments(cluster)))


def test_executors_that_are_refused_end_the_job_with_the_reason(cluster: Cluster) -> None:
    """Not with executors that are started for ever: Spark counts those that never ran."""
    workspace = Workspace.open(cluster.folder)
    current = current_manifest(workspace)
    assert current is not None
    roles = tuple(it for it in current.manifest.roles if it.program != "spark-executor")
    version = current.manifest.version + 1
    sign_and_set(workspace, replace(current.manifest, version=version, previous=current.digest, roles=roles))
    for it in cluster.folder.glob("*.go"):
        it.unlink()
    (cluster.folder / "ages.py").write_text("from pyspark import SparkContext\nSparkContext().range(9).count()\n")
    cluster.redoubt(*submit(cluster, "--trust", "ages.py"))
    with (cluster.folder / "log").open("w") as file, cluster.start(*submit(cluster, "ages.py"), log=file) as driver:
        driver.communicate(timeout=SECONDS)
    said = (cluster.folder / "log").read_text()
    assert driver.returncode == 1
    assert re.search(r"is now EXITED \(\[broker\.role_refused\] .*'executor' in 'local' \(id [0-9a-f-]{36}\)", said), (
        said[-4000:]
    )
    assert "Master removed our application: FAILED" in said


def test_driver_of_no_cluster_is_told_so(cluster: Cluster) -> None:
    words = ("submit", "--master", "spark://127.0.0.1:1", "ages.py")
    said = cluster.redoubt(*words, status=ExitStatus.USAGE)
    assert "cluster.missing" in said
    assert f"there is {cluster.state.master}" in said
