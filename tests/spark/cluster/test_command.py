"""What of an application's command line reaches an executor: its identity and size, and no code."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.errors import ClusterRefused
from redoubt.spark.cluster.command import EXECUTOR, ExecutorCommand

IDENTITY = (
    "--driver-url", "spark://CoarseGrainedScheduler@127.0.0.1:46251", "--executor-id", "1", "--hostname", "127.0.0.1",
    "--cores", "1", "--app-id", "app-20261126010759-0000", "--worker-url", "spark://Worker@127.0.0.1:44739",
    "--resourceProfileId", "0",
)  # fmt: skip
OPTIONS = (
    "-cp", "/spark/jars/*", "-Xmx512M", "-Dspark.driver.port=46251", "-Dspark.rpc.askTimeout=30s",
    "-XX:+IgnoreUnrecognizedVMOptions", "--add-modules=jdk.incubator.vector",
    "--add-opens=java.base/java.lang=ALL-UNNAMED", "-Dio.netty.allocator.type=pooled",
)  # fmt: skip


def command(*more: str, options: tuple[str, ...] = OPTIONS, last: tuple[str, ...] = (EXECUTOR, *IDENTITY)) -> list[str]:
    return [*options, *more, *last]


def test_sparks_own_command_is_taken_over_without_its_class_path() -> None:
    found = ExecutorCommand.read(command())
    assert (found.heap, found.arguments) == ("512M", IDENTITY)
    assert found.options == (
        "-Dspark.driver.port=46251",
        "-Dspark.rpc.askTimeout=30s",
        "-XX:+IgnoreUnrecognizedVMOptions",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Dio.netty.allocator.type=pooled",
    )
    assert found.name == "app-20261126010759-0000-1"
    assert ExecutorCommand.decode(found.encode()) == found


def test_identity_and_secret_of_the_application_are_dropped() -> None:
    theirs = (
        "-Dspark.ssl.rpc.keyStore=/driver/trust.p12",
        "-Dspark.authenticate=false",
        "-Dspark.ssl.rpc.enabled=false",
    )
    assert ExecutorCommand.read(command(*theirs)) == ExecutorCommand.read(command())


@pytest.mark.parametrize(
    "option",
    [
        "-javaagent:/tmp/evil.jar",
        "-agentlib:jdwp=transport=dt_socket,server=y",
        "-Xbootclasspath/a:/tmp/evil.jar",
        "-Djava.security.properties=/tmp/evil",
        "-Dhadoop.token.files=/tmp/evil",
        "-Dlog4j2.configurationFile=http://evil",
        "-Dspark.plugins=Evil",
        "-Dspark.executor.extraClassPath=/tmp/evil.jar",
        "-Dspark.driver.port=1 -javaagent:x",
        "-XX:OnOutOfMemoryError=/tmp/evil",
        "-XX:HeapDumpPath=/tmp",
        "@/tmp/options",
        "--patch-module=java.base=/tmp/evil.jar",
    ],
)
def test_option_that_loads_code_or_leaks_is_refused(option: str) -> None:
    with pytest.raises(ClusterRefused):
        ExecutorCommand.read(command(option))


@pytest.mark.parametrize(
    "last",
    [
        ("org.example.Evil", *IDENTITY),
        (EXECUTOR, *IDENTITY[:-2]),
        (EXECUTOR, *IDENTITY, "--more", "x"),
        (EXECUTOR, *IDENTITY[:2], *IDENTITY),
        (EXECUTOR, "--driver-url", "spark://x@evil", *IDENTITY[2:]),
        (EXECUTOR, *IDENTITY[:9], "app-../../x", *IDENTITY[10:]),
        (),
    ],
)
def test_something_else_than_an_executor_is_refused(last: tuple[str, ...]) -> None:
    with pytest.raises(ClusterRefused):
        ExecutorCommand.read(command(last=last))


def test_argument_is_checked_again_where_the_executor_is_attested() -> None:
    honest = json.loads(ExecutorCommand.read(command()).encode())
    for change in ({"options": ["-javaagent:/tmp/evil.jar"]}, {"heap": "1m -javaagent:x"}, {"more": 1}, {"heap": None}):
        with pytest.raises(ClusterRefused):
            ExecutorCommand.decode(json.dumps({**honest, **change}))


@settings(max_examples=200)
@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_other_argument_is_refused(text: str) -> None:
    with pytest.raises(ClusterRefused):
        ExecutorCommand.decode(text)
