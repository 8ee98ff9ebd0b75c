"""Builds ``redoubt-jvm.jar`` from ``jvm/src/main`` with nothing but ``javac`` and the jars of the installed pyspark.

``python jvm/build.py`` writes ``src/redoubt/spark/jars/redoubt-jvm.jar``. The jar is reproducible: sorted entries,
fixed times, no trace of the machine. Its manifest holds a digest of everything it was made from, so a jar that is up to
date is kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

JVM = Path(__file__).resolve().parent
JAR = JVM.parent / "src" / "redoubt" / "spark" / "jars" / "redoubt-jvm.jar"

#: The oldest Java that Spark 4 runs on.
RELEASE = "17"
#: Spark's jars name annotations, and in their manifests jars, that are not there: those warnings are not ours.
LINT = "-Xlint:all,-classfile,-path"

_MANIFEST = "META-INF/MANIFEST.MF"
#: With its 64 hexadecimal digits the line stays within the 72 bytes that a manifest allows.
_DIGEST_FIELD = "Source"
#: The earliest time that a ZIP file can state.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The jar cannot be built; the text says what to install or mend."""


def spark_jars() -> Path:
    """Return the folder of the jars of the pyspark that this interpreter would import."""
    spec = importlib.util.find_spec("pyspark")
    jars = Path(spec.origin).parent / "jars" if spec is not None and spec.origin is not None else None
    if jars is None or not jars.is_dir():
        raise BuildError('the jar is compiled against pyspark, which is not installed: pip install "pyspark>=4.3,<4.4"')
    return jars


def javac() -> str:
    """Return the Java compiler: that of ``JAVA_HOME`` if set, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("javac", path=str(Path(home) / "bin")) if home else None
    found = found or shutil.which("javac")
    if found is None:
        raise BuildError(f"no javac found: install a JDK, version {RELEASE} or newer (Debian: openjdk-17-jdk-headless)")
    return found


def compile_java(sources: Sequence[Path], classes: Path, *, class_path: Sequence[Path | str]) -> None:
    """Compile *sources* into the folder *classes*; a warning is an error."""
    command = [javac(), "--release", RELEASE, LINT, "-Werror", "-g", "-encoding", "UTF-8", "-proc:none"]
    command += ["-cp", os.pathsep.join(map(str, class_path)), "-d", str(classes), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"javac failed:\n{done.stdout}{done.stderr}")


def write_jar(jar: Path, entries: dict[str, bytes]) -> None:
    """Write *entries* to *jar*, sorted, the manifest first; the old jar stays until the new one is whole."""
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=jar.parent, prefix=f".{jar.name}.", delete=False) as temporary:
        try:
            with zipfile.ZipFile(temporary, "w") as out:
                for name in sorted(entries, key=lambda name: (name != _MANIFEST, name)):
                    info = zipfile.ZipInfo(name, _EPOCH)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.create_system = 3
                    info.external_attr = 0o644 << 16
                    out.writestr(info, entries[name])
            Path(temporary.name).chmod(0o644)
            Path(temporary.name).replace(jar)
        except BaseException:
            Path(temporary.name).unlink(missing_ok=True)
            raise


def folder_entries(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (entry name, content) of every file below *root*."""
    for path in root.rglob("*"):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path.read_bytes()


def source_digest(root: Path, jars: Path) -> str:
    """Return a digest of the sources, of this program, and of the names of the jars they are compiled against."""
    digest = hashlib.sha256()
    inputs = {f"src/{name}": content for name, content in folder_entries(root)}
    inputs["build.py"] = Path(__file__).read_bytes()
    inputs["jars"] = "\n".join(sorted(path.name for path in jars.glob("*.jar"))).encode()
    for name in sorted(inputs):
        digest.update(f"{name}\0{len(inputs[name])}\0".encode())
        digest.update(inputs[name])
    return digest.hexdigest()


def stated_digest(jar: Path) -> str | None:
    """Return the digest of the sources that *jar* says it was made from; None without a readable jar."""
    try:
        with zipfile.ZipFile(jar) as existing:
            match = re.search(rf"^{_DIGEST_FIELD}: (\w+)", existing.read(_MANIFEST).decode(), re.MULTILINE)
    except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError):
        return None
    return None if match is None else match[1]


def manifest(digest: str) -> bytes:
    """Return the jar's manifest."""
    lines = ["Manifest-Version: 1.0", "Automatic-Module-Name: io.redoubt.jvm", f"{_DIGEST_FIELD}: {digest}"]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def build(jar: Path = JAR) -> Path:
    """Make *jar* unless it is up to date, and return it.

    Raises:
        BuildError: javac or pyspark is missing, or the sources do not compile.
    """
    root = JVM / "src" / "main"
    jars = spark_jars()
    digest = source_digest(root, jars)
    if stated_digest(jar) == digest:
        return jar
    with tempfile.TemporaryDirectory() as classes:
        sources = sorted((root / "java").rglob("*.java"))
        compile_java(sources, Path(classes), class_path=[f"{jars}/*"])
        entries = dict(folder_entries(Path(classes)))
    entries.update(folder_entries(root / "resources"))
    entries[_MANIFEST] = manifest(digest)
    write_jar(jar, entries)
    return jar


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
