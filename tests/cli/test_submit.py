"""``redoubt submit``, ``run`` and ``conf`` up to where Spark starts: a stand-in shows what spark-submit is given.

What Spark itself does with it: ``tests/spark/test_submit.py``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyspark
import pytest
from tests.agent.pythons import small_python
from tests.cli.test_agent import environment, redoubt

from redoubt.cli.main import main
from redoubt.errors import AttestationRefused, ExitStatus, OptionRefused, TeeMissing, UsageError
from redoubt.spark.submit_options import ANSWERED, OPTIONS
from redoubt.trust.program import ProgramDescriptor

STAND_IN = """#!/bin/sh
"$PROBE_PYTHON" - "$@" <<'END'
import json, os, sys
from pathlib import Path
commands = [Path(it, "cmdline").read_bytes().decode(errors="replace") for it in Path("/proc").iterdir()
            if it.name.isdigit() and (it / "cmdline").exists()]
conf = Path(os.environ["SPARK_CONF_DIR"], "spark-defaults.conf")
print(json.dumps({
    "argv": sys.argv[1:], "environment": dict(os.environ), "conf": conf.read_text(), "commands": commands,
    "mode": oct(conf.stat().st_mode & 0o777),
}))
END
exit 5
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Python whose Spark is the stand-in."""
    made = small_python(tmp_path_factory.mktemp("python"))
    package = next(made.parent.parent.glob("lib/python3*")) / "site-packages/pyspark"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "bin/spark-submit").write_text(STAND_IN)
    (package / "bin/spark-submit").chmod(0o755)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a job."""
    assert main(["init", str(tmp_path)]) == ExitStatus.OK
    (tmp_path / "job.py").write_text("print('job')\n")
    (tmp_path / "module.py").write_text("X = 1\n")
    (tmp_path / "data.txt").write_text("data\n")
    return tmp_path


def submit(folder: Path, python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    probe = ("--env", f"PROBE_PYTHON={sys.executable}")
    return redoubt(folder, "submit", "--python", str(python), *probe, *words)


def seen(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 5, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- what spark-submit gets -------------------------------------------------------------------------------------------
def test_every_option_of_spark_submit_is_known() -> None:
    submit = Path(pyspark.__file__).parent / "bin/spark-submit"
    answer = subprocess.run([str(submit), "--help"], capture_output=True, text=True, check=False, timeout=120)
    theirs = set(re.findall(r"^ +(--[a-z-]+)", answer.stdout + answer.stderr, re.MULTILINE))
    ours = {it.name for it in OPTIONS}
    assert len(theirs) > 25
    assert theirs == {*ours, *(it for it in ANSWERED if it.startswith("--"))}


def test_program_files_and_settings_reach_spark_from_private_copies(folder: Path, python: Path) -> None:
    options = ("--master", "local[3]", "--py-files", "module.py", "--files", "data.txt#alias", "--name", "my job")
    done = submit(folder, python, *options, "-c", "spark.executor.memory=3g", "-v", "job.py", "--name", "x", "-c", "y")
    got = seen(done)
    bundle = re.search(r"(/\S+)/app/job\.py", got["argv"][-5])
    assert bundle, got["argv"]
    assert got["argv"] == ["--verbose", f"{bundle[1]}/app/job.py", "--name", "x", "-c", "y"]
    conf = got["conf"].replace("\\", "").splitlines()
    assert "spark.master=local[3]" in conf
    assert "spark.app.name=my job" in conf
    assert "spark.executor.memory=3g" in conf
    assert f"spark.submit.pyFiles={bundle[1]}/py-files/module.py" in conf
    assert f"spark.files={bundle[1]}/files/data.txt#alias" in conf
    assert f"spark.driver.extraClassPath={bundle[1]}/redoubt/redoubt-jvm.jar" in conf
    assert "spark.network.crypto.enabled=true" in conf
    assert f"spark.hadoop.redoubt.endpoint={got['environment']['REDOUBT_ENDPOINT']}" in conf
    assert got["mode"] == "0o600"
    assert got["environment"]["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert got["environment"]["MALLOC_ARENA_MAX"] == "2"
    assert "SIMULATED" in done.stderr
    assert "no workspace here" not in done.stderr  # the environment names the folder


def test_outside_of_a_workspace_one_is_made_and_removed(folder: Path, python: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    shutil.rmtree(folder / ".redoubt")
    variables = {**environment(folder), "TMPDIR": str(temporary)}
    del variables["REDOUBT_WORKSPACE"]
    probe = ["--python", str(python), "--env", f"PROBE_PYTHON={sys.executable}"]
    log = folder / "log.txt"
    done = subprocess.run(
        [sys.executable, "-m", "redoubt.cli.main", "submit", *probe, "--log-file", str(log), "job.py"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seen(done)
    assert "no workspace here" in done.stderr
    assert not list(temporary.iterdir())
    assert not (folder / ".redoubt").exists()
    assert log.read_text() == done.stderr
    assert log.stat().st_mode & 0o777 == 0o600


def test_settings_of_files_count_less_than_options(folder: Path, python: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf/spark-defaults.conf").write_text("spark.a 1\nspark.b 1\nspark.c 1\nspark.d 1\nother 1\n")
    (folder / "my.properties").write_text("spark.b=2\nspark.c=2\nspark.master=local[7]\n")
    variables = {**environment(folder), "SPARK_CONF_DIR": str(folder / "conf")}
    options = ["--properties-file", "my.properties", "--conf", "spark.c=3"]
    for extra, a in (([], None), (["--load-spark-defaults"], "1")):
        done = subprocess.run(
            [sys.executable, "-m", "redoubt.cli.main", "conf", "show", "--json", *options, *extra],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        conf = json.loads(done.stdout)["conf"]
        assert (conf.get("spark.a"), conf["spark.b"], conf["spark.c"]) == (a, "2", "3")
        assert conf["spark.master"] == "local[7]"
        assert "other" not in conf


# --- attacks ----------------------------------------------------------------------------------------------------------
def test_a_py_file_that_was_changed_after_trust_is_refused(folder: Path, python: Path) -> None:
    words = ("--py-files", "module.py", "job.py")
    trusted = submit(folder, python, "--trust", *words)
    assert trusted.returncode == 0, trusted.stderr
    seen(submit(folder, python, *words))
    (folder / "module.py").write_text("X = 2\n")
    refused = submit(folder, python, *words)
    assert (refused.returncode, refused.stdout) == (ExitStatus.REFUSED, "")
    assert f"[{AttestationRefused.code}]" in refused.stderr
    found = re.search(r"redoubt explain ([0-9a-f-]{36})", refused.stderr)
    assert found, refused.stderr
    explained = json.loads(redoubt(folder, "--json", "explain", found[1]).stdout)
    assert explained["failures"][0]["claim"] == "program.digest"


def test_a_setting_that_was_changed_after_trust_is_refused(folder: Path, python: Path) -> None:
    assert submit(folder, python, "--trust", "job.py").returncode == 0
    plaintext = "spark.hadoop.redoubt.plaintext"
    changed = submit(folder, python, "--conf", f"{plaintext}=allow", "--allow", plaintext, "job.py")
    assert changed.returncode == ExitStatus.REFUSED


def test_a_secret_in_argv_reaches_no_other_process_and_no_output(folder: Path, python: Path) -> None:
    secret = "hunter2-0451"
    options = ("--conf", f"spark.authenticate.secret={secret}", "--conf", f"spark.ssl.keyPassword={secret}")
    done = submit(folder, python, *options, "job.py")
    got = seen(done)
    assert secret not in done.stderr
    assert secret not in json.dumps([got["conf"], got["environment"], got["argv"]])
    ours = [it for it in got["commands"] if secret in it]
    assert all("\0redoubt.cli.main\0" in it for it in ours)  # the command that the user typed, and none of its children
    assert done.stderr.count("spark.authenticate.secret") == 1


def test_variables_that_load_code_are_dropped(folder: Path, python: Path) -> None:
    variables = {**environment(folder), "JAVA_TOOL_OPTIONS": "-javaagent:evil.jar", "SPARK_SUBMIT_OPTS": "-Devil=1"}
    probe = ["--python", str(python), "--env", f"PROBE_PYTHON={sys.executable}"]
    done = subprocess.run(
        [sys.executable, "-m", "redoubt.cli.main", "submit", *probe, "job.py"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    got = seen(done)
    dropped = {"LD_PRELOAD", "JAVA_TOOL_OPTIONS", "SPARK_SUBMIT_OPTS"}
    assert dropped.isdisjoint(got["environment"])
    named = re.search("not passed on to the program: (.*)", done.stderr)
    assert named
    assert dropped <= set(named[1].split(", "))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--conf", "spark.network.crypto.enabled=false", "job.py"], OptionRefused.code),
        (["--conf", "spark.io.encryption.enabled=false", "job.py"], OptionRefused.code),
        (["--conf", "spark.hadoop.redoubt.plaintext=allow", "job.py"], OptionRefused.code),
        (["--conf", "spark.jars.packages=evil:evil:1", "job.py"], OptionRefused.code),
        (["--conf", "nonsense", "job.py"], UsageError.code),
        (["--packages", "evil:evil:1", "job.py"], OptionRefused.code),
        (["--repositories", "https://evil", "job.py"], OptionRefused.code),
        (["--remote", "sc://evil", "job.py"], OptionRefused.code),
        (["--supervise", "job.py"], OptionRefused.code),
        (["--kill", "1", "job.py"], OptionRefused.code),
        (["--driver-library-path", "/evil", "job.py"], OptionRefused.code),
        (["--conf", "spark.driver.extraJavaOptions=-javaagent:evil.jar", "job.py"], "broker.program"),
        (["--driver-java-options", "-XX:-DisableAttachMechanism", "job.py"], OptionRefused.code),
        (["--conf", "spark.executorEnv.LD_PRELOAD=/evil.so", "job.py"], "broker.program"),
        (["--env", "JAVA_TOOL_OPTIONS=-javaagent:evil.jar", "job.py"], "broker.program"),
        (["--master", "k8s://https://x", "job.py"], UsageError.code),
        (["--master", "yarn", "job.py"], UsageError.code),
        (["--deploy-mode", "cluster", "job.py"], UsageError.code),
        (["--jars", "https://evil/x.jar", "job.py"], UsageError.code),
        (["--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal"], UsageError.code),
        (["https://evil/job.py"], UsageError.code),
        (["missing.py"], "usage.not_found"),
        (["data.txt"], UsageError.code),
    ],
    ids=lambda it: it[0] + "=" + it[1] if isinstance(it, list) and len(it) > 1 else str(it),
)
def test_what_cannot_be_submitted_is_refused_before_anything_runs(
    folder: Path, python: Path, words: list[str], code: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(folder)
    assert main(["submit", "--python", str(python), *words]) == ExitStatus.USAGE
    assert f"[{code}]" in capsys.readouterr().err


# --- conf and run -----------------------------------------------------------------------------------------------------
def test_measure_prints_the_digest_that_the_manifest_takes(
    folder: Path, python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "program.json"
    words = ["submit", "--measure", "--descriptor-out", str(out), "--python", str(python), str(folder / "job.py"), "x"]
    assert main(words) == ExitStatus.OK
    descriptor = ProgramDescriptor.parse(out.read_bytes())
    assert capsys.readouterr().out.startswith(descriptor.digest)
    assert descriptor.conf["spark.python.unix.domain.socket.dir"] == "{redoubt:sockets}"
    assert set(descriptor.files) >= {"app/job.py", "redoubt/redoubt-jvm.jar", "redoubt/launch.py"}


def test_conf_explains_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conf", "explain", "--json", "spark.network.timeout"]) == ExitStatus.OK
    explained = json.loads(capsys.readouterr().out)
    assert explained["settings"][0]["yours"] == "a duration up to the bound, in seconds unless it has a unit (1h)"
    assert explained["legacy"][0]["key"] == "spark.network.timeout"
    assert main(["conf", "explain", "spark.jars.packages"]) == ExitStatus.OK
    assert "refused" in capsys.readouterr().out
    assert main(["conf", "explain", "spark.nothing"]) == ExitStatus.USAGE


@pytest.mark.parametrize("tee", ["sgx-gramine", "sgx-occlum"])
def test_a_tee_that_no_program_can_be_put_into_yet_is_named(capsys: pytest.CaptureFixture[str], tee: str) -> None:
    assert main(["run", "--tee", tee, "--", "true"]) == ExitStatus.ENVIRONMENT
    said = capsys.readouterr().err
    assert f"[{TeeMissing.code}]" in said
    assert tee in said


def test_run_says_what_it_chose_and_ends_with_the_programs_status(folder: Path) -> None:
    script = folder / "job.sh"
    script.write_text('#!/bin/sh\necho "ran $1"; exit 9\n')
    script.chmod(0o755)
    done = redoubt(folder, "run", "--", str(script), "--flag")
    assert (done.returncode, done.stdout) == (9, "ran --flag\n"), done.stderr
    assert "tee simulated: " in done.stderr
    assert "SIMULATED" in done.stderr
