"""What a cluster discloses to whoever listens on its network, reads its disks, lists its processes or opens its pages.

A program shuffles, broadcasts, calls Python functions and ships files, with a random marker for each of these ways. It
runs on a cluster with everything on, where no marker may be found, and on one with security off, where every marker
must be: else the search would prove nothing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from benchmarks.plain_cluster import PlainCluster, java_home
from tests.disclosure.capture import unavailable
from tests.disclosure.findings import Channel
from tests.disclosure.runs import private_folder
from tests.spark.cluster.running import Cluster, wait
from tests.spark.cluster.small import cluster_python
from tests.spark.cluster.wire_runs import Planted, Run, run_control, run_secured

from redoubt.errors import ExitStatus
from redoubt.spark.cluster.conf import jvm_options, member_settings
from redoubt.spark.cluster.files import member_files

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(800),
    pytest.mark.skipif(unavailable() is not None, reason=unavailable() or ""),
]

#: What a cluster writes to its disks, by what writes it; each kind must exist, or its absence of markers means nothing.
KINDS: Final = {
    "shuffle": re.compile(r"/shuffle_\d+_\d+_\d+\.data"),
    "spills of sorts": re.compile(r"/temp_local_"),
    "persisted blocks": re.compile(r"/rdd_\d+_\d+"),
}
CELLS: Final = [it.name for it in Planted().cells]
SHIPPED: Final = [it.name for it in Planted().shipped]
#: Where the naive key of the control run is.
ANYWHERE: Final = [it for it in Channel if it is not Channel.STDOUT]


@dataclass(frozen=True)
class Runs:
    control: Run
    secured: Run
    cluster: Cluster


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Both, at the same time; the cluster with everything on goes on to run."""
    python = cluster_python(tmp_path_factory.mktemp("python") / "p")
    with private_folder() as one, private_folder() as other, ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        control = pool.submit(run_control, one, python)
        secured, cluster = stack.enter_context(run_secured(other, python))
        yield Runs(control.result(), secured, cluster)


@pytest.fixture(scope="module")
def control(runs: Runs) -> Run:
    return runs.control


@pytest.fixture(scope="module")
def secured(runs: Runs) -> Run:
    return runs.secured


# --- the control run: the searches find what is there -----------------------------------------------------------------
@pytest.mark.parametrize("marker", [*CELLS, *SHIPPED])
def test_without_security_the_wire_shows_every_marker(control: Run, marker: str) -> None:
    assert marker in control.found(Channel.LOOPBACK)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_without_security_files_show_markers(control: Run, kind: re.Pattern[str]) -> None:
    assert any(found & set(CELLS) for found in control.files(kind).values())


@pytest.mark.parametrize("channel", ANYWHERE)
def test_without_security_a_naive_key_is_everywhere(control: Run, channel: Channel) -> None:
    assert "key" in control.found(channel)


# --- the secured run --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("marker", [*CELLS, *SHIPPED])
def test_wire_shows_no_marker(secured: Run, marker: str) -> None:
    streams = secured.channels[Channel.LOOPBACK]
    assert len(streams) > 20
    assert not {name: hits for name, hits in streams.items() if marker in {it.marker for it in hits}}


@pytest.mark.parametrize("channel", Channel)
def test_no_cell_is_disclosed(secured: Run, channel: Channel) -> None:
    items = secured.channels[channel]
    assert not {name: hits for name, hits in items.items() if {it.marker for it in hits} & set(CELLS)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_file_was_there_to_be_searched(secured: Run, kind: re.Pattern[str]) -> None:
    assert secured.files(kind)


@pytest.mark.parametrize("channel", Channel)
def test_no_key_is_disclosed(secured: Run, channel: Channel) -> None:
    keys = {it.name for it in secured.keys}
    # Of six roles the key in halves; the domain's secret in two forms; Spark's for disks; four of the workspace.
    assert len(keys) == 6 * 2 + 2 + 1 + 4
    items = secured.channels[channel]
    assert not {name: hits for name, hits in items.items() if {it.marker for it in hits} & keys}


def test_shipped_files_lie_where_spark_puts_them_and_nowhere_else(secured: Run) -> None:
    """As docs/cluster.md states: in the driver's scratch, in an executor's, and in its work folder."""
    files = secured.files(re.compile(""))
    shown = {name for name, found in files.items() if found & set(SHIPPED)}
    stated = re.compile(
        r"/(work/app-[^/]+/[01]|localPyFiles-[^/]+|spark-[^/]+/userFiles-[^/]+)/(file\.txt|shipped\.(py|jar))"
        r"|/spark-[^/]+/(-?\d+_cache|fetchFileTemp\d+\.tmp)"
    )
    assert {name for name in shown if not stated.search(name)} == set()


def test_nothing_was_searched_in_vain(secured: Run) -> None:
    for channel in (Channel.COMMAND_LINES, Channel.ENVIRONMENTS):
        processes = " ".join(secured.channels[channel])
        assert len(re.findall(r"\bjava\b", processes)) >= 6  # master, workers, executors, driver
        assert re.search(r"\bpython", processes)
    pages = " ".join(secured.channels[Channel.UI])
    for page in ("_environment_", "_app_appId_app_", "executorId_0_logType_stderr", "executorId_1_logType_stderr"):
        assert page in pages


def test_there_is_no_event_log(secured: Run) -> None:
    assert not secured.channels[Channel.EVENT_LOG]
    assert not secured.files(re.compile("(?i)event"))


# --- attacks on the cluster, which goes on to run ---------------------------------------------------------------------
@pytest.mark.parametrize("key", ["spark.ssl.rpc.enabled", "spark.io.encryption.enabled", "spark.authenticate"])
def test_user_setting_that_disables_encryption_is_refused(runs: Runs, key: str) -> None:
    cluster = runs.cluster
    words = ("submit", "--master", cluster.state.master, "--conf", f"{key}=false", "job.py")
    (cluster.folder / "job.py").touch()
    assert f"{key}=false would replace true" in cluster.redoubt(*words, status=ExitStatus.USAGE)


def test_application_that_disables_encryption_in_code_gets_no_executor(runs: Runs) -> None:
    refused = (runs.cluster.folder / "refused").read_text()
    assert "[spark.option]" in refused
    assert "spark.io.encryption.enabled=false" in refused
    assert (runs.cluster.folder / "logs/master.log").read_text().count("Registered app") == 1  # the one that ran


def test_worker_with_a_stolen_secret_but_no_certificate_is_not_registered(runs: Runs, tmp_path: Path) -> None:
    """Spark's own worker, with everything that a member of the cluster has but its key, and Spark's own TLS.

    Beside it, to show that nothing else is missing, one with a copy of a member's whole folder of secrets.
    """
    cluster = runs.cluster
    copied = tmp_path / "copied"
    shutil.copytree(cluster.identity("worker"), copied)
    files = member_files(Path(java_home()), folder=copied)
    every = {it.key: it.value for it in member_settings(files)}
    secret = f"-Dhadoop.token.files={files.credentials}"
    sparks = PlainCluster(
        folder=tmp_path / "thief",
        conf={**every, "spark.ssl.rpc.protocol": "TLSv1.3"},
        options=[secret],
        prefix=cluster.prefix,
    )
    members = PlainCluster(folder=tmp_path / "member", conf=every, options=jvm_options(files), prefix=cluster.prefix)
    state = cluster.state
    with sparks.worker(state.master) as thief, members.worker(state.master) as member:
        wait(lambda: "Successfully registered" in member.read_text(), what="the copy of a member")
        wait(lambda: "Failed to connect to master" in thief.read_text(), what="the thief's failure")
        assert "Successfully registered" not in thief.read_text()
    master = (state.logs / "master.log").read_text()
    assert master.count("Registering worker") == 3  # two that attested, and the copy
