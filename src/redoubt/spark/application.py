"""Spark sessions on sealed data, and the configuration for programs that build their own.

    spark = redoubt.spark.session("my job")            # a SparkSession; keys from the nearest workspace

    with redoubt.spark.job() as job:                   # or: any builder, any spark-submit
        spark = SparkSession.builder.config(map=job.conf()).getOrCreate()

A :class:`Job` is one key endpoint and one private scratch folder. It ends with the interpreter at the latest.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from redoubt.agent.client import endpoint_keys
from redoubt.agent.endpoint import KeyEndpoint, Transport
from redoubt.agent.runtime import make_socket_folder
from redoubt.errors import SparkError
from redoubt.keys.provider import KeySource
from redoubt.keys.workspace import Workspace
from redoubt.protocol.endpoint import ENDPOINT_VARIABLE
from redoubt.spark.assertions import assert_loaded
from redoubt.spark.conf import SESSION_TIME_ZONE, settings
from redoubt.spark.conf_merge import merge
from redoubt.spark.jar import jar_path
from redoubt.spark.java import require_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WATCH_SECONDS: Final = 0.2


class Job:
    """The key endpoint and private folders of one Spark application."""

    def __init__(self, keys: KeySource, *, transport: Transport = Transport.UNIX) -> None:
        self._endpoint = KeyEndpoint(keys, transport=transport)
        self._sockets = make_socket_folder("redoubt-py-")
        atexit.register(self.close)

    @property
    def endpoint(self) -> Path:
        """The endpoint folder (``docs/endpoint.md``)."""
        return self._endpoint.folder

    def conf(self, user: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the Spark configuration of this job on top of the user's own.

        Raises:
            OptionRefused: *user* weakens a setting.
            JarMissing: the package lacks its jar.
        """
        base = settings(endpoint=self.endpoint, jar=jar_path(), sockets=self._sockets)
        return merge(base, user or {})

    def close(self) -> None:
        """End the endpoint and remove the folders. May be called twice."""
        atexit.unregister(self.close)
        self._endpoint.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def job(workspace: Path | str | None = None) -> Job:
    """Return a job with the keys of *workspace* (default: of the agent's endpoint, or of the nearest ``.redoubt``).

    Raises:
        WorkspaceMissing, RootKeyError: there is no workspace, or its keys cannot be opened.
        EndpointError: the agent's endpoint has ended.
    """
    return Job(_keys(workspace))


def session(
    name: str,
    *,
    workspace: Path | str | None = None,
    keys: KeySource | None = None,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
) -> SparkSession:
    """Return a SparkSession that reads and writes sealed data: a new one, or the one that runs, if it is as asked for.

    *master* defaults to ``spark.master`` of *conf*, then to ``local[*]``; keys come from *keys*, from the workspace, or
    by default from the agent that started this program (``$REDOUBT_ENDPOINT``), else from the nearest workspace.
    Stop it with :func:`stop`, which ends the key endpoint too; after ``spark.stop()`` that ends a moment later.

    Raises:
        JavaMissing, JarMissing, WorkspaceMissing, RootKeyError, OptionRefused: it cannot be set up as asked.
        SparkError: one runs that is not as asked for, or the JVM would read or write sealed data in clear
            (:mod:`redoubt.spark.assertions`).
    """
    require_java()
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    for ended in [item for item in tuple(_sessions) if item.stopped()]:
        ended.close()
    if SparkContext._active_spark_context is not None:
        for item in tuple(_sessions):
            if item.spark.sparkContext is SparkContext._active_spark_context:
                item.check_asked(workspace=workspace, keys=keys, user=_user_conf(master, conf))
                assert_loaded(item.spark)
                return item.spark
        raise SparkError(
            "a Spark application without sealed data is running in this process",
            hint="Stop it first: its configuration cannot be changed any more.",
        )
    # Workers must find this installation; Spark would start whatever python3 is on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    source = keys if keys is not None else _keys(workspace)
    new = Job(source)
    try:
        user = {"spark.master": "local[*]", **_user_conf(master, conf)}
        if user["spark.master"].startswith("local"):
            user = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", **user}
            # A UI that the user turns on listens there; Spark knows no setting for it and would take every interface.
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings_made = new.conf(user)
        spark = SparkSession.builder.appName(name).config(map=dict(settings_made)).getOrCreate()
        try:
            register(spark)
            assert_loaded(spark)
        except BaseException:
            spark.stop()
            raise
    except BaseException:
        new.close()
        raise
    _Session(spark, new, source, settings_made).watch()
    return spark


def stop(spark: SparkSession) -> None:
    """Stop *spark* and end its key endpoint."""
    context = spark.sparkContext
    spark.stop()
    for item in tuple(_sessions):
        if item.spark.sparkContext is context:
            item.close()


def _keys(workspace: Path | str | None) -> KeySource:
    if workspace is None and os.environ.get(ENDPOINT_VARIABLE):
        return endpoint_keys()
    return Workspace.open(Path(workspace) if workspace else None)


def _user_conf(master: str | None, conf: Mapping[str, str] | None) -> dict[str, str]:
    return {**({"spark.master": master} if master else {}), **(conf or {})}


class _Session:
    """A session that runs, its job, and what it was made with."""

    def __init__(self, spark: SparkSession, job: Job, source: KeySource, conf: Mapping[str, str]) -> None:
        self.spark = spark
        self._job = job
        self._source = source
        self._conf = conf
        self._closed = threading.Event()

    def check_asked(self, *, workspace: Path | str | None, keys: KeySource | None, user: Mapping[str, str]) -> None:
        """Check that the session is what a caller asks for; nothing given asks for nothing.

        Raises:
            SparkError: it has other keys, another master or another configuration.
            WorkspaceMissing, WorkspaceError: there is no such workspace.
            OptionRefused: *user* weakens a setting.
        """
        wrong = []
        if keys is not None and keys is not self._source:
            wrong.append("keys")
        elif keys is None and workspace is not None:
            asked = Workspace.open(Path(workspace)).state_folder.resolve()
            made_with = self._source.state_folder.resolve() if isinstance(self._source, Workspace) else None
            if asked != made_with:
                wrong.append("workspace")
        whole = self._job.conf(user)
        wrong += sorted(key for key in user if whole[key] != self._conf.get(key))
        if wrong:
            raise SparkError(
                f"a Spark session runs in this process that was made with another {', '.join(wrong)}",
                hint="Stop it first with redoubt.spark.stop, or call session without these arguments.",
            )

    def stopped(self) -> bool:
        """Whether its Spark application has ended, by whichever call."""
        return self.spark.sparkContext._jsc is None

    def watch(self) -> None:
        """Remember the session, and end its job soon after its Spark application: Spark tells nobody that it stops."""
        _sessions.append(self)
        threading.Thread(target=self._wait, name="redoubt-session", daemon=True).start()

    def _wait(self) -> None:
        while not self.stopped() and not self._closed.wait(_WATCH_SECONDS):
            pass
        self.close()

    def close(self) -> None:
        """End the job and forget the session. May be called twice."""
        self._closed.set()
        with contextlib.suppress(ValueError):
            _sessions.remove(self)
        self._job.close()


def keys_of(spark: SparkSession) -> KeySource:
    """Return the key source that the processes of *spark* use: its job's key endpoint.

    Raises:
        EndpointUnreachable: the session was made without :func:`session` or :meth:`Job.conf`.
    """
    return endpoint_keys(spark.sparkContext.getConf().get("spark.hadoop.redoubt.endpoint"))


def register(spark: SparkSession) -> None:
    """Make the Data Source ``sealed`` known to *spark*, for sessions that were not made by :func:`session`."""
    from redoubt.spark.source import SealedDataSource

    spark.dataSource.register(SealedDataSource)
    # Tasks are told only what is set. Unset, it is the zone of the JVM, which Python could not name.
    spark.conf.set(SESSION_TIME_ZONE, spark.conf.get(SESSION_TIME_ZONE) or "")


_sessions: list[_Session] = []
