"""The program descriptor: everything that decides what runs changes the digest, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agent.pythons import small_python

from redoubt.agent.command import read_command
from redoubt.agent.environment import SCRATCH, SOCKETS
from redoubt.agent.measure import MeasuredProgram, ProgramSpec, measure
from redoubt.errors import ProgramFailed
from redoubt.trust.program import ProgramDescriptor

CALLER = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    script = tmp_path / "job/job.py"
    script.write_text("print('hello')\n")
    (tmp_path / "job/helper.py").write_text("X = 1\n")
    package = tmp_path / "job/package"
    package.mkdir()
    (package / "__init__.py").write_text("Y = 1\n")
    (tmp_path / "job/extra.jar").write_bytes(b"PK jar")
    (tmp_path / "job/table.csv").write_text("1,2\n")
    return script


def spec_of(python: Path, job: Path, *arguments: str) -> ProgramSpec:
    folder = job.parent
    return ProgramSpec(
        command=(str(python), "-u", str(job), *arguments),
        py_files=(folder / "helper.py", folder / "package"),
        files=(folder / "table.csv",),
        environment={"TZ": "UTC"},
        conf={"spark.sql.ansi.enabled": "true"},
    )


def digest(spec: ProgramSpec, caller: dict[str, str] | None = None) -> str:
    with measure(spec, caller=caller or CALLER) as program:
        return program.descriptor.digest


def run(program: MeasuredProgram, scratch: Path) -> subprocess.CompletedProcess[str]:
    folders = {SCRATCH: scratch, "{redoubt:cache}": scratch / "cache"}
    return subprocess.run(
        program.argv(folders),
        executable=program.executable(),
        env=program.environment(folders),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_program_elsewhere_has_the_same_digest(python: Path, job: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    first = digest(spec_of(python, job))
    job.parent.rename(moved)
    os.utime(moved / "job.py", (1, 1))
    assert digest(spec_of(python, moved / "job.py"), {**CALLER, "USER": "other"}) == first


def test_arguments_are_beside_the_digest(python: Path, job: Path) -> None:
    with measure(spec_of(python, job, "--month", "2026-01"), caller=CALLER) as program:
        assert program.arguments == ("--month", "2026-01")
        assert program.descriptor.digest == digest(spec_of(python, job))
        assert program.argv({})[-2:] == ["--month", "2026-01"]


@pytest.mark.parametrize("name", ["job.py", "helper.py", "package/__init__.py", "table.csv"])
def test_one_changed_byte_of_the_program_changes_the_digest(python: Path, job: Path, name: str) -> None:
    before = digest(spec_of(python, job))
    file = job.parent / name
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    assert digest(spec_of(python, job)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda it: ProgramSpec(command=it.command),
        lambda it: ProgramSpec(command=(it.command[0], *it.command[2:]), py_files=it.py_files),
        lambda it: ProgramSpec(
            command=it.command, py_files=it.py_files, files=it.files, environment={"TZ": "CET"}, conf=it.conf
        ),
        lambda it: ProgramSpec(command=it.command, py_files=it.py_files, files=it.files, environment=it.environment),
    ],
    ids=["py-files", "option", "environment", "conf"],
)
def test_what_else_steers_it_changes_the_digest(
    python: Path, job: Path, change: Callable[[ProgramSpec], ProgramSpec]
) -> None:
    spec = spec_of(python, job)
    assert digest(change(spec)) != digest(spec)


@pytest.mark.parametrize("place", ["sitecustomize.py", "evil.pth", "json.so", "legacy.pyc"])
def test_a_file_added_to_the_interpreter_changes_the_digest(tmp_path: Path, job: Path, place: str) -> None:
    python = small_python(tmp_path / "prefix")
    before = digest(spec_of(python, job))
    (tmp_path / "prefix/lib" / python.name / "site-packages" / place).write_text("import os\n")
    assert digest(spec_of(python, job)) != before


def test_code_that_a_pth_file_names_is_measured(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "module.py").write_text("A = 1\n")
    (tmp_path / "prefix/lib" / python.name / "site-packages/my.pth").write_text(f"{outside}\n")
    before = digest(spec_of(python, job))
    (outside / "module.py").write_text("A = 2\n")
    assert digest(spec_of(python, job)) != before


def test_code_behind_a_link_in_the_image_is_measured(tmp_path: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    outside = tmp_path / "sitecustomize.py"
    outside.write_text("A = 1\n")
    (tmp_path / "prefix/lib" / python.name / "sitecustomize.py").symlink_to(outside)
    before = digest(spec_of(python, job))
    outside.write_text("A = 2\n")
    assert digest(spec_of(python, job)) != before


def test_compiled_code_beside_the_sources_is_neither_measured_nor_run(tmp_path: Path, job: Path) -> None:
    prefix = tmp_path / "prefix"
    python = small_python(prefix)
    site = prefix / "lib" / python.name / "site-packages"
    (site / "victim.py").write_text("print('source')\n")
    job.write_text("import victim\n")
    before = digest(spec_of(python, job))
    # A cache file that Python would take without a look at the source, if it looked for one there.
    build = (
        "import py_compile as p; print(p.compile('victim.py', invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH))"
    )
    evil = tmp_path / "victim.py"
    evil.write_text("print('evil')\n")
    cache = subprocess.run([python, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    (site / "__pycache__").mkdir()
    (site / "__pycache__" / Path(cache.stdout.strip()).name).write_bytes((tmp_path / cache.stdout.strip()).read_bytes())
    plain = subprocess.run([python, "-c", "import victim"], capture_output=True, text=True, check=True)
    assert plain.stdout == "evil\n"  # the control: without the agent this cache is what runs
    with measure(spec_of(python, job), caller=CALLER) as program:
        assert program.descriptor.digest == before
        assert run(program, tmp_path).stdout == "source\n"


def test_a_program_changed_after_it_was_measured_runs_as_it_was(python: Path, job: Path, tmp_path: Path) -> None:
    with measure(spec_of(python, job), caller=CALLER) as program:
        job.write_text("print('evil')\n")
        assert run(program, tmp_path).stdout == "hello\n"


def test_the_copy_cannot_be_added_to(python: Path, job: Path) -> None:
    with measure(spec_of(python, job), caller=CALLER) as program:
        modes = {it.stat().st_mode & 0o777 for it in program.bundle.folder.rglob("*") if it.is_file()}
        assert modes == {0o400}
        assert {it.stat().st_mode & 0o777 for it in program.bundle.folder.rglob("*") if it.is_dir()} == {0o500}
        folder = program.bundle.folder
    assert not folder.exists()


@pytest.mark.parametrize("name", ["job.py", "helper.py", "package", "package/__init__.py"])
def test_a_symbolic_link_in_the_program_is_refused(python: Path, job: Path, name: str) -> None:
    place = job.parent / name
    real = place.with_name("real")
    place.rename(real)
    place.symlink_to(real)
    with pytest.raises(ProgramFailed):
        digest(spec_of(python, job))


def test_code_in_the_working_folder_is_not_imported(
    python: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("print('evil')\n")
    monkeypatch.chdir(tmp_path)
    job.write_text("import json, helper, package\nprint(json.__name__, helper.X, package.Y)\n")
    with measure(spec_of(python, job), caller=CALLER) as program:
        assert run(program, tmp_path).stdout == "json 1 1\n"


def test_what_the_caller_preloads_does_not_reach_the_program(python: Path, job: Path, tmp_path: Path) -> None:
    caller = {
        **CALLER,
        "LD_PRELOAD": "/evil.so",
        "PYTHONPATH": "/evil",
        "JAVA_TOOL_OPTIONS": "-javaagent:e",
        "SECRET": "x",
    }
    job.write_text("import os\nprint(sorted(os.environ))\n")
    with measure(spec_of(python, job), caller=caller) as program:
        assert program.dropped == ("JAVA_TOOL_OPTIONS", "LD_PRELOAD", "PYTHONPATH")
        names = run(program, tmp_path).stdout
        assert "PRELOAD" not in names
        assert "SECRET" not in names.replace("REDOUBT_SECRETS", "")
        assert program.environment({})["PYTHONPATH"].startswith(str(program.bundle.folder))


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONPATH", "JAVA_TOOL_OPTIONS", "BASH_ENV", "REDOUBT_ENDPOINT", "a=b"]
)
def test_a_variable_that_loads_code_cannot_be_asked_for(python: Path, job: Path, name: str) -> None:
    with pytest.raises(ProgramFailed):
        digest(ProgramSpec(command=(str(python), str(job)), environment={name: "x"}))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("",),
        ("no-such-program",),
        ("PYTHON",),
        ("PYTHON", "-"),
        ("PYTHON", "-I", "job.py"),
        ("PYTHON", "-uE", "job.py"),
        ("PYTHON", "-i", "job.py"),
        ("PYTHON", "-X"),
        ("PYTHON", "-Xpycache_prefix=/tmp", "job.py"),
        ("PYTHON", "--check-hash-based-pycs", "never", "job.py"),
        ("PYTHON", "{redoubt:bundle}/job.py"),
    ],
)
def test_a_command_that_cannot_be_measured_is_refused(python: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ProgramFailed):
        read_command([str(python) if it == "PYTHON" else it for it in words], search_path="/usr/bin")


@pytest.mark.parametrize(
    ("words", "argv", "arguments"),
    [
        (["-m", "http.server", "80"], ["-m", "http.server"], ("80",)),
        (["-um", "http.server"], ["-u", "-m", "http.server"], ()),
        (["-c", "print(1)", "-c"], ["-c", "print(1)"], ("-c",)),
        (
            ["-Wignore", "-X", "utf8", "j.py", "-u"],
            ["-W", "ignore", "-X", "utf8", "{redoubt:bundle}/app/j.py"],
            ("-u",),
        ),
    ],
)
def test_pythons_options_are_program_and_what_follows_is_argument(
    python: Path, words: list[str], argv: list[str], arguments: tuple[str, ...]
) -> None:
    command = read_command([str(python), *words], search_path="")
    assert list(command.argv[1:]) == argv
    assert command.arguments == arguments


def test_every_name_of_one_interpreter_is_one_program(python: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    names = ["python", "python3", python.name]
    found = [read_command([str(tmp_path / "venv/bin" / it), "-c", "1"], search_path="") for it in names]
    assert len({it.argv for it in found}) == 1
    command = found[0]
    assert command.argv[0] == str(tmp_path / "venv/bin/python3")
    assert {tmp_path / "venv", python} <= set(command.roots)


def test_a_script_with_an_interpreter_line_is_that_interpreters_program(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text(f"#!{python}\nprint('hello')\n")
    script.chmod(0o755)
    with measure(ProgramSpec(command=(str(script), "x")), caller=CALLER) as program:
        assert program.descriptor.interpreter == str(python)
        assert program.arguments == ("x",)
        assert run(program, tmp_path).stdout == "hello\n"
    shell = tmp_path / "tool.sh"
    shell.write_text("#!/usr/bin/env sh\necho shell $1\n")
    shell.chmod(0o755)
    with measure(ProgramSpec(command=(str(shell), "x")), caller=CALLER) as program:
        assert program.descriptor.interpreter == f"{os.path.realpath('/usr/bin')}/sh"
        assert run(program, tmp_path).stdout == "shell x\n"


def test_an_executable_keeps_the_name_it_was_called_by(tmp_path: Path) -> None:
    (tmp_path / "called").symlink_to("/bin/ls")
    with measure(ProgramSpec(command=(str(tmp_path / "called"), "--version")), caller=CALLER) as program:
        assert program.descriptor.files.keys() == {"app/called"}
        assert program.descriptor.argv[0].endswith("app/called")
        assert run(program, tmp_path).stdout.startswith("ls ")


def test_an_executable_is_copied_and_run_from_the_copy(tmp_path: Path) -> None:
    with measure(ProgramSpec(command=("echo", "-n", "hi")), caller=CALLER) as program:
        assert program.descriptor.files.keys() == {"app/echo"}
        assert program.executable().startswith(str(program.bundle.folder))
        assert run(program, tmp_path).stdout == "hi"


# --- Java -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def jdk(tmp_path: Path) -> Path:
    """The layout of a JDK: what is measured is read off it, never run."""
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    (home / "lib/modules").write_bytes(b"modules")
    (home / "bin/java").write_bytes(b"\x7fELF")
    (home / "bin/java").chmod(0o755)
    return home / "bin/java"


def test_one_changed_byte_of_a_jar_or_jvm_option_changes_the_digest(jdk: Path, job: Path) -> None:
    jar = job.parent / "extra.jar"

    def with_option(option: str) -> str:
        return digest(ProgramSpec(command=(str(jdk), option, "-cp", f"{jar}:{job.parent}/package", "Main", "x")))

    before = with_option("-Xmx1g")
    assert with_option("-Xmx2g") != before
    jar.write_bytes(b"PK jaR")
    assert with_option("-Xmx1g") != before


def test_a_java_command_keeps_the_order_of_its_words(jdk: Path, job: Path) -> None:
    words = (str(jdk), "-Xmx1g", "--add-opens", "java.base/java.nio=ALL-UNNAMED", "-jar", str(job.parent / "extra.jar"))
    with measure(ProgramSpec(command=(*words, "-Xms1g")), caller=CALLER) as program:
        assert program.descriptor.jvm_options == words[1:4]
        argv = program.argv({})
        assert argv[1:5] == [*words[1:4], "-jar"]
        assert argv[5].startswith(str(program.bundle.folder))
        assert argv[6:] == ["-Xms1g"] == list(program.arguments)


@pytest.mark.parametrize(
    "option", ["-javaagent:evil.jar", "-agentpath:evil.so", "@options", "-XX:Flags=file", "-Xbootclasspath/a:evil.jar"]
)
def test_a_jvm_option_that_loads_code_is_refused(jdk: Path, job: Path, option: str) -> None:
    for spec in (
        ProgramSpec(command=(str(jdk), option, "Main")),
        ProgramSpec(command=(str(jdk), "Main"), jvm_options=(option,)),
    ):
        with pytest.raises(ProgramFailed):
            digest(spec)


def test_a_python_program_with_spark_has_its_jdk_and_jars_measured(tmp_path: Path, jdk: Path, job: Path) -> None:
    python = small_python(tmp_path / "prefix")
    (tmp_path / "prefix/lib" / python.name / "site-packages/pyspark").mkdir()
    jar = job.parent / "extra.jar"
    spec = ProgramSpec(command=(str(python), str(job)), jars=(jar,), jvm_options=("-Xss4m",))
    caller = {**CALLER, "JAVA_HOME": str(jdk.parent.parent)}
    with measure(spec, caller=caller) as program:
        environment = program.descriptor.environment
        assert environment["JAVA_HOME"] == str(jdk.parent.parent)
        assert environment["JDK_JAVA_OPTIONS"] == "-Xss4m"
        assert environment["SPARK_DIST_CLASSPATH"] == "{redoubt:bundle}/jars/*"
        assert "jars/extra.jar" in program.descriptor.files
        assert program.argv({})[1:] == [str(program.bundle.folder / "app/job.py")]
    before = digest(spec, caller)
    (jdk.parent.parent / "lib/modules").write_bytes(b"Modules")
    assert digest(spec, caller) != before


def test_sparks_configuration_is_written_as_java_reads_it(python: Path, job: Path) -> None:
    conf = {"spark.a": "x = \\1\n#", "spark.b": ""}
    with measure(ProgramSpec(command=(str(python), str(job)), conf=conf), caller=CALLER) as program:
        text = program.configuration({})
        assert text == b"spark.a=x\\ \\=\\ \\\\1\\n\\#\nspark.b=\n"
        assert program.descriptor.conf == conf


def test_redoubts_own_settings_name_folders_of_the_run(python: Path, job: Path, tmp_path: Path) -> None:
    spec = ProgramSpec(
        command=(str(python), str(job)), conf={"spark.a": "1", "spark.b": "2"}, engine_conf={"spark.a": f"{SOCKETS}/x"}
    )
    with measure(spec, caller=CALLER) as program:
        assert program.descriptor.conf == {"spark.a": "{redoubt:sockets}/x", "spark.b": "2"}
        assert program.configuration({SOCKETS: tmp_path}) == f"spark.a={tmp_path}/x\nspark.b=2\n".encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.jars", "evil.jar"),
        ("spark.jars.packages", "evil:evil:1"),
        ("spark.submit.pyFiles", "evil.py"),
        ("spark.pyspark.python", "/evil/python"),
        ("spark.driver.extraClassPath", "/evil"),
        ("spark.driver.extraJavaOptions", "-Xss4m -javaagent:evil.jar"),
        ("spark.executorEnv.LD_PRELOAD", "/evil.so"),
        ("java.home", "/evil"),
        ("spark.app.name", "{redoubt:bundle}"),
    ],
)
def test_a_setting_of_spark_that_loads_code_is_refused(python: Path, job: Path, name: str, value: str) -> None:
    with pytest.raises(ProgramFailed):
        digest(ProgramSpec(command=(str(python), str(job)), conf={name: value}))


@given(words=st.lists(st.text(alphabet="-cmWXuEI @./p\0é", max_size=6), max_size=6))
def test_any_command_line_is_a_program_or_refused(python: Path, words: list[str]) -> None:
    try:
        command = read_command([str(python), *words], search_path="")
    except ProgramFailed:
        return
    assert command.argv[0] == str(python)
    assert list(command.arguments) == words[len(words) - len(command.arguments) :]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(["-jar", "-cp", "--add-opens", "@a", "-p", "a.jar:b/*", "-X", "", "Main", "-"])))
def test_any_java_command_is_a_program_or_refused(jdk: Path, words: list[str]) -> None:
    try:
        command = read_command([str(jdk), *words], search_path="")
    except ProgramFailed:
        return
    assert list(command.arguments) == words[len(words) - len(command.arguments) :]
    assert len(command.argv) >= 2
    assert not any(it.startswith(("@", "-p")) for it in command.jvm_options)


def test_a_descriptor_survives_its_file(python: Path, job: Path) -> None:
    with measure(spec_of(python, job), caller=CALLER) as program:
        assert ProgramDescriptor.parse(program.descriptor.canonical()).digest == program.descriptor.digest
