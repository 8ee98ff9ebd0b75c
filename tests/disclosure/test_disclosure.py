"""What a Spark run on sealed data discloses to whoever watches it: nothing but what is stated here.

High-entropy markers stand in data cells, in SQL, and as every key. Two runs of one program are watched: a control run
with security off, in which each channel must show them (else the search would prove nothing), and a secured run, in
which none may. What Spark shows by its nature is a closed list (:data:`STATED`), compared by equality, so that neither
a new disclosure nor a stale statement passes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from pyspark.sql import SparkSession
from tests.disclosure.capture import unavailable
from tests.disclosure.findings import Channel
from tests.disclosure.runs import Planted, Run

import redoubt.spark
from redoubt.errors import OptionRefused
from redoubt.keys.workspace import Workspace

pytestmark = [pytest.mark.spark, pytest.mark.timeout(500)]

ROOT: Final = Path(__file__).resolve().parents[2]
#: The files of a run by what writes them; each kind must exist, or its absence of markers means nothing.
KINDS: Final = {
    "shuffle": re.compile(r"/shuffle_\d+_\d+_\d+\.data"),
    "spills of sorts": re.compile(r"/temp_local_"),
    "shuffle spills": re.compile(r"/temp_shuffle_"),
    "persisted blocks": re.compile(r"/rdd_\d+_\d+"),
    "output": re.compile(r"^out/"),
}
PYTHON_SPILLS: Final = re.compile(r"/python/\d+/")
BROADCASTS_OF_PYTHON: Final = re.compile(r"/pyspark-[^/]+/tmp")

#: marker of Planted → channels on which the secured run shows it, and the document that says so.
STATED: Final = {
    # Plans hold the program's literals; py4j carries the driver's calls and their answers over TCP.
    "literal": ({Channel.LOG, Channel.UI, Channel.LOOPBACK}, "SECURITY.md", "SQL text and plans on py4j"),
    "suspect": ({Channel.LOG, Channel.UI, Channel.LOOPBACK}, "docs/spark.md", "errors show literals and cell values"),
    "greeting": ({Channel.STDOUT, Channel.LOOPBACK}, "SECURITY.md", "py4j"),
    # sortByKey samples keys in the driver and sends them out again in a closure.
    "rank": ({Channel.LOOPBACK}, "SECURITY.md", "py4j"),
    # Spark's own reader puts the record into its error; the Data Source does not.
    "malformed": (set(), "CONTRIBUTING.md", "no text holds key material or cell values"),
}
#: What the control run must show where; ``data`` stands for every data marker.
SHOWN_WITHOUT_SECURITY: Final = {
    Channel.STDOUT: {"greeting"},
    Channel.LOG: {"key", "literal", "suspect", "malformed"},
    Channel.UI: {"key", "literal", "suspect", "malformed"},
    Channel.EVENT_LOG: {"key", "literal", "suspect", "malformed"},
    Channel.COMMAND_LINES: {"key"},
    Channel.ENVIRONMENTS: {"key"},
    Channel.FILES: {"key", "data"},
    Channel.LOOPBACK: {"key", "data", "literal", "suspect", "greeting", "rank", "malformed"},
}
loopback = pytest.mark.skipif(unavailable() is not None, reason=unavailable() or "")
channels = pytest.mark.parametrize(
    "channel", [pytest.param(it, marks=loopback) if it is Channel.LOOPBACK else it for it in Channel]
)


def marker_names(planted: Planted, short: str) -> set[str]:
    if short == "key":
        return {"key"}
    return {it.name for it in planted.data} if short == "data" else {getattr(planted, short).name}


# --- the control run: the searches find what is there -----------------------------------------------------------------
@channels
def test_without_security_every_channel_shows_markers(control: Run, channel: Channel) -> None:
    expected = {name for short in SHOWN_WITHOUT_SECURITY[channel] for name in marker_names(control.planted, short)}
    assert expected <= control.found(channel)


@pytest.mark.parametrize("kind", [*KINDS.values(), PYTHON_SPILLS, BROADCASTS_OF_PYTHON], ids=lambda kind: kind.pattern)
def test_without_security_every_kind_of_file_shows_markers(control: Run, kind: re.Pattern[str]) -> None:
    data = {it.name for it in control.planted.data}
    assert any(found & data for found in control.files(kind).values())


@pytest.mark.parametrize("layer", [(), ("zstd",), ("LZ4Block",), ("snappy stream",)])
def test_without_security_every_compression_of_the_event_log_is_searched(control: Run, layer: tuple[str, ...]) -> None:
    logs = control.channels[Channel.EVENT_LOG].values()
    assert any(hit.layers == layer and hit.marker == control.planted.literal.name for hits in logs for hit in hits)


# --- the secured run --------------------------------------------------------------------------------------------------
@channels
def test_no_key_is_disclosed(secured: Run, channel: Channel) -> None:
    keys = {key.name for key in secured.keys}
    assert len(keys) == 8  # root, its wrapping key, primary, three data keys, Spark's two
    assert not keys & secured.found(channel)


@channels
def test_no_cell_is_disclosed(secured: Run, channel: Channel) -> None:
    data = {it.name for it in secured.planted.data}
    shown = {
        item: sorted(hit for hit in hits if hit.marker in data) for item, hits in secured.channels[channel].items()
    }
    assert not {item: hits for item, hits in shown.items() if hits}


def test_python_workers_do_not_spill(secured: Run) -> None:
    """What they spill in the control run, by the same program, are compressed pickles that nothing encrypts."""
    assert not secured.files(PYTHON_SPILLS)


def test_spills_of_python_cannot_be_turned_on(workspace: Workspace) -> None:
    with redoubt.spark.job(workspace.folder) as job, pytest.raises(OptionRefused, match=r"python\.worker\.memory"):
        job.conf({"spark.python.worker.memory": "512m"})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_file_was_there_to_be_searched(secured: Run, kind: re.Pattern[str]) -> None:
    assert secured.files(kind)


@pytest.mark.parametrize("short", STATED)
def test_what_spark_shows_by_its_nature_is_what_is_stated(secured: Run, short: str) -> None:
    stated, document, words = STATED[short]
    assert secured.where(getattr(secured.planted, short)) == stated & set(secured.channels)
    assert words in (ROOT / document).read_text()


def test_nothing_was_searched_in_vain(secured: Run) -> None:
    for channel in (Channel.COMMAND_LINES, Channel.ENVIRONMENTS):
        processes = " ".join(secured.channels[channel])
        assert re.search(r"\bjava\b", processes)
        assert re.search(r"\bpython", processes)
    pages = " ".join(secured.channels[Channel.UI])
    for page in ("_environment_", "_SQL_execution_id_0", "_storage_rdd_id", "_stages_stage_id_0", "_api_v1_"):
        assert page in pages


def test_there_is_no_event_log(secured: Run) -> None:
    assert not secured.channels[Channel.EVENT_LOG]
    assert not secured.files(re.compile("(?i)event"))


def test_there_is_no_dump_of_memory(secured: Run) -> None:
    assert not secured.files(re.compile(r"(^|/)(core(\.\d+)?|hs_err.*|.*\.hprof|.*\.jfr)$"))


def test_only_loopback_is_listened_on(control: Run, secured: Run) -> None:
    """The user interface, which the job turns on, takes every interface unless it is told otherwise."""
    assert control.listening & {"::", "0.0.0.0"}
    assert secured.listening
    assert secured.listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_the_event_log_cannot_be_turned_on(workspace: Workspace) -> None:
    with redoubt.spark.job(workspace.folder) as job, pytest.raises(OptionRefused, match=r"spark\.eventLog\.enabled"):
        job.conf({"spark.eventLog.enabled": "true"})


def test_the_user_interface_is_off_unless_asked_for(spark: SparkSession) -> None:
    assert spark.sparkContext.uiWebUrl is None


def test_redoubt_refuses_a_session_without_its_parts(control: Run, secured: Run) -> None:
    assert control.refusal == "spark.jar"
    assert secured.refusal == ""
