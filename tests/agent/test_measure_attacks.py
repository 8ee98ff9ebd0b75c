"""Attacks on what is measured: code that would run without being in the digest, whoever chose the command line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.agent.pythons import small_python

from redoubt.agent.command import read_command
from redoubt.agent.measure import ProgramSpec, measure
from redoubt.errors import ProgramFailed

CALLER = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    script = tmp_path / "job.py"
    script.write_text("print('hello')\n")
    return script


@pytest.fixture
def java(tmp_path: Path) -> Path:
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    (home / "lib/modules").write_bytes(b"modules")
    (home / "bin/java").write_bytes(b"\x7fELF")
    (home / "bin/java").chmod(0o755)
    (tmp_path / "app.jar").write_bytes(b"PK")
    return home / "bin/java"


@pytest.fixture
def environment(python: Path, tmp_path: Path) -> Path:
    """A virtual environment of the small Python."""
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


def digest(*words: str, conf: dict[str, str] | None = None) -> str:
    with measure(ProgramSpec(command=words, conf=conf or {}), caller=CALLER) as program:
        return program.descriptor.digest


# --- Java -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        ("--class-path=/evil", "Main"),  # another spelling of -cp, whose value was not copied
        ("Main",),  # without a class path Java searches the working folder
        ("-cp", "", "Main"),
        ("-cp", ":", "Main"),
        ("-cp", "JAR", "Main.java"),  # a source file is compiled and run from where it lies
        ("--source", "17", "Main.java"),
        ("-cp", "JAR", "--source", "17", "Main.java"),
        ("-cp", "JAR", "--source=17", "Main"),
    ],
)
def test_java_class_outside_of_the_copy_is_refused(java: Path, words: tuple[str, ...]) -> None:
    jar = str(java.parents[2] / "app.jar")
    with pytest.raises(ProgramFailed):
        read_command([str(java), *(jar if it == "JAR" else it for it in words)], search_path="")
    read_command([str(java), "-cp", jar, "Main"], search_path="")


@pytest.mark.parametrize(
    "option",
    [
        "-Xrunevil",
        "-XX:SharedArchiveFile=/evil.jsa",
        "-XX:JVMCILibPath=/evil",
        "-XX:AOTCache=/evil.aot",
        "-XX:AOTLibrary=/evil.so",
        "-Djava.home=/evil",
        "-Dsun.boot.library.path=/evil",
        "-Djava.security.properties=/evil",
        "-Djava.security.properties==/evil",
        "--class-path=/evil",
        "--source",
    ],
)
def test_jvm_option_that_names_code_outside_of_the_jdk_is_refused(java: Path, option: str) -> None:
    jar = str(java.parents[2] / "app.jar")
    for words, options in (((str(java), option, "-jar", jar), ()), ((str(java), "-jar", jar), (option,))):
        with pytest.raises(ProgramFailed):
            measure(ProgramSpec(command=words, jvm_options=options), caller=CALLER)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.driver.extraJavaOptions", '-java"agent":/evil.jar'),  # Spark takes the quotes away
        ("spark.executor.extraJavaOptions", "-java\\agent:/evil.jar"),
        ("spark.driver.extraJavaOptions", "-Dx='a b'"),
        ("spark.sql.hive.metastore.jars", "path"),
        ("spark.sql.hive.metastore.jars.path", "/evil/*.jar"),
        ("spark.sql.execution.pyspark.python", "/evil/python"),
        ("spark.driver.resource.gpu.discoveryScript", "/evil.sh"),
        ("spark.driver.defaultExtraClassPath", "/evil"),
        ("spark.hadoop.net.topology.script.file.name", "/evil.sh"),
    ],
)
def test_setting_of_spark_that_names_code_by_another_word_is_refused(
    python: Path, job: Path, name: str, value: str
) -> None:
    with pytest.raises(ProgramFailed):
        digest(str(python), str(job), conf={name: value})


# --- Python's installation --------------------------------------------------------------------------------------------
def test_zipped_standard_library_first_on_the_path_is_measured(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    before = digest(str(python), str(job))
    name = python.name.replace(".", "") + ".zip"
    shown = subprocess.run([python, "-c", "import sys; print(sys.path[1])"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == str(tmp_path / "prefix/lib" / name)  # before everything else
    (tmp_path / "prefix/lib" / name).write_bytes(b"PK evil")
    assert digest(str(python), str(job)) != before


def test_library_beside_an_interpreter_of_its_own_prefix_is_measured(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    (tmp_path / "prefix/lib/libssl.so.3").write_bytes(b"good")
    before = digest(str(python), str(job))
    (tmp_path / "prefix/lib/libssl.so.3").write_bytes(b"evil")
    assert digest(str(python), str(job)) != before


@pytest.mark.parametrize(("shown", "measured"), [("true", True), ("false", False)])
def test_packages_of_the_interpreter_below_are_measured_where_the_environment_sees_them(
    python: Path, job: Path, tmp_path: Path, shown: str, measured: bool
) -> None:
    base = small_python(tmp_path / "prefix")
    environment = tmp_path / "environment"
    subprocess.run([base, "-m", "venv", "--without-pip", environment], check=True)
    config = environment / "pyvenv.cfg"
    config.write_text(config.read_text().replace("packages = false", f"packages = {shown}"))
    packages = tmp_path / "prefix/lib" / base.name / "site-packages"
    words = (str(environment / "bin/python3"), str(job))
    seen = subprocess.run([words[0], "-c", "import sys; print(sys.path)"], capture_output=True, text=True, check=True)
    assert (repr(str(packages)) in seen.stdout) is measured
    before = digest(*words)
    (packages / "evil.pth").write_text("import evil\n")
    (packages / "evil.py").write_text("print('evil')\n")
    assert (digest(*words) != before) is measured
    run = subprocess.run([*words], capture_output=True, text=True, check=True, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert (run.stdout == "evil\nhello\n") is measured
    before = digest(*words)
    (packages.parent / "added.py").write_text("")  # to the standard library itself
    assert digest(*words) != before


def test_environment_with_its_standard_library_elsewhere_is_refused(
    environment: Path, python: Path, job: Path, tmp_path: Path
) -> None:
    config = environment / "pyvenv.cfg"
    honest = config.read_text()
    assert digest(str(environment / "bin/python3"), str(job))
    config.write_text(honest.replace(str(python.parent), str(tmp_path / "evil/bin")))
    with pytest.raises(ProgramFailed, match="home"):
        digest(str(environment / "bin/python3"), str(job))
    config.write_text(f"home = {tmp_path}/evil/bin\n{honest}")  # Python takes the first
    with pytest.raises(ProgramFailed, match="home"):
        digest(str(environment / "bin/python3"), str(job))
    config.write_text(honest + "\n# " + "x" * 1024 * 1024 + "\ninclude-system-site-packages = true\n")
    with pytest.raises(ProgramFailed):
        digest(str(environment / "bin/python3"), str(job))


@pytest.mark.parametrize("name", ["pyvenv.cfg", "python3._pth", "pybuilddir.txt"])
def test_file_beside_the_interpreter_that_moves_its_library_is_refused(
    environment: Path, job: Path, tmp_path: Path, name: str
) -> None:
    (environment / "bin" / name).write_text(f"home = {tmp_path}\n")
    with pytest.raises(ProgramFailed, match=name):
        digest(str(environment / "bin/python3"), str(job))
    python = small_python(tmp_path / "prefix")
    (python.parent / name).write_text(f"home = {tmp_path}\n")
    with pytest.raises(ProgramFailed, match=name):
        digest(str(python), str(job))


@pytest.mark.parametrize(
    "line",
    [
        " odd",  # a folder whose name begins with a space, by the rules of Python's site
        "a\x0bb",  # one line for Python, two for str.splitlines
        "\udcff",  # a name that is not UTF-8
    ],
)
def test_code_of_a_pth_file_is_found_as_python_finds_it(tmp_path: Path, job: Path, line: str) -> None:
    python = small_python(tmp_path / "prefix")
    site = tmp_path / "prefix/lib" / python.name / "site-packages"
    folder = tmp_path / f"up{line}"
    folder.mkdir()
    (folder / "planted.py").write_text("X = 1\n")
    site.joinpath("x.pth").write_bytes(os.fsencode(f"../../../../up{line}\n"))
    (site / "up odd").mkdir()
    before = digest(str(python), str(job))
    (folder / "planted.py").write_text("X = 2\n")
    assert digest(str(python), str(job)) != before


def test_line_of_a_pth_file_with_a_space_before_it_is_a_path(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    site = tmp_path / "prefix/lib" / python.name / "site-packages"
    (site / " import ").mkdir()
    (tmp_path / "evil").mkdir()
    (site / "x.pth").write_text(f" import /../{os.path.relpath(tmp_path / 'evil', site)}\n")
    before = digest(str(python), str(job))
    (tmp_path / "evil/planted.py").write_text("X = 2\n")
    assert digest(str(python), str(job)) != before


def test_pth_file_that_names_a_folder_which_others_could_make_is_refused(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    site = tmp_path / "prefix/lib" / python.name / "site-packages"
    (site / "x.pth").write_text(f"{tmp_path}/not-there\n")
    with pytest.raises(ProgramFailed, match="not-there"):
        digest(str(python), str(job))


def test_pth_file_longer_than_is_read_is_refused(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    site = tmp_path / "prefix/lib" / python.name / "site-packages"
    (site / "x.pth").write_text("#" * 1024 * 1024 + f"\n{tmp_path}\n")
    with pytest.raises(ProgramFailed, match=r"x\.pth"):
        digest(str(python), str(job))


# --- other interpreters -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["sh", "bash", "env", "perl", "node", "ruby3.1", "Rscript", "pypy3", "timeout", "busybox", "awk", "php8.2"]
)
def test_interpreter_that_would_run_an_unmeasured_script_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x7fELF")
    (tmp_path / name).chmod(0o755)
    (tmp_path / "innocent").symlink_to(tmp_path / name)
    for word in (name, "innocent"):
        with pytest.raises(ProgramFailed):
            read_command([str(tmp_path / word), "job"], search_path="")
