"""Jars that name code beside themselves, which Java loads and nothing would measure."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.agent.image import image_digest
from redoubt.agent.jars import check_class_path
from redoubt.agent.measure import ProgramSpec, measure
from redoubt.errors import ProgramFailed

MANIFEST, INDEX = "META-INF/MANIFEST.MF", "META-INF/INDEX.LIST"
EVIL = "../../evil/evil.jar"
#: How a jar names evil.jar, which lies two folders above.
WAYS = {
    "relative": {MANIFEST: f"Class-Path: {EVIL}\n"},
    "absolute": {MANIFEST: "Class-Path: {folder}/evil/evil.jar\n"},
    "url": {MANIFEST: "Class-Path: file://{folder}/evil/evil.jar\n"},
    "a folder": {MANIFEST: "Class-Path: ../../evil/classes/\n"},
    "escaped": {MANIFEST: "Class-Path: %2e%2e/%2e./evil/evil.jar\n"},
    "through a folder": {MANIFEST: f"Class-Path: ./x/../{EVIL}\n"},
    "folded": {MANIFEST: "Class-Path: other.jar ../.\n ./evil/evil.jar\n"},
    "carriage returns": {MANIFEST: f"A: b\rClass-Path: {EVIL}\r"},
    "small letters": {MANIFEST.lower(): f"class-path: {EVIL}\n"},
    "index": {INDEX: f"JarIndex-Version: 1.0\n\nx.jar\nMain\n\n{EVIL}\nEvil.class\n\n"},
}
MAIN = """
import java.net.*; import java.nio.file.*;
public class Main { public static void main(String[] jars) throws Exception { for (String jar : jars)
  try (URLClassLoader loader = new URLClassLoader(new URL[] {Path.of(jar).toUri().toURL()}, null)) {
    loader.loadClass("Evil"); System.out.println("loaded");
  } catch (ClassNotFoundException e) { System.out.println("none"); } } }
"""


def jar(path: Path, entries: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            start = "" if name == INDEX else "Manifest-Version: 1.0\n"
            archive.writestr(name, start + content.replace("{folder}", str(path.parents[2])) + "\n")
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Where the jars of a program lie."""
    folder = tmp_path / "program" / "jars"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK")
def test_java_loads_what_is_refused_here(program: Path, tmp_path: Path) -> None:
    """The control: each of the ways is one."""
    evil = tmp_path / "evil"
    (evil / "classes").mkdir(parents=True)
    (evil / "Evil.java").write_text("public class Evil {}")
    (evil / "Main.java").write_text(MAIN)
    subprocess.run(["javac", "-d", evil / "classes", evil / "Evil.java", evil / "Main.java"], check=True)
    with zipfile.ZipFile(evil / "evil.jar", "w") as archive:
        archive.write(evil / "classes/Evil.class", "Evil.class")
    jars = [jar(program / f"{number}.jar", entries) for number, entries in enumerate(WAYS.values())]
    jars.append(jar(program / "none.jar", {MANIFEST: "Class-Path: other.jar\n"}))
    jars += [padded(jar(program / "padded.jar", WAYS["relative"])), large(jar(program / "64.jar", WAYS["folded"]))]
    words = ["java", "-Xshare:auto", "-cp", str(evil / "classes"), "Main", *map(str, jars)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    index = list(WAYS).index("index")
    loaded = [number for number, it in enumerate(said) if it == "loaded"]
    assert set(loaded) | {index} == {*range(len(jars))} - {len(WAYS)}  # Java 18 reads no index any more
    for number in loaded:
        with pytest.raises(ProgramFailed):
            check_class_path(jars[number], [program])


def padded(path: Path) -> Path:
    """Put something behind the end of an archive, as Java accepts, and another end record into it."""
    with path.open("ab") as file:
        file.write(b"x" * 100 + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, 9, 9, 0) + b"y" * 10)
    return path


def large(path: Path) -> Path:
    """Say where the directory is as archives of many entries do."""
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    count, _, size, offset, _ = struct.unpack_from("<2H2IH", content, end + 8)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    short = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(content[:end] + end64 + locator + short)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_class_path_that_leads_out_of_what_is_measured_is_refused(program: Path, way: str) -> None:
    named = jar(program / "app.jar", WAYS[way])
    spec = ProgramSpec(command=(sys.executable, "-c", "pass"), files=(named,))
    with pytest.raises(ProgramFailed, match="class path"):
        measure(spec, caller={})
    with pytest.raises(ProgramFailed, match="class path"):
        image_digest([program.parent])


def test_archive_without_the_name_of_a_jar_is_looked_into_as_well(program: Path) -> None:
    named = jar(program / "data.bin", WAYS["relative"])
    with pytest.raises(ProgramFailed, match="class path"):
        measure(ProgramSpec(command=(sys.executable, "-c", "pass"), files=(named,)), caller={})


def test_class_path_within_what_is_measured_is_taken(program: Path) -> None:
    (program / "lib").mkdir()
    jar(program / "app.jar", {MANIFEST: "Class-Path: lib/a.jar ./b.jar lib/\n c_1.0+x.jar\n"})
    jar(program / "lib/x.jar", {INDEX: "JarIndex-Version: 1.0\n\nx.jar\nMETA-INF\n\n"})
    assert image_digest([program]).startswith("sha256:")


def test_class_path_into_what_the_digest_leaves_out_is_refused(program: Path) -> None:
    jar(program / "app.jar", {MANIFEST: "Class-Path: __pycache__/a.jar\n"})
    with pytest.raises(ProgramFailed, match="class path"):
        image_digest([program])


def test_link_into_what_the_digest_leaves_out_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    (site / "__pycache__" / "package").mkdir(parents=True)
    (site / "package").symlink_to("__pycache__/package")
    with pytest.raises(ProgramFailed, match="__pycache__"):
        image_digest([site])


def test_jar_behind_a_link_names_nothing_beside_its_target(program: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared" / "java"
    shared.mkdir(parents=True)
    jar(shared / "a.jar", {MANIFEST: "Class-Path: b.jar\n"})
    (program / "a.jar").symlink_to(shared / "a.jar")
    with pytest.raises(ProgramFailed, match="class path"):
        image_digest([program])


@pytest.mark.parametrize("bend", ["cut", "method", "local", "large"])
def test_manifest_that_cannot_be_read_is_refused(program: Path, bend: str) -> None:
    path = jar(program / "app.jar", WAYS["relative"])
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    match bend:
        case "cut":
            struct.pack_into("<I", content, entry + 20, 3)
        case "method":
            struct.pack_into("<H", content, entry + 10, 12)
        case "local":
            struct.pack_into("<I", content, entry + 42, 7)
        case "large":
            struct.pack_into("<I", content, entry + 24, 2**31)
    path.write_bytes(content)
    with pytest.raises(ProgramFailed, match="cannot be read as a jar"):
        check_class_path(path, [program])


def test_directories_of_64_bits_are_read(program: Path) -> None:
    path = large(jar(program / "app.jar", WAYS["relative"]))
    assert zipfile.ZipFile(path).namelist() == [MANIFEST]
    with pytest.raises(ProgramFailed, match="class path"):
        check_class_path(path, [program])


@given(content=st.binary(max_size=200), at=st.integers(0, 10**4), data=st.binary(min_size=1, max_size=8))
def test_any_bytes_are_looked_at_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any").write_bytes(content)
    bent = bytearray(jar(folder / "bent.jar", WAYS["index"]).read_bytes())
    bent[at % len(bent) : at % len(bent) + len(data)] = data
    (folder / "bent.jar").write_bytes(bent)
    for name in ("any", "bent.jar"):
        try:
            check_class_path(folder / name, [folder])
        except ProgramFailed:
            continue


# --- other ways to code that nothing measures -------------------------------------------------------------------------
def test_archive_whose_name_is_two_entries_of_pythons_path_is_refused(tmp_path: Path) -> None:
    """Of `lib/x:evil.zip` Python would search evil.zip in the working folder."""
    path = tmp_path / "x:evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.py", "")
    with pytest.raises(ProgramFailed, match="two entries"):
        measure(ProgramSpec(command=(sys.executable, "-c", "pass"), py_files=(path,)), caller={})


def test_runtime_folder_that_is_two_entries_of_a_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path("/dev/shm/x:y")
    base.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    try:
        with pytest.raises(ProgramFailed, match="two entries"):
            measure(ProgramSpec(command=(sys.executable, "-c", "pass")), caller={})
        assert list(base.iterdir()) == []
    finally:
        base.rmdir()


@pytest.mark.parametrize(
    "module", ["cProfile", "pdb", "runpy", "unittest", "unittest.mock", "torch.distributed.run", "pytest", "code"]
)
def test_modules_that_run_what_an_argument_names_are_refused(module: str) -> None:
    for words in (["-m", module, "job.py"], [f"-m{module}", "job.py"], ["-um", module]):
        with pytest.raises(ProgramFailed, match="an argument names"):
            measure(ProgramSpec(command=(sys.executable, *words)), caller={})


@pytest.mark.parametrize("name", ["ARROW_LIBHDFS_DIR", "OMP_TOOL_LIBRARIES", "CUDA_INJECTION64_PATH", "SSLKEYLOGFILE"])
def test_variables_that_load_libraries_or_tell_secrets_are_refused(name: str) -> None:
    spec = ProgramSpec(command=(sys.executable, "-c", "pass"), environment={name: "/tmp/x"})
    with pytest.raises(ProgramFailed, match="cannot be given"):
        measure(spec, caller={})
