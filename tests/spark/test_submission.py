"""What of a command line of spark-submit is copied, and what its copies are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from redoubt.errors import NotFound, UsageError
from redoubt.spark.conf_program import JAR, is_local
from redoubt.spark.submission import Submission

BUNDLE = "{redoubt:bundle}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("job.py", "app.jar", "a.jar", "b.jar", "c.zip"):
        (tmp_path / name).write_text(name)
    return tmp_path


def submission(app: str = "job.py", **settings: str) -> Submission:
    return Submission.of(app, (), settings={f"spark.{key.replace('_', '.')}": it for key, it in settings.items()})


def test_files_are_named_where_their_copies_are(folder: Path) -> None:
    made = submission(jars="a.jar,file:" + str(folder / "b.jar"), archives="c.zip#unpacked", submit_pyFiles="c.zip")
    assert made.conf["spark.jars"] == f"{BUNDLE}/jars/a.jar,{BUNDLE}/jars/b.jar"
    assert made.conf["spark.archives"] == f"{BUNDLE}/archives/c.zip#unpacked"
    assert made.conf["spark.submit.pyFiles"] == f"{BUNDLE}/py-files/c.zip"
    assert set(made.sources) == {"app/job.py", "jars/a.jar", "jars/b.jar", "archives/c.zip", "py-files/c.zip"}
    assert not {"spark.jars", "spark.archives", "spark.submit.pyFiles"} & set(made.user_conf)


def test_patterns_name_every_file_that_matches(folder: Path) -> None:
    assert submission(jars="?.jar").conf["spark.jars"] == f"{BUNDLE}/jars/a.jar,{BUNDLE}/jars/b.jar"
    with pytest.raises(NotFound):
        submission(jars="x*.jar")


def test_class_paths_come_after_redoubts_own(folder: Path) -> None:
    made = submission(driver_extraClassPath="a.jar:b.jar")
    driver_jars = f"{BUNDLE}/driver-jars"
    assert made.conf["spark.driver.extraClassPath"] == f"{BUNDLE}/{JAR}:{driver_jars}/a.jar:{driver_jars}/b.jar"


@pytest.mark.parametrize("text", ["hdfs://x/a.jar", "https://x/a.jar", "s3a://b/a.jar", "a.jar,ftp://x/b.jar"])
def test_what_would_be_fetched_at_run_time_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(UsageError):
        submission(jars=text)


@pytest.mark.parametrize("app", ["pyspark-shell", "spark-internal", "spark-shell", "hdfs://x/job.py", "job.R"])
def test_what_is_no_local_application_is_refused(folder: Path, app: str) -> None:
    (folder / "job.R").write_text("")
    with pytest.raises(UsageError):
        submission(app)


def test_a_jar_needs_its_main_class(folder: Path) -> None:
    with pytest.raises(UsageError, match="main class"):
        submission("app.jar")


@pytest.mark.parametrize(
    ("master", "local"),
    [("local", True), ("local[4]", True), ("local[*]", True), ("local[2,4]", True), ("spark://h:7077", False),
     ("local-cluster[1,1,1]", False), ("localhost", False)],
)  # fmt: skip
def test_which_masters_are_in_one_process(master: str, local: bool) -> None:
    assert is_local(master) is local
